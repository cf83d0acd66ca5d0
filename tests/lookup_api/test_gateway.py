"""The lookup API behind the local API Gateway, as ``topic-model local gateway`` puts it there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from local_aws.config import LocalConfig
from lookup_api.tables import ensure_tables
from tests.local_aws.conftest import running
from tests.lookup_api.conftest import BELOW, ENDPOINT, HTML, KEYS, LOOKUPS, SLASHED, Server
from topic_model_cli import gateway_stack
from topic_model_cli.gateway_plans import CLIENTS_TABLE, Limits
from topic_model_cli.gateway_stack import ANALYSTS, LookupGateway, ensure_gateway, published_clients

CLIENTS = list(KEYS)


@pytest.fixture(scope="module")
def gateway(local_aws: LocalConfig, published: str) -> Iterator[LookupGateway]:
    """The stack's gateway over the lookups and the endpoint of the tests."""
    del published
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway_stack, "LOOKUP_TABLE", LOOKUPS)
        patch.setattr(gateway_stack, "ENDPOINT_NAME", ENDPOINT)
        yield ensure_gateway(local_aws, CLIENTS, Limits())


def ask(gateway: LookupGateway, path: str, whose: str = ANALYSTS, body: object = None) -> httpx.Response:
    """One request with somebody's key."""
    headers = {"x-api-key": gateway.keys[whose]}
    if body is None:
        return httpx.get(f"{gateway.url}{path}", headers=headers, timeout=60)
    return httpx.post(f"{gateway.url}{path}", headers=headers, json=body, timeout=60)


def test_a_key_sees_its_clients_campaigns_and_the_analysts_all(gateway: LookupGateway, api: Server) -> None:
    """Through gateway, function and tables; another client's campaign is a 404, cached or not."""
    own = {client: next(i for i, row in api.rows().items() if row["client_id"] == client) for client in CLIENTS}
    for _ in range(2):  # the second time from the cache
        for client, campaign in own.items():
            path = f"/v1/campaigns/{quote(campaign, safe='')}"
            assert ask(gateway, path).json()["campaign_id"] == campaign
            for asker in CLIENTS:
                assert ask(gateway, path, asker).status_code == (200 if asker == client else 404)
    fresh = ask(gateway, "/v1/similar", CLIENTS[0], {"keywords": ["latte"]}).json()
    assert {one["client_id"] for one in fresh["similar"]} == {CLIENTS[0]}


def test_a_refusal_of_the_gateway_is_a_problem_as_the_applications_are(gateway: LookupGateway) -> None:
    """RFC 9457 with the request's id, for no key, for what is not there, and for a body of another shape."""
    no_key = httpx.get(f"{gateway.url}/v1/topics")
    for response, status in (
        (no_key, 403),
        (ask(gateway, "/v1/nothing"), 403),
        (ask(gateway, "/v1/similar", body={"keywords": "latte"}), 400),
        (ask(gateway, "/v1/similar", body={"keywords": ["latte"], "surprise": 1}), 400),
    ):
        problem = response.json()
        assert (response.status_code, problem["status"]) == (status, status)
        assert problem["title"] == HTTPStatus(status).phrase
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["request_id"] == response.headers["x-request-id"] == response.headers["x-amzn-requestid"]


