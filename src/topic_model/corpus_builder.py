"""The build-corpus step: prepared channels in, a corpus folder out, in two passes and bounded memory.

The first pass counts the campaigns of each term and collects the campaign ids; the second turns terms into ids and
brings the campaigns into the order of their ids by an external sort, so that the corpus does not depend on the order of
channels or files. What grows with the input is the distinct terms with their frequencies, and some 30 bytes and twice
the id's length a campaign; the bags stay on disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from topic_model.arrays import IntArray
from topic_model.bags import pointers
from topic_model.corpus_writer import corpus_writer, shard_stops
from topic_model.errors import CorpusError, SettingsError
from topic_model.prepared import MERGE_TEXTS, known_bags, list_lengths, prepared_batches, terms_of, wrong_prepared
from topic_model.settings import CorpusSettings, TextSettings
from topic_model.shards import BoolArray, ShardBags, StoredCorpus, read_corpus
from topic_model.vocabulary import Vocabulary

# Entries sorted in memory at a time, some 100 MB with their campaigns' names.
_RUN_ENTRIES = 8_388_608
_RUN_CAMPAIGNS = 262_144


def build_corpus(prepared: Path, out: Path, settings: CorpusSettings) -> StoredCorpus:
    """Write the corpus of all prepared channels under a folder to ``out``.

    Campaigns stand in the order of their ids, so the result does not depend on the order of channels or files.

    Raises:
        CorpusError: no campaigns, no term left, an id in two channels, channels prepared with other text settings, or
            a prepared file that is damaged or makes no sense.
    """
    files = sorted(prepared.glob("**/campaigns.parquet"))
    if not files:
        raise CorpusError(f"no campaigns.parquet under {prepared.name}/; expected one folder a prepared channel")
    text_settings = _common_text_settings(files)
    found = _first_pass(files)
    order = _order_of_ids(found, files)
    n_campaigns = len(order)
    vocabulary_terms = _choose_terms(found.terms, found.frequencies, n_campaigns, settings)
    vocabulary = Vocabulary.of(vocabulary_terms.to_pylist())
    stops = shard_stops(found.lengths[order])
    held_out = _split(n_campaigns, settings)
    rank = np.empty(n_campaigns, dtype=np.int64)
    rank[order] = np.arange(n_campaigns)
    del found, order
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=out, prefix=".sorting-") as scratch,
        corpus_writer(out, vocabulary, text_settings, settings) as writer,
    ):
        runs = _sorted_runs(files, rank, stops, vocabulary_terms, Path(scratch))
        for number, stop in enumerate(stops):
            shard = pa.concat_tables([run.shard(number) for run in runs]).sort_by("rank").combine_chunks()
            start = stops[number - 1] if number else 0
            writer.add(_bags(shard, held_out[start:stop]), shard["campaign_id"], shard["channel"], shard["name"])
        if writer.n_training < 2:
            raise CorpusError(
                f"{writer.n_training} campaigns have a term to train on, expected at least 2; "
                f"give more campaigns or lower min_df={settings.min_df}"
            )
    return read_corpus(out)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the first pass saw: ids and number of terms a campaign in the order of the files, and terms with df."""

    ids: pa.ChunkedArray
    lengths: IntArray
    rows_of_files: list[int]
    terms: pa.Array
    frequencies: IntArray


def _first_pass(files: Sequence[Path]) -> _Found:
    ids: list[pa.Array] = []
    lengths = [np.zeros(0, dtype=np.int64)]
    rows_of_files = []
    frequencies = _Frequencies()
    for file in files:
        rows = 0
        for batch in prepared_batches(file, ["campaign_id", "terms"]):
            if batch["campaign_id"].null_count:
                raise wrong_prepared(file, "a campaign has no campaign_id")
            rows += batch.num_rows
            ids.append(batch["campaign_id"].cast(pa.large_string()))
            lengths.append(list_lengths(batch["terms"]))
            frequencies.add(terms_of(batch, file))
        rows_of_files.append(rows)
    if not ids:
        raise CorpusError("the prepared channels hold no campaign; see rejected.jsonl of each channel for the reasons")
    terms, numbers = frequencies.merged()
    n_campaigns = sum(rows_of_files)
    if not len(terms):
        raise CorpusError(
            f"none of {n_campaigns} campaigns has a term; expected keywords or search terms with words, see "
            "campaigns_without_terms in each channel's quality.json"
        )
    return _Found(pa.chunked_array(ids), np.concatenate(lengths), rows_of_files, terms, numbers)


