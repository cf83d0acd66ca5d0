"""``@kernel``: functions compiled once, at import, for every process that comes after.

Numba's own ``cache=True`` refuses a folder it cannot write to, even where everything is in it already, fails on a file
that was cut, and looks for changes in one source file only. Here a kernel's machine code is a file of its own, named by
all it was made of: the sources of its package, its signature, the versions of numba and LLVM, the processor. It is
written whole or not at all and checked by its hash before it is read, so processes that compile at once, a full disk,
a read-only file system and a user without a home cost time at worst.

The code is made for a stated processor (:data:`PORTABLE`) wherever the machine has at least that: what one machine
compiled serves another, an image's code serves every host, and equal input gives equal bits on all of them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding as llvm  # type: ignore[import-untyped]
from numba.core import compiler, types
from numba.core import config as numba_config
from numba.core import serialize as numba_serialize

Function = Callable[..., Any]
# numba's package has no types for these.
config: Any = numba_config
serialize: Any = numba_serialize
CompileResult: Any = compiler.CompileResult

#: The processor that kernels are compiled for, and what a machine must have to run that. Every x86-64 server since 2015
#: has; on other machines LLVM's generic processor stands for it.
PORTABLE = "x86-64-v3"
_PORTABLE_NEEDS = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")

#: What the kernels may assume of arithmetic: no NaN, no infinity, sums in any order. Their callers check for both, and
#: the order is fixed when they are compiled.
FAST_MATH = {"nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc"}


def kernel(*signatures: Any, **options: Any) -> Callable[[Function], Function]:
    """Compile a function to machine code for each signature, now, or load it.

    Without a signature it is only compiled into the kernels that call it. ``options`` are those of :func:`numba.njit`.
    """
    # Into each of its callers, whole. One that is called instead is linked to whichever copy the process met first: the
    # caller's where machine code was loaded, its own where this process compiled it, with sums in another order.
    inlined: dict[str, Any] = {} if signatures else {"forceinline": True}

    def compile_now(function: Function) -> Function:
        compiled: Any = numba.njit(**inlined, **options)(function)
        if config.DISABLE_JIT:
            return function
        if signatures:
            compiled._cache = _KernelCache(function)
            for signature in signatures:
                compiled.compile(signature)
            compiled.disable_compile()
        function_compiled: Function = compiled
        return function_compiled

    return compile_now


def array(dtype: Any, ndim: int, *, writable: bool = False) -> types.Array:
    """The type of a C-contiguous array argument; one that is not ``writable`` may be memory-mapped, too."""
    return types.Array(dtype, ndim, "C", readonly=not writable)


class _KernelCache:
    """What numba asks for machine code before it compiles, and gives it to after."""

    def __init__(self, function: Function) -> None:
        source = Path(function.__code__.co_filename)
        self._function = f"{source.stem}.{function.__qualname__}"
        self._sources = _sources_hash(source.parent)
        self._folders = tuple(cache_folders(source.parent))

    def load_overload(self, signature: Any, target_context: Any) -> Any | None:
        """The compiled function, or None where it must be compiled."""
        target_context.refresh()
        name = self._name(signature, target_context.codegen())
        for folder in self._folders:
            if (content := _read_checked(folder / name)) is not None:
                # numba serialises by pickle; these files are this installation's or this user's own, as .pyc files are.
                return CompileResult._rebuild(target_context, *serialize.loads(content))
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep the compiled function in the first folder that takes it."""
        name = self._name(signature, compiled.codegen)
        content = serialize.dumps(compiled._reduce())
        for folder in self._folders:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                _write_checked(folder / name, content)
                self._remove_stale(folder)
                return

    def _name(self, signature: Any, codegen: Any) -> str:
        versions = (numba.__version__, llvm.llvm_version_info)
        made_of = (self._sources, str(signature), codegen.magic_tuple(), *versions)
        digest = hashlib.sha256(repr(made_of).encode()).hexdigest()
        return f"{self._function}.{_generation(self._sources)}{digest[:16]}.kernel"

    def _remove_stale(self, folder: Path) -> None:
        """Remove what this Python made of other sources: nothing will ask for it again."""
        for path in folder.glob(f"*.{_generation('')[:-1]}*.kernel"):
            if _generation(self._sources) not in path.name:
                path.unlink(missing_ok=True)


def _generation(sources: str) -> str:
    return f"{sys.implementation.cache_tag}-{sources[:8]}-"


def cache_folders(package: Path) -> Iterator[Path]:
    """Where a package's kernels may be kept, the best place first.

    Beside the sources, as Python keeps its own bytecode; where nobody may write there, in the user's cache folder.
    """
    yield package / "__pycache__"
    with suppress(RuntimeError):  # nobody's home
        cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        if cache_home.is_absolute():
            yield cache_home / "topic-model" / hashlib.sha256(str(package).encode()).hexdigest()[:16]


@cache
def _sources_hash(package: Path) -> str:
    """SHA-256 over the package's modules: a kernel is made of those that it calls, too."""
    digest = hashlib.sha256()
    for path in sorted(package.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _write_checked(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(temporary).chmod(0o644)  # as Python's own bytecode: another user may run what root installed
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read_checked(path: Path) -> bytes | None:
    """A file's content, or None where it is missing, unreadable, cut or changed."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest_size = hashlib.sha256().digest_size
    return content[digest_size:] if hashlib.sha256(content[digest_size:]).digest() == content[:digest_size] else None


def _choose_processor() -> None:
    """Compile for the portable processor, unless numba was told another or is at work already."""
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        return
    if platform.machine() in ("x86_64", "AMD64"):
        features = llvm.get_host_cpu_features()
        if not all(features.get(name) for name in _PORTABLE_NEEDS):
            return
        config.CPU_NAME = PORTABLE
    else:
        config.CPU_NAME = "generic"
    config.CPU_FEATURES = ""  # those of the processor named


_choose_processor()
