"""Feedback is kept once, by whom and on which answer, and can be read by model version."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lookup_api.calls import AwsCalls
from lookup_api.feedback import BY_VERSION, FeedbackStore
from lookup_api.keys import Principal
from lookup_api.schemas import Feedback
from tests.lookup_api.conftest import FEEDBACK, KEYS, Server


def given(api: Server, answer_id: str) -> list[dict[str, Any]]:
    items = api.config.client("dynamodb").scan(TableName=FEEDBACK)["Items"]
    return [item for item in items if item["answer_id"]["S"] == answer_id]


def feedback(api: Server, **changes: Any) -> dict[str, Any]:
    return {
        "answer_id": "answer-0001",
        "model_version": api.version,
        "variant": "champion",
        "kind": "keyword",
        "item": "espresso grinder",
        "rank": 2,
        "verdict": "accepted",
        "by": "ana@example.com",
    } | changes


def test_feedback_on_an_answer_is_kept_with_all_it_is_about(api: Server) -> None:
    """What an A/B test needs: the answer, the version, the variant, the verdict, the client, and when."""
    answer = api.post("/v1/similar", {"keywords": ["latte"]}, KEYS["client-1"]).json()
    about = {name: answer[name] for name in ("answer_id", "model_version", "variant")}
    response = api.post("/v1/feedback", feedback(api, **about), KEYS["client-1"])
    assert (response.status_code, response.json()["stored"]) == (201, "created")
    [item] = given(api, answer["answer_id"])
    assert item["variant"]["S"] == "champion" and item["model_version"]["S"] == api.version
    assert (item["client_id"]["S"], item["by"]["S"], item["rank"]["N"]) == ("client-1", "ana@example.com", "2")
    assert item["verdict"]["S"] == "accepted" and item["given_at"]["S"].endswith("+00:00")
    by_version = api.config.client("dynamodb").query(
        TableName=FEEDBACK,
        IndexName=BY_VERSION,
        KeyConditionExpression="model_version = :v AND given_at > :since",
        ExpressionAttributeValues={":v": {"S": api.version}, ":since": {"S": "2020"}},
    )
    assert item["feedback_id"] in [one["feedback_id"] for one in by_version["Items"]]


def test_saying_it_twice_is_saying_it_once(api: Server) -> None:
    """A repeated request adds nothing; another verdict replaces the first; another person's is another one."""
    about = {"answer_id": "answer-twice"}
    first = api.post("/v1/feedback", feedback(api, **about)).json()
    assert api.post("/v1/feedback", feedback(api, **about)).json() == {**first, "stored": "unchanged"}
    assert api.post("/v1/feedback", feedback(api, **about, verdict="rejected")).json() == {**first, "stored": "changed"}
    assert [item["verdict"]["S"] for item in given(api, "answer-twice")] == ["rejected"]
    api.post("/v1/feedback", feedback(api, **about, by="ben@example.com"))
    api.post("/v1/feedback", feedback(api, **about), KEYS["client-0"])
    assert len(given(api, "answer-twice")) == 3


def test_feedback_may_expire(api: Server) -> None:
    """With a number of days an item names when it goes, and without it stays."""
    calls = AwsCalls()
    for days in (0, 30):
        store = FeedbackStore(calls, FEEDBACK, days)
        said = Feedback(**feedback(api, answer_id=f"answer-days-{days}"))
        store._put(f"days-{days}", said, Principal(None))
    assert "expires_at" not in given(api, "answer-days-0")[0]
    left = int(given(api, "answer-days-30")[0]["expires_at"]["N"]) - time.time()
    assert 29.9 * 86_400 < left <= 30 * 86_400
    calls.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "maybe"},
        {"kind": "topic"},
        {"by": ""},
        {"by": "a\x00b"},
        {"item": "x" * 1_025},
        {"rank": 0},
        {"rank": "1"},
        {"answer_id": "../x"},
        {"model_version": "latest"},
        {"variant": "under_score"},
        {"stars": 5},
    ],
)
def test_feedback_that_makes_no_sense_is_refused(changes: dict[str, Any], api: Server) -> None:
    """400 that names the field, and nothing is kept."""
    response = api.post("/v1/feedback", feedback(api, answer_id="answer-bad") | changes)
    assert response.status_code == 400
    assert next(iter(changes)) in response.json()["errors"][0]["place"]
    assert given(api, "answer-bad") == []
