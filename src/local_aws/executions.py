"""Executions that outlive the server.

Each execution is an append-only file under ``executions/``: a line with its start, a line a history event, a line with
its result. What is written is true after ``kill -9``; an execution without a result was running when its server ended,
and becomes FAILED with ``LocalAws.ServerStopped``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moto.stepfunctions.parser.api import CloudWatchEventsExecutionDataDetails, ExecutionStatus
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor.map_run_record import (
    MapRunRecordPoolManager,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackPoolManager
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local_aws import event_rules, stepfunctions_api
from local_aws.config import LocalConfig
from local_aws.stepfunctions_interpreter import iso

LOG = logging.getLogger(__name__)

SERVER_STOPPED = "LocalAws.ServerStopped"
MAX_KEPT = 1_000  # executions; the oldest are deleted at a start

_folder: Path


class ExecutionLog:
    """The file of a running execution; a full disk costs its history, not the execution."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def write(self, kind: str, content: Any) -> None:
        """Append a line: ``start``, ``event`` or ``result``."""
        line = to_json_str({kind: content}, separators=(",", ":"))
        try:
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            LOG.warning("%s cannot be written: %s", self._path, error)


class _IdleWorker:
    """Stands for the worker of an execution that has ended, where moto looks for task tokens and map runs."""

    def __init__(self) -> None:
        self.env = self
        self.callback_pool_manager = CallbackPoolManager(activity_store={})
        self.map_run_record_pool_manager = MapRunRecordPoolManager()


class StoredExecution:
    """An execution of a former server, with what moto's actions ask of one."""

    def __init__(self, path: Path, start: dict[str, Any], result: dict[str, Any]) -> None:
        self._path = path
        self.name: str = start["name"]
        self.execution_arn = self.exec_arn = start["executionArn"]
        self.state_machine_arn: str = start["stateMachineArn"]
        self.execution_input: str = start["input"]
        self.start_date = dt.datetime.fromisoformat(start["startDate"])
        self.stop_date = dt.datetime.fromisoformat(result["stopDate"])
        self.exec_status = ExecutionStatus(result["status"])
        self.output: str | None = result.get("output")
        self.output_details = CloudWatchEventsExecutionDataDetails(included=True)
        self.error: str | None = result.get("error")
        self.cause: str | None = result.get("cause")
        self.exec_worker = _IdleWorker()

    @property
    def status(self) -> str:
        """``SUCCEEDED``, ``FAILED``, ``ABORTED`` or ``TIMED_OUT``."""
        return str(self.exec_status.value)

    def to_history_output(self) -> dict[str, Any]:
        """The events, read from the file when they are asked for."""
        return {"events": [content for kind, content in _lines(self._path) if kind == "event"]}


def install(config: LocalConfig) -> None:
    """Write executions to ``config.root/executions`` from now on."""
    global _folder  # noqa: PLW0603 - moto's classes have no other way to reach the folder
    _folder = config.root / "executions"
    _folder.mkdir(parents=True, exist_ok=True)
    _write_starts()
    _write_events()
    _write_results()


