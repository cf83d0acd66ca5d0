"""The acceptance suite's image as Lambda runs it: it asks the Runtime API for an event and ends CodePipeline's job."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from delivery.images import build_acceptance
from local_aws.config import LocalConfig
from tests.local_aws.conftest import running

pytestmark = pytest.mark.docker
TAG = "topic-model-acceptance:test"
VERSION = "/2018-06-01/runtime"


class RuntimeApi:
    """Lambda's Runtime API with one event; after its answer the function waits for the next for ever."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.answered, self.answer = threading.Event(), dict[str, Any]()
        taken = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if taken.is_set():
                    threading.Event().wait(60)
                taken.set()
                body = json.dumps(event).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
                self.send_header("Content-Type", "application/json")
                self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 900) * 1000)))
                self.send_header(
                    "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f"
                )
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                api.answer["path"] = self.path
                api.answer["body"] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(202)
                self.end_headers()
                api.answered.set()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def image() -> str:
    build_acceptance(TAG, os.environ.get("BASE_IMAGE") or _base_at_hand())
    return TAG


def _base_at_hand() -> str | None:
    found = subprocess.run(
        ["docker", "image", "inspect", "topic-model-base:bookworm"], capture_output=True, check=False
    )
    return "topic-model-base:bookworm" if found.returncode == 0 else None


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[LocalConfig]:
    with running(tmp_path / "aws") as config:
        config.client("s3").create_bucket(Bucket="reports")
        yield config


def test_the_image_runs_as_a_function_and_ends_the_job(image: str, aws: LocalConfig) -> None:
    """As Lambda starts it: its entry point, no root, a read-only disk but for /tmp.

    There is no such environment, so every check fails: the job is told so, and the report is kept.
    """
    job = str(uuid.uuid4())
    configuration = {"configuration": {"UserParameters": '{"report": "reports/1/test.xml"}'}}
    api = RuntimeApi({"CodePipeline.job": {"id": job, "data": {"actionConfiguration": configuration}}})
    told = {
        **aws.environment(),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server.server_port}",
        "STACK": "topic-model-t-none",
        "SUITE": "test",
        "REPORTS": "reports",
    }
    options = [part for name, value in told.items() for part in ("--env", f"{name}={value}")]
    options += [
        "--network",
        "host",
        "--read-only",
        "--tmpfs",
        "/tmp",  # noqa: S108 - Lambda has it too
        "--user",
        "993:990",
        "--name",
        f"acceptance-{job}",
    ]
    command = ["docker", "run", "--rm", "--entrypoint", "python", *options, image]
    container = subprocess.Popen([*command, "-m", "awslambdaric", "acceptance.lambda_handler.handler"])
    try:
        assert api.answered.wait(120)
    finally:
        subprocess.run(["docker", "rm", "--force", f"acceptance-{job}"], capture_output=True, check=False)
        container.wait(30)
        api.server.shutdown()
    assert api.answer["path"] == f"{VERSION}/invocation/1/response"
    assert api.answer["body"]["outcome"] == "refused"
    details = aws.client("codepipeline").get_job_details(jobId=job)["jobDetails"]["data"]["actionConfiguration"]
    assert details["configuration"]["status"] == "Failed"
    assert "topic-model-t-none" in details["configuration"]["message"]
    report = aws.client("s3").get_object(Bucket="reports", Key="reports/1/test.xml")["Body"].read()
    assert b"<error" in report


def test_the_image_runs_as_a_task(image: str, aws: LocalConfig) -> None:
    """As Fargate starts it: arguments behind its own entry point; no such environment is exit code 2."""
    options = [part for name, value in aws.environment().items() for part in ("--env", f"{name}={value}")]
    command = ["docker", "run", "--rm", "--network", "host", *options, image, "--stack", "topic-model-t-none"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2
    assert "stack 'topic-model-t-none' cannot be described" in ended.stderr
