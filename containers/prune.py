"""``python prune.py [PATCHELF]``: removes from a virtual environment what the image never reads, and says how much.

Run by the image's build with the environment's own interpreter. What is listed was found by size; that nothing needed
goes, the build's import of every module and the tests of the built image hold. Extension modules lose what only a
debugger reads, which is most of some wheels. Standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
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
    "**/*.pyi",
    "faiss/contrib",
    "joblib/test",
    "numba/cuda",  # kernels for graphics cards
    "numba/np/ufunc/omppool*",  # threads of parallel=True: kernels here release the lock and run in plain threads
    "numba/np/ufunc/tbbpool*",
    "numba/runtests.py",
    "numba/testing",
    "numpy/_core/_simd*",  # for NumPy's tests
    "numpy/distutils",
    "pygments/lexers/[!_]*",  # colours for languages; spaCy's command line imports the package
    "scipy/io/_fast_matrix_market/*.so",  # files of the Matrix Market
    "scipy/odr",
)
# Half of the wheel: BLIS once more, for Python code that multiplies matrices. thinc imports it and needs none of it to
# tokenize, so a module that says so stands in.
BLIS = "blis/py.*.so"
BLIS_INSTEAD = '"""Pruned from the image: nothing in it multiplies matrices through thinc (containers/prune.py)."""\n'
# faiss brings an OpenBLAS along that is SciPy's but for a prefix to its names; it can do with SciPy's.
FAISS = "faiss/libfaiss.so"
FAISS_BLAS = "faiss_cpu.libs/libopenblas*.so"
SCIPY_BLAS = "scipy.libs/libscipy_openblas-*.so"
SCIPY_PREFIX = "scipy_"
FAISS_CALLS = (
    *("sgemm_", "sgemv_", "ssyrk_", "dgemm_"),
    *("sgeqrf_", "sorgqr_", "sgelsd_", "sgesvd_", "dgesvd_", "dsyev_", "sgetrf_", "sgetri_", "dgetrf_", "dgetri_"),
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


def replace_blis(site_packages: Path) -> int:
    """Puts a module without content in the place of ``blis.py``'s extension; returns the bytes saved."""
    freed = 0
    for path in list(site_packages.glob(BLIS)):
        freed += remove([path])
        (path.parent / "py.py").write_text(BLIS_INSTEAD, encoding="utf-8")
    return freed


def share_openblas(site_packages: Path, patchelf: str) -> int:
    """Makes faiss call SciPy's OpenBLAS; returns the bytes saved.

    A call that is missing from the list stops the build: it runs its check with ``LD_BIND_NOW``.
    """
    found = [list(site_packages.glob(pattern)) for pattern in (FAISS, FAISS_BLAS, SCIPY_BLAS)]
    if not all(len(paths) == 1 for paths in found):
        return 0
    ((faiss,), (own,), (shared,)) = found
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as names:
        names.writelines(f"{name} {SCIPY_PREFIX}{name}\n" for name in FAISS_CALLS)
        names.flush()
        for change in (
            ("--rename-dynamic-symbols", names.name),
            ("--replace-needed", own.name, shared.name),
            ("--set-rpath", f"$ORIGIN/../{own.parent.name}:$ORIGIN/../{shared.parent.name}"),
        ):
            subprocess.run([patchelf, *change, str(faiss)], check=True)  # noqa: S603 - the build's own tool
    return remove([own, *own.parent.glob("libgfortran*"), *own.parent.glob("libquadmath*")])


def share_libraries(site_packages: Path) -> int:
    """Makes one file of the libraries that several wheels brought along; returns the bytes saved.

    Their names carry their hash, so files of one name and size are one file. Each wheel looks in a folder of its own,
    where a link to the first one's then stands.
    """
    freed = 0
    first: dict[tuple[str, int], Path] = {}
    for path in sorted(site_packages.glob("*.libs/*.so*")):
        size = path.lstat().st_size
        shared = first.setdefault((path.name, size), path)
        if shared is not path and not path.is_symlink():
            path.unlink()
            path.symlink_to(Path("..", shared.parent.name, shared.name))
            freed += size
    return freed


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


def main(arguments: Sequence[str]) -> int:
    """Prune the interpreter's own site-packages; ``arguments`` may name the program patchelf."""
    site_packages = Path(sysconfig.get_path("purelib"))
    freed = remove(unneeded(site_packages)) + replace_blis(site_packages) + share_libraries(site_packages)
    if arguments:
        freed += share_openblas(site_packages, arguments[0])
    freed += sum(strip_library(path) for path in site_packages.rglob("*.so*") if path.is_file())
    print(f"removed {freed / 1e6:.0f} MB that the image does not read")  # noqa: T201 - a command's output
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
