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
from topic_model.bags import Int32Array, pointers
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


def known_bags(batch: pa.RecordBatch, vocabulary: pa.Array, file: Path) -> tuple[IntArray, Int32Array, Int32Array]:
    """The bags of some campaigns as compressed sparse rows of the vocabulary's terms, ids ascending in each.

    ``batch`` has ``campaign_id``, ``terms`` and ``term_counts``; ``vocabulary`` holds large strings.

    Raises:
        CorpusError: terms and counts do not fit, a term is null or stands twice, or a count is below 1.
    """
    terms, counts = batch["terms"], batch["term_counts"]
    lengths = list_lengths(terms)
    if (lengths != list_lengths(counts)).any():
        raise wrong_prepared(file, "a campaign has other numbers of terms and of term_counts")
    flat_counts = counts.flatten()
    if flat_counts.null_count or (len(flat_counts) and pc.min(flat_counts).as_py() < 1):
        raise wrong_prepared(file, f"a term_count is {pc.min(flat_counts).as_py()} or null, expected 1 or more")
    encoded = terms_of(batch, file).dictionary_encode()
    known_ids = pc.index_in(encoded.dictionary.cast(pa.large_string()), value_set=vocabulary)
    ids = pc.fill_null(known_ids, -1).to_numpy()[encoded.indices.to_numpy()].astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    known = ids >= 0
    # One key a campaign and term: sorting it brings campaigns and, in a campaign, terms into order.
    keys = rows[known] * len(vocabulary) + ids[known]
    order = np.argsort(keys)
    keys = keys[order]
    if (twice := np.flatnonzero(np.diff(keys) == 0)).size:
        row, term = divmod(int(keys[twice[0]]), len(vocabulary))
        campaign = batch["campaign_id"][row].as_py()
        raise wrong_prepared(file, f"campaign {campaign!r} has {vocabulary[term].as_py()!r} twice")
    return (
        pointers(np.bincount(rows[known], minlength=len(lengths))),
        (keys % len(vocabulary)).astype(np.int32),
        flat_counts.to_numpy()[known][order].astype(np.int32),
    )


def terms_of(batch: pa.RecordBatch, file: Path) -> pa.Array:
    """The terms of some campaigns behind each other.

    Raises:
        CorpusError: one is null.
    """
    terms = batch["terms"].flatten()
    if terms.null_count:
        raise wrong_prepared(file, "a term is null")
    return terms


def wrong_prepared(file: Path, mistake: str) -> CorpusError:
    """The error that a prepared channel is damaged or makes no sense."""
    return CorpusError(f"{file.parent.name}/{file.name}: {mistake}; prepare the channel again")


def list_lengths(lists: pa.Array) -> IntArray:
    """Values of each list; a null has none."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)
