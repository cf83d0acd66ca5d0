"""What training sees of a corpus: bags of words in chunks, from memory or from disk.

An algorithm never holds a corpus: it is given a :class:`BagSource` and takes chunk after chunk of it, so its memory
does not grow with the number of campaigns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from topic_model.arrays import Float32Array, IntArray, csr, hash_of, joined_ranges
from topic_model.errors import CorpusError

Int32Array = npt.NDArray[np.int32]
CHUNK_SIZE = 2_000
MAX_COUNT = 1e12
"""Of a term in a campaign: a million campaigns with such counts still have sums, and squares of them, in float32."""


@dataclass(frozen=True, slots=True)
class Bags:
    """Some campaigns as compressed sparse rows: term ids ascending in each row, counts above 0.

    ``indptr`` has shape (n + 1,), ``indices`` and ``counts`` shape (nnz,). Counts are float32, which a kernel wants:
    exact to 16.7 million, and to seven digits above (a count of 10⁹ stays 10⁹).
    """

    indptr: IntArray
    indices: Int32Array
    counts: Float32Array

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def n_words(self) -> float:
        """The sum of all counts."""
        return float(self.counts.sum(dtype=np.float64))

    def rows(self, rows: IntArray) -> Bags:
        """Some of the campaigns, in the order asked for."""
        lengths = self.indptr[rows + 1] - self.indptr[rows]
        entries = joined_ranges(self.indptr[rows], lengths)
        return Bags(pointers(lengths), self.indices[entries], self.counts[entries])

    def slice(self, start: int, stop: int) -> Bags:
        """Consecutive campaigns, as views."""
        first, last = self.indptr[start], self.indptr[stop]
        return Bags(self.indptr[start : stop + 1] - first, self.indices[first:last], self.counts[first:last])

    def matrix(self, n_terms: int) -> Any:
        """Counts as a SciPy CSR matrix of float64 and shape (n, n_terms)."""
        return csr(self.counts.astype(np.float64), self.indices, self.indptr, n_terms)

    def bows(self) -> Iterator[list[tuple[int, float]]]:
        """The bags as Gensim takes them."""
        for start, stop in pairwise(self.indptr.tolist()):
            yield list(zip(self.indices[start:stop].tolist(), self.counts[start:stop].tolist(), strict=True))


class BagSource(Protocol):
    """A whole training set; no bag in it is empty, and every reading gives the same campaigns in the same order."""

    @property
    def n_campaigns(self) -> int:
        """Campaigns in all."""

    @property
    def n_terms(self) -> int:
        """Size of the vocabulary; term ids are below it."""

    @property
    def n_words(self) -> float:
        """The sum of all counts."""

    @property
    def content_hash(self) -> str:
        """Names the content: sources with one hash train one model."""

    def chunks(self, size: int = CHUNK_SIZE) -> Iterator[Bags]:
        """All campaigns, ``size`` at a time; the last chunk has what is left."""

    def sample(self, number: int, seed: int) -> Bags:
        """``number`` campaigns drawn by :func:`sampled_rows`, or all where there are no more."""


@dataclass(frozen=True)
class BagsInMemory:
    """A source whose bags are all in memory."""

    bags: Bags
    n_terms: int
    content_hash: str

    @classmethod
    def of(cls, indptr: npt.ArrayLike, indices: npt.ArrayLike, counts: npt.ArrayLike, n_terms: int) -> BagsInMemory:
        """A source of compressed sparse rows; empty rows are left out, having nothing to train on.

        Raises:
            CorpusError: see :func:`checked_bags`.
        """
        bags = checked_bags(np.asarray(indptr), np.asarray(indices), np.asarray(counts), n_terms)
        filled = np.flatnonzero(np.diff(bags.indptr))
        bags = bags if len(filled) == len(bags) else bags.rows(filled)
        return cls(bags, n_terms, hash_of(bags.indptr, bags.indices, bags.counts, str(n_terms).encode()))

    @property
    def n_campaigns(self) -> int:
        """Campaigns in all."""
        return len(self.bags)

    @cached_property
    def n_words(self) -> float:
        """The sum of all counts."""
        return self.bags.n_words

    def chunks(self, size: int = CHUNK_SIZE) -> Iterator[Bags]:
        """All campaigns, ``size`` at a time, as views."""
        for start in range(0, len(self.bags), size):
            yield self.bags.slice(start, min(start + size, len(self.bags)))

    def sample(self, number: int, seed: int) -> Bags:
        """See :meth:`BagSource.sample`."""
        return self.bags.rows(sampled_rows(self.n_campaigns, number, seed))


def sampled_rows(n_campaigns: int, number: int, seed: int) -> IntArray:
    """Rows of a seeded sample without replacement, ascending; all rows where no more are asked for.

    Memory and time grow with the sample, not with the corpus.
    """
    if number >= n_campaigns:
        return np.arange(n_campaigns, dtype=np.int64)
    random = np.random.default_rng(seed)
    return np.sort(random.choice(n_campaigns, number, replace=False, shuffle=False)).astype(np.int64)


def pointers(lengths: Sequence[int] | IntArray) -> IntArray:
    """The ``indptr`` of rows of these lengths."""
    indptr = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    return indptr


def joined(parts: Sequence[Bags]) -> Bags:
    """Bags behind each other."""
    if len(parts) == 1:
        return parts[0]
    nothing = Bags(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    parts = [nothing, *parts]
    return Bags(
        pointers(np.concatenate([np.diff(bags.indptr) for bags in parts])),
        np.concatenate([bags.indices for bags in parts]),
        np.concatenate([bags.counts for bags in parts]),
    )


def checked_bags(
    indptr: npt.NDArray[Any], indices: npt.NDArray[Any], counts: npt.NDArray[Any], n_terms: int, *, first: int = 0
) -> Bags:
    """Bags of arrays whose origin is not known; ``first`` is the number of the first campaign, for messages.

    Raises:
        CorpusError: the arrays do not belong together, an id is out of range or out of order, or a count is NaN,
            zero, negative or above :data:`MAX_COUNT`. The message names the first campaign concerned and the value.
    """
    if not (indptr.ndim == indices.ndim == counts.ndim == 1 and len(indptr) and len(indices) == len(counts)):
        raise CorpusError(
            f"indptr, indices and counts have the shapes {indptr.shape}, {indices.shape} and {counts.shape}; "
            "expected (n + 1,), (nnz,) and (nnz,): build the corpus again"
        )
    if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise CorpusError(
            f"indptr goes from {indptr[0]} to {indptr[-1]}; expected to rise from 0 to the {len(indices)} entries: "
            "build the corpus again"
        )
    if not np.issubdtype(indices.dtype, np.integer):
        raise CorpusError(f"term ids are of type {indices.dtype}; expected integers: build the corpus again")

    def where(entry: int) -> str:
        return f"campaign {first + int(np.searchsorted(indptr, entry, side='right')) - 1}"

    if len(indices) and (indices.min() < 0 or indices.max() >= n_terms):
        entry = int(np.flatnonzero((indices < 0) | (indices >= n_terms))[0])
        raise CorpusError(
            f"{where(entry)} has the term id {indices[entry]}, but the vocabulary has {n_terms} terms; "
            f"expected 0 to {n_terms - 1}: build the corpus again"
        )
    falls = np.flatnonzero(np.diff(indices.astype(np.int64, copy=False)) <= 0) + 1
    if len(falls) and len(inside := falls[~np.isin(falls, indptr)]):
        entry = int(inside[0])
        raise CorpusError(
            f"{where(entry)} has the term id {indices[entry]} behind {indices[entry - 1]}; "
            "expected ids ascending, each once: build the corpus again"
        )
    with np.errstate(invalid="ignore", over="ignore"):
        as_float = counts.astype(np.float32)
        wrong = ~((as_float > 0) & (as_float <= np.float32(MAX_COUNT)))
    if wrong.any():
        entry = int(np.flatnonzero(wrong)[0])
        raise CorpusError(
            f"{where(entry)} has the count {counts[entry]} of the term id {indices[entry]}; expected a number above 0 "
            f"and at most {MAX_COUNT:g}: leave terms without weight out of the bag, and scale weights that are larger"
        )
    return Bags(indptr.astype(np.int64, copy=False), indices.astype(np.int32, copy=False), as_float)
