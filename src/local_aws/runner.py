"""Runs a SageMaker container: as a process of this machine, or in Docker.

In process mode a folder of the job's own stands for ``/opt/ml`` (``SAGEMAKER_BASE_DIR``), and the image's entry point
is ``python -m containers``, or what the configuration's ``images`` maps the URI to: ``module:<name>`` or
``file:<path>``. Arguments and variables that name ``/opt/ml`` are rewritten. In Docker mode the folder is mounted at
``/opt/ml`` and the image is the real one. Either way a container gets a minimal environment, a log file, and SIGTERM
before SIGKILL; what it started ends with it, and it ends with the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from local_aws.config import LocalAwsError, LocalConfig
from local_aws.docker_mode import DockerRunner
from local_aws.process_identity import process_identity
from local_aws.worker import DEFAULT_IMPORTS
from local_aws.worker_client import ExitStatus, WorkerClient, WorkerLostError

logger = logging.getLogger(__name__)

STOP_GRACE_SECONDS = float(os.environ.get("LOCAL_AWS_STOP_SECONDS", "120"))
"""Seconds between SIGTERM and SIGKILL for jobs; SageMaker's 120 unless ``LOCAL_AWS_STOP_SECONDS`` shortens it."""
SERVE_GRACE_SECONDS = min(30.0, STOP_GRACE_SECONDS)
DEFAULT_ENTRY_POINT = "module:containers"
_CREATION_SECONDS = 10.0

# As in the image: one BLAS thread a process, so that a job's sums have the same order, and result, in each mode.
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "SYSTEMROOT")

# Runs in the child before the program: dies with the server's spawning thread even where the server is killed. A
# preexec_fn would do the same but may deadlock in a server with threads.
_LAUNCH = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9,0,0,0);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);os.execvp(sys.argv[2],sys.argv[2:])"
)


class Process(Protocol):
    """A process of a container: plain, or forked by the worker."""

    pid: int

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; TimeoutError after ``timeout`` seconds."""

    def send_signal(self, signal_number: int, *, group: bool) -> None:
        """Signals it or its group; a no-op once it has exited."""


@dataclass(frozen=True)
class Launch:
    """What SageMaker tells a container: image, arguments, environment, its folder for ``/opt/ml``, its port."""

    name: str
    image: str
    arguments: tuple[str, ...]
    base_dir: Path
    log_path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    entry_point: tuple[str, ...] = ()
    """Replaces the image's own entry point (``ContainerEntrypoint``)."""
    port: int | None = None
    """The loopback port that stands for the container's 8080."""
    caller: LocalConfig | None = None
    """Whose credentials it has; the local AWS's own by default."""


class Spawner:
    """Makes every child process from one thread that lives as long as the server.

    The kernel's parent-death signal means the *thread* that made the child: from a request's thread it would kill the
    child as soon as the request is answered.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """``subprocess.Popen``, from the spawning thread."""
        made: Future[subprocess.Popen[bytes]] = self._thread.submit(
            lambda: subprocess.Popen(command, **options)  # noqa: S603 - the programs that the user's requests name
        )
        return made.result()

    def popen_bound(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """As :meth:`popen`, and on Linux the program is killed once the server is gone."""
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]
        return self.popen(command, **options)

    def close(self) -> None:
        """Ends the thread; what it made must have ended before."""
        self._thread.shutdown(wait=False)


class PlainProcess(ExitStatus):
    """A process of its own session; what it started is killed when it exits."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self._popen = popen
        self.pid = popen.pid
        self._signalling = threading.Lock()
        threading.Thread(target=self._watch, name=f"wait-{self.pid}", daemon=True).start()

    def _watch(self) -> None:
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # exited, its number still its own
        else:  # macOS before Python 3.13
            self._popen.wait()
        with self._signalling:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._status = self._popen.wait()
        self._exited.set()

    def send_signal(self, signal_number: int, *, group: bool) -> None:
        """Signals the process, or its whole group; a no-op once it has exited."""
        with self._signalling:
            if self._status is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    (os.killpg if group else os.kill)(self.pid, signal_number)


class Container:
    """A running container."""

    def __init__(self, process: Process, log_path: Path, *, docker_name: str | None = None) -> None:
        self._process = process
        self.log_path = log_path
        self.docker_name = docker_name
        self.pid = process.pid
        self.identity = process_identity(process.pid)

    def poll(self) -> int | None:
        """The exit code as a container reports it (128 + the signal's number if killed), or None while it runs."""
        status = self._process.poll()
        return None if status is None else _exit_code(status)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; TimeoutError after ``timeout`` seconds."""
        return _exit_code(self._process.wait(timeout))

    def terminate(self) -> None:
        """Asks it to stop (SIGTERM to its first process, as SageMaker does), without waiting."""
        if not self.docker_name:
            self._process.send_signal(signal.SIGTERM, group=False)
            return
        deadline = time.monotonic() + _CREATION_SECONDS  # a container that docker run still makes takes no signal
        while self._process.poll() is None and not DockerRunner.signal(self.docker_name, "TERM"):
            if time.monotonic() > deadline:
                return
            time.sleep(0.1)

    def kill(self) -> None:
        """Ends it and all it started at once."""
        if self.docker_name:
            DockerRunner.remove(self.docker_name)
        self._process.send_signal(signal.SIGKILL, group=True)
        if self.docker_name:
            DockerRunner.remove(self.docker_name)  # docker run may have made it since

    def stop(self, grace_seconds: float) -> int:
        """SIGTERM, and SIGKILL after the grace; returns the exit code."""
        if self._process.poll() is None:
            self.terminate()
            try:
                return self.wait(grace_seconds)
            except TimeoutError:
                self.kill()
        return self.wait(30)

    def log_tail(self, n_bytes: int = 800) -> str:
        """The end of what it wrote."""
        return read_tail(self.log_path, n_bytes)


def read_tail(path: Path, n_bytes: int) -> str:
    """The last bytes of a file as text, from the start of a line where there is one; empty if there is no file."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - n_bytes))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return text.partition("\n")[2] or text if size > n_bytes else text


