"""``python -m containers.image_check``: imports all that a container may run, and tokenizes a text; for the build."""

from __future__ import annotations

import importlib
import pkgutil
import sys

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
    return 0


if __name__ == "__main__":
    sys.exit(main())
