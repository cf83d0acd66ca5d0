"""Real local AWS servers for tests: on free ports, in temporary folders, stopped afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws import lifecycle
from local_aws.config import LocalConfig


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(root: Path, *, port: int | None = None, worker: bool = False, **settings: Any) -> LocalConfig:
    """A server of ``root``, on a free port or the one given.

    ``worker`` warms up the libraries of the project's own jobs, which costs seconds of a core.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not worker:
            patch.setenv("LOCAL_AWS_WORKER", "off")
        return lifecycle.up(root, port or free_port(), **settings)


def server_pid(config: LocalConfig) -> int:
    """The process of a running server."""
    return int(json.loads((config.root / "server.json").read_text())["pid"])


def kill_and_restart(config: LocalConfig) -> LocalConfig:
    """End the server as a crash would, and start another on the same folder."""
    os.kill(server_pid(config), signal.SIGKILL)
    return start(config.root)


@contextlib.contextmanager
def running(root: Path, **settings: Any) -> Iterator[LocalConfig]:
    """A server of ``root``, stopped afterwards."""
    try:
        yield start(root, **settings)
    finally:
        lifecycle.down(root)


@pytest.fixture
def local_aws(tmp_path: Path) -> Iterator[LocalConfig]:
    """A server of the test's own, for tests that stop or damage it."""
    with running(tmp_path / "aws") as config:
        yield config


@pytest.fixture(scope="module")
def shared_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A server that the tests of a module share; each test uses names of its own."""
    with running(tmp_path_factory.mktemp("local-aws") / "aws") as config:
        yield config
