"""Inverted lists: campaigns by the nearest of some centres, so that a query looks at a few lists and not at everyone.

The centres are k-means' over topics and latent space, scaled by their shares of the similarity; a query goes into the
lists whose centres have the largest inner product with it, and is compared with their campaigns by the whole blend. How
many lists that takes is measured where the index is built: against all pairs, for known campaigns as they are and cut
to a few terms, for the 10 and the 100 nearest. Where a quarter of the lists does not suffice, every campaign is looked
at. Graphs of neighbours stall on fingerprints, where many are equally near; lists do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from topic_model.arrays import Float32Array, IntArray
from topic_model.errors import ArtifactError, ArtifactMismatchError
from topic_model.latent import LatentSpace

if TYPE_CHECKING:
    from topic_model.neighbours import CampaignIndex, CampaignVectors, Neighbours

MIN_RECALL = 0.99
"""Of the 10 and of the 100 nearest, of whole and of cut campaigns: the least of the four must reach it."""
MAX_NUMBER = 100
"""As many neighbours lists are searched for; for more, every campaign is compared."""
QUERIES = 200
_CUT_TERMS = 5
_LISTS_PER_ROOT = 4
_FIRST_PROBES = 4
_MOST_PROBED = 0.25
_PASSES = 10
_CAMPAIGNS_A_CENTRE = 64


@dataclass(frozen=True, slots=True)
class Scope:
    """Consecutive rows, the whole index or one large client, with the lists that a query looks into, and the recall."""

    start: int
    stop: int
    probes: int
    recall_at_10: float
    recall_at_100: float


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """A scope's rows, list by list: those of list i begin at ``starts[i]`` of ``order`` and end at the next.

    ``probes`` lists are looked into for a query.
    """

    probes: int
    order: IntArray
    starts: IntArray


@dataclass(frozen=True, eq=False)
class InvertedLists:
    """``centres`` of shape (n_lists, K + n_dimensions); ``list_of_campaign`` of shape (n_campaigns,)."""

    centres: Float32Array
    list_of_campaign: npt.NDArray[np.int32]
    scopes: tuple[Scope, ...]

    @cached_property
    def _members(self) -> dict[tuple[int, int], Members]:
        """Of each scope, who is in which list."""
        found = {}
        for scope in self.scopes:
            own = self.list_of_campaign[scope.start : scope.stop]
            order = np.argsort(own, kind="stable")
            starts = np.searchsorted(own[order], np.arange(len(self.centres) + 1))
            found[scope.start, scope.stop] = Members(scope.probes, order + scope.start, starts)
        return found

    def members(self, rows: slice) -> Members | None:
        """Who is in which list, of these rows; None where they are no scope."""
        return self._members.get((rows.start, rows.stop))

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the lists."""
        return {"lists": len(self.centres), "queries": QUERIES, "scopes": [asdict(scope) for scope in self.scopes]}


