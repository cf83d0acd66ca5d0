"""The map is what the key may see: all campaigns, or one client's, each where it stands on the map of all."""

from __future__ import annotations

from typing import Any

import pytest

from lookup_api.tables import put_key, remove_key
from tests.lookup_api.conftest import CLIENTS, HTML, KEYS, Server

COLUMNS = ("campaign_id", "name", "x", "y", "cluster")


def places(answer: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Name, place and cluster by campaign."""
    return {one[0]: one[1:] for one in zip(*(answer[name] for name in COLUMNS), strict=True)}


def test_an_administrator_sees_every_campaign(api: Server) -> None:
    """With its name as text, and the label of its cluster."""
    answer, rows = api.get("/v1/map"), api.rows()
    shown = places(answer)
    assert shown.keys() == rows.keys()
    assert (answer["parts"], answer["total"], answer["model_version"]) == (1, len(rows), api.version)
    assert shown["html"][0] == HTML.name
    for campaign_id, (_, x, y, cluster) in shown.items():
        assert answer["cluster_labels"][cluster] == rows[campaign_id]["cluster_label"]
        assert 0 <= x <= 10_000 and 0 <= y <= 10_000


def test_a_client_sees_its_own_campaigns_alone(api: Server) -> None:
    """Not even their number tells of another client's; the places are those of the map of all."""
    everyone, rows = places(api.get("/v1/map")), api.rows()
    for client_id, key in KEYS.items():
        answer = api.get("/v1/map", key)
        own = {campaign_id for campaign_id, row in rows.items() if row["client_id"] == client_id}
        assert places(answer) == {campaign_id: everyone[campaign_id] for campaign_id in own}
        assert answer["total"] == len(own)
        assert api.get("/v1/map", client=client_id) == answer


def test_a_filter_widens_nothing(api: Server) -> None:
    """Another client's map is as that of a client which has no campaign."""
    other = api.get("/v1/map", KEYS["client-0"], client="client-1")
    assert other == api.get("/v1/map", KEYS["client-0"], client="nobody") == api.get("/v1/map", client="nobody")
    assert (other["parts"], other["total"], other["campaign_id"]) == (0, 0, [])


def test_a_client_without_campaigns_has_an_empty_map(api: Server) -> None:
    """It is no error to have none."""
    dynamodb = api.config.client("dynamodb")
    put_key(dynamodb, CLIENTS, "key-of-newcomer", "newcomer")
    answer = api.get("/v1/map", "key-of-newcomer")
    remove_key(dynamodb, CLIENTS, "key-of-newcomer")
    assert (answer["parts"], answer["campaign_id"]) == (0, [])


@pytest.mark.parametrize("key", ["admin-key-of-tests", KEYS["client-0"]])
def test_a_part_behind_the_last_is_told(key: str, api: Server) -> None:
    """404 with how many parts there are."""
    response = api.request("GET", "/v1/map", key, params={"part": 2})
    assert response.status_code == 404
    assert response.json()["detail"] == "there is no part 2; the map has 1, from 1"
