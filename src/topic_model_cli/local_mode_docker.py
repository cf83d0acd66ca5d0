"""What SageMaker's local mode needs of Docker, looked at before it starts, and nothing of it left behind."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local_aws.docker_containers import Watcher, docker, remove_with_label, with_label
from topic_model.errors import TopicModelError
from topic_model_cli import interrupts

NETWORK = "sagemaker-local"
"""Of the SDK's own making, shared by all local modes of a machine."""
_LOG_LINES = 15


class LocalModeError(TopicModelError):
    """SageMaker's local mode cannot start, a job of it failed, or its results are others than process mode's."""


def check_docker(image: str, port: int) -> str:
    """Whether the daemon answers, has the image, Compose is one that the SDK takes, and the port is free.

    Returns:
        What Compose says of its version.

    Raises:
        LocalModeError: one of them is not so; the message has the remedy.
    """
    if shutil.which("docker") is None:
        raise LocalModeError("there is no program 'docker'; local mode runs containers: install Docker and Compose")
    answered = docker("info", "--format", "{{.ServerVersion}}")
    if answered.returncode or not answered.stdout.strip():
        reason = answered.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise LocalModeError(f"Docker does not answer ({reason[0][:300]}); start its daemon")
    if docker("image", "inspect", image).returncode:
        raise LocalModeError(f"there is no Docker image {image!r}; build it with 'make images', or pull it")
    version = _compose_version()
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))  # Compose publishes it on all interfaces
        except OSError as error:
            raise LocalModeError(
                f"port {port}, where local mode serves, is not free ({error.strerror}); end what listens there, or "
                "give another --port"
            ) from error
    return version


def _compose_version() -> str:
    """The version of the Compose that the SDK is going to find: the plugin if it says v2, else ``docker-compose``.

    Raises:
        LocalModeError: there is none, or the plugin is of another version and there is no ``docker-compose``.
    """
    plugin = docker("compose", "version")
    said = plugin.stdout.strip().splitlines()[0] if plugin.returncode == 0 and plugin.stdout.strip() else ""
    if "v2" in said:
        return said
    if shutil.which("docker-compose") is not None:
        return f"docker-compose at {shutil.which('docker-compose')}"
    found = f"found {said!r}, which the SageMaker SDK does not take: it wants" if said else "found none:"
    raise LocalModeError(
        f"local mode needs Docker Compose; {found} Docker's Compose plugin v2, or a program 'docker-compose' (on "
        "Debian and Ubuntu: apt-get install docker-compose)"
    )


@dataclass(frozen=True)
class Workplace:
    """Where local mode puts its files, and the label ``name=value`` of its containers."""

    folder: Path
    label: str

    def remove_containers(self) -> None:
        """Removes those of the jobs so far: the SDK leaves every one."""
        remove_with_label(self.label)

    def failure(self) -> str | None:
        """The last lines of the newest container, if it failed; the SDK's error has its exit code alone."""
        for name in with_label(self.label)[:1]:
            code = docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip()
            if code not in {"", "0"}:
                logged = docker("logs", "--tail", str(_LOG_LINES), name)
                lines = [line.rstrip() for line in (logged.stdout + logged.stderr).splitlines() if line.strip()]
                return "\n  ".join(lines) or f"its container ended with exit code {code} and said nothing"
        return None


@contextlib.contextmanager
def workplace(image: str) -> Iterator[Workplace]:
    """A folder and a label for as long as this lasts; no container, network or file of theirs outlives it.

    Containers go even where this process is killed. ``image`` removes what its own containers wrote as root.
    """
    label = f"topic-model.local-mode={uuid.uuid4().hex}"
    network_was_there = not docker("network", "inspect", NETWORK).returncode
    watcher = Watcher(label)
    watcher.start()
    folder = Path(tempfile.mkdtemp(prefix="topic-model-local-mode-"))
    try:
        yield Workplace(folder, label)
    finally:
        with interrupts.interrupts_ignored():
            watcher.close()
            if not network_was_there:
                docker("network", "rm", NETWORK)  # fails where another local mode uses it by now
            remove_folder(folder, image)


def remove_folder(folder: Path, image: str) -> None:
    """Removes a folder in which containers wrote as root, for whom that is not so by a container of ``image``."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        mount = f"{folder}:/left"
        docker("run", "--rm", "--network=none", "--user=0", "--volume", mount, "--entrypoint=find", image, "/left",
               "-mindepth", "1", "-delete")  # fmt: skip
        shutil.rmtree(folder)
