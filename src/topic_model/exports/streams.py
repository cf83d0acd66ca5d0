"""Opening exports and reading their lines in bounded memory."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, AnyStr

from topic_model.errors import ExportError
from topic_model.exports.layouts import HEAD_BYTES, Layout

__all__ = ["MAX_LINE_LENGTH", "bounded_lines", "open_bytes", "open_text", "read_head", "reading"]

#: Bytes (characters in tables) of one line; 100,000 keywords with figures take some 15 MB. A longer line is rejected.
MAX_LINE_LENGTH = 32 * 1024 * 1024


def read_head(path: Path) -> bytes:
    """The first bytes of a file, as many as ``sniff`` wants."""
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what goes wrong while reading a file into an ExportError that names it."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ExportError(f"{name} is truncated or damaged gzip ({error}); compress or transfer it again") from error
    except OSError as error:
        raise ExportError(f"cannot read {name}: {error.strerror or error}") from error


def open_bytes(path: Path, layout: Layout) -> IO[bytes]:
    """The file's bytes, unpacked."""
    if layout.gzipped:
        return io.BufferedReader(gzip.open(path, "rb"), 1 << 20)
    return path.open("rb")


def open_text(path: Path, layout: Layout) -> IO[str]:
    """The file's text; a byte that the encoding does not know becomes a character that the table reader looks for."""
    errors = "surrogateescape" if layout.encoding.startswith("utf-8") else "replace"
    return io.TextIOWrapper(open_bytes(path, layout), encoding=layout.encoding, errors=errors, newline="\n")


def bounded_lines(stream: IO[AnyStr], *, limit: int = MAX_LINE_LENGTH) -> Iterator[tuple[int, AnyStr | None]]:
    """Line numbers from 1 and lines with their end; None stands for a line over ``limit``, never held in memory."""
    number = 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) <= limit:
            yield number, line
            continue
        newline = "\n" if isinstance(line, str) else b"\n"
        while line and not line.endswith(newline):
            line = stream.readline(limit)
        yield number, None
