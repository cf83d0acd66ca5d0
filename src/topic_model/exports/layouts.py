"""What kind of export a file is, told from its first bytes and its name.

Standard library only (no pyarrow, spaCy or orjson): a Lambda function checks every file of a request with
:func:`sniff` on the first 64 KiB, in seconds, before any job starts.
"""

from __future__ import annotations

import codecs
import csv
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from topic_model.errors import ExportError
from topic_model.exports.columns import EXPECTED_COLUMNS, roles_of

__all__ = ["HEAD_BYTES", "Layout", "is_export_name", "sniff"]

#: Bytes of a file that :func:`sniff` wants to see (fewer where the file is shorter).
HEAD_BYTES = 64 * 1024

_MAX_UNPACKED_HEAD = 1 << 20
_MAX_PREAMBLE_LINES = 50
_JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
_DELIMITERS = (",", "\t", ";")
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read one export.

    ``encoding`` is a Python codec name. For a table, ``header`` is its header row, ``header_line`` that row's number in
    the file (from 1), ``roles`` the position of each known column by role, and ``statuses`` the positions of columns
    that may say "negative".
    """

    kind: Literal["jsonl", "parquet", "table"]
    platform: Literal["canonical", "google_ads", "microsoft_advertising"]
    report: Literal["campaigns", "keywords", "search_terms", "negative_keywords"]
    gzipped: bool = False
    encoding: str = "utf-8"
    delimiter: str = ","
    header_line: int = 0
    header: tuple[str, ...] = ()
    roles: Mapping[str, int] = field(default_factory=dict)
    statuses: tuple[int, ...] = ()


def is_export_name(name: str) -> bool:
    """Whether a file of this name is meant to be read: not hidden, and no marker such as ``_SUCCESS``."""
    return not PurePosixPath(name).name.startswith((".", "_"))


def sniff(head: bytes, filename: str) -> Layout:
    """The layout of an export from its first bytes (see ``HEAD_BYTES``) and its name.

    Raises:
        ExportError: empty, damaged, not an export, or without the needed columns; the message names the file, the
            columns found and those expected.
    """
    if not head:
        raise ExportError(f"{filename} is empty; export it again or remove it")
    suffixes = [suffix.lower() for suffix in PurePosixPath(filename).suffixes]
    gzipped = head.startswith(b"\x1f\x8b")
    if gzipped:
        head = _unpacked(head, filename)
    elif suffixes[-1:] == [".gz"]:
        raise ExportError(f"{filename} is named .gz but is not gzip; compress it with gzip or rename it")
    suffix = next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")
    if head.startswith(b"PAR1"):
        if gzipped:
            raise ExportError(f"{filename} is a gzipped Parquet file; Parquet compresses itself: provide it as it is")
        return Layout("parquet", "canonical", "campaigns")
    if suffix == ".parquet":
        raise ExportError(f"{filename} is named .parquet but does not start as a Parquet file; export it again")
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")):
        raise ExportError(f"{filename} is a spreadsheet, archive or PDF; expected CSV, JSON Lines or Parquet")
    encoding = _encoding(head)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    if suffix in _JSON_SUFFIXES or text.lstrip().startswith("{"):
        return _sniff_json(text, encoding, filename, gzipped=gzipped)
    return _sniff_table(text, encoding, filename, gzipped=gzipped)


def _unpacked(head: bytes, filename: str) -> bytes:
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(head, _MAX_UNPACKED_HEAD)
    except zlib.error as error:
        raise ExportError(f"{filename} is damaged gzip ({error}); compress or transfer it again") from error
    if not unpacked:
        raise ExportError(f"{filename} is an empty or truncated gzip file; compress or transfer it again")
    return unpacked


def _encoding(head: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    # English text in UTF-16 without a mark has a zero in every second byte.
    sample = head[: 4096 - len(head) % 2]
    if sample and sample[1::2].count(0) > len(sample) // 5:
        return "utf-16-le"
    if sample and sample[0::2].count(0) > len(sample) // 5:
        return "utf-16-be"
    return "utf-8"


def _sniff_json(text: str, encoding: str, filename: str, *, gzipped: bool) -> Layout:
    if not encoding.startswith("utf-8"):
        raise ExportError(f"{filename} is JSON in {encoding.upper()}; expected UTF-8")
    if text.lstrip().startswith("["):
        raise ExportError(f"{filename} is a JSON array; expected JSON Lines: one campaign object a line")
    found: list[str] = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            if "campaign_id" in record:
                found = []
                break
            found = found or sorted(map(str, record))
    if found:
        raise ExportError(
            f"{filename} has no 'campaign_id' in its records; found the fields {_listed(found)}; expected campaign_id, "
            "client_id, channel, name, keywords, search_terms, negative_keywords (only campaign_id is required)"
        )
    return Layout("jsonl", "canonical", "campaigns", gzipped, encoding)


def _sniff_table(text: str, encoding: str, filename: str, *, gzipped: bool) -> Layout:
    lines = [line.rstrip("\r") for line in text.split("\n", _MAX_PREAMBLE_LINES)[:_MAX_PREAMBLE_LINES]]
    widest: list[str] = []
    for number, line in enumerate(lines, start=1):
        for delimiter in _DELIMITERS:
            try:
                cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
            except csv.Error:
                continue
            columns = roles_of(cells)
            if columns is None:
                widest = cells if len(cells) > len(widest) else widest
                continue
            roles, statuses = columns
            report = next(role for role in ("search_term", "negative_keyword", "keyword") if role in roles)
            microsoft = "spend" in (cell.casefold() for cell in cells) or any(
                cell in ("CampaignName", "CampaignId") for cell in cells
            )
            return Layout(
                "table",
                "microsoft_advertising"
                if microsoft or lines[0].strip('"').startswith("Report Name:")
                else "google_ads",
                _REPORT_OF_ROLE[report],
                gzipped,
                encoding,
                delimiter,
                number,
                tuple(cells),
                roles,
                statuses,
            )
    raise ExportError(
        f"{filename} is no keyword or search-terms report: found the columns {_listed(widest)}; "
        f"expected {EXPECTED_COLUMNS} in the first {_MAX_PREAMBLE_LINES} lines"
    )


_REPORT_OF_ROLE: Mapping[str, Literal["keywords", "search_terms", "negative_keywords"]] = {
    "keyword": "keywords",
    "search_term": "search_terms",
    "negative_keyword": "negative_keywords",
}


def _listed(names: list[str]) -> str:
    shown = [repr(name[:40]) for name in names[:20] if name]
    return "[" + ", ".join(shown) + (", …]" if len(names) > 20 else "]")
