"""Neighbours within one client: what a client may be told of, since it sees no other client's campaigns.

Campaigns are sorted by client, so a client's part of the index is a view of consecutive rows and costs no memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from topic_model.arrays import FloatArray, IntArray, csr
from topic_model.neighbours import CampaignIndex, CampaignVectors, Neighbours


class ClientScope:
    """The index of each client, by its rows."""

    def __init__(self, rows: Mapping[str, slice], index: CampaignIndex) -> None:
        self.rows, self._index = rows, index
        self._parts: dict[str, CampaignIndex] = {}

    def nearest(self, client: str, campaign: CampaignVectors, number: int, *, own_row: int | None = None) -> Neighbours:
        """Neighbours among a client's campaigns; none where the client has none."""
        rows = self.rows.get(client)
        if rows is None:
            return Neighbours([np.zeros(0, dtype=np.int64)], [np.zeros(0)])
        return self._index.nearest(campaign, number, own_row=own_row, within=rows)

    def all_nearest(self, client: str, number: int) -> tuple[list[IntArray], list[FloatArray]]:
        """Rows and similarities of the neighbours of each of a client's campaigns, among that client's."""
        rows = self.rows[client]
        if (listed := self._index.all_listed(rows, number)) is not None:
            return listed.rows, listed.similarities
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