def restore(config: LocalConfig) -> None:
    """Bring back the executions of state machines that are there; those of deleted ones are deleted."""
    backend = stepfunctions_parser_backends[config.account][config.region]
    machines = {machine.arn: machine for machine in backend.state_machines}
    running = {execution.execution_arn for machine in machines.values() for execution in machine.executions}
    newest_first = sorted(_folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
    for position, path in enumerate(newest_first):
        _, start = next(_lines(path), ("start", None))
        if start is not None and start.get("executionArn") in running:
            continue  # of this server: started since it listens
        stored = _stored(path)
        machine = machines.get(stored.state_machine_arn) if stored is not None else None
        if stored is None or machine is None or position >= MAX_KEPT:
            path.unlink(missing_ok=True)
        else:
            machine.executions.append(stored)


def stop_all() -> None:
    """Abort every running execution, all at once."""
    threads = []
    for account in list(stepfunctions_parser_backends):
        for region in list(stepfunctions_parser_backends[account]):
            for machine in stepfunctions_parser_backends[account][region].state_machines:
                for execution in machine.executions:
                    if execution.status == ExecutionStatus.RUNNING:
                        cause = "the local AWS was stopped while the execution ran; start it again under a new name"
                        threads.append(
                            threading.Thread(target=stepfunctions_api.stop, args=(execution, SERVER_STOPPED, cause))
                        )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def path_of(execution_arn: str) -> Path:
    """The file of an execution; names may be longer than a file's, so it is a digest."""
    return _folder / f"{hashlib.sha256(execution_arn.encode()).hexdigest()[:32]}.jsonl"


def _write_starts() -> None:
    stock = Execution.start

    def start(self: Execution) -> None:
        self.log = ExecutionLog(path_of(self.exec_arn))
        self.log.write(
            "start",
            {
                "name": self.name,
                "executionArn": self.exec_arn,
                "stateMachineArn": self.state_machine_arn,
                "input": self.execution_input,
                "startDate": self.start_date.isoformat(),
            },
        )
        stock(self)
        _tell(self)

    Execution.start = start


def _write_events() -> None:
    stock_environment = ExecutionWorker._get_evaluation_environment
    stock_publish = EventManager._publish_history_event

    def environment(self: ExecutionWorker) -> Any:
        env = stock_environment(self)
        env.event_manager.log = self._execution_communication.execution.log
        return env

    def publish(self: EventManager, *args: Any, **fields: Any) -> None:
        published = len(self._history_event_list)
        stock_publish(self, *args, **fields)
        log = getattr(self, "log", None)
        if log is not None and len(self._history_event_list) > published:
            log.write("event", self._history_event_list[-1])

    ExecutionWorker._get_evaluation_environment = environment
    EventManager._publish_history_event = publish


def _write_results() -> None:
    stock = BaseExecutionWorkerCommunication._reflect_execution_status

    def reflect(self: BaseExecutionWorkerCommunication) -> None:
        stock(self)
        execution = self.execution
        _tell(execution)
        execution.log.write(
            "result",
            {
                "status": execution.exec_status.value,
                "stopDate": execution.stop_date.isoformat(),
                "output": execution.output,
                "error": execution.error,
                "cause": execution.cause,
            },
        )

    BaseExecutionWorkerCommunication._reflect_execution_status = reflect


def _tell(execution: Execution) -> None:
    """EventBridge's event of an execution's status, with what it says of input and output."""
    detail = {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine_arn,
        "name": execution.name,
        "status": execution.exec_status.value if execution.exec_status else ExecutionStatus.RUNNING.value,
        "startDate": execution.start_date,
        "stopDate": execution.stop_date,
        "input": execution.execution_input,
        "output": execution.output,
        "error": execution.error,
        "cause": execution.cause,
    }
    event_rules.emit("aws.states", "Step Functions Execution Status Change", execution.exec_arn, detail)


def _stored(path: Path) -> StoredExecution | None:
    """The execution of a file, with a result if it lacks one; None for a file without its first line."""
    start: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    last_event: dict[str, Any] = {"id": 0}
    for kind, content in _lines(path):
        if kind == "start":
            start = content
        elif kind == "event":
            last_event = content
        elif kind == "result":
            result = content
    if start is None:
        return None
    if result is None:
        result = _close(path, last_event)
    return StoredExecution(path, start, result)


def _close(path: Path, last_event: dict[str, Any]) -> dict[str, Any]:
    now = dt.datetime.now(tz=dt.UTC)
    cause = "the local AWS ended while the execution ran; start it again under a new name"
    details = {"error": SERVER_STOPPED, "cause": cause}
    _cut_torn_line(path)
    log = ExecutionLog(path)
    log.write(
        "event",
        {
            "executionFailedEventDetails": details,
            "id": last_event["id"] + 1,
            "previousEventId": last_event["id"],
            "type": "ExecutionFailed",
            "timestamp": iso(now),
        },
    )
    result = {"status": "FAILED", "stopDate": now.isoformat(), **details}
    log.write("result", result)
    return result


def _cut_torn_line(path: Path) -> None:
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Kind and content of each whole line; a torn last line is no line."""
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield from json.loads(line).items()
    except (OSError, ValueError) as error:
        LOG.warning("%s is damaged: %s", path, error)
