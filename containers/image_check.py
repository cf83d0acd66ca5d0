"""``python -m containers.image_check``: imports all that a container may run, and tries what pruning could break."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import Any

_COMMANDS = ("containers.__main__", "containers.prune")


def main() -> int:
    """Fails with the import's own error where something is missing."""
    for package in ("topic_model", "containers"):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if found.name not in _COMMANDS:
                importlib.import_module(found.name)
    from topic_model.settings import TextSettings
    from topic_model.text import Tokenizer

    terms = Tokenizer(TextSettings.from_strings({})).terms("cameras dsc-t20")
    if terms != ["camera", "dsc-t20"]:
        print(f"'cameras dsc-t20' became {terms}; the lemma table is missing or another", file=sys.stderr)  # noqa: T201
        return 1
    return _check_kernels() or _check_faiss()


def _check_kernels() -> int:
    """Serving infers by machine code that the image holds: it may not write, and compiling takes seconds."""
    from topic_model.kernels import inference

    compiled: Any = inference.infer
    if not sum(compiled._cache_hits.values()):
        print("the kernels are not compiled; run 'python -m topic_model.kernels' first", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _check_faiss() -> int:
    """faiss multiplies by SciPy's OpenBLAS (containers/prune.py): its products are NumPy's."""
    import faiss
    import numpy as np

    rows = np.random.default_rng(0).random((500, 64), dtype=np.float32)
    index = faiss.IndexFlatIP(64)
    index.add(rows)
    found, _ = index.search(rows, 3)
    if not np.allclose(found, -np.sort(-(rows @ rows.T), axis=1)[:, :3], rtol=1e-4):
        print("faiss finds other products than NumPy; see share_openblas in containers/prune.py", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
