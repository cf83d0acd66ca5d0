"""The map of campaigns, a part at a time: a part fits an item of the table, a Lambda's answer and a gateway's cache."""

from __future__ import annotations

from typing import Any

from lookup_api.keys import Principal
from lookup_api.problems import Problem, unavailable
from lookup_api.table import UNPUBLISHED_RETRY_SECONDS, LookupTable
from topic_model.published import CLUSTERS, map_name

_COLUMNS = ("campaign_id", "name", "x", "y", "cluster")
_NOBODYS: dict[str, Any] = {"parts": 0, "total": 0, **{name: [] for name in _COLUMNS}}


async def map_part(table: LookupTable, principal: Principal, part: int, client_id: str | None) -> dict[str, Any]:
    """A part (from 1) of the current map of what the principal may see; ``client_id`` narrows it to one client.

    A client without campaigns has a map of no part.

    Raises:
        Problem: 404, where the map has fewer parts; 503, where the version has no map.
    """
    version = await table.version()
    client = client_id if client_id is not None else principal.client_id
    clusters = await table.document_of(version, CLUSTERS)
    # Of all campaigns there always is a map, whoever asks: a version without it is one of before maps.
    if clusters is None or await table.document_of(version, map_name(None, 0)) is None:
        raise unavailable(f"version {version} was published without a map", UNPUBLISHED_RETRY_SECONDS)
    first, found = None, None
    if client is None or principal.sees(client):
        first = await table.document_of(version, map_name(client, 0))
        found = first if part == 1 else await table.document_of(version, map_name(client, part - 1))
    if found is None and part > 1:
        parts = first["parts"] if first else 0
        raise Problem(404, "unknown-part", f"there is no part {part}; the map has {parts}, from 1")
    shown = {name: (found or _NOBODYS)[name] for name in ("parts", "total", *_COLUMNS)}
    labels = [cluster["label"] for cluster in clusters]
    return {"model_version": version, "part": part, **shown, "cluster_labels": labels}
