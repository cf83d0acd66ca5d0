"""A bare moto server for what needs no job to run, and a way to run the command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from local_aws.config import LocalConfig

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def moto_aws(tmp_path: Path) -> Iterator[LocalConfig]:
    """A plain moto server, empty at each test's start; nothing of the local AWS's own is in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    config = LocalConfig(tmp_path / "aws", port)
    import requests

    requests.post(f"{config.endpoint_url}/moto-api/reset", timeout=10).raise_for_status()
    try:
        yield config
    finally:
        server.stop()


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs ``topic-model`` in an empty folder, in a process of its own."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "topic_model_cli.main", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "COLUMNS": "100", **environment},
        )

    return run
