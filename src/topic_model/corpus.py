"""The corpus: a vocabulary and bags of words as compressed sparse rows, split by seed, named by content hash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from topic_model.arrays import IntArray, csr, hash_of, sha256_of, write_array, write_json, written_whole
from topic_model.bags import BagsInMemory, checked_bags
from topic_model.errors import CorpusError, SettingsError
from topic_model.settings import CorpusSettings, TextSettings

FORMAT_VERSION = 1
FILES = ("campaigns.parquet", "counts.npy", "indices.npy", "indptr.npy", "vocabulary.json")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Terms by id; ``ids`` is the inverse."""

    terms: tuple[str, ...]
    ids: dict[str, int]

    @classmethod
    def of(cls, terms: Sequence[str]) -> Vocabulary:
        """A vocabulary whose ids are positions.

        Raises:
            CorpusError: a term stands twice.
        """
        ids = {term: position for position, term in enumerate(terms)}
        if len(ids) != len(terms):
            raise CorpusError(f"the vocabulary names {len(terms) - len(ids)} terms twice; expected each once")
        return cls(tuple(terms), ids)

    def __len__(self) -> int:
        return len(self.terms)

    @property
    def content_hash(self) -> str:
        """SHA-256 over the terms in order."""
        return hash_of(orjson.dumps(self.terms))

    def bow(self, terms: dict[str, int]) -> tuple[IntArray, IntArray]:
        """Ids and counts of the known terms, by ascending id, so that the order of the text does not matter."""
        known = sorted((self.ids[term], count) for term, count in terms.items() if term in self.ids)
        ids = np.array([term_id for term_id, _ in known], dtype=np.int64)
        return ids, np.array([count for _, count in known], dtype=np.int64)


