"""One execution of the workflow through boto3: start, follow, stop, and its history to keep."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model_cli.errors import RunNameError
from topic_model_cli.history import JOB_NAME_KEYS

if TYPE_CHECKING:
    from local_aws.config import LocalConfig
    from topic_model_cli.history import StateHistory

POLL_SECONDS = 0.4
STOP_SECONDS = 45.0


def execution_arn(state_machine_arn: str, name: str) -> str:
    """The ARN of an execution, from that of its state machine."""
    return f"{state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"


def check_name_is_free(config: LocalConfig, state_machine_arn: str, name: str) -> None:
    """Refuse a name that an execution had before: Step Functions never gives one out twice.

    Raises:
        RunNameError: the name is taken.
    """
    states = config.client("stepfunctions")
    try:
        known = states.describe_execution(executionArn=execution_arn(state_machine_arn, name))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {"ExecutionDoesNotExist", "StateMachineDoesNotExist"}:
            return
        raise
    raise name_taken(name, str(known["status"]))


def name_taken(name: str, status: str) -> RunNameError:
    """The error for a name that is used already."""
    return RunNameError(f"a run named {name!r} exists already ({status}); give another --name, or none for a new one")


def start(config: LocalConfig, state_machine_arn: str, name: str, execution_input: Mapping[str, Any]) -> str:
    """Start the execution; its ARN.

    Raises:
        RunNameError: the name was taken in the meantime.
    """
    states = config.client("stepfunctions")
    try:
        started = states.start_execution(
            stateMachineArn=state_machine_arn, name=name, input=json.dumps(execution_input)
        )
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ExecutionAlreadyExists":
            raise name_taken(name, "started meanwhile") from error
        raise
    return str(started["executionArn"])


def follow(config: LocalConfig, arn: str, history: StateHistory, on_change: Callable[[], None]) -> dict[str, Any]:
    """Feed the history until the execution ends, calling back after every look; what DescribeExecution says last."""
    states = config.client("stepfunctions")
    while True:
        described: dict[str, Any] = states.describe_execution(executionArn=arn)
        history.feed(new_events(config, arn, history.last_event))
        on_change()
        if described["status"] != "RUNNING":
            return described
        time.sleep(POLL_SECONDS)


def new_events(config: LocalConfig, arn: str, after: int) -> list[dict[str, Any]]:
    """The events after the one with id ``after``, oldest first; reads the history from its end, so a look is cheap."""
    states = config.client("stepfunctions")
    found: dict[int, dict[str, Any]] = {}
    token: dict[str, str] = {}
    while True:
        page = states.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=100, **token)
        found.update({event["id"]: event for event in page["events"] if event["id"] > after})
        reached = any(event["id"] <= after + 1 for event in page["events"])
        if reached or not page.get("nextToken"):
            return [found[number] for number in sorted(found)]
        token = {"nextToken": page["nextToken"]}


def stop(config: LocalConfig, arn: str, cause: str) -> list[str]:
    """Stop the execution and wait until its jobs have ended; the names of jobs that have not after 45 seconds.

    An execution that never began, or that ended by itself meanwhile, is none to stop.
    """
    states = config.client("stepfunctions")
    try:
        states.stop_execution(executionArn=arn, error="Interrupted", cause=cause)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {"ExecutionDoesNotExist", "StateMachineDoesNotExist"}:
            return []
        raise
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        running = [name for name in _job_names(config, arn) if _runs(config, *name)]
        ended = states.describe_execution(executionArn=arn)["status"] != "RUNNING"
        if (ended and not running) or time.monotonic() > deadline:
            return [name for _, name in running]
        time.sleep(0.2)


def _job_names(config: LocalConfig, arn: str) -> list[tuple[str, str]]:
    names = []
    for event in new_events(config, arn, 0):
        parameters = event.get("taskScheduledEventDetails", {}).get("parameters")
        if parameters:
            given = json.loads(parameters)
            names += [(kind, str(given[key])) for key, kind in JOB_NAME_KEYS.items() if key in given]
    return names


def _runs(config: LocalConfig, kind: str, name: str) -> bool:
    described = describe_job(config, kind, name)
    return described is not None and described["Status"] in {"InProgress", "Stopping"}


def describe_job(config: LocalConfig, kind: str, name: str) -> dict[str, Any] | None:
    """What SageMaker says of a job, with its status under ``Status`` whatever the kind; None where it has none such."""
    sagemaker = config.client("sagemaker")
    calls: dict[str, tuple[Callable[..., Any], str, str]] = {
        "processing": (sagemaker.describe_processing_job, "ProcessingJobName", "ProcessingJobStatus"),
        "training": (sagemaker.describe_training_job, "TrainingJobName", "TrainingJobStatus"),
        "transform": (sagemaker.describe_transform_job, "TransformJobName", "TransformJobStatus"),
        "tuning": (
            sagemaker.describe_hyper_parameter_tuning_job,
            "HyperParameterTuningJobName",
            "HyperParameterTuningJobStatus",
        ),
    }
    call, name_key, status_key = calls[kind]
    try:
        described = call(**{name_key: name})
    except ClientError:
        return None
    return {**described, "Status": described[status_key]}
