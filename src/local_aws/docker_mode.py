"""SageMaker containers in Docker: the command that runs one, and the removal of those an earlier server left."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

from local_aws.config import LocalAwsError, LocalConfig

if TYPE_CHECKING:
    from local_aws.runner import Launch

logger = logging.getLogger(__name__)

_CONTAINER_PORT = 8080
_HOST_FROM_CONTAINER = "host.docker.internal"


class DockerRunner:
    """Makes ``docker run`` commands; containers carry the label of the local AWS's folder."""

    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self.label = f"topic-model.local-aws={config.root.resolve()}"
        if shutil.which("docker") is None:
            raise LocalAwsError("Docker mode needs the docker command; install Docker or use --mode process")

    def command(self, launch: Launch) -> tuple[list[str], str]:
        """The command that runs the container in the foreground, and the container's name."""
        name = f"local-aws-{launch.name[:40]}-{uuid.uuid4().hex[:8]}"
        command = ["docker", "run", "--rm", "--init=false", "--name", name, "--label", self.label]
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

    def remove_left_over(self) -> None:
        """Removes the containers of an earlier server of the same folder.

        Raises:
            LocalAwsError: the Docker daemon does not answer.
        """
        listed = _docker("ps", "--all", "--quiet", "--filter", f"label={self.label}")
        if listed.returncode:
            raise LocalAwsError(
                f"Docker does not answer ({listed.stderr.strip()[:300]}); start it or use --mode process"
            )
        names = listed.stdout.split()
        if names:
            logger.info("removing %d containers left over", len(names))
            _docker("rm", "--force", *names)

    @staticmethod
    def signal(name: str, signal_name: str) -> None:
        """Sends a signal to a container's first process."""
        _docker("kill", "--signal", signal_name, name)

    @staticmethod
    def remove(name: str) -> None:
        """Kills and removes a container."""
        _docker("rm", "--force", name)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603, S607 - the user's own docker; arguments are names made here
