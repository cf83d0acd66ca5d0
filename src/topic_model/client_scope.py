"""Neighbours within one client: what a client may be told of, since it sees no other client's campaigns.

Campaigns are sorted by client, so a client's part of the index is a view of consecutive rows and costs no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby

import numpy as np

from topic_model.arrays import FloatArray, IntArray, csr
from topic_model.errors import ArtifactError
from topic_model.neighbours import CampaignIndex, CampaignVectors, Neighbours


class ClientScope:
    """The index of each client, by the clients of its rows."""

    def __init__(self, clients: Sequence[str | None], index: CampaignIndex) -> None:
        self._clients, self._index = clients, index
        self._parts: dict[str, CampaignIndex] = {}

    @cached_property
    def rows(self) -> dict[str, slice]:
        """The consecutive rows of each client.

        Raises:
            ArtifactError: the campaigns are not sorted by client.
        """
        found: dict[str, slice] = {}
        start = 0
        for client, members in groupby(self._clients):
            stop = start + sum(1 for _ in members)
            if client in found:
                raise ArtifactError(f"the campaigns of client {client!r} do not stand together; build the lookups anew")
            if client is not None:
                found[client] = slice(start, stop)
            start = stop
        return found

    def nearest(self, client: str, campaign: CampaignVectors, number: int, *, own_row: int | None = None) -> Neighbours:
        """Neighbours among a client's campaigns; none where the client has none."""
        rows = self.rows.get(client)
        if rows is None:
            return Neighbours([np.zeros(0, dtype=np.int64)], [np.zeros(0)])
        own = own_row - rows.start if own_row is not None and rows.start <= own_row < rows.stop else None
        found = self._part(client, rows).nearest(campaign, number, own_row=own)
        return Neighbours([found.rows[0] + rows.start], found.similarities)

    def all_nearest(self, client: str, number: int) -> tuple[list[IntArray], list[FloatArray]]:
        """Rows and similarities of the neighbours of each of a client's campaigns, among that client's."""
        rows = self.rows[client]
        found = self._part(client, rows).all_nearest(number)
        return [row + rows.start for row in found.rows], found.similarities

    def _part(self, client: str, rows: slice) -> CampaignIndex:
        if rows.stop - rows.start == len(self._index):
            return self._index
        if client not in self._parts:
            self._parts[client] = _view(self._index, rows)
        return self._parts[client]


def _view(index: CampaignIndex, rows: slice) -> CampaignIndex:
    weights = index.weights
    indptr = weights.indptr[rows.start : rows.stop + 1]
    values = slice(indptr[0], indptr[-1])
    part = csr(weights.data[values], weights.indices[values], indptr - indptr[0], weights.shape[1])
    view = CampaignIndex(index.theta[rows], part, index.latent[rows], index.settings)
    view.__dict__["roots"] = index.roots[rows]  # the cached property's value, shared and not computed anew
    return view