class _Frequencies:
    """Campaigns of each term, merged whenever as many wait as are known: memory stays in proportion to the terms."""

    def __init__(self) -> None:
        self._terms = [pa.array([], pa.large_string())]
        self._numbers = [np.zeros(0, dtype=np.int64)]
        self._known = self._waiting = 0

    def add(self, terms: pa.Array) -> None:
        """The terms of some campaigns; each campaign has a term once."""
        encoded = terms.dictionary_encode()
        self._terms.append(encoded.dictionary.cast(pa.large_string()))
        self._numbers.append(np.bincount(np.asarray(encoded.indices), minlength=len(encoded.dictionary)))
        self._waiting += len(encoded.dictionary)
        if self._waiting >= max(MERGE_TEXTS, self._known):
            self.merged()

    def merged(self) -> tuple[pa.Array, IntArray]:
        """All distinct terms with their numbers of campaigns."""
        encoded = pa.concat_arrays(self._terms).dictionary_encode()
        numbers = np.bincount(np.asarray(encoded.indices), np.concatenate(self._numbers), len(encoded.dictionary))
        self._terms, self._numbers = [encoded.dictionary], [numbers.astype(np.int64)]
        self._known, self._waiting = len(numbers), 0
        return self._terms[0], self._numbers[0]


def _order_of_ids(found: _Found, files: Sequence[Path]) -> IntArray:
    """Rows in the order of their campaign ids; an id that stands twice is refused."""
    order = pc.sort_indices(found.ids)
    ids = found.ids.take(order)
    same = pc.equal(ids[1:], ids[:-1]).to_numpy()
    positions = np.asarray(order, dtype=np.int64)
    if same.any():
        channel = np.searchsorted(np.cumsum(found.rows_of_files), positions, side="right")
        shown = ", ".join(
            f"{ids[place + 1].as_py()!r} (in {files[channel[place]].parent.name} and "
            f"{files[channel[place + 1]].parent.name})"
            for place in np.flatnonzero(same)[:5].tolist()
        )
        raise CorpusError(
            f"{same.sum()} campaign ids stand in more than one channel: {shown}; make ids unique, "
            "for instance by putting the channel before the id"
        )
    return positions


def _choose_terms(terms: pa.Array, frequency: IntArray, n_campaigns: int, settings: CorpusSettings) -> pa.Array:
    """The kept terms in alphabetical order, so that ids do not depend on the order of campaigns."""
    # A share of a handful of campaigns says nothing: below 20 campaigns no term counts as too common.
    ceiling = settings.max_df * n_campaigns if n_campaigns >= 20 else n_campaigns
    kept = np.flatnonzero((frequency >= settings.min_df) & (frequency <= ceiling))
    if not len(kept):
        raise CorpusError(
            f"none of {len(terms)} terms is in at least min_df={settings.min_df} and at most max_df="
            f"{settings.max_df:g} of {n_campaigns} campaigns; lower min_df, raise max_df or give more campaigns"
        )
    table = pa.table({"term": terms.take(pa.array(kept)), "campaigns": frequency[kept]})
    if len(kept) > settings.max_terms:
        table = table.sort_by([("campaigns", "descending"), ("term", "ascending")]).slice(0, settings.max_terms)
    return table["term"].combine_chunks().sort()


