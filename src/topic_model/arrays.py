"""Types of the arrays, files written whole or not at all, and content hashes."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import scipy.sparse as sp

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

JSON_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path that becomes ``path`` when the block succeeds, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, document: Any) -> None:
    """Write indented JSON with sorted keys, whole or not at all."""
    write_bytes(path, orjson.dumps(document, option=JSON_OPTIONS))


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write one ``.npy`` file, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_of(*parts: bytes | npt.NDArray[Any]) -> str:
    """Hexadecimal SHA-256 over parts, each preceded by its length so that no two sequences collide."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def joined_ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """The integers of several ranges, one behind the other: where the entries of some compressed sparse rows stand."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)


def csr(weights: npt.ArrayLike, indices: npt.ArrayLike, indptr: npt.ArrayLike, n_columns: int) -> Any:
    """A compressed-sparse-row matrix from its three arrays."""
    pointers = np.asarray(indptr)
    return sp.csr_matrix((np.asarray(weights), np.asarray(indices), pointers), shape=(len(pointers) - 1, n_columns))