@dataclass(frozen=True)
class Corpus:
    """Bags of words of shape (n_campaigns, n_terms) as compressed sparse rows, with the campaigns' names and split."""

    vocabulary: Vocabulary
    indptr: IntArray
    indices: IntArray
    counts: IntArray
    campaign_ids: tuple[str, ...]
    held_out: Any  # boolean array of shape (n_campaigns,)
    text_settings: TextSettings
    settings: CorpusSettings

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over vocabulary, bags, split and text settings: two corpora with one hash train one model."""
        return hash_of(
            self.vocabulary.content_hash.encode(),
            self.indptr,
            self.indices,
            self.counts,
            self.held_out,
            orjson.dumps(self.text_settings.model_dump(), option=orjson.OPT_SORT_KEYS),
        )

    def matrix(self, rows: Any = None) -> Any:
        """Counts as a SciPy CSR matrix of float64; ``rows`` (ids or mask) selects campaigns."""
        matrix = csr(self.counts.astype(np.float64), self.indices, self.indptr, len(self.vocabulary))
        return matrix if rows is None else matrix[rows]

    def bows(self, rows: IntArray) -> Iterator[list[tuple[int, int]]]:
        """The bags of some campaigns as Gensim takes them."""
        for row in rows:
            start, stop = self.indptr[row], self.indptr[row + 1]
            yield list(zip(self.indices[start:stop].tolist(), self.counts[start:stop].tolist(), strict=True))

    @cached_property
    def training_bags(self) -> BagsInMemory:
        """The bags of :attr:`training_rows`, as algorithms take them."""
        return self._bags(self.training_rows)

    @cached_property
    def held_out_bags(self) -> BagsInMemory:
        """The bags of :attr:`held_out_rows`."""
        return self._bags(self.held_out_rows)

    def _bags(self, rows: IntArray) -> BagsInMemory:
        bags = checked_bags(self.indptr, self.indices, self.counts, len(self.vocabulary))
        return BagsInMemory(bags.rows(rows), len(self.vocabulary), self.content_hash)

    @property
    def training_rows(self) -> IntArray:
        """Campaigns to train on: not held out and with a known term."""
        return np.flatnonzero(~self.held_out & (np.diff(self.indptr) > 0)).astype(np.int64)

    @property
    def held_out_rows(self) -> IntArray:
        """Held-out campaigns with a known term."""
        return np.flatnonzero(self.held_out & (np.diff(self.indptr) > 0)).astype(np.int64)


def build_corpus(prepared: Path, settings: CorpusSettings) -> tuple[Corpus, list[str | None], list[str | None]]:
    """The corpus of all prepared channels under a folder, with each campaign's channel and name.

    Campaigns stand in the order of their ids, so the result does not depend on the order of channels or files.

    Raises:
        CorpusError: no campaigns, no term left, an id in two channels, or channels prepared with other text settings.
    """
    files = sorted(prepared.glob("**/campaigns.parquet"))
    if not files:
        raise CorpusError(f"no campaigns.parquet under {prepared.name}/; expected one folder a prepared channel")
    text_settings = _common_text_settings(files)
    table = read_prepared(files, ["campaign_id", "channel", "name", "terms", "term_counts"])
    if table.num_rows == 0:
        raise CorpusError("the prepared channels hold no campaign; see rejected.jsonl of each channel for the reasons")
    table = table.take(pc.sort_indices(table["campaign_id"]))
    ids = table["campaign_id"].to_pylist()
    _refuse_duplicates(ids, table["channel"].to_pylist())

    lists = table["terms"].combine_chunks()
    if not len(lists.flatten()):
        raise CorpusError(
            f"none of {len(ids)} campaigns has a term; expected keywords or search terms with words, see "
            "campaigns_without_terms in each channel's quality.json"
        )
    offsets = lists.offsets.to_numpy().astype(np.int64)
    encoded = lists.flatten().dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64)
    counts = table["term_counts"].combine_chunks().flatten().to_numpy().astype(np.int64)
    offsets = offsets - offsets[0]
    all_terms = encoded.dictionary.to_pylist()

    kept = _choose_terms(all_terms, codes, len(ids), settings)
    vocabulary = Vocabulary.of([all_terms[code] for code in kept])
    new_ids = np.full(len(all_terms), -1, dtype=np.int64)
    new_ids[kept] = np.arange(len(kept))
    rows = np.repeat(np.arange(len(ids)), np.diff(offsets))
    columns = new_ids[codes]
    known = columns >= 0
    rows, columns, counts = rows[known], columns[known], counts[known]
    order = np.lexsort((columns, rows))
    indptr = np.zeros(len(ids) + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=len(ids)), out=indptr[1:])
    corpus = Corpus(
        vocabulary,
        indptr,
        columns[order],
        counts[order],
        tuple(ids),
        _split(len(ids), settings),
        text_settings,
        settings,
    )
    if len(corpus.training_rows) < 2:
        raise CorpusError(
            f"{len(corpus.training_rows)} campaigns have a term to train on, expected at least 2; "
            f"give more campaigns or lower min_df={settings.min_df}"
        )
    return corpus, table["channel"].to_pylist(), table["name"].to_pylist()


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
            message = f"{file.parent.name}/{file.name} cannot be read ({error}); prepare the channel again"
            raise CorpusError(message) from error
        if missing := set(columns) - set(tables[-1].column_names):
            raise CorpusError(
                f"{file.parent.name}/{file.name} has no column {sorted(missing)[0]!r}; prepare the channel again"
            )
    return pa.concat_tables(tables).combine_chunks()


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


def _refuse_duplicates(ids: list[str], channels: list[str | None]) -> None:
    twice = [position for position in range(1, len(ids)) if ids[position] == ids[position - 1]]
    if twice:
        shown = ", ".join(
            f"{ids[position]!r} (in {channels[position - 1]} and {channels[position]})" for position in twice[:5]
        )
        raise CorpusError(
            f"{len(twice)} campaign ids stand in more than one channel: {shown}; make ids unique, "
            "for instance by putting the channel before the id"
        )


def _choose_terms(terms: list[str], codes: IntArray, n_campaigns: int, settings: CorpusSettings) -> list[int]:
    """Codes of the kept terms in alphabetical order, so that ids do not depend on the order of campaigns."""
    frequency = np.bincount(codes, minlength=len(terms))  # campaigns a term is in: terms are distinct in a campaign
    # A share of a handful of campaigns says nothing: below 20 campaigns no term counts as too common.
    ceiling = settings.max_df * n_campaigns if n_campaigns >= 20 else n_campaigns
    kept = np.flatnonzero((frequency >= settings.min_df) & (frequency <= ceiling))
    if not len(kept):
        raise CorpusError(
            f"none of {len(terms)} terms is in at least min_df={settings.min_df} and at most max_df="
            f"{settings.max_df:g} of {n_campaigns} campaigns; lower min_df, raise max_df or give more campaigns"
        )
    if len(kept) > settings.max_terms:
        by_frequency = sorted(kept.tolist(), key=lambda code: (-frequency[code], terms[code]))
        kept = np.array(by_frequency[: settings.max_terms])
    return sorted(kept.tolist(), key=lambda code: terms[code])


def _split(n_campaigns: int, settings: CorpusSettings) -> Any:
    """A seeded split: exactly round(share * n) campaigns are held out."""
    held_out = np.zeros(n_campaigns, dtype=bool)
    number = round(settings.held_out_share * n_campaigns)
    held_out[np.random.RandomState(settings.seed).permutation(n_campaigns)[:number]] = True
    return held_out


def write_corpus(corpus: Corpus, channels: list[str | None], names: list[str | None], out: Path) -> None:
    """Write the corpus folder; the manifest comes last, so a folder with one is whole."""
    write_array(out / "indptr.npy", corpus.indptr)
    write_array(out / "indices.npy", corpus.indices.astype(np.int32))
    write_array(out / "counts.npy", corpus.counts.astype(np.int32))
    write_json(out / "vocabulary.json", list(corpus.vocabulary.terms))
    table = pa.table(
        {
            "campaign_id": pa.array(corpus.campaign_ids, pa.string()),
            "channel": pa.array(channels, pa.string()),
            "name": pa.array(names, pa.string()),
            "held_out": pa.array(corpus.held_out),
        }
    )
    with written_whole(out / "campaigns.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
    write_json(
        out / "manifest.json",
        {
            "format_version": FORMAT_VERSION,
            "corpus_hash": corpus.content_hash,
            "vocabulary_hash": corpus.vocabulary.content_hash,
            "n_campaigns": len(corpus),
            "n_terms": len(corpus.vocabulary),
            "n_tokens": int(corpus.counts.sum()),
            "settings": corpus.settings.model_dump(),
            "text_settings": corpus.text_settings.model_dump(),
            "files": {name: sha256_of(out / name) for name in FILES},
        },
    )


def read_corpus(folder: Path) -> Corpus:
    """Read a corpus folder and check it against its hash.

    Raises:
        CorpusError: a file is missing, damaged or changed since it was written.
    """
    try:
        manifest = orjson.loads((folder / "manifest.json").read_bytes())
        if manifest["format_version"] != FORMAT_VERSION:
            raise CorpusError(
                f"the corpus has format version {manifest['format_version']}, expected {FORMAT_VERSION}; build it again"
            )
        changed = [name for name in FILES if sha256_of(folder / name) != manifest["files"][name]]
        if changed:
            raise CorpusError(f"{changed[0]} differs from its hash in the corpus's manifest; build the corpus again")
        table = pq.read_table(folder / "campaigns.parquet", columns=["campaign_id", "held_out"])
        corpus = Corpus(
            Vocabulary.of(orjson.loads((folder / "vocabulary.json").read_bytes())),
            np.load(folder / "indptr.npy", allow_pickle=False).astype(np.int64),
            np.load(folder / "indices.npy", allow_pickle=False).astype(np.int64),
            np.load(folder / "counts.npy", allow_pickle=False).astype(np.int64),
            tuple(table["campaign_id"].to_pylist()),
            table["held_out"].to_numpy(zero_copy_only=False),
            TextSettings.from_mapping(manifest["text_settings"]),
            CorpusSettings.from_mapping(manifest["settings"]),
        )
    except (OSError, ValueError, KeyError, TypeError, SettingsError, pa.ArrowException) as error:
        raise CorpusError(f"the corpus folder is incomplete or damaged ({error}); build the corpus again") from error
    if corpus.content_hash != manifest["corpus_hash"]:
        raise CorpusError("the corpus differs from its manifest's corpus_hash; build the corpus again")
    return corpus
