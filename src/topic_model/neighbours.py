"""Similar campaigns: fingerprints by Hellinger distance, blended with the terms' company and their overlap.

The similarity of two campaigns, in [0, 1], is a blend of three cosines of unit vectors:

- ``topic_weight`` of the Bhattacharyya coefficient of their fingerprints, BC = sum_k sqrt(theta_ik theta_jk), 1 minus
  the squared Hellinger distance;
- ``latent_weight`` of the cosine in the latent space (:mod:`topic_model.latent`), 0 where that is negative: terms that
  keep the same company;
- the rest of the cosine of BM25 rows: the very same terms.

Topics and company find campaigns that say the same in other words, terms keep apart what shares a subject only.
``topic_weight = 1`` is Hellinger alone. Measured in docs/decisions/0006-similarity.md.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from topic_model.arrays import Float32Array, FloatArray, IntArray, joined_ranges
from topic_model.bags import pointers
from topic_model.errors import ArtifactMismatchError
from topic_model.inverted_lists import MAX_NUMBER, InvertedLists, build_inverted_lists
from topic_model.kernels.threads import cores
from topic_model.latent import LatentSpace
from topic_model.settings import NeighbourSettings

# Up to here a campaign is compared with every other, which takes a millisecond; above, campaigns are searched in
# inverted lists, where these suit the index (recall and time: benchmarks/neighbours.py).
EXACT_LIMIT = 5_000
_ROWS_AT_A_TIME = 256
_ORDER = 7  # place of the rows list by list among what the kernels are told


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest campaigns of each query, nearest first: rows of the index, and similarities in [0, 1]."""

    rows: list[IntArray]
    similarities: list[FloatArray]


@dataclass(frozen=True, slots=True)
class Blend:
    """The shares of topics, latent space and terms in the similarity; they sum to 1."""

    topics: float
    latent: float
    terms: float

    @classmethod
    def of(cls, settings: NeighbourSettings, num_dimensions: int) -> Blend:
        """The settings' shares; without a latent space, its share goes to the other two in their proportion."""
        terms = 1 - settings.topic_weight - settings.latent_weight
        if num_dimensions:
            return cls(settings.topic_weight, settings.latent_weight, terms)
        others = settings.topic_weight + terms
        return cls(settings.topic_weight / others, 0.0, terms / others) if others > 0 else cls(0.5, 0.0, 0.5)


@dataclass(frozen=True, slots=True)
class CampaignVectors:
    """What one campaign is compared by.

    ``theta`` of shape (K,); the terms' ``ids`` with their BM25 ``weights``, of unit length together; ``latent`` of
    shape (n_dimensions,).
    """

    theta: FloatArray
    ids: npt.NDArray[np.integer[Any]]
    weights: npt.NDArray[np.floating[Any]]
    latent: Float32Array


