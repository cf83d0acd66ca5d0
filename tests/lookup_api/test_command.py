"""``topic-model api`` serves the application over the local AWS, with keys that end with it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from local_aws.config import LocalConfig
from tests.local_aws.conftest import free_port


@contextmanager
def served(config: LocalConfig, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process."""
    command = [sys.executable, "-m", "topic_model_cli.main", "api", "--root", str(config.root), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answered(url: str, key: str) -> httpx.Response:
    """The first answer of a server that starts."""
    end = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url, headers={"x-api-key": key}, timeout=30)
        except httpx.TransportError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_command_serves_with_keys_of_its_own_until_it_ends(local_aws: LocalConfig) -> None:
    """It prints a key for all and for each client, says that nothing is published, and takes the keys back."""
    port = free_port()
    with served(local_aws, "--port", str(port), "--client", "acme") as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(5)]
        keys = [match[1] for line in said if (match := re.search(r"key for .*: (\S+)$", line))]
        assert len(keys) == 2 and "client acme" in said[2] and "nothing is published yet" in said[4]
        url = f"http://127.0.0.1:{port}/v1/topics"
        assert [answered(url, key).status_code for key in (*keys, "other")] == [503, 503, 403]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert local_aws.client("dynamodb").scan(TableName="topic-model-local-clients")["Items"] == []


def test_a_port_in_use_is_told(local_aws: LocalConfig) -> None:
    """With the option that mends it, and no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with served(local_aws, "--port", str(taken.getsockname()[1])) as process:
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 1
            assert "choose another with --port" in said and "Traceback" not in said
