"""Defects of moto 5.2.5's interpreter of the Amazon States Language, each put right in one function.

``tests/local_aws/test_stepfunctions_stock.py`` shows each defect in plain moto; when a test there fails, moto has
changed and the function here may go.
"""

from __future__ import annotations

import copy
import datetime as dt
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from botocore.response import StreamingBody
from moto.stepfunctions.parser.asl.component.common.catch.catch_outcome import CatchOutcome
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.retry.max_attempts_decl import MaxAttemptsOutcome
from moto.stepfunctions.parser.asl.component.common.retry.retrier_decl import RetrierDecl
from moto.stepfunctions.parser.asl.component.common.retry.retrier_outcome import RetrierOutcome
from moto.stepfunctions.parser.asl.component.common.retry.retry_outcome import RetryOutcome
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branches_decl import BranchesDecl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_aws_sdk
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
    StateTaskServiceSfn,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped, ProgramTimedOut
from moto.stepfunctions.parser.backend.execution import Execution

from local_aws.config import LocalConfig, new_client
from local_aws.iam_enforcement import acting_as

WAIT_SECONDS = 0.05  # how long a waiting state may take to notice that its execution was stopped
_TASK_SECONDS = 920  # a task's HTTP call: a Lambda function may run 15 minutes

_LAST_EVENTS = frozenset({"ExecutionAborted", "ExecutionTimedOut", "ExecutionSucceeded"})

_CREATION = threading.Lock()
_clients: dict[tuple[str, str | None], Any] = {}
_config: LocalConfig


class StateInterruptedError(Exception):
    """The execution was stopped, or its branch given up, while a state was being evaluated."""


def install(config: LocalConfig) -> None:
    """Put the interpreter right; call it once."""
    global _config  # noqa: PLW0603 - moto's states have no other way to reach the configuration
    _config = config
    reuse_clients()
    let_branches_fail_with_states_errors()
    stop_promptly()
    keep_why_an_execution_ended()
    end_the_history_with_the_execution()
    give_aws_sdk_calls_their_own_case()
    give_times_as_text()


def client_for(service: str, role_arn: str | None = None) -> Any:
    """The client with which tasks call ``service`` on this server, under the state machine's role.

    Raises:
        AssumeRoleRefusedError: Step Functions may not assume the role.
    """
    config = acting_as(_config, role_arn, "states.amazonaws.com", "StepFunctions") if role_arn else _config
    key = (service, config.credentials.access_key_id if config.credentials else None)
    with _CREATION:
        if key not in _clients:
            # Without its own check of parameters, a task fails with the service's error and not with botocore's.
            _clients[key] = new_client(config, service, read_seconds=_TASK_SECONDS, attempts=1, check_parameters=False)
        return _clients[key]


def reuse_clients() -> None:
    """Defect: every task makes a boto3 client, 50 ms and more, for ``localhost``, which may be ``::1`` first."""

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        del region  # there is one
        return client_for(service, state_credentials.role_arn if state_credentials else None)

    module: Any
    for name, module in list(sys.modules.items()):
        if name.startswith("moto.stepfunctions.") and hasattr(module, "boto_client_for"):
            module.boto_client_for = boto_client_for


def let_branches_fail_with_states_errors() -> None:
    """Defect: a branch of Parallel or Map that fails with a ``States.`` error becomes an uncatchable States.Runtime."""

    def init(self: CustomErrorName, error_name: str | None) -> None:
        ErrorName.__init__(self, error_name)

    CustomErrorName.__init__ = init


def stop_promptly() -> None:
    """Defect: a stopped execution waits for its task to return, for its retry's delay, and then handles an error.

    A task in a stopped execution ends in an error of its own, which moto retries, catches or reports as States.Runtime;
    the execution is then FAILED where AWS says ABORTED.
    """
    ExecutionState._evaluate_with_timeout = _evaluate_with_timeout
    ExecutionState._eval_state = _eval_state
    RetrierDecl._eval_body = _eval_retrier
    stock = BranchesDecl._eval_body

    def eval_branches(self: BranchesDecl, env: Environment) -> None:
        stock(self, env)
        if not env.is_running():
            raise StateInterruptedError  # moto would record that the stopped Parallel state succeeded

    stock_from_error = ExecutionState._from_error

    def from_error(self: ExecutionState, env: Environment, ex: Exception) -> Any:
        if isinstance(ex, StateInterruptedError):
            raise ex  # of a Map state, which would record it as its own failure
        return stock_from_error(self, env=env, ex=ex)

    BranchesDecl._eval_body = eval_branches
    ExecutionState._from_error = from_error


def _evaluate_with_timeout(self: ExecutionState, env: Environment) -> None:
    """moto's own, but it stops waiting when the execution is stopped."""
    self.timeout.eval(env=env)
    deadline = time.monotonic() + float(env.stack.pop())
    frame = env.open_frame()
    frame.states.reset(input_value=env.states.get_input())
    frame.stack = copy.deepcopy(env.stack)
    outcome: list[Any] = []
    done = threading.Event()

    def run() -> None:
        try:
            self._eval_execution(frame)
            outcome.append(frame.stack[-1])
        except Exception as error:  # noqa: BLE001 - handed to the waiting thread, which raises it
            outcome.append(error)
        finally:
            done.set()

    threading.Thread(target=run, daemon=True).start()
    while not done.wait(min(WAIT_SECONDS, max(0.0, deadline - time.monotonic()))):
        if not env.is_running() or time.monotonic() >= deadline:
            break
    in_time = done.is_set()
    frame.set_ended()
    env.close_frame(frame)
    if not env.is_running():
        raise StateInterruptedError
    if not in_time:
        raise EvalTimeoutError
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    env.stack.append(outcome[0])
    if not self._is_language_query_jsonpath():
        env.states.set_result(outcome[0])
    if self.assign_decl:
        self.assign_decl.eval(env=env)
    if self.result_selector:
        self.result_selector.eval(env=env)
    if self.result_path:
        self.result_path.eval(env)
    else:
        env.states.reset(input_value=env.stack.pop())


