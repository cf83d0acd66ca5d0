"""The list of lines and campaigns left out, with file, line and reason; nothing is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from topic_model.errors import ExportError

__all__ = ["RejectedLog"]

_EXAMPLES = 3
_MAX_REASON_LENGTH = 500


class RejectedLog:
    """Writes ``{"file", "line", "reason", "campaign_id"}`` a line and counts what was read.

    A context manager; with ``path`` None it only counts. ``lines`` are the records offered (a table's rows without
    its preamble, totals and footer), ``rejected_lines`` those of them left out, ``skipped_lines`` totals and footers,
    ``texts_over_cap`` keywords beyond ``max_texts`` that a reader left out of ``campaigns_over_cap`` campaigns,
    ``files`` files read.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.files = 0
        self.lines = 0
        self.rejected_lines = 0
        self.skipped_lines = 0
        self.texts_over_cap = 0
        self.campaigns_over_cap = 0
        self.examples: list[str] = []
        self._stream = None if path is None else _opened(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush and close the file."""
        if self._stream is not None:
            self._stream.close()

    def add(self, file: str, line: int, reason: str, campaign_id: str | None = None) -> None:
        """List one rejection; ``line`` counts from 1 (the row, in Parquet)."""
        self.rejected_lines += 1
        reason = reason[:_MAX_REASON_LENGTH]
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{file} line {line}: {reason}")
        if self._stream is not None:
            # ASCII escapes carry whatever a damaged line holds, lone surrogates included.
            record = {"file": file, "line": line, "reason": reason, "campaign_id": campaign_id}
            self._stream.write(json.dumps(record) + "\n")

    @property
    def rejected_share(self) -> float:
        """Rejected lines over lines, in [0, 1]; 0 where nothing was read."""
        return self.rejected_lines / self.lines if self.lines else 0.0


def _opened(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="ascii")
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}") from error
