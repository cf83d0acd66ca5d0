"""Real local AWS servers for tests: on free ports, in temporary folders, stopped afterwards."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_aws import lifecycle
from local_aws.config import LocalConfig

Starter = Callable[..., LocalConfig]


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(root: Path, **settings: object) -> Iterator[LocalConfig]:
    """A server of ``root`` on a free port."""
    try:
        yield lifecycle.up(root, free_port(), **settings)  # type: ignore[arg-type]
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
