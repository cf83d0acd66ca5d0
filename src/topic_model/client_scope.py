"""Neighbours within one client: what a client may be told of, since it sees no other client's campaigns.

Campaigns are sorted by client, so a client's part of the index is consecutive rows and costs no memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from topic_model.neighbours import CampaignIndex, CampaignVectors, Neighbours


class ClientScope:
    """The index of each client, by its rows."""

    def __init__(self, rows: Mapping[str, slice], index: CampaignIndex) -> None:
        self.rows, self._index = rows, index

    def nearest(self, client: str, campaign: CampaignVectors, number: int, *, own_row: int | None = None) -> Neighbours:
        """Neighbours among a client's campaigns; none where the client has none."""
        rows = self.rows.get(client)
        if rows is None:
            return Neighbours([np.zeros(0, dtype=np.int64)], [np.zeros(0)])
        return self._index.nearest(campaign, number, own_row=own_row, within=rows)

    def all_nearest(self, client: str, number: int) -> Neighbours:
        """Neighbours of each of a client's campaigns, among that client's."""
        return self._index.all_nearest(number, within=self.rows[client])
