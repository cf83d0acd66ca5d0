"""No input is a server's error, and none ends a worker: what is no campaign is refused with a message."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from containers.scorer import Scorer
from tests.containers.serving import LINES, Server, serve
from topic_model.artifact import read_artifact
from topic_model.lookup_model import read_lookup_model

NAMES = ("campaign_id", "client_id", "channel", "name", "keywords", "search_terms", "negative_keywords")
FIELDS = (*NAMES, "k", "num_recommendations", "only_client", "keyword", "text", "clicks")
LONGEST_REFUSAL = 20_000
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["espresso", "-espresso", "[latte]", "a\x00b", "", " ", "=1+1", "<b>", "٣", "ﷺ" * 20]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)
RECORDS = st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=6)


@pytest.fixture(scope="module")
def scorer(lookup_model: Path) -> Scorer:
    artifact = read_artifact(lookup_model)
    lookup = read_lookup_model(artifact)
    return Scorer(lookup.model, artifact.model_version, lookup, batch=False)


def _check(scorer: Scorer, content: bytes) -> None:
    answer = scorer.answer(content)
    assert answer.status in (200, 400, 422)
    if answer.status != 200:
        assert answer.document["error"]["message"]
        assert len(orjson.dumps(answer.document)) < LONGEST_REFUSAL


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(RECORDS, ANYTHING))
def test_any_json_is_answered_or_refused(scorer: Scorer, document: Any) -> None:
    """200, 400 or 422, and a refusal has a message of bounded size."""
    _check(scorer, orjson.dumps(document))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused(scorer: Scorer, content: bytes) -> None:
    """What is no JSON is refused as such."""
    _check(scorer, content)


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "content",
    [
        *(b'{"keywords": %s}' % _nested(depth) for depth in (900, 980, 1_000, 1_015, 1_021, 5_000, 1_000_000)),
        *(b'{"keywords": ["espresso"], "k": %s}' % _nested(depth) for depth in (980, 1_000, 1_021)),
        *(b'{"keywords": ["espresso"], "campaign_id": %s}' % _nested(depth) for depth in (980, 1_021)),
        *(
            b'{"keywords": [{"text": "espresso", "clicks": %s}]}' % number
            for number in (b"NaN", b"Infinity", b"1e999", b"-1", b"9" * 5_000)
        ),
        *(b'{"keywords": ["espresso"], "%s": "\\ud800"}' % name.encode() for name in NAMES[:4]),
        b'{"keywords": ["\\udc00espresso"]}',
        b'{"campaign_id": [' + b'"x",' * 1_000_000 + b'"x"], "keywords": ["espresso"]}',
        b'{"name": {"' + b"x" * 5_000_000 + b'": 1}, "keywords": ["espresso"]}',
        b'{"' + b"x" * 5_000_000 + b'": 1, "keywords": 3}',
        b'{"campaign_id": "' + b"x" * 5_000_000 + b'", "keywords": ["espresso"]}',
        b'{"only_client": ' + b"9" * 4_000 + b', "keywords": ["espresso"]}',
        b"\xef\xbb\xbf{}",
        b'{"keywords": ["espresso"]}{"keywords": ["espresso"]}',
    ],
    ids=lambda content: f"{content[:24]!r}... {len(content)} bytes",
)
def test_extreme_documents_are_refused(content: bytes, scorer: Scorer) -> None:
    """Depth, numbers that are none, lone surrogates, megabytes where a word should be."""
    answer = scorer.answer(content)
    assert answer.status == 400
    assert answer.document["error"]["message"]
    assert len(orjson.dumps(answer.document)) < LONGEST_REFUSAL


def test_ten_thousand_keywords_are_a_campaign(scorer: Scorer) -> None:
    """A large account's campaign is no attack."""
    words = ["espresso", "grinder", "latte", "barista", "coffee"]
    keywords = [f"{words[number % 5]} {words[number // 5 % 5]} x{number}" for number in range(10_000)]
    answer = scorer.answer(orjson.dumps({"keywords": keywords}))
    assert (answer.status, len(answer.document["fingerprint"])) == (200, 5)


@pytest.fixture(scope="module")
def server(lookup_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = serve(lookup_model, tmp_path_factory.mktemp("fuzz"))
    yield server
    server.stop()


def _sent(server: Server, content: bytes) -> bytes:
    """What comes back for raw bytes on a connection that is then closed for writing."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        while received := client.recv(65_536):
            answer += received
    return answer


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 1_000,
        b"GET\r\n\r\n",
        b"GET /ping HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
        b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
        b"POST /invocations HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"POST /invocations HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{",
        b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: \xff\xfe\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: " + b"j" * 9_000 + b"\r\ncontent-length: 2\r\n\r\n{}",
    ],
    ids=lambda content: f"{content[:60]!r}",
)
def test_broken_http_ends_no_worker(content: bytes, server: Server) -> None:
    """A refusal of a few kilobytes or none, no server's error, and the same workers answer on."""
    workers = server.workers()
    answer = _sent(server, content)
    assert not answer.startswith(b"HTTP/1.1 5") and len(answer) < LONGEST_REFUSAL
    assert server.ask({"keywords": ["espresso"]})[0] == 200
    assert server.workers() == workers


def test_a_batch_of_broken_lines_is_answered_line_by_line(server: Server) -> None:
    """Nothing in a line touches the next one."""
    broken = [
        b"[" * 2_000,
        _nested(1_010),
        b'{"k": 1e400}',
        b'"\\ud800"',
        b"\xff",
        b'{"keywords": %s}' % _nested(1_000),
    ]
    status, body = server.request("POST", "/invocations", b"\n".join([*broken, b'{"keywords": ["espresso"]}']), LINES)
    answers = [orjson.loads(line) for line in body.splitlines()]
    assert status == 200
    assert ["error" in answer for answer in answers] == [True] * len(broken) + [False]
