"""Reader of the platforms' reports: a table with a title above it and totals below."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from topic_model.campaigns import MAX_ID_LENGTH, MAX_NAME_LENGTH
from topic_model.exports.columns import is_absent, is_footer, is_negative, is_total, match_type_of, parse_figure
from topic_model.exports.grouping import KEYWORD, NEGATIVE, SEARCH_TERM, RowStore
from topic_model.exports.layouts import Layout
from topic_model.exports.rejected import RejectedLog
from topic_model.exports.streams import MAX_LINE_LENGTH, bounded_lines, open_text

__all__ = ["read_table"]

_FIGURES = ("clicks", "impressions", "cost", "conversions")
_NAN = float("nan")
# A quoted cell may hold line breaks (a note, a label), but hardly more than these; past it, the quote was never closed.
_MAX_ROW_LINES = 20
_DAMAGED = re.compile("[\ud800-\udfff\ufffd]")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_ROUNDED_ID = re.compile(r"\d(?:\.\d+)?[eE]\+\d+")


class _RowError(ValueError):
    """A row cannot be used; the message says why."""


def read_table(
    path: Path, name: str, layout: Layout, rejected: RejectedLog, store: RowStore, *, max_text_length: int
) -> None:
    """Put a report's rows into ``store``; rows that cannot be used are listed, totals and footers skipped."""
    # Python's limit is meant for untrusted quotes; the length of a line is bounded before csv sees it.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_LENGTH))
    parser = _RowParser(layout, max_text_length)
    width = len(layout.header)
    with open_text(path, layout) as stream:
        for number, cells in _rows(islice(bounded_lines(stream), layout.header_line, None), layout.delimiter, width):
            if isinstance(cells, str):
                rejected.lines += 1
                rejected.add(name, number, cells)
                continue
            if not any(cells):
                continue
            if parser.is_beside_the_point(cells):
                rejected.skipped_lines += 1
                continue
            rejected.lines += 1
            try:
                parser.store_row(cells, store, name, number)
            except ValueError as error:
                rejected.add(name, number, str(error), parser.campaign_id_of(cells))


def _rows(lines: Iterator[tuple[int, str | None]], delimiter: str, width: int) -> Iterator[tuple[int, list[str] | str]]:
    """Line numbers and cells; a text instead of cells says why the line is none."""
    waiting: deque[tuple[int, str | None]] = deque()
    while True:
        if waiting:
            number, line = waiting.popleft()
        else:
            try:
                number, line = next(lines)
            except StopIteration:
                return
        if line is None:
            yield number, f"the line has over {MAX_LINE_LENGTH:,} characters"
        elif '"' not in line:
            yield number, line.rstrip("\r\n").split(delimiter)
        elif line.count('"') % 2 == 0:
            yield number, _cells(line, delimiter) or "the quotes do not fit"
        else:
            joined = _joined(line, waiting, lines, delimiter, width)
            yield number, joined if joined is not None else "a quote is opened and not closed"


def _cells(row: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader((row,), delimiter=delimiter), None)
    except csv.Error:
        return None


def _joined(
    line: str,
    waiting: deque[tuple[int, str | None]],
    lines: Iterator[tuple[int, str | None]],
    delimiter: str,
    width: int,
) -> list[str] | None:
    """The cells of a row that goes on in the next lines, or None if it does not; lines not used go to ``waiting``."""
    while len(waiting) < _MAX_ROW_LINES and (following := next(lines, None)) is not None:
        waiting.append(following)
    text = line
    length = len(line)
    for used, (_, part) in enumerate(waiting, start=1):
        length += len(part or "")
        if part is None or length > MAX_LINE_LENGTH:
            return None
        text += part
        if part.count('"') % 2:
            cells = _cells(text, delimiter)
            if cells is None or len(cells) != width:
                return None
            for _ in range(used):
                waiting.popleft()
            return cells
    return None


