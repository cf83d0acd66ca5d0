"""Defects of moto 5.2.5's Step Functions API, each put right in one function.

``tests/local_aws/test_stepfunctions_stock.py`` shows each defect in plain moto.
"""

from __future__ import annotations

import datetime as dt
import re
import time
import uuid
from typing import Any

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions.exceptions import InvalidName, InvalidToken
from moto.stepfunctions.parser import api, utils
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

MAX_RESULTS = 1000
_STOP_SECONDS = 5.0  # StopExecution answers once the execution has ended, but does not wait longer than this
_BAD_NAME = re.compile(r"[\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]")


def install() -> None:
    """Put the API right; call it once."""
    name_errors()
    name_executions()
    describe_all_outputs()
    stop_with_error_and_cause()
    page_the_history()
    pass_on_the_cause_of_a_failed_task()


def name_errors() -> None:
    """Defect: errors such as InvalidDefinition and InvalidExecutionInput reach the client without their names."""
    for found in vars(api).values():
        if isinstance(found, type) and issubclass(found, AWSError) and "code" in vars(found):
            error: Any = found
            error.TYPE = error.code
            error.STATUS = error.status_code


def name_executions() -> None:
    """Defect: an execution without a name becomes ``:None``, and any name is taken."""
    stock = StepFunctionsParserBackend.start_execution

    def start_execution(self: Any, state_machine_arn: str, name: str | None = None, *args: Any, **rest: Any) -> Any:
        if name is not None and (not 1 <= len(name) <= 80 or _BAD_NAME.search(name)):
            raise InvalidName(f"Invalid Name: '{name}'")
        return stock(self, state_machine_arn, name or str(uuid.uuid4()), *args, **rest)

    StepFunctionsParserBackend.start_execution = start_execution


def describe_all_outputs() -> None:
    """Defect: DescribeExecution answers 500 for an output that holds times, and forgets stop dates of TIMED_OUT.

    Also: moto keeps every thread it ever started in a list, with all that the thread refers to.
    """
    stock = BaseExecutionWorkerCommunication._reflect_execution_status
    stock_describe = StepFunctionResponse.describe_execution

    def reflect(self: BaseExecutionWorkerCommunication) -> None:
        execution = self.execution
        error, cause = execution.error, execution.cause  # of StopExecution
        stock(self)
        if execution.output is not None:
            execution.output = to_json_str(execution.output, separators=(",", ":"))
        if execution.exec_status == ExecutionStatus.ABORTED:
            execution.error, execution.cause = error, cause
        if execution.exec_status == ExecutionStatus.TIMED_OUT:
            execution.error = "States.Timeout"
        utils.TMP_THREADS[:] = [thread for thread in utils.TMP_THREADS if thread.is_alive()]

    def describe_execution(self: StepFunctionResponse) -> ActionResult:
        answer = stock_describe(self)
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        if execution.stop_date is not None and execution.status != ExecutionStatus.RUNNING:
            answer.result["stopDate"] = execution.stop_date
        return answer

    BaseExecutionWorkerCommunication._reflect_execution_status = reflect
    StepFunctionResponse.describe_execution = describe_execution


def stop_with_error_and_cause() -> None:
    """Defect: StopExecution drops its error and cause, has no stop date, and fails on an execution just started."""

    def stop_execution(self: StepFunctionResponse) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        stop(execution, self._get_param("error"), self._get_param("cause"))
        return ActionResult({"stopDate": execution.stop_date})

    def stop_worker(self: ExecutionWorker, stop_date: dt.datetime, error: str | None, cause: str | None) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        while self.env is None and time.monotonic() < deadline:
            time.sleep(0.005)  # its thread still reads the definition
        if self.env is not None:
            self.env.set_stop(stop_date=stop_date, cause=cause, error=error)

    ExecutionWorker.stop = stop_worker
    StepFunctionResponse.stop_execution = stop_execution


def stop(execution: Execution, error: str | None, cause: str | None) -> None:
    """Abort an execution, and with it its jobs, and wait until it has ended; nothing if it has."""
    if execution.status != ExecutionStatus.RUNNING:
        return
    execution.error, execution.cause = error, cause
    execution.stop(stop_date=dt.datetime.now(tz=dt.UTC), error=error, cause=cause)
    deadline = time.monotonic() + _STOP_SECONDS
    while execution.status == ExecutionStatus.RUNNING and time.monotonic() < deadline:
        time.sleep(0.005)


def page_the_history() -> None:
    """Defect: GetExecutionHistory ignores maxResults, reverseOrder and nextToken, and costs 0.3 ms an event.

    A client that shows progress asks several times a second, so the answer is written without moto's serialiser: the
    events are JSON but for their times, which the protocol wants as seconds.
    """

    def get_execution_history(self: StepFunctionResponse) -> tuple[int, dict[str, str], str]:
        found = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        events = found.to_history_output()["events"]
        if self._get_bool_param("reverseOrder"):
            events = events[::-1]
        token = self._get_param("nextToken")
        if token is not None and not (token.isdigit() and int(token) <= len(events)):
            raise InvalidToken(f"'{token}'")
        start = int(token or 0)
        end = start + min(int(self._get_param("maxResults") or MAX_RESULTS), MAX_RESULTS)
        answer: dict[str, Any] = {
            "events": [{**event, "timestamp": _seconds(event["timestamp"])} for event in events[start:end]]
        }
        if end < len(events):
            answer["nextToken"] = str(end)
        return 200, {"Content-Type": "application/x-amz-json-1.0"}, to_json_str(answer, separators=(",", ":"))

    def get_event_history(self: EventManager) -> list[Any]:
        with self._mutex:
            return list(self._history_event_list)  # an event never changes once it is published

    StepFunctionResponse.get_execution_history = get_execution_history
    EventManager.get_event_history = get_event_history


def _seconds(timestamp: str) -> float:
    return dt.datetime.fromisoformat(timestamp).timestamp()


def pass_on_the_cause_of_a_failed_task() -> None:
    """Defect: SendTaskFailure drops its cause."""

    def send_task_failure(self: StepFunctionResponse) -> EmptyResult:
        self.stepfunction_backend.send_task_failure(
            self._get_param("taskToken"), error=self._get_param("error"), cause=self._get_param("cause")
        )
        return EmptyResult()

    StepFunctionResponse.send_task_failure = send_task_failure
