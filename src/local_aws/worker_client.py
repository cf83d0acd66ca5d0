"""The server's side of the pre-imported worker (:mod:`local_aws.worker`): starts it, sends it jobs."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

Spawn = Callable[..., "subprocess.Popen[bytes]"]
"""``subprocess.Popen``, called from a thread that outlives the worker."""

_START_TIMEOUT_SECONDS = 120.0
_READ_AT_START = ("OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "PYTHON", "LD_", "ARROW_")
"""Prefixes of variables that libraries or the interpreter read when they start: a fork comes too late for them."""


class WorkerLostError(Exception):
    """The worker ended or did not start; the job is to be run as a plain process."""


class ExitStatus:
    """The exit status of a process that a thread watches."""

    def __init__(self) -> None:
        self.pid = 0
        self._exited = threading.Event()
        self._status: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal, or None while it runs."""
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """The exit status.

        Raises:
            TimeoutError: it still runs after ``timeout`` seconds.
        """
        if not self._exited.wait(timeout) or self._status is None:
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
        return self._status


class ForkedProcess(ExitStatus):
    """A job forked by the worker; the same surface as :class:`local_aws.runner.PlainProcess`."""

    def __init__(self, job_id: str, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._id = job_id
        self._send = send
        self.refused = False
        self._started = threading.Event()

    def send_signal(self, signal_number: int, *, group: bool) -> None:
        """Signals the process, or its whole group; a no-op once it has exited."""
        if self._status is None:
            with contextlib.suppress(OSError):
                self._send({"op": "signal", "id": self._id, "signal": signal_number, "group": group})

    def wait_started(self) -> None:
        """Returns once it runs or was refused.

        Raises:
            WorkerLostError: the worker ended first.
        """
        if not self._started.wait(_START_TIMEOUT_SECONDS) or (self._status is not None and not self.pid):
            raise WorkerLostError("the pre-imported worker ended before it started the job")

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Takes in what the worker told."""
        if event["event"] == "started":
            self.pid = event["pid"]
        elif event["event"] == "stale":
            self.refused = True
        else:
            self._status = event["status"]
            self._exited.set()
        self._started.set()


class _Connection:
    """One worker process and the jobs it runs."""

    def __init__(self, imports: Sequence[str], log_path: Path, spawn: Spawn, env: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "local_aws.worker"]
        command += ["--channel", str(theirs.fileno()), "--parent", str(os.getpid())]
        for name in imports:
            command += ["--import", name]
        with theirs, log_path.open("ab") as log:
            self.process = spawn(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=dict(env),
            )
        self._channel = ours
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self.jobs: dict[str, ForkedProcess] = {}
        self.lost = False
        self._ready = False
        self._reader = threading.Thread(target=self._read, name="worker-events", daemon=True)
        self._reader.start()

    def run(self, entry: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log_path: Path) -> ForkedProcess:
        job_id = str(next(self._numbers))
        job = self.jobs[job_id] = ForkedProcess(job_id, self._send)
        request = {"op": "run", "id": job_id, "entry": entry, "argv": list(argv), "env": dict(env)}
        try:
            self._send({**request, "cwd": str(cwd), "log": str(log_path)})
        except OSError as error:
            self.jobs.pop(job_id, None)
            raise WorkerLostError("the pre-imported worker has ended") from error
        if self.lost:  # it ended between the two, and the reader may not have seen this job
            job.on_event({"event": "exited", "status": -9})
        job.wait_started()
        return job

    def retire(self) -> None:
        """Lets the worker end once its last job has; its running jobs go on."""
        self.lost = True
        if not self.jobs:
            self.close()

    def close(self) -> None:
        """Ends the worker and every job it still runs."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        if not self._ready:  # in the midst of its imports it hears nothing
            self.process.kill()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        with self._sending:
            self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _read(self) -> None:
        with self._channel.makefile("rb") as events, contextlib.suppress(OSError):
            for line in events:
                event = json.loads(line)
                self._ready = self._ready or event["event"] == "ready"
                job = self.jobs.get(event.get("id", ""))
                if job is None:
                    continue
                if event["event"] != "started":
                    self.jobs.pop(event["id"], None)
                job.on_event(event)
                if self.lost and not self.jobs:
                    break
        self.lost = True
        for job in list(self.jobs.values()):  # the kernel killed them with the worker
            job.on_event({"event": "exited", "status": -9})
        self.jobs.clear()
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self.process.wait()
        self._channel.close()


class WorkerClient:
    """Runs jobs in the pre-imported worker, which it starts at the first one and anew after a source changed."""

    def __init__(self, imports: Sequence[str], log_path: Path, spawn: Spawn, env: Mapping[str, str]) -> None:
        self._env = env
        self._imports = tuple(imports)
        self._log_path = log_path
        self._spawn = spawn
        self._starting = threading.Lock()
        self._connection: _Connection | None = None
        self._retired: list[_Connection] = []
        self._closed = False

    @staticmethod
    def can_run(env: Mapping[str, str]) -> bool:
        """Whether the job's own variables (beyond PYTHONUNBUFFERED) would mean the same to a forked child."""
        return not any(name.startswith(_READ_AT_START) and name != "PYTHONUNBUFFERED" for name in env)

    def run(self, entry: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log_path: Path) -> ForkedProcess:
        """Forks a job.

        Raises:
            WorkerLostError: there is no worker to run it; nothing was run.
        """
        for _ in range(3):
            connection = self._connect()
            job = connection.run(entry, argv, env, cwd, log_path)
            if not job.refused:
                return job
            logger.info("an imported source changed: the worker is started anew")
            self._retire(connection)
        raise WorkerLostError("the sources of imported packages keep changing")

    def warm_up(self) -> None:
        """Starts the worker, so that its imports are under way before the first job."""
        with contextlib.suppress(WorkerLostError):
            self._connect()

    def _connect(self) -> _Connection:
        with self._starting:
            if self._closed:
                raise WorkerLostError("the local AWS is stopping")
            if self._connection is None or self._connection.lost:
                self._log_path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = _Connection(self._imports, self._log_path, self._spawn, self._env)
            return self._connection

    def _retire(self, connection: _Connection) -> None:
        with self._starting:
            if self._connection is connection:
                self._connection = None
            self._retired = [old for old in self._retired if old.jobs]
            if connection not in self._retired:
                self._retired.append(connection)
        connection.retire()

    def close(self) -> None:
        """Ends the worker and all its jobs; idempotent."""
        with self._starting:
            self._closed = True
            connections = [*self._retired, *([self._connection] if self._connection else [])]
            self._retired, self._connection = [], None
        for connection in connections:
            connection.close()
