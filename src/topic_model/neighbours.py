"""Similar campaigns: fingerprints by Hellinger distance, blended with idf-weighted term overlap.

The similarity of two campaigns, in [0, 1], is ``w * BC + (1 - w) * cosine``. BC is the Bhattacharyya coefficient of
their fingerprints, sum_k sqrt(theta_ik theta_jk), 1 minus the squared Hellinger distance; the cosine is that of their
TF-IDF rows. Topics find campaigns that say the same in other words, terms keep apart what shares a topic only.
``w = 1`` is Hellinger alone. Measured in docs/decisions/0006-similarity.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from topic_model.arrays import Float32Array, FloatArray, IntArray
from topic_model.errors import ArtifactMismatchError
from topic_model.settings import NeighbourSettings

# Up to here all pairs are compared; above, shortlists are (recall and time: benchmarks/neighbours.py).
EXACT_LIMIT = 5_000
_BLOCK = 512
_MAX_TOPICS = 12
_HEAVY_TERMS = 32
_MAX_LIST = 2_000


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest campaigns of each query, nearest first: rows of the index, and similarities in [0, 1]."""

    rows: list[IntArray]
    similarities: list[FloatArray]


@dataclass(frozen=True)
class CampaignIndex:
    """What neighbours are searched in.

    ``theta`` of shape (n_campaigns, K), rows summing to 1; ``weights`` a CSR matrix of shape (n_campaigns, n_terms) of
    TF-IDF rows of unit length.
    """

    theta: Float32Array
    weights: Any
    settings: NeighbourSettings

    def __post_init__(self) -> None:
        if self.theta.shape[0] != self.weights.shape[0]:
            raise ArtifactMismatchError(
                f"the index has {self.theta.shape[0]} fingerprints but {self.weights.shape[0]} rows of terms; "
                "build both in one run"
            )

    def __len__(self) -> int:
        return int(self.theta.shape[0])

    @cached_property
    def roots(self) -> Float32Array:
        """Square roots of the fingerprints: unit vectors whose inner product is BC."""
        return np.sqrt(self.theta)

    def nearest(self, theta: FloatArray, weights: Any, number: int, *, own_row: int | None = None) -> Neighbours:
        """Neighbours of one campaign, fresh or known, compared with every campaign of the index.

        ``theta`` has shape (K,), ``weights`` is a CSR matrix of shape (1, n_terms); ``own_row`` is left out.
        """
        if theta.shape[0] != self.theta.shape[1]:
            raise ArtifactMismatchError(
                f"the index has {self.theta.shape[1]} topics but the fingerprint {theta.shape[0]}; "
                "deploy model and index of one training run"
            )
        topic = self.roots @ np.sqrt(theta).astype(np.float32)
        overlap = self.weights @ weights.toarray().ravel().astype(np.float32)  # dense: a fifth of the sparse one's time
        return self._ranked([np.arange(len(self))], [self._blend(topic, overlap)], number, [own_row])

    def all_nearest(self, number: int, *, exact: bool | None = None) -> Neighbours:
        """Neighbours of every campaign of the index, itself left out; ``exact`` says whether by all pairs."""
        if exact or (exact is None and len(self) <= EXACT_LIMIT):
            return self._all_pairs(number)
        return self._shortlisted(number)

    def _blend(self, topic: Any, overlap: Any) -> FloatArray:
        weight = self.settings.topic_weight
        # Six decimals: far above float32's error, so that a tie is a tie whichever way it was computed.
        blended = weight * np.asarray(topic, dtype=np.float64) + (1 - weight) * overlap
        return np.asarray(np.round(np.clip(blended, 0, 1), 6), dtype=np.float64)

    def _ranked(
        self, candidates: list[IntArray], similarities: list[FloatArray], number: int, own: list[int | None]
    ) -> Neighbours:
        """The best of each list of candidates, by similarity and then row; those under the minimum left out."""
        rows, kept = [], []
        for every, measured, own_row in zip(candidates, similarities, own, strict=True):
            usable = measured >= self.settings.min_similarity
            if own_row is not None:
                usable &= every != own_row
            if usable.sum() > 4 * number:
                threshold = -np.partition(-measured[usable], number - 1)[number - 1]
                usable &= measured >= threshold
            candidate, similarity = every[usable], measured[usable]
            order = np.lexsort((candidate, -similarity))[:number]
            rows.append(candidate[order].astype(np.int64))
            kept.append(similarity[order])
        return Neighbours(rows, kept)

    def _all_pairs(self, number: int) -> Neighbours:
        everyone = np.arange(len(self))
        rows: list[IntArray] = []
        similarities: list[FloatArray] = []
        for start in range(0, len(self), _BLOCK):
            block = slice(start, min(start + _BLOCK, len(self)))
            topic = self.roots[block] @ self.roots.T
            overlap = (self.weights[block] @ self.weights.T).toarray()
            blended = self._blend(topic, overlap)
            own: list[int | None] = list(range(block.start, block.stop))
            ranked = self._ranked([everyone] * len(own), list(blended), number, own)
            rows += ranked.rows
            similarities += ranked.similarities
        return Neighbours(rows, similarities)

    def _shortlisted(self, number: int) -> Neighbours:
        """Each campaign against a shortlist: the nearest by fingerprint and the nearest by terms, then the blend."""
        size = max(self.settings.shortlist, 2 * number)
        by_topic = self._topic_shortlist(max(size // 8, number + 1))
        heavy = self._heaviest_terms()
        transposed = heavy.T.tocsr()
        rows: list[IntArray] = []
        similarities: list[FloatArray] = []
        dense = np.zeros(self.weights.shape[1])
        for start in range(0, len(self), _BLOCK):
            by_terms = heavy[start : start + _BLOCK] @ transposed
            for position in range(by_terms.shape[0]):
                row = start + position
                found = slice(by_terms.indptr[position], by_terms.indptr[position + 1])
                others, shared = by_terms.indices[found], by_terms.data[found]
                if len(others) > size:
                    others = others[np.argpartition(-shared, size - 1)[:size]]
                candidates = np.unique(np.concatenate((by_topic[row], others)))
                candidates = candidates[candidates >= 0].astype(np.int64)
                topic = self.roots[candidates] @ self.roots[row]
                ranked = self._ranked(
                    [candidates], [self._blend(topic, self._overlap(row, candidates, dense))], number, [row]
                )
                rows += ranked.rows
                similarities += ranked.similarities
        return Neighbours(rows, similarities)

    def _topic_shortlist(self, each: int) -> Any:
        """Near rows by Hellinger distance, of shape (n_campaigns, topics * each), -1 where there are fewer.

        Topics are inverted lists: a campaign stands in the lists of the topics that make up nine tenths of its
        fingerprint, and meets the nearest of each list of the topics that make up seven tenths. Campaigns of one topic
        look into one list, those of many into many.
        """
        order = np.argsort(-self.theta, axis=1, kind="stable")[:, :_MAX_TOPICS]
        shares = np.take_along_axis(self.theta, order, axis=1)
        before = np.cumsum(shares, axis=1) - shares
        looked_into = before < 0.7
        listed = np.zeros(self.theta.shape, dtype=bool)
        np.put_along_axis(listed, order, before < 0.9, axis=1)
        shortlist = np.full((len(self), int(looked_into.sum(axis=1).max()) * each), -1, dtype=np.int32)
        for topic in range(self.theta.shape[1]):
            members = np.flatnonzero(listed[:, topic])
            number = min(each, len(members))
            queries, places = np.nonzero((order == topic) & looked_into)
            for start in range(0, len(queries), _BLOCK):
                block = queries[start : start + _BLOCK]
                coefficients = self.roots[block] @ self.roots[members].T
                nearest = np.argpartition(-coefficients, number - 1, axis=1)[:, :number]
                columns = places[start : start + _BLOCK, None] * each + np.arange(number)
                shortlist[block[:, None], columns] = members[nearest]
        return shortlist

    def _heaviest_terms(self) -> Any:
        """The TF-IDF rows cut to their heaviest terms, without terms that thousands of campaigns have among them."""
        matrix = self.weights.copy()
        for start, stop in pairwise(matrix.indptr):
            if stop - start > _HEAVY_TERMS:
                values = matrix.data[start:stop]
                values[values < np.partition(values, -_HEAVY_TERMS)[-_HEAVY_TERMS]] = 0
        matrix.eliminate_zeros()
        common = np.bincount(matrix.indices, minlength=matrix.shape[1]) > _MAX_LIST
        matrix.data[common[matrix.indices]] = 0
        matrix.eliminate_zeros()
        return matrix

    def _overlap(self, row: int, candidates: IntArray, dense: FloatArray) -> FloatArray:
        """Cosines of one row with some others; ``dense`` is a zeroed work row and is handed back zeroed."""
        indptr, indices, values = self.weights.indptr, self.weights.indices, self.weights.data
        own = slice(indptr[row], indptr[row + 1])
        dense[indices[own]] = values[own]
        starts = indptr[candidates]
        lengths = indptr[candidates + 1] - starts
        ends = np.cumsum(lengths)
        where = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])
        products = dense[indices[where]] * values[where]
        dense[indices[own]] = 0
        totals = np.concatenate(([0.0], np.cumsum(products)))
        return np.asarray(totals[ends] - totals[ends - lengths], dtype=np.float64)
