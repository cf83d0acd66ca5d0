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

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from topic_model.arrays import Float32Array, FloatArray, IntArray
from topic_model.errors import ArtifactMismatchError
from topic_model.inverted_lists import MAX_NUMBER, InvertedLists, build_inverted_lists
from topic_model.latent import LatentSpace
from topic_model.settings import NeighbourSettings

# Up to here a campaign is compared with every other, which takes a millisecond; above, shortlists are compared (recall
# and time: benchmarks/neighbours.py), and fresh campaigns are searched in inverted lists.
EXACT_LIMIT = 5_000
_BLOCK = 512
_HEAVY_TERMS = 32
_MAX_LIST = 2_000
# Up to here the shortlist by vectors is exact; above, it is of inverted lists, a tenth of which a query looks into.
FLAT_LIMIT = 100_000
_LISTS_PER_ROOT = 4
_LOOKED_INTO = 0.1


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

    def similarity(self, topic: Any, latent: Any, overlap: Any) -> FloatArray:
        """The blend of three arrays of cosines of one shape."""
        # Six decimals: far above float32's error, so that a tie is a tie whichever way it was computed.
        blended = self.topics * np.asarray(topic, dtype=np.float64) + self.terms * overlap
        if self.latent:
            blended += self.latent * np.maximum(latent, 0)
        return np.asarray(np.round(np.clip(blended, 0, 1), 6), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class CampaignVectors:
    """What one campaign is compared by.

    ``theta`` of shape (K,), ``weights`` a CSR matrix of shape (1, n_terms) of unit length, ``latent`` of shape
    (n_dimensions,).
    """

    theta: FloatArray
    weights: Any
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
        return CampaignVectors(self.theta[row].astype(np.float64), self.weights[row], self.latent[row])

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
        rows = slice(0, len(self)) if within is None else within
        root = np.sqrt(campaign.theta).astype(np.float32)
        candidates = latent = None
        if self.lists is not None and number <= MAX_NUMBER:
            parts = (np.sqrt(self.blend.topics) * root, np.sqrt(self.blend.latent) * campaign.latent)
            candidates = self.lists.candidates(np.concatenate(parts, dtype=np.float32), rows)
            latent = self._latent_by_list if rows == slice(0, len(self)) else None
        found, places = candidates or (np.arange(rows.start, rows.stop),) * 2
        if latent is None:
            latent, places = self._arrays[1], found
        similarities = self._similarities(campaign, root, found, places, latent, number, own_row)
        return self._ranked([found], [similarities], number, [own_row])

    @cached_property
    def _latent_by_list(self) -> Float32Array | None:
        """A copy of the latent space in the order of the lists, whose rows are then fetched as one."""
        everyone = slice(0, len(self))
        if self.lists is None or not self.lists.covers(everyone):
            return None
        return np.ascontiguousarray(self.latent[self.lists.order(everyone)], dtype=np.float32)

    def _similarities(
        self,
        campaign: CampaignVectors,
        root: Float32Array,
        rows: IntArray,
        places: IntArray,
        latent: Float32Array,
        number: int,
        own_row: int | None,
    ) -> FloatArray:
        """Of some rows: below 0 for those that are not among the nearest."""
        from topic_model.kernels.similarity import blend_rows

        terms = np.zeros(self.weights.shape[1], dtype=np.float32)
        terms[campaign.weights.indices] = campaign.weights.data
        company = np.ascontiguousarray(campaign.latent, dtype=np.float32)
        shares = np.array([self.blend.topics, self.blend.latent, self.blend.terms])
        similarities = np.empty(len(rows))
        least, own = self.settings.min_similarity, -1 if own_row is None else own_row
        roots, _, *weights = self._arrays
        blend_rows(
            rows, places, own, root, company, terms, roots, latent, *weights, shares, least, number, similarities
        )
        return np.asarray(np.round(np.minimum(similarities, 1), 6), dtype=np.float64)

    @cached_property
    def _arrays(self) -> tuple[Float32Array, Float32Array, IntArray, Any, Float32Array]:
        """Roots, latent space and the sparse rows' three arrays, of the types that the kernel takes."""
        weights = self.weights
        return (
            np.ascontiguousarray(self.roots),
            np.ascontiguousarray(self.latent, dtype=np.float32),
            np.ascontiguousarray(weights.indptr, dtype=np.int64),
            np.ascontiguousarray(weights.indices, dtype=np.int32),
            np.ascontiguousarray(weights.data, dtype=np.float32),
        )

    def all_nearest(self, number: int, *, exact: bool | None = None) -> Neighbours:
        """Neighbours of every campaign of the index, itself left out; ``exact`` says whether by all pairs.

        Where it is left open: by all pairs up to :data:`EXACT_LIMIT` campaigns, above as fresh campaigns' are found, by
        the inverted lists, and by shortlists where there are none.
        """
        if exact or (exact is None and len(self) <= EXACT_LIMIT):
            return self._all_pairs(number)
        listed = None if exact is False else self.all_listed(slice(0, len(self)), number)
        return self._shortlisted(number) if listed is None else listed

    def all_listed(self, rows: slice, number: int) -> Neighbours | None:
        """Neighbours of all campaigns of some rows among these, by the inverted lists; None where there are none."""
        if self.lists is None or number > MAX_NUMBER or not self.lists.covers(rows):
            return None
        found = Neighbours([], [])
        for row in range(rows.start, rows.stop):
            near = self.nearest(self.vectors(row), number, own_row=row, within=rows)
            found.rows.append(near.rows[0])
            found.similarities.append(near.similarities[0])
        return found

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
            latent = self.latent[block] @ self.latent.T
            overlap = (self.weights[block] @ self.weights.T).toarray()
            blended = self.blend.similarity(topic, latent, overlap)
            own: list[int | None] = list(range(block.start, block.stop))
            ranked = self._ranked([everyone] * len(own), list(blended), number, own)
            rows += ranked.rows
            similarities += ranked.similarities
        return Neighbours(rows, similarities)

    def _shortlisted(self, number: int) -> Neighbours:
        """Each campaign against a shortlist: the nearest by topics and company and the nearest by terms, then all."""
        size = max(self.settings.shortlist, 2 * number)
        by_vector = self._vector_shortlist(min(size, len(self)))
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
                candidates = np.unique(np.concatenate((by_vector[row], others)))
                candidates = candidates[candidates >= 0].astype(np.int64)
                similarity = self.blend.similarity(
                    self.roots[candidates] @ self.roots[row],
                    self.latent[candidates] @ self.latent[row],
                    self._overlap(row, candidates, dense),
                )
                ranked = self._ranked([candidates], [similarity], number, [row])
                rows += ranked.rows
                similarities += ranked.similarities
        return Neighbours(rows, similarities)

    def _vector_shortlist(self, size: int) -> Any:
        """The nearest rows by topics and latent space, of shape (n_campaigns, size), -1 where there are fewer.

        By faiss: every vector, or inverted lists where there are too many (graphs of neighbours stall on fingerprints,
        where many are equally near).
        """
        import faiss

        vectors = self.places(slice(0, len(self)))
        every = faiss.IndexFlatIP(vectors.shape[1])
        if len(self) <= FLAT_LIMIT:
            every.add(vectors)
            return every.search(vectors, size)[1]
        number = round(_LISTS_PER_ROOT * len(self) ** 0.5)
        lists = faiss.IndexIVFFlat(every, vectors.shape[1], number, faiss.METRIC_INNER_PRODUCT)
        lists.cp.seed = self.settings.seed % 2**31
        lists.train(vectors)
        lists.add(vectors)
        lists.nprobe = round(_LOOKED_INTO * number)
        return lists.search(vectors, size)[1]

    def _heaviest_terms(self) -> Any:
        """The BM25 rows cut to their heaviest terms, without terms that thousands of campaigns have among them."""
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


def with_lists(index: CampaignIndex, space: LatentSpace, parts: Iterable[slice]) -> CampaignIndex:
    """The index with inverted lists for fresh campaigns, where it has more than :data:`EXACT_LIMIT` campaigns.

    ``parts`` are consecutive rows that are searched by themselves, those of a client each.
    """
    if len(index) <= EXACT_LIMIT:
        return index
    large = [rows for rows in parts if EXACT_LIMIT < rows.stop - rows.start < len(index)]
    return replace(index, lists=build_inverted_lists(index, space, large))