def _exit_code(status: int) -> int:
    return 128 - status if status < 0 else status


class Runner:
    """Starts containers in the mode that the configuration names."""

    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self.spawner = Spawner()
        self._worker: WorkerClient | None = None
        if config.mode == "process" and sys.platform == "linux" and os.environ.get("LOCAL_AWS_WORKER") != "off":
            names = os.environ.get("LOCAL_AWS_WORKER_IMPORTS")
            imports = names.split(",") if names else DEFAULT_IMPORTS
            log = config.root.resolve() / "sagemaker" / "worker.log"
            self._worker = WorkerClient(imports, log, self.spawner.popen, self._base_environment())
        self._docker = DockerRunner(config) if config.mode == "docker" else None
        if self._docker:
            self._docker.check_images()
            self._docker.remove_left_over()
            self._docker.watch(self.spawner.popen)

    def start(self, launch: Launch) -> Container:
        """Starts a container and returns at once.

        Raises:
            LocalAwsError: its program or image cannot be started.
        """
        launch.base_dir.mkdir(parents=True, exist_ok=True)
        launch.log_path.parent.mkdir(parents=True, exist_ok=True)
        launch.log_path.touch()
        if self._docker:
            command, name = self._docker.command(launch)
            return Container(
                self._plain(command, self._docker.client_environment(), launch), launch.log_path, docker_name=name
            )
        return Container(self._process(launch), launch.log_path)

    def warm_up(self) -> None:
        """Begins to import what jobs will need, in the background."""
        if self._worker:
            self._worker.warm_up()

    def _process(self, launch: Launch) -> Process:
        environment = self.process_environment(launch)
        arguments = [_relocated(argument, launch.base_dir) for argument in launch.arguments]
        if launch.entry_point:
            program, *rest = (_relocated(part, launch.base_dir) for part in launch.entry_point)
            command = [_program(program), *rest, *arguments]
            return self._plain(command, environment, launch)
        entry = self._config.images.get(launch.image, DEFAULT_ENTRY_POINT)
        if not entry.startswith(("module:", "file:")):
            entry = DEFAULT_ENTRY_POINT  # the tag of a Docker image says nothing in process mode
        if self._worker and self._worker.can_run(launch.environment):
            try:
                return self._worker.run(entry, arguments, environment, launch.base_dir, launch.log_path)
            except WorkerLostError as error:
                logger.warning("%s: job %s runs as a plain process", error, launch.name)
        kind, _, name = entry.partition(":")
        command = [sys.executable, name] if kind == "file" else [sys.executable, "-m", name]
        return self._plain([*command, *arguments], environment, launch)

    @staticmethod
    def _base_environment() -> dict[str, str]:
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        path = environment.get("PATH", os.defpath)
        return environment | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}",
            "PYTHONUNBUFFERED": "1",
            **_THREADS,
        }

    def process_environment(self, launch: Launch) -> dict[str, str]:
        """The whole environment of a container in process mode."""
        environment = self._base_environment()
        environment |= (launch.caller or self._config).environment()
        environment["SAGEMAKER_BASE_DIR"] = str(launch.base_dir)
        if launch.port is not None:
            environment["SAGEMAKER_BIND_TO_PORT"] = str(launch.port)
        return environment | {name: _relocated(value, launch.base_dir) for name, value in launch.environment.items()}

    def _plain(self, command: Sequence[str], environment: Mapping[str, str], launch: Launch) -> PlainProcess:
        if shutil.which(command[0], path=environment.get("PATH")) is None:
            raise LocalAwsError(
                f"{launch.name}: there is no program {command[0]!r}; name one that is on PATH or run in Docker mode"
            )
        with launch.log_path.open("ab") as log:
            popen = self.spawner.popen_bound(
                command,
                cwd=launch.base_dir,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return PlainProcess(popen)

    def close(self) -> None:
        """Ends the worker with all its jobs; plain processes must have been stopped by those who started them."""
        if self._worker:
            self._worker.close()
        if self._docker:
            self._docker.close()
        self.spawner.close()


def _relocated(text: str, base_dir: Path) -> str:
    """``/opt/ml`` at the start of a path becomes the job's folder."""
    if text == "/opt/ml" or text.startswith("/opt/ml/"):
        return str(base_dir) + text[len("/opt/ml") :]
    return text


def _program(name: str) -> str:
    return sys.executable if name in ("python", "python3") else name


_shared: dict[Path, tuple[Runner, set[str]]] = {}
_sharing = threading.Lock()


def shared_runner(config: LocalConfig, user: str) -> Runner:
    """The one runner of a local AWS; each user gives it back with :func:`release_runner`."""
    key = config.root.resolve()
    with _sharing:
        if key not in _shared:
            _shared[key] = (Runner(config), set())
        runner, users = _shared[key]
        users.add(user)
        return runner


def release_runner(config: LocalConfig, user: str) -> None:
    """Ends the runner once its last user has given it back; idempotent."""
    key = config.root.resolve()
    with _sharing:
        runner, users = _shared.get(key, (None, set()))
        users.discard(user)
        if runner is None or users:
            return
        del _shared[key]
    runner.close()