def read_inverted_lists(
    centres: Float32Array, list_of_campaign: npt.NDArray[np.int32], facts: Mapping[str, Any], shape: tuple[int, int]
) -> InvertedLists:
    """The lists of an index of ``shape`` (n_campaigns, K + n_dimensions).

    Raises:
        ArtifactMismatchError: the lists are of other campaigns or of other vectors.
        ArtifactError: the recall that was measured is below :data:`MIN_RECALL`, or what the manifest says is no sense.
    """
    if centres.ndim != 2 or centres.shape[1] != shape[1] or list_of_campaign.shape != shape[:1]:
        raise ArtifactMismatchError(
            f"the inverted lists have centres of shape {centres.shape} and {len(list_of_campaign)} campaigns, but the "
            f"index has {shape[0]} campaigns of {shape[1]} dimensions; build the neighbours again"
        )
    if not 0 <= list_of_campaign.min(initial=0) <= list_of_campaign.max(initial=0) < len(centres):
        raise ArtifactError(f"a campaign is in none of the {len(centres)} inverted lists; build the neighbours again")
    try:
        scopes = tuple(
            Scope(
                *(int(scope[name]) for name in ("start", "stop", "probes")),
                *(float(scope[name]) for name in ("recall_at_10", "recall_at_100")),
            )
            for scope in facts["scopes"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"the manifest's neighbour_index is damaged ({error}); build the neighbours again"
        ) from error
    for scope in scopes:
        if not (0 <= scope.start < scope.stop <= shape[0] and 0 < scope.probes <= len(centres)):
            raise ArtifactError(f"the manifest's neighbour_index has {scope}, out of range; build the neighbours again")
        for number, recall in ((10, scope.recall_at_10), (100, scope.recall_at_100)):
            if not recall >= MIN_RECALL:
                raise ArtifactError(
                    f"the neighbour index finds {recall:.4f} of the {number} nearest of rows {scope.start} to "
                    f"{scope.stop}, expected {MIN_RECALL} or more; build the neighbours again"
                )
    return InvertedLists(centres, list_of_campaign, scopes)


def build_inverted_lists(index: CampaignIndex, space: LatentSpace, parts: Sequence[slice]) -> InvertedLists | None:
    """Lists over an index, for all rows and for some parts of them; None where comparing with everyone is as fast.

    A part that asks for more than a quarter of the lists is left out, and is then searched whole.
    """
    lists = _cluster(index)
    everyone = slice(0, len(index))
    scopes = [found for rows in (everyone, *parts) if (found := _measured(index, space, lists, rows)) is not None]
    if not scopes or (scopes[0].start, scopes[0].stop) != (everyone.start, everyone.stop):
        return None
    return replace(lists, scopes=tuple(scopes))


def _cluster(index: CampaignIndex) -> InvertedLists:
    import faiss
    from threadpoolctl import threadpool_limits

    places = index.places(slice(0, len(index)))
    number = round(_LISTS_PER_ROOT * len(index) ** 0.5)
    # One thread: sums of many depend on who comes first, and equal input must give an equal artifact.
    with threadpool_limits(1):
        found = faiss.Kmeans(
            places.shape[1],
            number,
            niter=_PASSES,
            seed=index.settings.seed % 2**31,
            min_points_per_centroid=1,
            max_points_per_centroid=_CAMPAIGNS_A_CENTRE,
        )
        found.train(places)
        assigned = found.index.search(places, 1)[1][:, 0]
    return InvertedLists(np.asarray(found.centroids, dtype=np.float32), assigned.astype(np.int32), ())


def _measured(index: CampaignIndex, space: LatentSpace, lists: InvertedLists, rows: slice) -> Scope | None:
    """The fewest lists, doubled until recall suffices; None where that is more than a quarter of them."""
    queries = list(_queries(index, space, rows))
    exact = [index.nearest(query, MAX_NUMBER, own_row=row, within=rows) for row, query in queries]
    probes = _FIRST_PROBES
    while probes <= _MOST_PROBED * len(lists.centres):
        scope = Scope(rows.start, rows.stop, probes, 0.0, 0.0)
        searched = replace(index, lists=replace(lists, scopes=(scope,)))
        found = [searched.nearest(query, MAX_NUMBER, own_row=row, within=rows) for row, query in queries]
        at_10, at_100 = (
            min(recall(found[kind::2], exact[kind::2], number) for kind in (0, 1)) for number in (10, MAX_NUMBER)
        )
        if min(at_10, at_100) >= MIN_RECALL:
            return replace(scope, recall_at_10=round(at_10, 6), recall_at_100=round(at_100, 6))
        probes *= 2
    return None


def _queries(index: CampaignIndex, space: LatentSpace, rows: slice) -> Iterator[tuple[int, CampaignVectors]]:
    """Campaigns of some rows, in turn as they are and cut to a few of their terms, with the row that each is of."""
    from topic_model.neighbours import CampaignVectors

    random = np.random.RandomState(index.settings.seed)
    chosen = rows.start + random.choice(rows.stop - rows.start, min(QUERIES, rows.stop - rows.start), replace=False)
    for place, row in enumerate(chosen.tolist()):
        known = index.vectors(row)
        if place % 2 and len(known.ids) > _CUT_TERMS:
            kept = np.sort(random.choice(len(known.ids), _CUT_TERMS, replace=False))
            ids, weights = known.ids[kept], known.weights[kept] / np.linalg.norm(known.weights[kept])
            known = CampaignVectors(known.theta, ids, weights, space.project_one(ids, weights))
        yield row, known


def recall(found: Sequence[Neighbours], exact: Sequence[Neighbours], number: int) -> float:
    """Share of the exact neighbours' places that the found ones fill with campaigns as similar as the last of them."""
    filled = places = 0
    for near, best in zip(found, exact, strict=True):
        expected = best.similarities[0][:number]
        if len(expected):
            filled += int((near.similarities[0][:number] >= expected[-1] - 2e-6).sum())
            places += len(expected)
    return filled / places if places else 1.0
