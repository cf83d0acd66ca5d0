"""The pre-imported worker: one process imports the heavy libraries once and forks a child for every job.

Six jobs that each import spaCy, Gensim and scikit-learn spend seconds on imports alone. The worker is a separate
process (the threaded server itself is never forked) that talks with the server over one end of a socket pair, a JSON
object a line. A forked child behaves as ``python -m <module>`` would: a session of its own, exactly the environment,
working folder and log given, ``sys.argv``, ``__main__``, exit codes and signals. Linux only; elsewhere jobs are plain
processes.

Requests: ``{"op": "run", "id", "entry", "argv", "env", "cwd", "log"}`` with an entry ``module:<name>`` or
``file:<path>``, and ``{"op": "signal", "id", "signal", "group"}``. Events: ``ready``, ``stale`` (an imported source
changed: nothing was run), ``started`` with ``pid``, and ``exited`` with the ``status`` that ``subprocess`` would give.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib
import io
import json
import logging
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from local_aws.process_identity import die_with_parent

logger = logging.getLogger(__name__)

DEFAULT_IMPORTS = (
    "numpy",
    "scipy.sparse",
    "sklearn.cluster",
    "sklearn.decomposition",
    "sklearn.neighbors",
    "gensim.models.ldamodel",
    "pyarrow.parquet",
    "spacy",
    "spacy.lang.en",
    "uvicorn",
    "starlette.applications",
    "topic_model.*",
    "containers.*",
)
"""What jobs of this project import; ``package.*`` is a package with its modules; missing ones are passed over."""


def import_all(names: list[str]) -> list[str]:
    """Imports the modules named; returns those that could not be, which a job may then import itself and explain."""
    failed = []
    for name in _expanded(names):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a module may fail in any way; the job that needs it says how
            logger.info("not imported: %s (%r)", name, error)
            failed.append(name)
    return failed


def _expanded(names: list[str]) -> Iterator[str]:
    for name in names:
        package = name.removesuffix(".*")
        yield package
        if package != name:
            with contextlib.suppress(Exception):
                module = importlib.import_module(package)
                for found in pkgutil.walk_packages(module.__path__, f"{package}.", onerror=lambda _: None):
                    if not found.name.endswith("__main__"):
                        yield found.name


def _source_times() -> dict[str, int]:
    """Path of every imported module's file to its modification time in nanoseconds, -1 where it is gone."""
    times = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str):
            times[path] = _modified(path)
    return times


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - thousands of files a job: Path costs three times as much
    except OSError:
        return -1


class ForkServer:
    """Serves one connection until the other end closes it; then its jobs are killed and it ends."""

    def __init__(self, channel: socket.socket, *, started_ns: int) -> None:
        self._channel = channel
        self._jobs: dict[int, str] = {}  # process id to job id
        self._stale = False
        self._sources = _source_times()
        now = time.time_ns()
        # A file saved while the imports ran may have been read before or after: count it as changed.
        self._suspect = any(started_ns <= modified <= now for modified in self._sources.values())

    def serve(self) -> None:
        """Answers requests and reports exits; returns once the server has gone, all jobs killed."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the server, which ends us in order
        self._send({"event": "ready", "pid": os.getpid()})
        buffer = b""
        while True:
            sources: list[Any] = [self._channel, wake_read]
            readable, _, _ = select.select(sources, [], [], 1.0)
            if wake_read in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
            self._reap()
            if self._channel in readable:
                chunk = self._channel.recv(1 << 16)
                if not chunk:
                    break
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._handle(json.loads(line))
        for pid in list(self._jobs):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _send(self, message: dict[str, Any]) -> None:
        # The server that would read it may be gone; the next read finds that out.
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _reap(self) -> None:
        for pid in list(self._jobs):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # What the job started ends with it, as a container's processes end with its first. The process id is
            # still taken by the zombie here, so the group cannot be anybody else's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self._send({"event": "exited", "id": self._jobs.pop(pid), "status": os.waitstatus_to_exitcode(status)})

    def _handle(self, request: dict[str, Any]) -> None:
        if request["op"] == "signal":
            for pid, job_id in self._jobs.items():
                if job_id == request["id"]:
                    with contextlib.suppress(ProcessLookupError):
                        (os.killpg if request["group"] else os.kill)(pid, request["signal"])
        elif self._is_stale():
            self._send({"event": "stale", "id": request["id"]})
        else:
            self._fork(request)

    def _is_stale(self) -> bool:
        if not self._stale:
            self._stale = self._suspect or any(_modified(path) != modified for path, modified in self._sources.items())
        return self._stale

    def _fork(self, request: dict[str, Any]) -> None:
        parent = os.getpid()
        with warnings.catch_warnings():
            # OpenBLAS's idle threads are re-made after a fork by its own handlers; Python 3.12 warns of any thread.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            self._channel.close()
            become_job(request, parent)
        self._jobs[pid] = request["id"]
        self._send({"event": "started", "id": request["id"], "pid": pid})


def become_job(request: dict[str, Any], parent: int) -> NoReturn:
    """In the forked child: takes on the job's session, environment, folder and log, runs it, and exits."""
    status = 1
    try:
        os.setsid()
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        _redirect(request["log"])
        os.chdir(request["cwd"])
        gc.unfreeze()
        _reseed()
        status = run_entry(lambda: _run(request["entry"], request["argv"], request["cwd"]))
    finally:
        # Not sys.exit: it would unwind into the worker's own loop.
        os._exit(status)


def _redirect(log: str) -> None:
    """Standard input from nothing; standard output and error to the log, unbuffered as PYTHONUNBUFFERED makes them."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor, number in ((nothing, 0), (target, 1), (target, 2)):
        os.dup2(descriptor, number)
    os.close(nothing)
    os.close(target)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = io.FileIO(number, "wb", closefd=False)
        stream = io.TextIOWrapper(raw, "utf-8", errors, write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _reseed() -> None:
    """Fresh entropy for NumPy's global generator, which a fork would else copy (Python's own reseeds itself)."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _run(entry: str, argv: list[str], cwd: str) -> None:
    kind, _, name = entry.partition(":")
    sys.argv = [name, *argv]
    if kind == "file":
        sys.path.insert(0, str(Path(name).parent))
        runpy.run_path(name, run_name="__main__")
    else:
        sys.path.insert(0, cwd)
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def run_entry(run: Callable[[], None]) -> int:
    """Runs a program as the interpreter would and returns the exit status it would have."""
    try:
        run()
        status = 0
    except SystemExit as stop:
        status = _exit_status(stop.code)
    except KeyboardInterrupt:
        traceback.print_exc()
        status = 130
    except BaseException:  # noqa: BLE001 - the interpreter prints any exception and exits with 1
        traceback.print_exc()
        status = 1
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # joins non-daemon threads, as at an interpreter's end
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return status


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def main() -> None:
    """``python -m local_aws.worker --channel FD --parent PID --import NAME …``; started by the server alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--import", dest="imports", action="append", default=[])
    arguments = parser.parse_args()
    started_ns = time.time_ns()
    die_with_parent(arguments.parent)
    channel = socket.socket(fileno=arguments.channel)
    channel.set_inheritable(False)
    import_all(arguments.imports)
    server = ForkServer(channel, started_ns=started_ns)
    gc.collect()
    gc.freeze()  # keeps the collector from writing to pages that all jobs share
    server.serve()


if __name__ == "__main__":
    main()
