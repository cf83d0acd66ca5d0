"""Feedback is taken on answers that were given, kept once, by whom and on which answer, and read by model version."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from typing import Any

import httpx
import pytest

from lookup_api import answer_key
from lookup_api.answer_ids import ANSWER_DAYS, AnswerIds, Judged
from lookup_api.answer_key import AnswerKey
from lookup_api.app import create_app
from lookup_api.calls import AwsCalls, SecretsClient
from lookup_api.feedback import BY_VERSION, FeedbackStore
from lookup_api.keys import Principal
from lookup_api.problems import Problem
from lookup_api.schemas import Feedback
from tests.lookup_api.conftest import ADMIN, ANSWER_KEY, FEEDBACK, KEYS, SETTINGS, Server

SAID: dict[str, Any] = {"kind": "keyword", "verdict": "accepted", "by": "ana@example.com"}
ONE, OTHER = KEYS["client-1"], KEYS["client-0"]


def kept(api: Server, request_id: str) -> list[dict[str, Any]]:
    """What is kept on the answer to a request."""
    items = api.config.client("dynamodb").scan(TableName=FEEDBACK)["Items"]
    return [item for item in items if item["request_id"]["S"] == request_id]


def fresh(api: Server, key: str = ADMIN) -> tuple[dict[str, Any], str]:
    """A fresh campaign's answer, and its request's id."""
    response = api.post("/v1/similar", {"keywords": ["latte"]}, key)
    answer: dict[str, Any] = response.json()
    assert answer["similar"] and answer["recommendations"]
    return answer, response.headers["x-request-id"]


def on(answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Feedback on an answer's second keyword."""
    return {**SAID, "answer_id": answer["answer_id"], "item": answer["recommendations"][1]["keyword"]} | changes


def test_feedback_on_an_answer_is_kept_with_all_it_is_about(api: Server) -> None:
    """What an A/B test needs: the answer, the version, the variant, the place, the verdict, the client, and when."""
    answer, request_id = fresh(api, ONE)
    response = api.post("/v1/feedback", on(answer), ONE)
    assert (response.status_code, response.json()["stored"]) == (201, "created")
    [item] = kept(api, request_id)
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


@pytest.mark.parametrize("below", ["similar", "recommendations"])
def test_known_campaigns_answers_are_judged_too(below: str, api: Server) -> None:
    """Their campaign is what the signature says; they have no variant."""
    campaign = "coffee-0001"
    response = api.request("GET", f"/v1/campaigns/{campaign}/{below}")
    answer = response.json()
    held = {"kind": "neighbour", "item": answer[below][0]["campaign_id"]} if below == "similar" else {}
    said = {**SAID, "item": answer[below][0].get("keyword"), "answer_id": answer["answer_id"], **held}
    assert api.post("/v1/feedback", said).status_code == 201
    [item] = kept(api, response.headers["x-request-id"])
    assert (item["campaign_id"]["S"], item["rank"]["N"]) == (campaign, "1") and "variant" not in item


def test_saying_it_twice_is_saying_it_once(api: Server) -> None:
    """A repeated request adds nothing; another verdict replaces the first; another person's is another one."""
    answer, request_id = fresh(api)
    first = api.post("/v1/feedback", on(answer)).json()
    assert api.post("/v1/feedback", on(answer)).json() == {**first, "stored": "unchanged"}
    assert api.post("/v1/feedback", on(answer, verdict="rejected")).json() == {**first, "stored": "changed"}
    assert [item["verdict"]["S"] for item in kept(api, request_id)] == ["rejected"]
    api.post("/v1/feedback", on(answer, by="ben@example.com"))
    assert len(kept(api, request_id)) == 2


def refusal(api: Server, said: dict[str, Any], key: str = ADMIN) -> str:
    """The code of the problem that feedback is answered with."""
    response = api.post("/v1/feedback", said, key)
    assert response.status_code == 422, response.text
    return str(response.json()["type"]).rpartition(":")[2]


def test_a_forged_answer_is_refused(api: Server) -> None:
    """Made up, cut off, or changed in any one byte: none of it was given."""
    answer, request_id = fresh(api)
    answer_id = answer["answer_id"]
    whole = base64.urlsafe_b64decode(answer_id + "=" * (-len(answer_id) % 4))
    changed = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 7)]
    forged = [base64.urlsafe_b64encode(one).decode().rstrip("=") for one in changed]
    for one in ("x", "AAAA" * 30, "7c1f2a34-98be-4a0e-9c3e-2f6c5d1b8a90", answer_id[:-4], answer_id + "AAAA", *forged):
        assert refusal(api, on(answer, answer_id=one)) == "unknown-answer", one
    assert kept(api, request_id) == []


def test_another_clients_answer_is_refused(api: Server) -> None:
    """As if it had never been given: by another client's key, by an administrator's, and the other way round."""
    answer, request_id = fresh(api, ONE)
    of_admin, _ = fresh(api)
    assert refusal(api, on(answer), OTHER) == refusal(api, on(answer), ADMIN) == "unknown-answer"
    assert refusal(api, on(of_admin), ONE) == "unknown-answer"
    assert kept(api, request_id) == []


