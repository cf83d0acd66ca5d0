"""A client's key sees that client's campaigns, and no other's by any way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from acceptance.api import Api
from acceptance.environment import Environment
from acceptance.keys import key_for

pytestmark = pytest.mark.sample


@pytest.fixture(scope="module")
def clients(known: list[dict[str, Any]]) -> list[str]:
    """Two clients of the sample."""
    found = sorted({one["client_id"] for one in known if one["client_id"]})
    assert len(found) >= 2, f"the sample's campaigns are of {found}; isolation needs two clients"
    return found[:2]


@pytest.fixture(scope="module")
def customer(environment: Environment, clients: list[str]) -> Iterator[Api]:
    """The API with the first client's key."""
    with key_for(environment, clients[0]) as key:
        yield Api(environment.api_url, key)


def test_another_clients_campaign_is_not_there(customer: Api, clients: list[str], known: list[dict[str, Any]]) -> None:
    """It is answered as one that does not exist: whether it does is nobody else's business."""
    other = next(one["campaign_id"] for one in known if one["client_id"] == clients[1])
    for more in ((), ("similar",), ("recommendations",)):
        answer = customer.get("v1", "campaigns", other, *more)
        assert (answer.status, answer.code) == (404, "unknown-campaign"), f"{more}: {answer.status}"


def test_neighbours_are_the_clients_own(customer: Api, clients: list[str], known: list[dict[str, Any]]) -> None:
    """Known and fresh campaigns alike."""
    own = [one for one in known if one["client_id"] == clients[0]]
    for campaign in own:
        found = customer.get("v1", "campaigns", campaign["campaign_id"], "similar").document["similar"]
        assert {one["client_id"] for one in found} <= {clients[0]}
    fresh = customer.post("v1", "similar", body={"keywords": own[0]["keywords"][:10]})
    if fresh.status == 200:
        assert {one["client_id"] for one in fresh.document["similar"]} <= {clients[0]}
    else:
        assert fresh.code == "no-known-terms"


def test_search_finds_the_clients_own(customer: Api, clients: list[str], known: list[dict[str, Any]]) -> None:
    """Words of another client's campaign find none of its."""
    other = next(one for one in known if one["client_id"] == clients[1] and one["keywords"])
    found = customer.get("v1", "campaigns", query=other["keywords"][0]).document["campaigns"]
    assert {one["client_id"] for one in found} <= {clients[0]}


def test_another_client_cannot_be_asked_for(customer: Api, clients: list[str]) -> None:
    """To name another client is a mistake, and no way in."""
    answer = customer.post("v1", "similar", body={"keywords": ["running shoes"], "client": clients[1]})
    assert answer.status in (400, 403), f"{answer.status}: {answer.text[:200]}"