@dataclass(frozen=True)
class CampaignIndex:
    """What neighbours are searched in.

    ``theta`` of shape (n_campaigns, K), rows summing to 1; ``weights`` a CSR matrix of shape (n_campaigns, n_terms) of
    BM25 rows of unit length; ``latent`` of shape (n_campaigns, n_dimensions), rows of unit length or zero. ``lists``
    are what fresh campaigns are searched in; None where they are compared with everyone.
    """

    theta: Float32Array
    weights: Any
    latent: Float32Array
    settings: NeighbourSettings
    lists: InvertedLists | None = None

    def __post_init__(self) -> None:
        rows = (self.theta.shape[0], self.weights.shape[0], self.latent.shape[0])
        if len(set(rows)) > 1:
            raise ArtifactMismatchError(
                f"the index has {rows[0]} fingerprints but {rows[1]} rows of terms and {rows[2]} of the latent space; "
                "build all in one run"
            )

    def __len__(self) -> int:
        return int(self.theta.shape[0])

    @cached_property
    def roots(self) -> Float32Array:
        """Square roots of the fingerprints: unit vectors whose inner product is BC."""
        return np.sqrt(self.theta)

    @cached_property
    def blend(self) -> Blend:
        """The shares that the similarity of this index has."""
        return Blend.of(self.settings, self.latent.shape[1])

    def vectors(self, row: int) -> CampaignVectors:
        """What a campaign of the index is compared by."""
        _, _, indptr, ids, weights = self.arrays
        entries = slice(indptr[row], indptr[row + 1])
        return CampaignVectors(self.theta[row].astype(np.float64), ids[entries], weights[entries], self.latent[row])

    def places(self, rows: slice) -> Float32Array:
        """Topics and latent space as one space, of shape (n_rows, K + n_dimensions): the inner product is their part
        of the similarity."""
        parts = (np.sqrt(self.blend.topics) * self.roots[rows], np.sqrt(self.blend.latent) * self.latent[rows])
        return np.ascontiguousarray(np.hstack(parts), dtype=np.float32)

    def nearest(
        self, campaign: CampaignVectors, number: int, *, own_row: int | None = None, within: slice | None = None
    ) -> Neighbours:
        """Neighbours of one campaign, fresh or known, among all campaigns but ``own_row``, or ``within`` some rows.

        By the inverted lists, where there are any for these rows and ``number`` is not above
        :data:`~topic_model.inverted_lists.MAX_NUMBER`; else every campaign is compared.
        """
        if campaign.theta.shape[0] != self.theta.shape[1]:
            raise ArtifactMismatchError(
                f"the index has {self.theta.shape[1]} topics but the fingerprint {campaign.theta.shape[0]}; "
                "deploy model and index of one training run"
            )
        from topic_model.kernels.similarity import UNITS, nearest_to_one

        within = within or slice(0, len(self))
        number = min(number, within.stop - within.start)
        if number < 1:
            return Neighbours([np.zeros(0, dtype=np.int64)], [np.zeros(0)])
        rows, units = np.empty(number, dtype=np.int64), np.empty(number, dtype=np.int64)
        scratch = self._scratch
        if (terms := scratch.terms) is None:
            terms = scratch.terms = np.zeros(self.weights.shape[1], dtype=np.float32)
        found = nearest_to_one(
            *self._searched(within, number),
            -1 if own_row is None else own_row,
            np.sqrt(campaign.theta).astype(np.float32),
            np.ascontiguousarray(campaign.latent, dtype=np.float32),
            np.ascontiguousarray(campaign.ids, dtype=np.int64),
            np.ascontiguousarray(campaign.weights, dtype=np.float32),
            terms,
            rows,
            units,
        )
        return Neighbours([rows[:found]], [units[:found] / UNITS])

    def all_nearest(self, number: int, *, within: slice | None = None) -> Neighbours:
        """Neighbours of every campaign of the index, or of some rows among these, itself left out.

        As :meth:`nearest` finds them, by all cores.
        """
        from topic_model.kernels.similarity import UNITS, nearest_to_rows

        within = within or slice(0, len(self))
        size = within.stop - within.start
        rows, units = (np.empty((size, min(number, size)), dtype=np.int64) for _ in range(2))
        counts = np.zeros(size, dtype=np.int64)
        searched = self._searched(within, number)
        # The lists' order begins at 0 for every scope, rows where their scope does.
        first = 0 if len(searched[_ORDER]) else within.start

        def search(start: int) -> None:
            stop = min(start + _ROWS_AT_A_TIME, first + size)
            nearest_to_rows(*searched, self.weights.shape[1], start, stop, within.start, rows, units, counts)

        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(search, range(first, first + size, _ROWS_AT_A_TIME)))
        ends = counts.tolist()
        return Neighbours(
            [own[:end] for own, end in zip(rows, ends, strict=True)],
            [own[:end] / UNITS for own, end in zip(units, ends, strict=True)],
        )

    def _searched(self, rows: slice, number: int) -> tuple[Any, ...]:
        """What the kernels are told of the index, of where to look for so many neighbours among some rows, and how."""
        listed = None if self.lists is None or number > MAX_NUMBER else self.lists.members(rows)
        how = (self.shares, self._least)
        if self.lists is None or listed is None:
            everyone, nothing = np.array([rows.start, rows.stop]), np.zeros((0, 0), dtype=np.float32)
            return (*self.arrays, False, nothing, everyone[:0], everyone, 1, *how)
        scope = (self._centres, listed.order, listed.starts, listed.probes)
        if rows == slice(0, len(self)):
            return (self.arrays[0], *self._by_list, True, *scope, *how)
        return (*self.arrays, False, *scope, *how)

    @cached_property
    def arrays(self) -> tuple[Float32Array, Float32Array, IntArray, Any, Float32Array]:
        """Roots, latent space and the sparse rows' three arrays, of the types that the kernels take."""
        weights = self.weights
        return (
            np.ascontiguousarray(self.roots),
            np.ascontiguousarray(self.latent, dtype=np.float32),
            np.ascontiguousarray(weights.indptr, dtype=np.int64),
            np.ascontiguousarray(weights.indices, dtype=np.int32),
            np.ascontiguousarray(weights.data, dtype=np.float32),
        )

    @cached_property
    def shares(self) -> FloatArray:
        """The blend as the kernels take it: of topics, latent space and terms."""
        return np.array([self.blend.topics, self.blend.latent, self.blend.terms])

    @cached_property
    def _least(self) -> int:
        """The least similarity of a neighbour, in millionths."""
        from topic_model.kernels.similarity import UNITS

        least = math.ceil(self.settings.min_similarity * UNITS)
        return least - ((least - 1) / UNITS >= self.settings.min_similarity)  # the product may be rounded up

    @cached_property
    def _centres(self) -> Float32Array:
        centres = np.zeros((0, 0)) if self.lists is None else self.lists.centres
        return np.ascontiguousarray(centres, dtype=np.float32)

    @cached_property
    def _by_list(self) -> tuple[Float32Array, IntArray, Any, Float32Array]:
        """A copy of the latent space and of the terms in the order of the lists, whose rows are then fetched as one."""
        listed = None if self.lists is None else self.lists.members(slice(0, len(self)))
        order = np.zeros(0, dtype=np.int64) if listed is None else listed.order
        _, latent, indptr, ids, weights = self.arrays
        lengths = np.diff(indptr)[order]
        entries = joined_ranges(indptr[order], lengths)
        return latent[order], pointers(lengths), ids[entries], weights[entries]

    @cached_property
    def _scratch(self) -> _Scratch:
        return _Scratch()


class _Scratch(threading.local):
    """A work row of zeros, of shape (n_terms,), a thread."""

    terms: Float32Array | None = None


def with_lists(index: CampaignIndex, space: LatentSpace, parts: Iterable[slice]) -> CampaignIndex:
    """The index with inverted lists for fresh campaigns, where it has more than :data:`EXACT_LIMIT` campaigns.

    ``parts`` are consecutive rows that are searched by themselves, those of a client each.
    """
    if len(index) <= EXACT_LIMIT:
        return index
    large = [rows for rows in parts if EXACT_LIMIT < rows.stop - rows.start < len(index)]
    return replace(index, lists=build_inverted_lists(index, space, large))