def _split(n_campaigns: int, settings: CorpusSettings) -> BoolArray:
    """A seeded split: exactly round(share * n) campaigns are held out."""
    held_out = np.zeros(n_campaigns, dtype=bool)
    number = round(settings.held_out_share * n_campaigns)
    held_out[np.random.RandomState(settings.seed).permutation(n_campaigns)[:number]] = True
    return held_out


@dataclass(frozen=True, slots=True)
class _Run:
    """A sorted piece of the corpus on disk: a record batch a shard."""

    path: Path

    def shard(self, number: int) -> pa.Table:
        """The piece's campaigns of one shard."""
        # Not memory-mapped: mapped pages would count as this process's memory.
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_file(source) as batches:
            return pa.Table.from_batches([batches.get_batch(number)])


def _sorted_runs(
    files: Sequence[Path], rank: IntArray, stops: Sequence[int], vocabulary: pa.Array, scratch: Path
) -> list[_Run]:
    """All campaigns as sorted runs, to be merged a shard at a time: an external sort by ``rank``."""
    runs: list[_Run] = []
    waiting: list[pa.Table] = []
    campaigns = entries = first = 0
    for file in files:
        for batch in prepared_batches(file, ["campaign_id", "channel", "name", "terms", "term_counts"]):
            table = _encoded(batch, rank[first : first + batch.num_rows], vocabulary, file)
            waiting.append(table)
            first += batch.num_rows
            campaigns += batch.num_rows
            entries += int(list_lengths(table["ids"].combine_chunks()).sum())
            if entries >= _RUN_ENTRIES or campaigns >= _RUN_CAMPAIGNS:
                runs.append(_write_run(waiting, stops, scratch / f"{len(runs)}.arrow"))
                waiting, campaigns, entries = [], 0, 0
    if waiting:
        runs.append(_write_run(waiting, stops, scratch / f"{len(runs)}.arrow"))
    return runs


def _write_run(tables: list[pa.Table], stops: Sequence[int], path: Path) -> _Run:
    table = pa.concat_tables(tables).sort_by("rank").combine_chunks()
    ends = np.searchsorted(table["rank"].to_numpy(), stops).tolist()
    empty = pa.RecordBatch.from_pylist([], schema=table.schema)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            piece = table.slice(start, stop - start).combine_chunks().to_batches()
            writer.write_batch(piece[0] if piece else empty)
    return _Run(path)


def _encoded(batch: pa.RecordBatch, rank: IntArray, vocabulary: pa.Array, file: Path) -> pa.Table:
    """Campaigns with their known terms as ids, ascending in a campaign."""
    indptr, ids, counts = known_bags(batch, vocabulary, file)
    offsets = pa.array(indptr, pa.int32())
    return pa.table(
        {
            "rank": rank,
            "campaign_id": batch["campaign_id"],
            "channel": batch["channel"],
            "name": batch["name"],
            "ids": pa.ListArray.from_arrays(offsets, ids),
            "counts": pa.ListArray.from_arrays(offsets, counts),
        }
    )


def _bags(shard: pa.Table, held_out: BoolArray) -> ShardBags:
    ids, counts = (shard[name].combine_chunks() for name in ("ids", "counts"))
    return ShardBags(pointers(list_lengths(ids)), ids.flatten().to_numpy(), counts.flatten().to_numpy(), held_out)


def _common_text_settings(files: list[Path]) -> TextSettings:
    """The one set of text settings all channels were prepared with."""
    found = {}
    for file in files:
        quality = file.with_name("quality.json")
        try:
            found[file.parent.name] = TextSettings.from_mapping(orjson.loads(quality.read_bytes())["text_settings"])
        except (OSError, KeyError, TypeError, SettingsError, orjson.JSONDecodeError) as error:
            message = f"{file.parent.name}/quality.json is missing or damaged; prepare the channel again"
            raise CorpusError(message) from error
    if len(set(found.values())) > 1:
        raise CorpusError(f"channels {sorted(found)} were prepared with different text settings; prepare all with one")
    return next(iter(found.values()))
