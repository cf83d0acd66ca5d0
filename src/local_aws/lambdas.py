"""Lambda functions that really execute: a warm process a function, from its zip archive, in this Python environment.

As on AWS, a process answers one event at a time; concurrent calls get processes of their own, and idle ones are kept
for the next call.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaFunction

from local_aws import lambda_logging
from local_aws.config import LocalConfig
from local_aws.iam_enforcement import acting_as, role_may
from local_aws.iam_identities import AssumeRoleRefusedError
from local_aws.log_lines import write_lines
from local_aws.runner import Container, PlainProcess, Runner, release_runner, shared_runner
from local_aws.saved_state import now

logger = logging.getLogger(__name__)

_USER = "lambdas"
_INIT_SECONDS = 30.0
_IDLE_SECONDS = 300.0
_IDLE_AT_MOST = 8  # processes of one function
_TAIL_BYTES = 4_096
_DEFAULT_TIMEOUT_SECONDS = 3
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


@dataclass(frozen=True)
class Outcome:
    """What an invocation came to: the payload as JSON text, whether it is an error, and what was printed."""

    payload: str
    failed: bool
    log: str


class FunctionProcess:
    """One warm process of a function."""

    def __init__(self, runner: Runner, environment: Mapping[str, str], folder: Path, log_path: Path) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "local_aws.lambda_runtime", "--channel", str(theirs.fileno())]
        with theirs, log_path.open("wb") as log:
            popen = runner.spawner.popen_bound(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.stream = f"{now():%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        self.idle_since = time.monotonic()
        self._container = Container(PlainProcess(popen), log_path)
        self._channel = ours
        self._lines = ours.makefile("rwb")
        self._log = log_path.open("rb")
        self._ready = False

    def initialise(self) -> dict[str, Any] | None:
        """Waits for the handler's import; returns the error that it raised, if any."""
        if self._ready:
            return None
        message = self._read(_INIT_SECONDS)
        self._ready = "ready" in message
        return None if self._ready else dict(message["error"])

    def ask(self, request: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """The answer to an event.

        Raises:
            TimeoutError: there was none in time.
            EOFError: the process ended.
        """
        try:
            self._lines.write(json.dumps(request).encode() + b"\n")
            self._lines.flush()
        except OSError as error:
            raise EOFError from error
        return self._read(timeout_seconds)

    def _read(self, timeout_seconds: float) -> dict[str, Any]:
        self._channel.settimeout(timeout_seconds)
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise
        except OSError as error:
            raise EOFError from error
        if not line.endswith(b"\n"):
            raise EOFError
        return dict(json.loads(line))

    def new_log(self) -> str:
        """What was printed since the last call."""
        return self._log.read().decode(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._container.poll() is None

    def end(self) -> int:
        """Kills it and all it started; returns its exit code."""
        for stream in (self._channel, self._log):
            stream.close()
        self._container.kill()
        return self._container.wait(30)

    def exit_code(self) -> int:
        """The exit code of a process that is about to end by itself."""
        try:
            return self._container.wait(2)
        except TimeoutError:
            return -1


class FunctionPool:
    """The warm processes of all functions."""

    def __init__(self, config: LocalConfig, runner: Runner) -> None:
        self.config = config
        self._runner = runner
        self._root = config.root.resolve() / "lambda"
        self._lock = threading.Lock()
        self._idle: dict[str, list[FunctionProcess]] = {}
        self._all: set[FunctionProcess] = set()
        self._closed = threading.Event()
        self._reaper = threading.Thread(target=self._reap, name="lambda-idle", daemon=True)
        self._reaper.start()

    def invoke(self, function: Any, event: Any) -> Outcome:
        """Runs a function once."""
        if not (_has_archive(function) or _command(function)):
            return _error(
                "Runtime.InvalidEntrypoint", "the function has neither an archive nor an image whose Command names it"
            )
        try:
            environment = self._environment(function)
        except AssumeRoleRefusedError as error:
            return _error("AccessDeniedException", f"The role defined for the function cannot be assumed: {error}")
        key = hashlib.sha256(json.dumps([function.code_sha_256, environment], sort_keys=True).encode()).hexdigest()
        try:
            process = self._take(key, function, environment)
        except (OSError, zipfile.BadZipFile) as error:
            return _error("Runtime.InvalidCode", f"the function's archive cannot be used: {error}")
        request_id = str(uuid.uuid4())
        outcome, reusable = self._run(process, function, event, request_id)
        self._save_log(function, process, outcome.log)
        self._give_back(key, process, reusable=reusable)
        return outcome

    def _run(self, process: FunctionProcess, function: Any, event: Any, request_id: str) -> tuple[Outcome, bool]:
        seconds = int(function.timeout or _DEFAULT_TIMEOUT_SECONDS)
        started = time.monotonic()
        try:
            unusable = process.initialise()
            if unusable is not None:
                return self._logged(process, Outcome(json.dumps(unusable), True, ""), request_id, started), False
            started = time.monotonic()
            message = process.ask(self._request(process, function, event, request_id, seconds), seconds)
        except TimeoutError:
            text = f"{now().isoformat()} {request_id} Task timed out after {seconds:.2f} seconds"
            return self._logged(process, _error("Sandbox.Timedout", text), request_id, started), False
        except EOFError:
            text = f"RequestId: {request_id} Error: Runtime exited with error: exit status {process.exit_code()}"
            return self._logged(process, _error("Runtime.ExitError", text), request_id, started), False
        failure = message.get("error")
        outcome = Outcome(message["payload"] if failure is None else json.dumps(failure), failure is not None, "")
        return self._logged(process, outcome, request_id, started), True

    @staticmethod
    def _logged(process: FunctionProcess, outcome: Outcome, request_id: str, started: float) -> Outcome:
        milliseconds = (time.monotonic() - started) * 1000
        printed = process.new_log()
        if outcome.failed and not printed.strip():
            printed = f"{json.loads(outcome.payload)['errorMessage']}\n"
        if printed and not printed.endswith("\n"):
            printed += "\n"
        log = (
            f"START RequestId: {request_id} Version: $LATEST\n{printed}END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms\n"
        )
        return Outcome(outcome.payload, outcome.failed, log)

    @staticmethod
    def _request(
        process: FunctionProcess, function: Any, event: Any, request_id: str, seconds: float
    ) -> dict[str, Any]:
        context = {
            "function_name": function.function_name,
            "function_version": str(function.version),
            "invoked_function_arn": function.function_arn,
            "memory_limit_in_mb": str(function.memory_size),
            "aws_request_id": request_id,
            "log_group_name": function.logs_group_name,
            "log_stream_name": process.stream,
            "deadline": time.time() + seconds,
        }
        return {"event": event, "context": context}

    def _environment(self, function: Any) -> dict[str, str]:
        caller = acting_as(self.config, function.role, "lambda.amazonaws.com", function.function_name)
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        return {
            **environment,
            **caller.environment(),
            "PYTHONUNBUFFERED": "1",
            "_HANDLER": str(function.handler if _has_archive(function) else _command(function)),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": str(function.function_name),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_LOG_GROUP_NAME": str(function.logs_group_name),
            "LAMBDA_TASK_ROOT": str(self._code_folder(function)),
            **{name: str(value) for name, value in (function.environment_vars or {}).items()},
        }

    def _code_folder(self, function: Any) -> Path:
        code = function.code_bytes if _has_archive(function) else str(function.code.get("ImageUri")).encode()
        digest = hashlib.sha256(code).hexdigest()[:16]
        return self._root / str(function.function_name) / digest

    def _take(self, key: str, function: Any, environment: Mapping[str, str]) -> FunctionProcess:
        with self._lock:
            idle = self._idle.get(key, [])
            while idle:
                process = idle.pop()
                if process.alive:
                    return process
                self._all.discard(process)
        folder = self._unpacked(function)
        log_path = folder.parent / f"log-{uuid.uuid4().hex[:8]}.txt"
        process = FunctionProcess(self._runner, environment, folder, log_path)
        log_path.unlink()  # both ends hold it open; CloudWatch Logs has what it says
        with self._lock:
            self._all.add(process)
        return process

    def _unpacked(self, function: Any) -> Path:
        folder = self._code_folder(function)
        if not _has_archive(function):
            # An image's code is this installation's, as a SageMaker job's is in process mode.
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
            try:
                with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
                    archive.extractall(temporary)  # zipfile keeps members inside the folder
                try:
                    temporary.rename(folder)
                except OSError:
                    if not folder.is_dir():  # else a concurrent call has unpacked the same code
                        raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def _give_back(self, key: str, process: FunctionProcess, *, reusable: bool) -> None:
        with self._lock:
            idle = self._idle.setdefault(key, [])
            if reusable and process.alive and len(idle) < _IDLE_AT_MOST and not self._closed.is_set():
                process.idle_since = time.monotonic()
                idle.append(process)
                return
            self._all.discard(process)
        process.end()

    @staticmethod
    def _save_log(function: Any, process: FunctionProcess, log: str) -> None:
        backend, group = function.logs_backend, function.logs_group_name
        if not role_may(function.role, ("logs:CreateLogStream", "logs:PutLogEvents"), _log_arn(function, process)):
            return  # as on AWS, where such a function is silent
        backend.ensure_log_group(group)
        write_lines(backend, group, process.stream, [line for line in log.splitlines() if line])

    def _reap(self) -> None:
        """Ends processes that were idle for minutes."""
        while not self._closed.wait(30):
            oldest = time.monotonic() - _IDLE_SECONDS
            with self._lock:
                leaving = [p for idle in self._idle.values() for p in idle if p.idle_since < oldest or not p.alive]
                self._idle = {
                    key: kept for key, idle in self._idle.items() if (kept := [p for p in idle if p not in leaving])
                }
                self._all.difference_update(leaving)
            for process in leaving:
                process.end()

    def close(self) -> None:
        """Ends all processes."""
        self._closed.set()
        with self._lock:
            leaving, self._all, self._idle = list(self._all), set(), {}
        for process in leaving:
            process.end()


def _has_archive(function: Any) -> bool:
    return function.package_type != "Image" and bool(function.code_bytes)


def _command(function: Any) -> str | None:
    """The handler that an image's function is called with, by its ``ImageConfig``."""
    return next(iter(function.image_config.cmd), None) if function.package_type == "Image" else None


def _error(kind: str, message: str) -> Outcome:
    return Outcome(json.dumps({"errorType": kind, "errorMessage": message}), True, "")


def _log_arn(function: Any, process: FunctionProcess) -> str:
    parts = function.function_arn.split(":")
    group = f"{function.logs_group_name}:log-stream:{process.stream}"
    return f"arn:aws:logs:{parts[3]}:{parts[4]}:log-group:{group}"


_pool: list[FunctionPool] = []  # at most one: the local AWS that this process serves


def install(config: LocalConfig) -> None:
    """Lets moto's functions run."""
    _pool[:] = [FunctionPool(config, shared_runner(config, _USER))]
    lambda_logging.install()
    LambdaFunction._invoke_lambda = _invoke_lambda
    LambdaFunction.invoke = _invoke


def shutdown() -> None:
    """Ends all functions; idempotent."""
    while _pool:
        pool = _pool.pop()
        pool.close()
        release_runner(pool.config, _USER)


def _invoke_lambda(self: Any, event: Any = None) -> tuple[str, bool, str]:
    """What moto's other services call: payload, whether it failed, log."""
    if not _pool:
        raise LambdaClientError("ServiceException", "the local AWS is stopping")
    outcome = _pool[0].invoke(self, {} if event is None else event)
    return outcome.payload, outcome.failed, outcome.log


def _invoke(self: Any, body: Any, request_headers: Mapping[str, str], response_headers: dict[str, str]) -> bytes | str:
    """The handler of ``Invoke``; moto's says ``Handled`` of every error, and lets the caller of ``Event`` wait."""
    try:
        event = json.loads(body) if body else {}
    except ValueError as error:
        message = f"Could not parse request body into json: {error}"
        raise LambdaClientError("InvalidRequestContentException", message) from error
    kind = request_headers.get("x-amz-invocation-type", "RequestResponse")
    if kind == "DryRun":
        return ""
    if kind == "Event":
        threading.Thread(target=_invoke_lambda, args=(self, event), name="lambda-event", daemon=True).start()
        return ""
    payload, failed, log = _invoke_lambda(self, event)
    if failed:
        response_headers["x-amz-function-error"] = "Unhandled"
    response_headers["x-amz-log-result"] = base64.b64encode(log.encode()[-_TAIL_BYTES:]).decode()
    return payload.encode()