def _eval_state(self: ExecutionState, env: Environment) -> None:
    """moto's own, but an error that the end of the execution brought about is not handled."""
    env.states.context_object.context_object_data["State"]["RetryCount"] = 0
    while env.is_running():
        try:
            self._evaluate_with_timeout(env)
            return
        except Exception as error:  # noqa: BLE001 - moto's own contract: the state's handlers decide
            if not env.is_running():
                return
            failure = self._from_error(env=env, ex=error)
            env.event_manager.add_event(
                context=env.event_history_context,
                event_type=failure.event_type,
                event_details=failure.event_details,
            )
            output = self._construct_error_output_value(failure_event=failure)
            env.states.set_error_output(output)
            env.states.set_result(output)
            if self.retry and self._handle_retry(env=env, failure_event=failure) == RetryOutcome.CanRetry:
                continue
            if not env.is_running():
                return
            if self.catch:
                self._handle_catch(env=env, failure_event=failure)
                if env.stack[-1] == CatchOutcome.Caught:
                    return
            self._handle_uncaught(env=env, failure_event=failure)


def _eval_retrier(self: RetrierDecl, env: Environment) -> None:
    """moto's own, but the delay ends with the execution."""
    self.error_equals.eval(env)
    if not env.stack.pop():
        env.stack.append(RetrierOutcome.Skipped)
        return
    self.max_attempts.eval(env=env)
    if env.stack.pop() == MaxAttemptsOutcome.EXHAUSTED:
        env.stack.append(RetrierOutcome.Failed)
        return
    for part in (self.interval_seconds, self.backoff_rate, self.max_delay_seconds, self.jitter_strategy):
        part.eval(env=env)
    deadline = time.monotonic() + float(env.stack.pop())
    while env.is_running() and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, WAIT_SECONDS))
    env.stack.append(RetrierOutcome.Executed)


def keep_why_an_execution_ended() -> None:
    """Defect: an error raised while a stopped or timed-out execution winds down makes it FAILED."""
    stock = Environment.set_error

    def set_error(self: Environment, error: Any) -> None:
        with self._state_mutex:
            if not isinstance(self._program_state, ProgramStopped | ProgramTimedOut):
                stock(self, error)

    Environment.set_error = set_error


def end_the_history_with_the_execution() -> None:
    """Defect: iterations and branches that wind down add events after the one that ends the history."""
    stock = EventManager._publish_history_event

    def publish(self: EventManager, *args: Any, **fields: Any) -> None:
        if not (self._history_event_list and self._history_event_list[-1]["type"] in _LAST_EVENTS):
            stock(self, *args, **fields)

    EventManager._publish_history_event = publish


def give_aws_sdk_calls_their_own_case() -> None:
    """Defect: parameters of ``aws-sdk`` and ``states`` tasks keep their case, and blobs are not bytes.

    Also: errors carry the resource's lower-case name (``sagemaker.…``) where AWS writes ``SageMaker.…``, and times in
    answers stay Python objects, which DescribeExecution cannot serialise.
    """

    def operation_of(task: StateTaskServiceAwsSdk, service: str | None, action: str | None) -> Any:
        client = client_for(task._get_boto_service_name(service))
        name = client.meta.method_to_api_mapping[task._get_boto_service_action(action)]
        return client.meta.service_model.operation_model(name)

    def normalise_parameters(
        self: StateTaskServiceAwsSdk,
        parameters: dict[str, Any],
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        shape = operation_of(self, boto_service_name, service_action_name).input_shape
        if shape is not None:
            self._to_boto_request(parameters, shape)

    def normalise_response(
        self: StateTaskServiceAwsSdk,
        response: Any,
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        shape = operation_of(self, boto_service_name, service_action_name).output_shape
        if isinstance(response, dict) and shape is not None:
            if any(name[:1].islower() for name in shape.members):
                self._from_boto_response(response, shape)
            for name, value in response.items():
                response[name] = _as_json(value)

    stock = StateTaskServiceSfn._normalise_parameters

    def normalise_nested(self: StateTaskServiceSfn, parameters: dict[str, Any], **names: Any) -> None:
        stock(self, parameters, **names)
        normalise_parameters(self, parameters, **names)

    StateTaskServiceAwsSdk._normalise_parameters = normalise_parameters
    StateTaskServiceAwsSdk._normalise_response = normalise_response
    StateTaskServiceSfn._normalise_parameters = normalise_nested
    StateTaskServiceSfn._normalise_response = normalise_response
    state_task_service_aws_sdk._SERVICE_ERROR_NAMES.update(
        sagemaker="SageMaker", s3="S3", sns="Sns", sqs="Sqs", iam="Iam", cloudwatch="CloudWatch", **{"lambda": "Lambda"}
    )


def give_times_as_text() -> None:
    """Defect: ``$$.Execution.StartTime`` is a Python object, on which the intrinsic functions fail."""
    stock: Callable[[Execution], Any] = Execution.get_start_execution_details

    def details(self: Execution) -> Any:
        found = stock(self)
        found.start_time = iso(found.start_time)
        return found

    Execution.get_start_execution_details = details


def iso(moment: dt.datetime) -> str:
    """A time as Step Functions writes it: UTC, milliseconds, Z."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, dt.datetime):
        return iso(value)
    if isinstance(value, StreamingBody):
        value = value.read()
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
