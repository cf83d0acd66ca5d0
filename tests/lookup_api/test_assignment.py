"""Which variant a question falls on during an A/B test."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from lookup_api.assignment import Assignment, chosen_variant, question_of
from lookup_api.calls import AwsCalls
from tests.lookup_api.conftest import ENDPOINT, LOOKUPS, Server
from topic_model.published import AB_TEST

WEIGHTS = {"A-aaaaaa": 0.8, "B-bbbbbb": 0.2}
KEY = {"campaign_id": {"S": AB_TEST}, "model_version": {"S": AB_TEST}}


def chosen(config: str = "c", client: str | None = "client-1", weights: Mapping[str, float] = WEIGHTS) -> list[str]:
    return [chosen_variant(config, weights, client, b"%d" % number) for number in range(4_000)]


def test_questions_fall_on_variants_by_their_weights() -> None:
    """Whether the weights add up to one or not, and never on one of weight 0."""
    for scale in (1, 7):
        counts = Counter(chosen(weights={name: scale * weight for name, weight in WEIGHTS.items()}))
        assert counts["B-bbbbbb"] == pytest.approx(800, abs=4 * 25)
    assert set(chosen(weights={"A-aaaaaa": 0.0, "B-bbbbbb": 1.0})) == {"B-bbbbbb"}


def test_another_test_or_client_is_another_draw() -> None:
    """Who had B in one test has it in the next no more often than others; so with clients."""
    first = chosen()
    assert first == chosen()
    for other in (chosen("d"), chosen(client="client-2"), chosen(client=None)):
        both = sum(one == two == "B-bbbbbb" for one, two in zip(first, other, strict=True))
        assert both == pytest.approx(4_000 * 0.04, abs=4 * 12.4)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"keywords": ["a"], "k": 3}, {"k": 100, "num_recommendations": 5, "keywords": ["a"]}, True),
        ({"keywords": ["a", "b"]}, {"keywords": ["b", "a"]}, False),
        ({"campaign_id": "c1", "keywords": ["a"]}, {"campaign_id": "c1", "keywords": ["b"]}, True),
        ({"campaign_id": "c1"}, {"campaign_id": "c2"}, False),
        ({"keywords": []}, {"keywords": [], "search_terms": ["a"]}, False),
    ],
)
def test_what_makes_a_question_the_same(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    """What is said of the campaign, or which known one it is, and not how much is asked about it."""
    assert (question_of(one) == question_of(other)) is same


def test_only_a_test_of_this_endpoint_counts(api: Server) -> None:
    """Without a test, with another endpoint's, or without a table nobody is assigned, and nobody is refused."""
    dynamodb, calls = api.config.client("dynamodb"), AwsCalls()
    variants = {"M": {name: {"N": str(weight)} for name, weight in WEIGHTS.items()}}

    def variant(table: str = LOOKUPS) -> str | None:
        return asyncio.run(Assignment(calls, table, ENDPOINT, 60).variant({"keywords": ["a"]}, None))

    assert variant() is None
    for endpoint, assigned in (("another", False), (ENDPOINT, True)):
        item: dict[str, Any] = {"endpoint": {"S": endpoint}, "config": {"S": "c"}, "variants": variants}
        dynamodb.put_item(TableName=LOOKUPS, Item={**KEY, **item})
        assert (variant() in WEIGHTS) is assigned
    assert variant("no-such-table") is None
    # The endpoint has neither variant: questions are answered all the same.
    answer = api.post("/v1/similar", {"keywords": ["latte"]})
    assert (answer.status_code, answer.json()["variant"]) == (200, "champion")
    dynamodb.delete_item(TableName=LOOKUPS, Key=KEY)
    calls.close()