def test_known_campaigns_are_cached_and_fresh_ones_are_not(gateway: LookupGateway, api: Server) -> None:
    """The function is asked once for the one, and each time for the other: an answer has its request's id."""
    campaign = quote(next(iter(api.rows())), safe="")
    path = f"/v1/campaigns/{campaign}/similar?k=7"
    ids = [ask(gateway, path).headers["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 1
    fresh = [ask(gateway, "/v1/similar", body={"keywords": ["latte"]}).json()["answer_id"] for _ in range(3)]
    assert len(set(fresh)) == 3


def test_feedback_on_a_cached_answer_is_kept_for_each_who_gives_it(gateway: LookupGateway, api: Server) -> None:
    """The id in it names the answer and not its reader; another client's key, which has no such answer, is refused."""
    own = next(campaign for campaign, row in api.rows().items() if row["client_id"] == CLIENTS[0] and row["similar"])
    path = f"/v1/campaigns/{quote(own, safe='')}/similar?k=6"
    first, second = (ask(gateway, path, CLIENTS[0]).json() for _ in range(2))
    assert first["answer_id"] == second["answer_id"] is not None
    said = {
        "answer_id": first["answer_id"],
        "kind": "neighbour",
        "item": first["similar"][0]["campaign_id"],
        "verdict": "accepted",
    }
    ids = set()
    for by in ("ann", "ben"):
        kept = ask(gateway, "/v1/feedback", CLIENTS[0], {**said, "by": by})
        assert (kept.status_code, kept.json()["stored"]) == (201, "created")
        ids.add(kept.json()["feedback_id"])
    assert len(ids) == 2
    refused = ask(gateway, "/v1/feedback", CLIENTS[1], {**said, "by": "eve"})
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:topic-model:problem:unknown-answer")


def test_what_the_cache_does_not_see_changes_no_answer(gateway: LookupGateway, api: Server) -> None:
    """Parameters that are not declared, and all but the last of a repeated one, neither spoil a cached answer nor make
    another, nor do slashes too many; a declared parameter that is wrong is refused for its own value alone."""
    path = f"/v1/campaigns/{quote(next(iter(api.rows())), safe='')}/similar"
    odd = ask(gateway, f"{path}?k=101&k=3&min_similarty=0.5&%00=x&k%5B%5D=1")
    assert odd.status_code == 200 and len(odd.json()["similar"]) == 3
    plain = ask(gateway, f"{path}?k=3")
    assert plain.json() == odd.json() and plain.headers["x-request-id"] == odd.headers["x-request-id"]
    for slashed in ("/v1/campaigns/coffee-0001/", "//v1//topics"):
        for one in (slashed, slashed.replace("//", "/").rstrip("/")):
            assert ask(gateway, one).status_code == 200
    assert [ask(gateway, f"{path}?k={k}").status_code for k in (0, -1, 10**9, "x", 4)] == [400, 400, 400, 400, 200]


def test_ids_with_slashes_are_ids(gateway: LookupGateway) -> None:
    """Encoded they reach the application as they are, also where they end like a path below a campaign."""
    for campaign in (SLASHED, BELOW, HTML):
        for below in ("", "/similar", "/recommendations"):
            answer = ask(gateway, f"/v1/campaigns/{quote(campaign.campaign_id, safe='')}{below}")
            assert answer.json()["campaign_id"] == campaign.campaign_id


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_apis_address_leads_to_the_page(slash: str, gateway: LookupGateway, local_aws: LocalConfig) -> None:
    """In path style and where the host names the API, with a slash at the end and without one, cached or not."""
    host = f"{gateway.api_id}.execute-api.localhost:{local_aws.port}"
    staged = f"{local_aws.endpoint_url}/{gateway.url.split('/')[-2]}"
    for _ in range(2):
        for url, headers in ((gateway.url, {}), (staged, {"Host": host})):
            sent_on = httpx.get(f"{url}{slash}", headers=headers)
            assert sent_on.status_code == 307
            page = httpx.get(f"{local_aws.endpoint_url}{sent_on.headers['location']}", headers=headers)
            assert page.status_code == 200 and "<title>Similar campaigns" in page.text


def test_the_page_is_served_below_the_stage(gateway: LookupGateway) -> None:
    """Without a key; a browser that has it gets 304, and that is not what the next one gets."""
    page = httpx.get(f"{gateway.url}/page")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    for name in re.findall(r'(?:href|src)="(page/[^"]+)"', page.text):
        file = httpx.get(f"{gateway.url}/{name}")
        known = httpx.get(f"{gateway.url}/{name}", headers={"If-None-Match": file.headers["etag"]})
        again = httpx.get(f"{gateway.url}/{name}")
        assert (file.status_code, known.status_code, again.status_code) == (200, 304, 200), name
        assert again.text == file.text


def test_a_second_call_changes_nothing(gateway: LookupGateway, local_aws: LocalConfig) -> None:
    """The same API, keys and deployment, and no line in the journal."""
    journal = local_aws.root / "journal.jsonl"
    before = [line for line in journal.read_text().splitlines() if '"service":"apigateway"' in line]
    assert ensure_gateway(local_aws, CLIENTS, Limits()) == gateway
    after = [line for line in journal.read_text().splitlines() if '"service":"apigateway"' in line]
    assert after == before
    assert set(CLIENTS) <= set(published_clients(local_aws) or [])


def test_other_limits_are_taken_over(gateway: LookupGateway, local_aws: LocalConfig) -> None:
    """A burst of one lets one request through; the next call puts it back."""
    ensure_gateway(local_aws, CLIENTS, Limits(rate=0.1, burst=1))
    statuses = [ask(gateway, "/v1/topics", CLIENTS[1]).status_code for _ in range(3)]
    assert statuses == [200, 429, 429]
    ensure_gateway(local_aws, CLIENTS, Limits())


def test_the_command_prints_lines_that_work(tmp_path: Path) -> None:
    """Over an empty local AWS: keys, a URL, and that nothing is published, which the API says too."""
    with running(tmp_path / "aws") as config:
        ensure_tables(config.client("dynamodb"), CLIENTS_TABLE, gateway_stack.FEEDBACK_TABLE)
        command = [sys.executable, "-m", "topic_model_cli.main", "local", "gateway", "--root", str(config.root)]
        done = subprocess.run([*command, "--client", "acme"], capture_output=True, text=True, check=True)
        assert "nothing is published yet" in done.stdout
        url = re.search(r"answers at (\S+)", done.stdout)
        key = re.search(r"key of client acme: (\S+)", done.stdout)
        assert url and key and f"-H 'x-api-key: {key[1]}'" in done.stdout
        answered = httpx.get(f"{url[1]}/v1/topics", headers={"x-api-key": key[1]}, timeout=60)
        assert answered.status_code == 503, answered.text
        assert json.loads(answered.text)["type"].startswith("urn:topic-model:problem:")
