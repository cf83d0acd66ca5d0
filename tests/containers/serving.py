"""A serving container as a process, and a client of it."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.containers.conftest import Job

JSON, LINES = "application/json", "application/jsonlines"


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A serving container as a process, and a client of it."""

    process: subprocess.Popen[str]
    port: int

    def request(self, method: str, path: str, body: bytes | None = None, kind: str | None = JSON) -> tuple[int, bytes]:
        """Status and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self, record: Any) -> tuple[int, Any]:
        """Status and answer for one JSON record."""
        status, body = self.request("POST", "/invocations", orjson.dumps(record))
        return status, orjson.loads(body)

    def ask_lines(self, body: bytes) -> list[Any]:
        """The answers to a batch of JSON Lines."""
        status, answers = self.request("POST", "/invocations", body, LINES)
        assert status == 200
        return [orjson.loads(line) for line in answers.splitlines()]

    def workers(self) -> set[int]:
        """Process ids of the forked workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(pid) for pid in children.read_text().split()}

    def memory(self) -> dict[int, int]:
        """Bytes that each worker holds of its own, by process id: what it shares with the others left out."""
        private = {}
        for worker in self.workers():
            lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
            private[worker] = sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))
        return private

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        self.process.communicate(timeout=60)
        return self.process.returncode


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come; a minute is only there so that a failure ends."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited a minute in vain"
        time.sleep(0.02)


def serve(model: Path, base: Path, **environment: str) -> Server:
    """Start one of an artifact's folder, with variables, and wait until it answers."""
    shutil.copytree(model, base / "model")
    port = free_port()
    job = Job(base, {"SAGEMAKER_BIND_TO_PORT": str(port), "TOPIC_MODEL_WORKERS": "2", **environment})
    server = Server(job.start("serve"), port)

    def answers() -> bool:
        assert server.process.poll() is None, server.process.communicate()
        try:
            return server.request("GET", "/ping")[0] == 200
        except OSError:
            return False

    until(answers)
    return server