def test_an_old_answer_is_refused(api: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as many days as is said an answer may be judged, and then no longer."""
    answer, request_id = fresh(api)
    now = time.time
    monkeypatch.setattr("lookup_api.answer_ids.time.time", lambda: now() + ANSWER_DAYS * 86_400 - 60)
    assert api.post("/v1/feedback", on(answer)).status_code == 201
    monkeypatch.setattr("lookup_api.answer_ids.time.time", lambda: now() + ANSWER_DAYS * 86_400 + 60)
    assert refusal(api, on(answer, by="ben")) == "expired-answer"
    assert len(kept(api, request_id)) == 1


def test_what_an_answer_did_not_hold_is_refused(api: Server) -> None:
    """A keyword that was not recommended, a campaign that was not similar, or one taken for the other."""
    answer, request_id = fresh(api)
    neighbour = answer["similar"][0]["campaign_id"]
    for changes in ({"item": "no such keyword"}, {"item": neighbour}, {"kind": "neighbour"}):
        assert refusal(api, on(answer, **changes)) == "unknown-item"
    assert kept(api, request_id) == []
    assert api.post("/v1/feedback", on(answer, kind="neighbour", item=neighbour)).status_code == 201


def test_who_gives_feedback_does_not_say_what_the_answer_was(api: Server) -> None:
    """Version, variant, campaign and place are the signature's; a request that brings its own is refused."""
    answer, _ = fresh(api)
    for name, value in {"variant": "B", "model_version": api.version, "campaign_id": "c", "rank": 1}.items():
        response = api.post("/v1/feedback", on(answer, **{name: value}))
        assert (response.status_code, response.json()["errors"][0]["place"]) == (400, name)


@pytest.mark.parametrize("secret", [None, "no-such-secret", "short-secret"])
def test_without_a_key_lookups_go_on_and_feedback_is_refused(secret: str | None, api: Server) -> None:
    """None is configured, it is not there, or it is too short to be one: no answer has an id, and none is taken."""
    short = api.config.client("secretsmanager")
    if secret == "short-secret":
        short.create_secret(Name=secret, SecretString="1234")
    calls = AwsCalls()
    answers = AnswerIds(AnswerKey(calls, secret))

    async def use() -> None:
        about = {"model_version": "0123456789ab"}
        assert await answers.sign(Principal(None), "request", about) is None
        with pytest.raises(Problem, match="there is no key to know answers by") as caught:
            await answers.judged(
                await real.sign(Principal(None), "request", about) or "", Principal(None), "keyword", "x"
            )
        assert caught.value.status == 503

    real = AnswerIds(AnswerKey(calls, ANSWER_KEY))
    asyncio.run(use())
    calls.close()


def test_a_new_process_answers_with_ids_however_slow_the_secret_is(
    api: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret is asked for when the application is made, and the first answer waits for it."""
    monkeypatch.setattr("lookup_api.renewed.NEEDED_SECONDS", 60.0)
    asked, gate = threading.Event(), threading.Event()

    def slow(client: SecretsClient, secret: str) -> bytes:
        asked.set()
        assert gate.wait(30)
        return read(client, secret)

    read = answer_key._read
    monkeypatch.setattr(answer_key, "_read", slow)
    app = create_app(SETTINGS, write=lambda _: None)
    assert asked.wait(30)

    async def use() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=api.url, timeout=60) as client:
            answer = asyncio.create_task(client.get("/v1/campaigns/coffee-0001/similar", headers={"x-api-key": ADMIN}))
            await asyncio.sleep(1)
            gate.set()
            return await answer

    assert asyncio.run(use()).json()["answer_id"]


def test_an_id_is_short_enough_for_what_takes_it(api: Server) -> None:
    """The largest answer about the campaign with the longest id: its id passes the schema of feedback."""
    calls = AwsCalls()
    answers = AnswerIds(AnswerKey(calls, ANSWER_KEY))
    about = {"model_version": "f" * 64, "variant": "v" * 63, "campaign_id": "é" * 256}
    similar = [{"campaign_id": f"campaign {number}"} for number in range(100)]
    keywords = [{"keyword": f"keyword {number}"} for number in range(100)]
    signed = answers.sign(Principal("c"), "r" * 64, about, similar=similar, recommendations=keywords)
    answer_id = asyncio.run(signed)
    calls.close()
    assert answer_id is not None and Feedback(**SAID, answer_id=answer_id, item="keyword 1").answer_id == answer_id


def test_feedback_may_expire(api: Server) -> None:
    """With a number of days an item names when it goes, and without it stays."""
    calls = AwsCalls()
    for days in (0, 30):
        store = FeedbackStore(calls, FEEDBACK, days)
        judged = Judged("0" * 32, f"request-days-{days}", api.version, None, None, 1)
        said = Feedback(**SAID, answer_id="A", item="latte")
        store._put(f"days-{days}", said, judged, Principal(None))
    assert "expires_at" not in kept(api, "request-days-0")[0]
    left = int(kept(api, "request-days-30")[0]["expires_at"]["N"]) - time.time()
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
        {"answer_id": "../x"},
        {"answer_id": ""},
        {"answer_id": "x" * 4_097},
        {"answer_id": None},
        {"stars": 5},
    ],
)
def test_feedback_that_makes_no_sense_is_refused(changes: dict[str, Any], api: Server) -> None:
    """400 that names the field."""
    said = {**SAID, "answer_id": "AAAA", "item": "latte"} | changes
    response = api.post("/v1/feedback", said)
    assert response.status_code == 400
    assert next(iter(changes)) in response.json()["errors"][0]["place"]
