"""The server's process and its HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local_aws import lifecycle
from local_aws.config import LocalAwsError, LocalConfig
from local_aws.server import parse_images, write_atomically
from tests.local_aws.conftest import server_pid, start

ROLE = "arn:aws:iam::123456789012:role/r"


def connection(config: LocalConfig) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", config.port, timeout=20)


def test_a_connection_serves_many_requests(shared_aws: LocalConfig) -> None:
    """HTTP/1.1 keep-alive: requests of several kinds, with and without bodies, on one socket."""
    with socket.create_connection(("127.0.0.1", shared_aws.port)) as sock:
        http_connection = connection(shared_aws)
        http_connection.sock = sock
        for method, path, body in (
            ("PUT", "/keepalive", b""),
            ("PUT", "/keepalive/key", b"x" * 300_000),
            ("HEAD", "/keepalive/key", b""),
            ("GET", "/keepalive/key", b""),
            ("GET", "/keepalive/missing", b"unread body"),
            ("DELETE", "/keepalive/key", b""),
            ("GET", "/_local_aws/health", b""),
        ):
            http_connection.request(method, path, body=body)
            answer = http_connection.getresponse()
            content = answer.read()
            assert http_connection.sock is sock
            assert not answer.will_close
        assert json.loads(content)["pid"] == server_pid(shared_aws)


def test_a_body_is_asked_for_with_100_continue(shared_aws: LocalConfig) -> None:
    """A client that waits for '100 Continue' gets exactly one before the answer."""
    with socket.create_connection(("127.0.0.1", shared_aws.port), timeout=20) as sock:
        sock.sendall(b"PUT /expecting HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        sock.sendall(
            b"PUT /expecting/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_another_sites_name_for_loopback_is_refused(shared_aws: LocalConfig) -> None:
    """A request under a foreign host name, as a web page could send by DNS rebinding, is answered 403."""
    http_connection = connection(shared_aws)
    http_connection.request("GET", "/", headers={"Host": "evil.example"})
    assert http_connection.getresponse().status == 403


@pytest.mark.parametrize("head", ["GET /_local_aws/health\r\n", "GET /_local_aws/health HTTP/1.0\r\n\r\n"])
def test_a_request_that_names_no_host_is_refused(head: str, shared_aws: LocalConfig) -> None:
    """HTTP/0.9, which has no headers, and HTTP/1.0 without one: what is not told is not taken for loopback."""
    with socket.create_connection(("127.0.0.1", shared_aws.port), timeout=30) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"expected a Host header" in answer and b'"pid"' not in answer


def test_the_state_folder_is_its_owners_alone(local_aws: LocalConfig) -> None:
    """Nobody else on the machine reads the journal, which holds what keys are made of; also of a folder of before."""
    journal = local_aws.root / "journal.jsonl"
    for path, mode in ((local_aws.root, 0o755), (journal, 0o644)):
        assert stat.S_IMODE(path.stat().st_mode) == mode & 0o700
        path.chmod(mode)
    lifecycle.down(local_aws.root)
    start(local_aws.root)  # writes the journal anew
    assert [stat.S_IMODE(path.stat().st_mode) for path in (local_aws.root, journal)] == [0o700, 0o600]


def test_motos_reset_route_is_closed(shared_aws: LocalConfig) -> None:
    """moto's own reset would empty memory but not the disk."""
    http_connection = connection(shared_aws)
    http_connection.request("POST", "/moto-api/reset")
    assert http_connection.getresponse().status == 403


def test_many_clients_at_once(shared_aws: LocalConfig) -> None:
    """Concurrent writes of distinct and equal keys are all answered, and each key holds one of its bodies."""
    s3 = shared_aws.client("s3")
    s3.create_bucket(Bucket="crowd")

    def put(number: int) -> None:
        s3.put_object(Bucket="crowd", Key=f"own-{number}", Body=str(number).encode())
        s3.put_object(Bucket="crowd", Key="shared", Body=str(number).encode() * 1000)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(64)))
    found = {number: s3.get_object(Bucket="crowd", Key=f"own-{number}")["Body"].read() for number in range(64)}
    assert found == {number: str(number).encode() for number in range(64)}
    shared = s3.get_object(Bucket="crowd", Key="shared")["Body"].read()
    assert shared in {str(number).encode() * 1000 for number in range(64)}
    files = [path for path in (shared_aws.root / "s3" / "objects").glob("*/*") if path.is_file()]
    assert sum(path.read_bytes() == shared for path in files) == 1


def test_an_interrupt_ends_executions_jobs_and_the_process(local_aws: LocalConfig) -> None:
    """After SIGINT a running execution is aborted and says why, its job's process is gone, and so is the server's."""
    states = local_aws.client("stepfunctions")
    pid_file = local_aws.root.parent / "job.pid"
    code = f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(600)"
    definition = {
        "StartAt": "job",
        "States": {
            "job": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
                "Parameters": {
                    "ProcessingJobName": "endless",
                    "RoleArn": ROLE,
                    "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["python3", "-c", code]},
                    "ProcessingResources": {
                        "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
                    },
                },
                "End": True,
            }
        },
    }
    machine = states.create_state_machine(name="m", definition=json.dumps(definition), roleArn=ROLE)
    execution = states.start_execution(stateMachineArn=machine["stateMachineArn"], name="e")["executionArn"]
    wait_for(lambda: pid_file.exists() and pid_file.read_text())
    job, server = int(pid_file.read_text()), server_pid(local_aws)
    os.kill(server, signal.SIGINT)
    wait_for(lambda: not alive(server))
    wait_for(lambda: not alive(job))
    again = start(local_aws.root, port=local_aws.port)
    described = again.client("stepfunctions").describe_execution(executionArn=execution)
    assert (described["status"], described["error"]) == ("ABORTED", "LocalAws.ServerStopped")
    assert "the local AWS was stopped" in described["cause"]


def wait_for(condition: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_images_are_pairs() -> None:
    """``URI=TAG`` keeps what stands after the first '='; anything else names itself."""
    assert parse_images(["a/b:1=local:2", "c=d=e"]) == {"a/b:1": "local:2", "c": "d=e"}
    with pytest.raises(LocalAwsError, match="image is 'alone'; expected"):
        parse_images(["alone"])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """What cannot be written whole is not written: the old text and no temporary file stay."""
    path = tmp_path / "f"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["f"]
