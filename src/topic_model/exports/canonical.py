"""Readers of the canonical campaign record: JSON Lines and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from topic_model.campaigns import MAX_ID_LENGTH, Campaign, campaign_from_record, misspelt_field
from topic_model.errors import CampaignError, ExportError
from topic_model.exports.layouts import Layout
from topic_model.exports.rejected import RejectedLog
from topic_model.exports.streams import MAX_LINE_LENGTH, bounded_lines, open_bytes

__all__ = ["read_json_lines", "read_parquet"]

_PARQUET_COLUMNS = ("campaign_id", "client_id", "channel", "name", "keywords", "search_terms", "negative_keywords")
# Rows decoded to Python objects at a time.
_PARQUET_BATCH = 256


def read_json_lines(path: Path, name: str, layout: Layout, rejected: RejectedLog) -> Iterator[tuple[int, Campaign]]:
    """Line numbers and campaigns of a JSON Lines file; lines that are none are listed."""
    with open_bytes(path, layout) as stream:
        for number, line in bounded_lines(stream):
            if line is None:
                rejected.lines += 1
                rejected.add(name, number, f"the line has over {MAX_LINE_LENGTH:,} bytes; split the campaign")
                continue
            content = line.strip()
            if number == 1:
                content = content.removeprefix(b"\xef\xbb\xbf")
            if not content:
                continue
            rejected.lines += 1
            try:
                record = orjson.loads(content)
            except orjson.JSONDecodeError as error:
                rejected.add(name, number, f"no JSON: {error}")
                continue
            campaign = _campaign(record, name, number, rejected)
            if campaign is not None:
                yield number, campaign


def read_parquet(path: Path, name: str, rejected: RejectedLog) -> Iterator[tuple[int, Campaign]]:
    """Row numbers (from 1) and campaigns of a Parquet file, decoded a batch at a time.

    Raises:
        ExportError: damaged, without a ``campaign_id`` column, or with a misspelt one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow.names
            if "campaign_id" not in found:
                raise ExportError(
                    f"{name} has no column 'campaign_id'; found the columns {sorted(found)[:20]}; "
                    f"expected {list(_PARQUET_COLUMNS)} (only campaign_id is required)"
                )
            if misspelt := misspelt_field(found):
                raise ExportError(f"{name} has an unknown column {misspelt[0]!r}; did you mean {misspelt[1]!r}?")
            columns = [column for column in _PARQUET_COLUMNS if column in found]
            number = 0
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH, columns=columns):
                for record in _records(batch):
                    number += 1
                    rejected.lines += 1
                    if isinstance(record, UnicodeDecodeError):
                        rejected.add(name, number, "a text is not UTF-8")
                        continue
                    campaign = _campaign(record, name, number, rejected)
                    if campaign is not None:
                        yield number, campaign
    except pa.ArrowException as error:
        raise ExportError(f"{name} is a damaged Parquet file ({str(error)[:200]}); export it again") from error


def _records(batch: Any) -> Iterator[dict[str, Any] | UnicodeDecodeError]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        # One row's text is damaged: find it, and keep the others.
        for position in range(batch.num_rows):
            try:
                record = batch.slice(position, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield error
            else:
                yield record


def _campaign(record: Any, name: str, number: int, rejected: RejectedLog) -> Campaign | None:
    try:
        return campaign_from_record(record)
    except CampaignError as error:
        given = record.get("campaign_id") if isinstance(record, dict) else None
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        rejected.add(name, number, str(error), given[:MAX_ID_LENGTH] if isinstance(given, str) else None)
        return None
