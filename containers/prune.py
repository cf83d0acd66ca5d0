"""``python prune.py``: removes from a virtual environment what the image never reads; prints how much that was.

Run by the image's build with the environment's own interpreter. What is listed was found by size; that nothing needed
goes, the build's import of every module and the tests of the built image hold. Extension modules lose what only a
debugger reads, which is most of some wheels. Standard library only.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# Relative to site-packages. A test folder that its own package imports is not matched: NumPy's and SciPy's `testing`.
PATTERNS = (
    "**/tests",
    "gensim/test",
    "**/include",
    "**/*.pxd",
    "**/*.pyx",
    "**/*.pxi",
    "**/*.c",
    "**/*.cpp",
    "**/*.h",
    "**/*.hpp",
    "pyarrow/src",
    "pyarrow/*flight*",  # Arrow's RPC
    "pyarrow/_pyarrow_cpp_tests*",
    "pyarrow/libarrow_s3.so*",  # stores other than files; pyarrow.fs passes over the absent
    "pyarrow/_s3fs*",
    "pyarrow/_gcsfs*",
    "pyarrow/_azurefs*",
    "pyarrow/_hdfs*",
    "pyarrow/libarrow_python*.so",  # the linker's copies; programs load the one with the ABI's number
    "pyarrow/libarrow_python*.so.*.*.*",
    "sklearn/datasets/data",
    "sklearn/datasets/images",
)
# Tables of words: the tokenizer reads English lemmas and no other; the licence stays.
LOOKUPS = "spacy_lookups_data/data"
KEPT_LOOKUPS = ("en_lemma_", "en_license")


def unneeded(site_packages: Path) -> Iterator[Path]:
    """Files and folders to remove."""
    for pattern in PATTERNS:
        yield from site_packages.glob(pattern)
    for path in (site_packages / LOOKUPS).glob("*"):
        if not path.name.startswith(KEPT_LOOKUPS):
            yield path


def remove(paths: Iterable[Path]) -> int:
    """Removes files and folders; returns their bytes."""
    freed = 0
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            freed += sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
            shutil.rmtree(path)
        elif path.is_symlink() or path.exists():
            freed += path.lstat().st_size
            path.unlink()
    return freed


def strip_library(path: Path) -> int:
    """Cuts off what follows the loaded segments of a 64-bit little-endian ELF file; returns the bytes saved.

    That is debugging sections, the static symbol table and the section headers. The loader reads program headers alone
    (System V ABI, chapter 5), so code, data and what it exports stay as they were. Other files are left as they are.
    """
    with path.open("rb+") as file:
        header = file.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
            return 0
        end = programs_at = int.from_bytes(header[32:40], "little")
        entry_size, entries = (int.from_bytes(header[at : at + 2], "little") for at in (54, 56))
        end += entry_size * entries
        for number in range(entries):
            file.seek(programs_at + number * entry_size)
            entry = file.read(40)
            offset, in_file = (int.from_bytes(entry[at : at + 8], "little") for at in (8, 32))
            end = max(end, offset + in_file)
        size = file.seek(0, 2)
        if end >= size:
            return 0
        file.seek(40)
        file.write(bytes(8))  # e_shoff: no section headers
        file.seek(58)
        file.write(bytes(6))  # e_shentsize, e_shnum, e_shstrndx
        file.truncate(end)
        return size - end


def main() -> int:
    """Prune the interpreter's own site-packages."""
    site_packages = Path(sysconfig.get_path("purelib"))
    freed = remove(unneeded(site_packages))
    freed += sum(strip_library(path) for path in site_packages.rglob("*.so*") if path.is_file())
    print(f"removed {freed / 1e6:.0f} MB that the image does not read")  # noqa: T201 - a command's output
    return 0


if __name__ == "__main__":
    sys.exit(main())
