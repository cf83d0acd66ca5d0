"""The corpus in memory: a vocabulary and bags of words as compressed sparse rows, split by seed, named by content hash.

On disk it is a folder of shards, which is written by :mod:`topic_model.corpus_builder` and read, a shard at a time, by
:mod:`topic_model.shards`. What is here is for corpora that fit into memory, and for what needs all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq

from topic_model.arrays import IntArray, csr
from topic_model.bags import BagsInMemory, BagSource, checked_bags, pointers
from topic_model.corpus_builder import build_corpus
from topic_model.corpus_writer import corpus_writer, shard_stops
from topic_model.errors import CorpusError
from topic_model.prepared import read_prepared
from topic_model.settings import CorpusSettings, TextSettings
from topic_model.shards import ContentHash, ShardBags, StoredCorpus, read_corpus
from topic_model.vocabulary import Vocabulary

__all__ = ["AnyCorpus", "Corpus", "StoredCorpus", "Vocabulary", "build_corpus", "read_corpus", "read_prepared"]


class AnyCorpus(Protocol):
    """What training and evaluation need of a corpus, in memory (:class:`Corpus`) or not (:class:`StoredCorpus`)."""

    def __len__(self) -> int:
        """Campaigns, with or without a known term."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Terms by id."""

    @property
    def text_settings(self) -> TextSettings:
        """How its terms were made."""

    @property
    def content_hash(self) -> str:
        """Two corpora with one hash train one model."""

    @property
    def training_bags(self) -> BagSource:
        """Campaigns to train on."""

    @property
    def held_out_bags(self) -> BagSource:
        """Campaigns held out."""

    @property
    def all_bags(self) -> BagSource:
        """Both."""


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

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """All of a corpus folder.

        Raises:
            CorpusError: see :func:`~topic_model.shards.read_corpus`; or the bags are not those of the corpus's hash.
        """
        stored = read_corpus(folder)
        shards = list(stored.shards)
        corpus = cls(
            stored.vocabulary,
            pointers(np.concatenate([np.diff(shard.indptr) for shard in shards])),
            np.concatenate([shard.indices for shard in shards]).astype(np.int64),
            np.concatenate([shard.counts for shard in shards]).astype(np.int64),
            tuple(pq.read_table(folder / "campaigns.parquet", columns=["campaign_id"])["campaign_id"].to_pylist()),
            np.concatenate([shard.held_out for shard in shards]),
            stored.text_settings,
            stored.settings,
        )
        if corpus.content_hash != stored.content_hash:
            raise CorpusError("the corpus differs from its manifest's corpus_hash; build the corpus again")
        return corpus

    def write(self, out: Path) -> StoredCorpus:
        """Write the corpus as a folder of shards."""
        stops = shard_stops(np.diff(self.indptr))
        with corpus_writer(out, self.vocabulary, self.text_settings, self.settings) as writer:
            for start, stop in pairwise([0, *stops]):
                entries = slice(self.indptr[start], self.indptr[stop])
                shard = ShardBags(
                    self.indptr[start : stop + 1] - self.indptr[start],
                    self.indices[entries].astype(np.int32),
                    self.counts[entries].astype(np.int32),
                    self.held_out[start:stop],
                )
                writer.add(shard, self.campaign_ids[start:stop])
        return read_corpus(out)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over vocabulary, bags, split and text settings: two corpora with one hash train one model."""
        digest = ContentHash(self.vocabulary, self.text_settings)
        digest.add(np.diff(self.indptr), self.indices, self.counts, self.held_out)
        return digest.hexdigest()

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

    @cached_property
    def all_bags(self) -> BagsInMemory:
        """All bags that are not empty."""
        return self._bags(np.flatnonzero(np.diff(self.indptr)).astype(np.int64))

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
