"""The optimised SageMaker integration of Step Functions, with ``.sync`` for jobs.

moto 5.2.5 accepts the resources and fails when they run. On AWS, ``.sync`` waits for the job, returns what describe
says of it, fails with ``States.TaskFailed`` and that description as the cause, and stops the job when the execution is
stopped or the state times out.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_task import state_task_factory
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

from local_aws.stepfunctions_interpreter import StateInterruptedError, client_for

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Job:
    """A kind of SageMaker job: the botocore name of its nouns, and the fields of its name and status."""

    noun: str
    name_field: str
    status_field: str


JOBS: Mapping[str, Job] = {
    "createTrainingJob": Job("training_job", "TrainingJobName", "TrainingJobStatus"),
    "createProcessingJob": Job("processing_job", "ProcessingJobName", "ProcessingJobStatus"),
    "createTransformJob": Job("transform_job", "TransformJobName", "TransformJobStatus"),
    "createHyperParameterTuningJob": Job(
        "hyper_parameter_tuning_job", "HyperParameterTuningJobName", "HyperParameterTuningJobStatus"
    ),
}
ACTIONS = frozenset({*JOBS, "createModel", "createEndpointConfig", "createEndpoint", "updateEndpoint"})

_NAMED_ERRORS = {
    # The local AWS's alone, for a full disk: an error of its own is none that workflows try again.
    "InsufficientStorage": "InsufficientStorageException",
    "ResourceInUse": "ResourceInUseException",
    "ResourceLimitExceeded": "ResourceLimitExceededException",
    "ResourceNotFound": "ResourceNotFoundException",
}


def install() -> None:
    """Let state machines use ``arn:aws:states:::sagemaker:*``."""
    stock = state_task_factory.state_task_service_for
    state_task_factory.state_task_service_for = lambda service_name: (
        SageMakerTask() if service_name == "sagemaker" else stock(service_name=service_name)
    )


def without_dates(value: Any) -> Any:
    """A describe answer as JSON values: the optimised integration gives times as epoch milliseconds."""
    if isinstance(value, Mapping):
        return {name: without_dates(inner) for name, inner in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list | tuple):
        return [without_dates(inner) for inner in value]
    return int(value.timestamp() * 1000) if isinstance(value, dt.datetime) else value


class SageMakerTask(StateTaskServiceCallback):  # type: ignore[misc]
    """A Task state on ``arn:aws:states:::sagemaker:<action>[.sync]``."""

    def __init__(self) -> None:
        # The base class makes the token that it demands for every integration pattern only if this one is supported.
        super().__init__(supported_integration_patterns={ResourceCondition.Sync, ResourceCondition.WaitForTaskToken})

    def _get_supported_parameters(self) -> set[str] | None:
        """None refuses the state machine when it is created, as on AWS; an empty set lets all parameters through."""
        condition, action = self.resource.condition, self.resource.api_action
        known = action in ACTIONS and (condition is None or (condition == ResourceCondition.Sync and action in JOBS))
        return set() if known else None

    def _eval_service_task(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: dict[str, Any], state_credentials: Any
    ) -> None:
        del resource_runtime_part
        call = getattr(client_for("sagemaker", state_credentials.role_arn), self._get_boto_service_action())
        env.stack.append(without_dates(call(**normalised_parameters)))

    def _build_sync_resolver(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: dict[str, Any], state_credentials: Any
    ) -> _RunningJob:
        del resource_runtime_part
        env.stack.pop()
        kind = JOBS[self.resource.api_action]
        return _RunningJob(kind, normalised_parameters[kind.name_field], state_credentials.role_arn)

    def _eval_sync(self, env: Any, sync_resolver: _RunningJob, **_endpoints: Any) -> Any:
        # The base class waits for a token too; SageMaker's integration has none.
        while env.is_running():
            description = sync_resolver.describe()
            status = description[sync_resolver.kind.status_field]
            if status == "Completed":
                return description
            if status not in ("InProgress", "Stopping"):
                raise FailureEventException(self._failure(env, "States.TaskFailed", to_json_str(description)))
            time.sleep(POLL_SECONDS)
        sync_resolver.stop()
        raise StateInterruptedError

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        if not isinstance(ex, ClientError):
            return super()._from_error(env=env, ex=ex)
        code, message = ex.response["Error"]["Code"], ex.response["Error"]["Message"]
        status = ex.response["ResponseMetadata"]["HTTPStatusCode"]
        return self._failure(
            env,
            f"SageMaker.{_NAMED_ERRORS.get(code, 'AmazonSageMakerException')}",
            f"{message} (Service: AmazonSageMaker; Status Code: {status}; Error Code: {code})",
        )

    def _failure(self, env: Any, error: str, cause: str) -> FailureEvent:
        is_states_error = error == StatesErrorNameType.StatesTaskFailed.to_name()
        return FailureEvent(
            env=env,
            error_name=StatesErrorName(typ=StatesErrorNameType.StatesTaskFailed)
            if is_states_error
            else CustomErrorName(error),
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(
                taskFailedEventDetails=TaskFailedEventDetails(
                    error=error,
                    cause=cause,
                    resource=self._get_sfn_resource(),
                    resourceType=self._get_sfn_resource_type(),
                )
            ),
        )


@dataclass(frozen=True)
class _RunningJob:
    kind: Job
    name: str
    role_arn: str

    def describe(self) -> dict[str, Any]:
        description: dict[str, Any] = without_dates(self._call("describe"))
        return description

    def stop(self) -> None:
        """Ask for the job's end; a job that has ended meanwhile is what was wanted."""
        with contextlib.suppress(ClientError):
            self._call("stop")

    def _call(self, verb: str) -> Any:
        return getattr(client_for("sagemaker", self.role_arn), f"{verb}_{self.kind.noun}")(
            **{self.kind.name_field: self.name}
        )
