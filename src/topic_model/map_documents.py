"""The map of campaigns as documents of the lookup table: one of all campaigns, and one a client of the client's own.

A client sees its campaigns where they stand on the map of all, so a client's map is a part of that one and is cut when
publishing: nothing of other clients is read to answer with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from topic_model.arrays import FloatArray, IntArray
from topic_model.known_campaigns import KnownCampaign
from topic_model.published import map_name
from topic_model.search_documents import columns_in_parts

MAX_POINTS = 50_000
"""Of one map: what a browser draws without stutter. Of more campaigns a seeded sample is shown."""
SCALE = 10_000
"""Positions are whole numbers from 0 to this: half as long as decimals, and finer than a screen."""
MAX_NAME_LENGTH = 200

_COLUMNS = ("campaign_id", "name", "x", "y", "cluster")


def map_documents(
    campaigns: Sequence[KnownCampaign], positions: FloatArray, clusters: IntArray, seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of the map of all campaigns and of each client's, with their names.

    A part is ``{"client_id", "parts", "total", "campaign_id": [...], "name": [...], "x": [...], "y": [...],
    "cluster": [...]}``, where ``total`` counts the campaigns that the map is of, shown or not. ``positions`` has shape
    (n_campaigns, 2) in [0, 1]; campaigns of one client stand together.
    """
    places = np.rint(positions * SCALE).astype(np.int64)
    yield from _parts(None, np.arange(len(campaigns)), campaigns, places, clusters, seed)
    for client, members in groupby(range(len(campaigns)), lambda row: campaigns[row].client_id):
        if client is not None:
            yield from _parts(client, np.fromiter(members, np.int64), campaigns, places, clusters, seed)


def _parts(
    client: str | None,
    rows: IntArray,
    campaigns: Sequence[KnownCampaign],
    places: IntArray,
    clusters: IntArray,
    seed: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    shown = rows
    if len(rows) > MAX_POINTS:
        shown = np.sort(np.random.RandomState(seed).permutation(rows)[:MAX_POINTS])
    shown_campaigns = [campaigns[row] for row in shown.tolist()]
    columns = zip(
        (campaign.campaign_id for campaign in shown_campaigns),
        (campaign.name and campaign.name[:MAX_NAME_LENGTH] for campaign in shown_campaigns),
        *places[shown].T.tolist(),
        clusters[shown].tolist(),
        strict=True,
    )
    parts = list(columns_in_parts(_COLUMNS, columns))
    for number, part in enumerate(parts):
        yield map_name(client, number), {"client_id": client, "parts": len(parts), "total": len(rows), **part}
