"""A client's key sees the client's campaigns, and of others not even that they exist."""

from __future__ import annotations

import secrets
import time
from urllib.parse import quote

import pytest

from lookup_api.tables import put_key, remove_key
from tests.lookup_api.conftest import CLIENTS, KEYS, Server


@pytest.mark.parametrize("key", [None, "", "unknown", "x" * 1_000, "é"])
@pytest.mark.parametrize("path", ["/v1/topics", "/v1/campaigns/coffee-0001", "/v1/nothing"])
def test_without_a_valid_key_there_is_no_answer(key: str | None, path: str, api: Server) -> None:
    """403 as API Gateway answers, before it is looked whether there is anything."""
    headers = {} if key is None else {b"x-api-key": key.encode()}
    response = api.request("GET", path, None, headers=headers)
    assert response.status_code == 403
    assert response.json()["type"] == "urn:topic-model:problem:forbidden"


def test_anothers_campaign_is_as_one_that_does_not_exist(api: Server) -> None:
    """Status and document differ in nothing but the id that was asked for."""
    key = KEYS["client-0"]
    for campaign_id, row in sorted(api.rows().items())[::4]:
        for below in ("", "/similar", "/recommendations"):
            response = api.request("GET", f"/v1/campaigns/{quote(campaign_id, safe='')}{below}", key)
            if row["client_id"] == "client-0":
                assert response.status_code == 200
                continue
            missing = api.request("GET", f"/v1/campaigns/{'z' * len(campaign_id)}{below}", key)
            assert response.status_code == missing.status_code == 404
            same = {"request_id": "", "detail": ""}
            assert response.json() | same == missing.json() | same


def test_no_answer_to_a_client_tells_of_another(api: Server) -> None:
    """Neighbours are the client's own, as many as it has, and each recommended keyword is of its own campaigns."""
    rows = api.rows()
    for client_id, key in KEYS.items():
        own = {campaign_id: row for campaign_id, row in rows.items() if row["client_id"] == client_id}
        used = {frozenset(keyword.split()) for row in own.values() for keyword in row["keywords"]}
        for campaign_id in own:
            path = f"/v1/campaigns/{quote(campaign_id, safe='')}"
            similar = api.get(f"{path}/similar", key, k=100)["similar"]
            assert {one["campaign_id"] for one in similar} <= own.keys() - {campaign_id}
            assert {one["client_id"] for one in similar} <= {client_id}
            for one in api.get(f"{path}/recommendations", key, k=100)["recommendations"]:
                assert frozenset(one["keyword"].split()) in used
        fresh = api.post("/v1/similar", {"keywords": ["espresso grinder", "latte"], "k": 100}, key).json()
        assert fresh["similar"] and {one["campaign_id"] for one in fresh["similar"]} <= own.keys()
        assert all(frozenset(one["keyword"].split()) in used for one in fresh["recommendations"])
        found = [one["campaign_id"] for page in (1, 2) for one in api.get("/v1/campaigns", key, page=page)["campaigns"]]
        assert sorted(found) == sorted(own)


def test_a_filter_widens_nothing(api: Server) -> None:
    """A client that asks for another client's campaigns gets none of them."""
    key = KEYS["client-0"]
    own = next(campaign_id for campaign_id, row in api.rows().items() if row["client_id"] == "client-0")
    assert api.get(f"/v1/campaigns/{quote(own, safe='')}/similar", key, client="client-1")["similar"] == []
    assert api.get("/v1/campaigns", key, client="client-1")["total"] == 0
    assert api.post("/v1/similar", {"keywords": ["latte"], "client": "client-1"}, key).status_code == 400


def test_an_administrator_may_take_a_clients_view(api: Server) -> None:
    """With ``client`` an administrator gets what that client's own key gets."""
    own = "coffee-0001"
    client_id = api.rows()[own]["client_id"]
    key = f"key-{secrets.token_hex(8)}"
    put_key(api.config.client("dynamodb"), CLIENTS, key, client_id)
    for admin, mine in (
        (api.get(f"/v1/campaigns/{own}/similar", client=client_id), api.get(f"/v1/campaigns/{own}/similar", key)),
        (api.get("/v1/campaigns", query="latte", client=client_id), api.get("/v1/campaigns", key, query="latte")),
        (
            api.post("/v1/similar", {"keywords": ["latte"], "client": client_id}).json(),
            api.post("/v1/similar", {"keywords": ["latte"]}, key).json(),
        ),
    ):
        assert admin | {"answer_id": ""} == mine | {"answer_id": ""}
    remove_key(api.config.client("dynamodb"), CLIENTS, key)


def test_keys_end(api: Server) -> None:
    """A removed key and an expired one are refused."""
    dynamodb, key = api.config.client("dynamodb"), f"key-{secrets.token_hex(8)}"
    put_key(dynamodb, CLIENTS, key, "client-1", expires_at=int(time.time()) + 3_600)
    assert api.request("GET", "/v1/topics", key).status_code == 200
    put_key(dynamodb, CLIENTS, key, "client-1", expires_at=int(time.time()) - 1)
    assert api.request("GET", "/v1/topics", key).status_code == 403
    put_key(dynamodb, CLIENTS, key, "client-1")
    assert api.request("GET", "/v1/topics", key).status_code == 200
    remove_key(dynamodb, CLIENTS, key)
    assert api.request("GET", "/v1/topics", key).status_code == 403


def test_keys_are_not_stored(api: Server) -> None:
    """The table of clients holds digests; who reads it cannot ask with what is there."""
    items = api.config.client("dynamodb").scan(TableName=CLIENTS)["Items"]
    assert items
    assert not any(key in str(items) for key in KEYS.values())
    for item in items:
        assert api.request("GET", "/v1/topics", item["key"]["S"]).status_code == 403
