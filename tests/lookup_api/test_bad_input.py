"""Bad input is refused with a problem document, and never answered by a 5xx."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.lookup_api.conftest import ADMIN, Server

CAMPAIGN = "/v1/campaigns/coffee-0001"


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status and document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    return document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b"[" * 100_000,
        b'{"keywords": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"keywords": "latte"}',
        b'{"keywords": [1]}',
        b'{"keywords": [null]}',
        b'{"keywords": [{"clicks": 1}]}',
        b'{"keywords": [{"text": "latte", "clicks": -1}]}',
        b'{"keywords": [{"text": "latte", "clicks": NaN}]}',
        b'{"keywords": [{"text": "latte", "clicks": 1e999}]}',
        b'{"keywords": [{"text": "latte", "clicks": "1"}]}',
        b'{"keywords": ["\\ud800"]}',
        b'{"keywords": ["latte"], "name": 1}',
        b'{"keywords": ["latte"], "campaign_id": "a\\u0000b"}',
        b'{"keywords": ["latte"], "campaign_id": ""}',
        b'{"keywords": ["latte"], "client": ""}',
        b'{"keyword": ["latte"]}',
        b'{"keywords": ["latte"], "only_client": "client-1"}',
        *(
            b'{"keywords": ["latte"], "k": %s}' % k
            for k in (b"0", b"-1", b"1e9", b"1000000000", b"true", b'"5"', b"2.5")
        ),
        *(b'{"keywords": ["latte"], "min_similarity": %s}' % low for low in (b"-0.1", b"1.1", b'"0"', b"NaN")),
        b'{"keywords": [' + b'"latte",' * 10_000 + b'"latte"]}',
        b'{"keywords": ["' + b"x" * 1_001 + b'"]}',
    ],
)
def test_a_bad_body_is_400(body: bytes, api: Server) -> None:
    """Not JSON, wrong types, out of range, misspelt, too many, too long: what is wrong is said, briefly."""
    response = api.request("POST", "/v1/similar", content=body, headers={"content-type": "application/json"})
    assert problem(response, 400)["type"] == "urn:topic-model:problem:bad-request"
    assert len(response.content) < 6_000


@pytest.mark.parametrize("path", ["/v1/similar", "/v1/feedback"])
@pytest.mark.parametrize("megabytes", [1.01, 6.5])
def test_a_large_body_is_413(path: str, megabytes: float, api: Server) -> None:
    """Over a mebibyte, whatever is in it; and the application answers on."""
    body = b'{"keywords": ["' + b"x" * int(megabytes * 2**20) + b'"]}'
    problem(api.request("POST", path, content=body, headers={"content-type": "application/json"}), 413)
    assert api.request("GET", "/health", None).status_code == 200


@pytest.mark.parametrize("kind", ["text/csv", "application/xml", "multipart/form-data", "application/jsonlines"])
def test_another_content_type_is_415(kind: str, api: Server) -> None:
    """The message says what is expected."""
    response = api.request("POST", "/v1/similar", content=b"{}", headers={"content-type": kind})
    assert "application/json" in problem(response, 415)["detail"]


@pytest.mark.parametrize(
    "query",
    [
        *(f"k={k}" for k in ("0", "-1", "1000000000", "101", "x", "", "1.5", "%00", "1e9", "9" * 5_000)),
        *(f"min_similarity={low}" for low in ("-0.1", "1.1", "nan", "inf", "x", "")),
        "explain=perhaps",
        "channel=",
        "client=",
        f"channel={'x' * 257}",
        "min_similarty=0.5",
        "k=1&k=2",
    ],
)
def test_a_bad_parameter_is_400(query: str, api: Server) -> None:
    """Out of range, of the wrong kind or misspelt: the parameter is named."""
    document = problem(api.request("GET", f"{CAMPAIGN}/similar?{query}"), 400)
    assert document["errors"][0]["place"] == query.partition("=")[0]


@pytest.mark.parametrize("query", ["page=0", "page=51", "page=x", f"query={'x' * 201}", "q=latte"])
def test_a_bad_search_is_400(query: str, api: Server) -> None:
    """Pages and queries are bounded."""
    problem(api.request("GET", f"/v1/campaigns?{query}"), 400)


def test_another_method_is_405_and_another_path_404(api: Server) -> None:
    """Both with a problem document, and 405 with what is allowed."""
    response = api.request("DELETE", CAMPAIGN)
    assert problem(response, 405)["type"] == "urn:topic-model:problem:method-not-allowed"
    assert response.headers["allow"] == "GET"
    assert problem(api.request("GET", "/v1/nothing"), 404)["type"] == "urn:topic-model:problem:not-found"


def test_a_request_that_ends_early_is_nobodys_error(api: Server) -> None:
    """A caller that goes away in the middle of its body leaves the application answering."""
    parts = urlsplit(api.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        head = f"POST /v1/similar HTTP/1.1\r\nHost: x\r\nx-api-key: {ADMIN}\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b'{"keywords"')
    assert api.request("GET", "/health", None).status_code == 200
