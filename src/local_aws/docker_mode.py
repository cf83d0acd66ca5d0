"""SageMaker containers in Docker: the command that runs one, and that none outlives the server.

Containers carry two labels: the local AWS's folder, by which the next server finds what an earlier one left, and the
server that started them. ``docker run`` ends with the server, but the container that it began does not: the Docker
daemon runs it. So a small process waits for the server's end, however that comes, and then removes its containers.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from local_aws.config import LocalAwsError, LocalConfig

if TYPE_CHECKING:
    from local_aws.runner import Launch

logger = logging.getLogger(__name__)

_CONTAINER_PORT = 8080
_HOST_FROM_CONTAINER = "host.docker.internal"
_SWEEP_SECONDS = 10.0

# Waits for the server to end (its end of the pipe closes), then removes the containers of its label until none has
# come for a while: docker run may have asked for one in the server's last moment. After a line "close" one look is
# enough. Standard library only, and isolated: it imports in milliseconds.
_WATCH = """
import subprocess, sys, time
rounds = 1 if sys.stdin.read().strip() == "close" else 4
for number in range(rounds):
    if number:
        time.sleep(1)
    listed = subprocess.run(["docker", "ps", "-aq", "--filter", "label=" + sys.argv[1]], capture_output=True, text=True)
    if names := listed.stdout.split():
        subprocess.run(["docker", "rm", "--force", *names], capture_output=True)
"""


class DockerRunner:
    """Makes ``docker run`` commands and clears away what they began."""

    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self.label = f"topic-model.local-aws={config.root.resolve()}"
        self._server_label = f"topic-model.server={uuid.uuid4().hex}"
        self._watcher: subprocess.Popen[bytes] | None = None
        if shutil.which("docker") is None:
            raise LocalAwsError("Docker mode needs the docker command; install Docker or use --mode process")

    def command(self, launch: Launch) -> tuple[list[str], str]:
        """The command that runs the container in the foreground, and the container's name."""
        name = f"local-aws-{launch.name[:40]}-{uuid.uuid4().hex[:8]}"
        command = ["docker", "run", "--rm", "--init=false", "--no-healthcheck", "--name", name]
        command += ["--label", self.label, "--label", self._server_label]
        command += ["--volume", f"{launch.base_dir.resolve()}:/opt/ml"]
        if sys.platform == "linux" and os.getuid() != 0:
            command += ["--user", f"{os.getuid()}:{os.getgid()}"]  # what it writes stays the user's
        command += self._network(launch.port)
        for key, value in (self._environment(launch.port) | dict(launch.environment)).items():
            command += ["--env", f"{key}={value}"]
        image = self._config.images.get(launch.image, launch.image)
        if launch.entry_point:
            program, *rest = launch.entry_point
            return [*command, "--entrypoint", program, image, *rest, *launch.arguments], name
        return [*command, image, *launch.arguments], name

    @staticmethod
    def client_environment() -> dict[str, str]:
        """The environment of the docker command itself: the user's, which holds the daemon's address."""
        return dict(os.environ)

    def _network(self, port: int | None) -> list[str]:
        if port is not None:
            return ["--publish", f"127.0.0.1:{port}:{_CONTAINER_PORT}"]
        # On Linux only the host's own network reaches a server that binds to loopback; Docker Desktop forwards to it.
        return ["--network", "host"] if sys.platform == "linux" else []

    def _environment(self, port: int | None) -> dict[str, str]:
        environment = self._config.environment()
        if sys.platform != "linux" or port is not None:
            url = environment["AWS_ENDPOINT_URL"].replace("127.0.0.1", _HOST_FROM_CONTAINER)
            environment["AWS_ENDPOINT_URL"] = url
        return environment

    def check_images(self) -> None:
        """Whether the daemon answers and has the images that the configuration names.

        Raises:
            LocalAwsError: it does not answer, or an image is not there.
        """
        answered = _docker("info", "--format", "{{.ServerVersion}}")
        if answered.returncode or not answered.stdout.strip():
            reason = answered.stderr.strip()[:300] or "no version"
            raise LocalAwsError(f"Docker does not answer ({reason}); start it or use --mode process")
        for image in self._config.images.values():
            if _docker("image", "inspect", image).returncode:
                raise LocalAwsError(f"there is no Docker image {image!r}; build it with 'make images', or pull it")

    def remove_left_over(self) -> None:
        """Removes the containers of an earlier server of the same folder."""
        names = _docker("ps", "--all", "--quiet", "--filter", f"label={self.label}").stdout.split()
        if names:
            logger.info("removing %d containers left over", len(names))
            _docker("rm", "--force", *names)

    def watch(self, popen: Callable[..., subprocess.Popen[Any]]) -> None:
        """Starts, through ``popen``, the process that removes this server's containers when the server is gone."""
        self._watcher = popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, self._server_label],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a signal to the server's group is not for it
            env=self.client_environment(),
        )

    def close(self) -> None:
        """Removes what this server's containers left; idempotent."""
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        try:
            with contextlib.suppress(BrokenPipeError):
                watcher.communicate(b"close", timeout=_SWEEP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("Docker is slow to remove containers; process %d goes on with it", watcher.pid)

    @staticmethod
    def signal(name: str, signal_name: str) -> bool:
        """Sends a signal to a container's first process; whether there was one that runs."""
        return _docker("kill", "--signal", signal_name, name).returncode == 0

    @staticmethod
    def remove(name: str) -> None:
        """Kills and removes a container."""
        _docker("rm", "--force", name)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603, S607 - the user's own docker; arguments are names made here