class _RowParser:
    """One layout's way from cells to a row of the store."""

    def __init__(self, layout: Layout, max_text_length: int) -> None:
        roles = layout.roles
        self._width = len(layout.header)
        self._campaign_id = roles.get("campaign_id")
        self._campaign = roles.get("campaign")
        self._client = roles.get("client")
        self._match_type = roles.get("match_type")
        self._figures = tuple(roles.get(name) for name in _FIGURES)
        self._header = layout.header
        self._statuses = layout.statuses
        self._kind, self._text = next(
            (kind, roles[role])
            for kind, role in ((SEARCH_TERM, "search_term"), (NEGATIVE, "negative_keyword"), (KEYWORD, "keyword"))
            if role in roles
        )
        # One character more than is kept, so that the next step sees, and counts, that the text was cut.
        self._max_text = max_text_length + 1
        self._negative: dict[str, bool] = {}
        self._match_types: dict[str, str | None] = {}

    def is_beside_the_point(self, cells: list[str]) -> bool:
        """Whether the row is a total or the copyright line: no campaign, and a label."""
        if is_footer(cells[0]):
            return True
        campaign = self._cell(cells, self._campaign) or self._cell(cells, self._campaign_id)
        if campaign is not None and not (is_total(campaign) and self._cell(cells, self._text) is None):
            return False
        return any(is_total(cell) for cell in cells)

    def campaign_id_of(self, cells: list[str]) -> str | None:
        """What the row says its campaign is, for the list of rejections."""
        text = self._cell(cells, self._campaign_id) or self._cell(cells, self._campaign)
        return None if text is None else text[:MAX_ID_LENGTH]

    def store_row(self, cells: list[str], store: RowStore, file: str, line: int) -> None:
        """Check the row and store it.

        Raises:
            ValueError: the row cannot be used.
        """
        if len(cells) != self._width and (len(cells) < self._width or any(cells[self._width :])):
            raise _RowError(f"the row has {len(cells)} cells; the header has {self._width}")
        text = cells[self._text].strip()
        if is_absent(text):
            raise _RowError(f"no text in column {self._header[self._text]!r}")
        campaign_id = self._identity(cells, self._campaign_id, MAX_ID_LENGTH)
        name = self._identity(cells, self._campaign, MAX_NAME_LENGTH if campaign_id else MAX_ID_LENGTH)
        if campaign_id is None and name is None:
            raise _RowError("no campaign id and no campaign name")
        if campaign_id is not None and _ROUNDED_ID.fullmatch(campaign_id):
            raise _RowError(f"campaign id {campaign_id!r} was rounded by a spreadsheet; export the report again")
        client = self._identity(cells, self._client, MAX_NAME_LENGTH)
        text = text[: self._max_text]
        if _DAMAGED.search(text) or (name and _DAMAGED.search(name)):
            raise _RowError("the row has bytes that are not in the file's encoding; export it as UTF-8 or UTF-16")
        kind = NEGATIVE if any(self._says_negative(cells[position]) for position in self._statuses) else self._kind
        store.add(
            campaign_id,
            client,
            name,
            kind=kind,
            text=text,
            match_type=self._match_type_in(cells),
            figures=(
                self._figure(cells, 0),
                self._figure(cells, 1),
                self._figure(cells, 2),
                self._figure(cells, 3),
            ),
            file=file,
            line=line,
        )

    def _cell(self, cells: list[str], position: int | None) -> str | None:
        if position is None or position >= len(cells) or is_absent(cells[position]):
            return None
        return cells[position].strip()

    def _identity(self, cells: list[str], position: int | None, max_length: int) -> str | None:
        text = self._cell(cells, position)
        if text is None or position is None:
            return None
        if len(text) > max_length:
            raise _RowError(f"{self._header[position]} has {len(text)} characters; at most {max_length}")
        if _CONTROL.search(text):
            raise _RowError(f"{self._header[position]} is {text[:40]!r}; expected no control characters")
        return text

    def _says_negative(self, cell: str) -> bool:
        known = self._negative.get(cell)
        if known is None:
            known = is_negative(cell)
            # Statuses are a handful; a column of another kind must not fill the memory.
            if len(self._negative) < 1_000:
                self._negative[cell] = known
        return known

    def _match_type_in(self, cells: list[str]) -> str | None:
        if self._match_type is None:
            return None
        cell = cells[self._match_type]
        if cell not in self._match_types:
            if len(self._match_types) >= 1_000:
                return match_type_of(cell)
            self._match_types[cell] = match_type_of(cell)
        return self._match_types[cell]

    def _figure(self, cells: list[str], which: int) -> float:
        position = self._figures[which]
        if position is None:
            return _NAN
        try:
            value = parse_figure(cells[position])
        except ValueError as error:
            raise _RowError(f"{self._header[position]}: {error}") from error
        return _NAN if value is None else value
