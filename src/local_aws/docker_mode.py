"""SageMaker containers in Docker: the command that runs one, and that none outlives the server.

Containers carry two labels: the local AWS's folder, by which the next server finds what an earlier one left, and the
server that started them, by which a watcher removes them at its end, however that comes.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from local_aws.config import LocalAwsError, LocalConfig
from local_aws.docker_containers import Watcher, docker, remove_with_label

if TYPE_CHECKING:
    from local_aws.runner import Launch

logger = logging.getLogger(__name__)

_CONTAINER_PORT = 8080
_HOST_FROM_CONTAINER = "host.docker.internal"


class DockerRunner:
    """Makes ``docker run`` commands and clears away what they began."""

    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self.label = f"topic-model.local-aws={config.root.resolve()}"
        self._server_label = f"topic-model.server={uuid.uuid4().hex}"
        self._watcher = Watcher(self._server_label)
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
        for key, value in (self._environment(launch) | dict(launch.environment)).items():
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

    def _environment(self, launch: Launch) -> dict[str, str]:
        environment = (launch.caller or self._config).environment()
        if sys.platform != "linux" or launch.port is not None:
            url = environment["AWS_ENDPOINT_URL"].replace("127.0.0.1", _HOST_FROM_CONTAINER)
            environment["AWS_ENDPOINT_URL"] = url
        return environment

    def check_images(self) -> None:
        """Whether the daemon answers and has the images that the configuration names.

        Raises:
            LocalAwsError: it does not answer, or an image is not there.
        """
        answered = docker("info", "--format", "{{.ServerVersion}}")
        if answered.returncode or not answered.stdout.strip():
            reason = answered.stderr.strip()[:300] or "no version"
            raise LocalAwsError(f"Docker does not answer ({reason}); start it or use --mode process")
        for image in self._config.images.values():
            if docker("image", "inspect", image).returncode:
                raise LocalAwsError(f"there is no Docker image {image!r}; build it with 'make images', or pull it")

    def remove_left_over(self) -> None:
        """Removes the containers of an earlier server of the same folder."""
        if removed := remove_with_label(self.label):
            logger.info("removed %d containers left over", removed)

    def watch(self, popen: Callable[..., subprocess.Popen[Any]]) -> None:
        """Starts, through ``popen``, the process that removes this server's containers when the server is gone."""
        self._watcher.start(popen)

    def close(self) -> None:
        """Removes what this server's containers left; idempotent."""
        self._watcher.close()

    @staticmethod
    def signal(name: str, signal_name: str) -> bool:
        """Sends a signal to a container's first process; whether there was one that runs."""
        return docker("kill", "--signal", signal_name, name).returncode == 0

    @staticmethod
    def remove(name: str) -> None:
        """Kills and removes a container."""
        docker("rm", "--force", name)
