"""The code of the Lambda functions as a zip: the same sources, the same bytes, so a stack changes only when they do."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import topic_model
import workflow_functions

_SHARED_MODULES = (
    "__init__.py",
    "errors.py",
    "exports/__init__.py",
    "exports/columns.py",
    "exports/layouts.py",
    "published.py",
)
"""What the functions use of the library: its modules that need the standard library alone."""

_NOT_PACKAGED = frozenset({"package.py"})
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


def package_functions(out: Path) -> Path:
    """Write the functions' zip to ``out`` and answer it; boto3 is the runtime's own."""
    library = Path(topic_model.__file__).parent
    functions = Path(workflow_functions.__file__).parent
    files = {f"topic_model/{name}": library / name for name in _SHARED_MODULES}
    files |= {
        f"workflow_functions/{path.name}": path for path in functions.glob("*.py") if path.name not in _NOT_PACKAGED
    }
    return write_zip(files, out)


def write_zip(files: Mapping[str, Path], out: Path) -> Path:
    """Write files under their names in the archive to the zip ``out`` and answer it, whole or not at all.

    Neither the order nor the files' times and modes are in the bytes.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, files[name].read_bytes())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out


if __name__ == "__main__":
    package_functions(Path("dist/functions.zip"))
