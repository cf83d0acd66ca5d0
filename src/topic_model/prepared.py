"""Reading prepared channels: a batch of campaigns at a time, or some columns whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from topic_model.arrays import IntArray
from topic_model.errors import CorpusError

# Campaigns decoded at a time; a row group of prepare's bounds them by their phrases as well.
BATCH_CAMPAIGNS = 16_384
# Distinct texts of batches that wait to be merged, at least.
MERGE_TEXTS = 1_048_576


def prepared_batches(file: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a prepared channel, a piece of a row group at a time: memory does not grow with the file.

    Raises:
        CorpusError: the file is damaged or lacks a column.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            _check_columns(file, columns, parquet.schema_arrow.names)
            for group in range(parquet.num_row_groups):
                yield from parquet.iter_batches(BATCH_CAMPAIGNS, [group], columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise wrong_prepared(file, f"it cannot be read ({error})") from error


def read_prepared(files: Sequence[Path], columns: list[str]) -> Any:
    """Columns of prepared channels as one Arrow table, a row a campaign, in the order of the files.

    Raises:
        CorpusError: a file is damaged or lacks a column.
    """
    tables = []
    for file in files:
        try:
            tables.append(pq.read_table(file, columns=columns))
        except (OSError, pa.ArrowException) as error:
            raise wrong_prepared(file, f"it cannot be read ({error})") from error
        _check_columns(file, columns, tables[-1].column_names)
    return pa.concat_tables(tables).combine_chunks()


def _check_columns(file: Path, columns: list[str], found: list[str]) -> None:
    if missing := set(columns) - set(found):
        raise wrong_prepared(file, f"it has no column {sorted(missing)[0]!r}")


def wrong_prepared(file: Path, mistake: str) -> CorpusError:
    """The error that a prepared channel is damaged or makes no sense."""
    return CorpusError(f"{file.parent.name}/{file.name}: {mistake}; prepare the channel again")


def list_lengths(lists: pa.Array) -> IntArray:
    """Values of each list; a null has none."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)
