"""Request ids, the access log, and the last resort for defects."""

from __future__ import annotations

import logging
import time

import pytest

from lookup_api.gate import NAMESPACE
from lookup_api.table import LookupTable
from tests.lookup_api.conftest import KEYS, Server, decoded


def line_of(api: Server, request_id: str) -> str:
    """The log's line of a request; it is written when the answer is sent, so it may come a moment later."""
    end = time.monotonic() + 30
    while not (lines := [line for line in api.lines if request_id in line]):
        assert time.monotonic() < end
        time.sleep(0.001)
    [line] = lines
    return line


def test_every_answer_has_a_request_id(api: Server) -> None:
    """The caller's own where it is a plain one, else a new one, on answers and on problems."""
    for path, status in (("/v1/topics", 200), ("/v1/campaigns/none", 404), ("/v1/nothing", 404)):
        given = api.request("GET", path, headers={"x-request-id": "trace-0123456789"})
        assert (given.status_code, given.headers["x-request-id"]) == (status, "trace-0123456789")
        bad = api.request("GET", path, headers={"x-request-id": '"><script>'})
        other = api.request("GET", path)
        assert len({bad.headers["x-request-id"], other.headers["x-request-id"], '"><script>'}) == 3


def test_a_line_a_request_without_what_was_asked(api: Server) -> None:
    """Route, status, time, size and client, and neither body nor query nor campaign; with metrics for CloudWatch."""
    answers = [
        api.post("/v1/similar", {"keywords": ["espresso secret"]}, KEYS["client-0"]),
        api.request("GET", "/v1/campaigns?query=secret"),
        api.request("GET", "/v1/campaigns/secret/similar"),
        api.request("GET", "/secret"),
        api.request("GET", "/v1/topics", None),
    ]
    lines = [line_of(api, answer.headers["x-request-id"]) for answer in answers]
    assert "secret" not in "".join(lines)
    entries = [decoded(line) for line in lines]
    assert [(entry["Route"], entry["status"], entry["client"]) for entry in entries] == [
        ("POST /v1/similar", 200, "client-0"),
        ("GET /v1/campaigns", 200, "(administrator)"),
        ("GET /v1/campaigns/{campaign_id}/similar", 404, "(administrator)"),
        ("unmatched", 404, None),
        ("unmatched", 403, None),
    ]
    for entry in entries:
        [metrics] = entry["_aws"]["CloudWatchMetrics"]
        assert metrics["Namespace"] == NAMESPACE
        assert {metric["Name"] for metric in metrics["Metrics"]} <= entry.keys()
        assert {name for names in metrics["Dimensions"] for name in names} <= entry.keys()
        assert entry["ClientErrors"] == (400 <= entry["status"] < 500) and entry["ServerErrors"] == 0
        assert entry["Latency"] > 0 and entry["bytes"] > 0


def test_a_defect_is_a_problem_and_a_traceback_in_the_log(
    api: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks gets a request id and no inner detail; who reads the log finds both."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(LookupTable, "row", broken)
    with caplog.at_level(logging.ERROR, logger="lookup_api.gate"):
        response = api.request("GET", "/v1/campaigns/coffee-0001")
        line = line_of(api, response.headers["x-request-id"])
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text
    assert response.json()["request_id"] in caplog.text and "a secret of the inside" in caplog.text
    assert decoded(line)["ServerErrors"] == 1
