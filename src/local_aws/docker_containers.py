"""Containers by their label: which there are, and that none outlives the process that had them started.

``docker run`` and Compose end with who called them, but the containers that they began do not: the Docker daemon runs
those. So a small process waits for the caller's end, however that comes, and then removes the containers of its label.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 10.0

# Waits for its caller to end (its end of the pipe closes), then removes the containers of the label until none has
# come for a while: docker may have been asked for one in the caller's last moment. After a line "close" one look is
# enough. Standard library only, and isolated: it imports in milliseconds.
_WATCH = """
import subprocess, sys, time
rounds = 1 if sys.stdin.read().strip() == "close" else 4
for number in range(rounds):
    if number:
        time.sleep(1)
    listed = subprocess.run(["docker", "ps", "-aq", "--filter", "label=" + sys.argv[1]], capture_output=True, text=True)
    if names := listed.stdout.split():
        subprocess.run(["docker", "rm", "--force", "--volumes", *names], capture_output=True)
"""


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the user's docker command answers within a minute; its exit code is the caller's to look at."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603, S607 - the user's own docker; arguments are names made here


def with_label(label: str) -> list[str]:
    """The ids of all containers with a label ``name=value``, running or not, the newest first."""
    return docker("ps", "--all", "--quiet", "--filter", f"label={label}").stdout.split()


def remove_with_label(label: str) -> int:
    """Kills and removes the containers of a label; how many there were."""
    names = with_label(label)
    if names:
        docker("rm", "--force", "--volumes", *names)
    return len(names)


class Watcher:
    """Removes the containers of a label when this process is gone; until then it waits."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, popen: Callable[..., subprocess.Popen[Any]] = subprocess.Popen) -> None:
        """Begins to wait; ``popen`` starts the process."""
        self._process = popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, self.label],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a signal to the caller's group is not for it
            env=dict(os.environ),  # which holds the daemon's address
        )

    def close(self) -> None:
        """Removes what there is now; idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            with contextlib.suppress(BrokenPipeError):
                process.communicate(b"close", timeout=_SWEEP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("Docker is slow to remove containers; process %d goes on with it", process.pid)
