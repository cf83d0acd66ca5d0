"""The endpoint and the batch transform: one answer for each record, limits, and workers that come and go."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.containers.conftest import Job, Run
from tests.containers.serving import JSON, LINES, Server, serve, until
from topic_model.artifact import read_artifact


@pytest.fixture(scope="module")
def server(lookup_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An endpoint of the lookup model."""
    server = serve(lookup_model, tmp_path_factory.mktemp("serve"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def batch_server(lookup_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same container as batch transform starts it."""
    server = serve(lookup_model, tmp_path_factory.mktemp("batch"), SAGEMAKER_BATCH="true")
    yield server
    server.stop()


def _records(run: Run) -> list[dict[str, Any]]:
    return [
        orjson.loads(line)
        for path in sorted(run.scoring.glob("*/campaigns.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def test_execution_parameters_are_batch_transforms(server: Server) -> None:
    """The three fields that the platform asks for."""
    status, body = server.request("GET", "/execution-parameters")
    parameters = orjson.loads(body)
    assert status == 200
    assert parameters == {"MaxConcurrentTransforms": 2, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}


def test_a_fresh_campaign_is_answered_whole(server: Server, lookup_model: Path) -> None:
    """The contract's fields; coffee words find coffee campaigns."""
    status, answer = server.ask({"keywords": ["espresso grinder", {"text": "latte", "clicks": 3}], "k": 4})
    assert status == 200
    assert set(answer) == {
        "model_version",
        "campaign_id",
        "fingerprint",
        "topics",
        "known_terms",
        "unknown_terms",
        "confidence",
        "low_confidence",
        "cluster",
        "cluster_label",
        "similar",
        "recommendations",
    }
    assert answer["model_version"] == read_artifact(lookup_model).model_version
    assert answer["campaign_id"] is None
    assert [similar["campaign_id"].split("-")[0] for similar in answer["similar"]] == ["coffee"] * 4
    assert sum(answer["fingerprint"]) == pytest.approx(1, abs=1e-5)


def test_an_answer_within_a_client_tells_of_no_other(server: Server) -> None:
    """With only_client all neighbours are that client's, and the answer says that it obeyed; a stranger has none."""
    record = {"keywords": ["espresso grinder", "latte"], "k": 20}
    _, answer = server.ask({**record, "only_client": "client-1"})
    assert answer["only_client"] == "client-1"
    assert answer["similar"] and {similar["client_id"] for similar in answer["similar"]} == {"client-1"}
    _, everyone = server.ask(record)
    assert "only_client" not in everyone
    expected = [similar for similar in everyone["similar"] if similar["client_id"] == "client-1"]
    assert answer["similar"][: len(expected)] == expected
    _, stranger = server.ask({**record, "only_client": "nobody"})
    assert (stranger["similar"], stranger["recommendations"]) == ([], [])


def test_a_refusal_for_want_of_known_terms_lists_the_terms(server: Server) -> None:
    """Who asked sees which words the model does not know."""
    status, answer = server.ask({"keywords": ["zzzz qqqq", "xxyy"]})
    assert (status, answer["error"]["unknown_terms"]) == (422, ["zzzz", "qqqq", "xxyy"])


def test_options_bound_the_lists(server: Server) -> None:
    """k and num_recommendations are obeyed, to their ends."""
    record = {"campaign_id": "x", "keywords": ["espresso grinder"]}
    _, answer = server.ask({**record, "k": 1_000, "num_recommendations": 0})
    assert answer["recommendations"] == [] and len(answer["similar"]) > 10
    assert answer["campaign_id"] == "x"


def test_a_content_type_with_parameters_or_none_is_json(server: Server) -> None:
    """charset is allowed, and JSON is the default."""
    body = orjson.dumps({"keywords": ["espresso"]})
    for kind in ("application/json; charset=utf-8", "Application/JSON", None):
        assert server.request("POST", "/invocations", body, kind)[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"keywords": ["\\ud800"]}', 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b'{"keywords": ' + b"[" * 900 + b"]" * 900 + b"}", 400, "invalid_campaign"),
        (b"[]", 400, "invalid_campaign"),
        (b"null", 400, "invalid_campaign"),
        (b"{}", 422, "no_known_terms"),
        (b'{"keywords": []}', 422, "no_known_terms"),
        (b'{"keywords": ["zzzz", "2025", "\\u0000"]}', 422, "no_known_terms"),
        (b'{"keywords": "espresso"}', 400, "invalid_campaign"),
        (b'{"keyword": ["espresso"]}', 400, "invalid_campaign"),
        (b'{"keywords": [1]}', 400, "invalid_campaign"),
        (b'{"keywords": [{"text": "espresso", "clicks": -1}]}', 400, "invalid_campaign"),
        (b'{"campaign_id": "a\\u0000b", "keywords": ["espresso"]}', 400, "invalid_campaign"),
        (b'{"campaign_id": "", "keywords": ["espresso"]}', 400, "invalid_campaign"),
        (b'{"campaign_id": {}, "keywords": ["espresso"]}', 400, "invalid_campaign"),
        *(
            (b'{"keywords": ["espresso"], "%s": %s}' % (name, value), 400, "invalid_campaign")
            for name, values in {
                b"k": (b"0", b"-1", b"1e9", b"1001", b"true", b'"5"', b"null", b"2.5", b"99999999999999999999"),
                b"num_recommendations": (b"-1", b"1001", b"false"),
                b"only_client": (b'""', b"1", b"[]"),
            }.items()
            for value in values
        ),
    ],
)
def test_a_bad_request_has_its_code(body: bytes, status: int, code: str, server: Server) -> None:
    """An error object with code and message, under the right status, and never a 500."""
    found, answer = server.request("POST", "/invocations", body)
    assert (found, orjson.loads(answer)["error"]["code"]) == (status, code)
    assert orjson.loads(answer)["error"]["message"]


def test_nul_in_a_keyword_separates_words(server: Server) -> None:
    """Control characters in a text are no reason to refuse it."""
    status, answer = server.ask({"keywords": ["espresso\x00grinder"]})
    assert (status, answer["known_terms"]) == (200, 2)


@pytest.mark.parametrize("kind", ["text/csv", "application/x-npy", "text/plain"])
def test_another_content_type_is_refused(kind: str, server: Server) -> None:
    """415, with what is expected."""
    status, body = server.request("POST", "/invocations", b"{}", kind)
    assert status == 415
    assert JSON in orjson.loads(body)["error"]["message"]


def test_a_body_over_the_limit_is_refused(server: Server) -> None:
    """Over InvokeEndpoint's 6 MiB: 413, and the endpoint answers on."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Type", JSON)
    connection.putheader("Content-Length", str(7 * 2**20))
    connection.endheaders()
    # The server may answer before it has read it all.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(b" " * (6 * 2**20 + 1))
    assert connection.getresponse().status == 413
    connection.close()
    assert server.ask({"keywords": ["espresso"]})[0] == 200


def test_a_body_within_the_limit_is_read(server: Server) -> None:
    """A keyword of 5 MB is cut to its bound, not refused."""
    status, _ = server.ask({"keywords": ["espresso " + "x" * 5_000_000]})
    assert status == 200


def test_other_paths_and_methods_are_no_routes(server: Server) -> None:
    """404 and 405, as HTTP has them."""
    assert server.request("GET", "/")[0] == 404
    assert server.request("GET", "/invocations")[0] == 405


def test_lines_are_answered_in_order(server: Server, run: Run) -> None:
    """One answer a line, in the order of the lines, each as if asked alone."""
    records = _records(run)[::-1]
    answers = server.ask_lines(b"\n".join(map(orjson.dumps, records)))
    assert [answer["campaign_id"] for answer in answers] == [record["campaign_id"] for record in records]
    for record, answer in list(zip(records, answers, strict=True))[::12]:
        assert server.ask(record) == (200, answer)


def test_a_bad_line_is_an_error_object_in_its_place(server: Server) -> None:
    """Broken lines lose no good one; blank lines are none; ids are given back where there is one."""
    good = b'{"campaign_id": "good", "keywords": ["espresso"]}'
    lines = [
        good,
        b"{broken",
        b"",
        b'{"campaign_id": "bad", "keywords": 3}',
        b"   ",
        b'{"campaign_id": "none", "keywords": ["zzzz"]}',
        b"[1]",
        good + b"\r",
        b'{"campaign_id": "' + b"x" * 9_999 + b'", "keywords": ["espresso"]}',
        b'{"campaign_id": {"a": []}, "keywords": ["espresso"]}',
        b"[" * 5_000,
    ]
    answers = server.ask_lines(b"\n".join(lines) + b"\n")
    codes = [answer.get("error", {}).get("code") for answer in answers]
    invalid = "invalid_campaign"
    assert codes == [
        None,
        "malformed_json",
        invalid,
        "no_known_terms",
        invalid,
        None,
        invalid,
        invalid,
        "malformed_json",
    ]
    ids = [answer.get("campaign_id") for answer in answers]
    assert ids == ["good", None, "bad", "none", None, "good", None, None, None]
    assert "line 2" in answers[1]["error"]["message"]


def test_an_empty_batch_is_an_empty_answer(server: Server) -> None:
    """Nothing asked, nothing answered."""
    assert server.ask_lines(b"") == []


def test_batch_transform_gets_fingerprints_only(batch_server: Server, server: Server, run: Run) -> None:
    """With SAGEMAKER_BATCH three fields an answer, and the fingerprint is the endpoint's to the bit."""
    records = _records(run)
    answers = batch_server.ask_lines(b"\n".join(map(orjson.dumps, records)))
    assert [answer["campaign_id"] for answer in answers] == [record["campaign_id"] for record in records]
    for record, answer in zip(records[:10], answers[:10], strict=True):
        assert set(answer) == {"campaign_id", "model_version", "fingerprint"}
        assert server.ask(record)[1]["fingerprint"] == answer["fingerprint"]


def test_batch_transform_may_send_more(batch_server: Server) -> None:
    """Its bodies may be larger than the endpoint's 6 MiB."""
    line = orjson.dumps({"campaign_id": "big", "keywords": ["espresso"], "name": "x" * 1_000}) + b"\n"
    status, _ = batch_server.request("POST", "/invocations", b"\n" * (7 * 2**20) + line, LINES)
    assert status == 200


def test_a_trained_model_alone_answers_with_topics(run: Run, tmp_path: Path) -> None:
    """Without an index an endpoint gives fingerprint and topics; with one worker it ends at SIGTERM too."""
    server = serve(run.model, tmp_path, TOPIC_MODEL_WORKERS="1")
    status, answer = server.ask({"campaign_id": 7, "keywords": ["espresso grinder"]})
    assert status == 200
    assert set(answer) == {"campaign_id", "model_version", "fingerprint", "topics"}
    assert answer["campaign_id"] == "7"
    assert server.stop() in (0, -signal.SIGTERM)


def test_workers_are_replaced_and_end_together(lookup_model: Path, tmp_path: Path) -> None:
    """A killed worker is replaced while the endpoint answers on; SIGTERM ends them all, with exit code 0."""
    server = serve(lookup_model, tmp_path)
    until(lambda: len(server.workers()) == 2)
    killed = sorted(server.workers())[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(server.workers() - {killed}) == 2)
    assert server.ask({"keywords": ["espresso"]})[0] == 200
    workers = server.workers()
    assert server.stop() == 0
    for worker in workers:
        assert not Path(f"/proc/{worker}").exists()


def test_workers_end_with_a_killed_parent(lookup_model: Path, tmp_path: Path) -> None:
    """A supervisor that is killed leaves no worker behind."""
    server = serve(lookup_model, tmp_path)
    until(lambda: len(server.workers()) == 2)
    workers = server.workers()
    server.process.kill()
    server.process.communicate(timeout=60)

    def gone(worker: int) -> bool:
        stat = Path(f"/proc/{worker}/stat")
        try:
            return stat.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    until(lambda: all(map(gone, workers)))


def test_a_port_in_use_is_named(lookup_model: Path, job: Job) -> None:
    """The container fails at once and says which port."""
    shutil.copytree(lookup_model, job.base / "model")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        job.environment = {"SAGEMAKER_BIND_TO_PORT": str(port)}
        done = job.run("serve")
    assert done.returncode == 1
    assert f"port {port} cannot be listened on" in job.failure
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http", "SAGEMAKER_BIND_TO_PORT is 'http'"),
        ("SAGEMAKER_BIND_TO_PORT", "70000", "SAGEMAKER_BIND_TO_PORT is '70000'"),
        ("TOPIC_MODEL_WORKERS", "0", "TOPIC_MODEL_WORKERS is '0'"),
        ("TOPIC_MODEL_WORKERS", "many", "TOPIC_MODEL_WORKERS is 'many'"),
    ],
)
def test_a_wrong_environment_is_named(
    name: str, value: str, message: str, lookup_model: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that makes no sense is refused by name."""
    shutil.copytree(lookup_model, job.base / "model")
    monkeypatch.setenv(name, value)
    assert job.call(monkeypatch, "serve") == 1
    assert message in job.failure


@pytest.mark.parametrize("damage", ["changed", "cut", "missing", "added", "empty"])
def test_a_tampered_artifact_is_not_served(
    damage: str, lookup_model: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was done to the model, the container fails with the file's name before it listens."""
    model = Path(shutil.copytree(lookup_model, job.base / "model"))
    path = model / "index" / "theta.npy"
    content = bytearray(path.read_bytes())
    if damage == "changed":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-4])
    elif damage == "missing":
        path.unlink()
    elif damage == "added":
        (model / "index" / "extra.npy").write_bytes(content)
    else:
        shutil.rmtree(model)
        model.mkdir()
    assert job.call(monkeypatch, "serve") == 1
    assert job.failure.startswith("ArtifactError: ")
    expected = {"added": "index/extra.npy", "empty": "manifest.json"}.get(damage, "index/theta.npy")
    assert expected in job.failure


def test_serve_takes_no_arguments(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform gives none."""
    assert job.call(monkeypatch, "serve", "--port", "80") == 1
    assert "serve takes no arguments" in job.failure
