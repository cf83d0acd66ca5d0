"""Actions that start something and wait for it: a Lambda function's job, an execution of a state machine."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model_cli import execution
from topic_model_cli.deliver_errors import ActionFailedError
from topic_model_cli.failure import explain_failure
from topic_model_cli.history import StateHistory

if TYPE_CHECKING:
    from local_aws.config import LocalConfig
    from topic_model_cli.deliver_pipeline import Action

_LAMBDA_SECONDS = 900


def invoke_function(
    config: LocalConfig, action: Action, function: str, user_parameters: str, note: Callable[[str], None]
) -> tuple[str, dict[str, str]]:
    """Invoke a function with a job, and wait for what it tells CodePipeline: a summary and its output variables.

    Raises:
        ActionFailedError: it told a failure, or it ended without having told anything.
    """
    from local_aws.config import new_client

    job = str(uuid.uuid4())
    configuration = {"FunctionName": function, "UserParameters": user_parameters}
    event = {
        "CodePipeline.job": {
            "id": job,
            "accountId": config.account,
            "data": {
                "actionConfiguration": {"configuration": configuration},
                "inputArtifacts": [],
                "outputArtifacts": [],
                "artifactCredentials": {"accessKeyId": "local", "secretAccessKey": "local", "sessionToken": "local"},
            },
        }
    }
    client = new_client(config, "lambda", read_seconds=_LAMBDA_SECONDS + 60, attempts=1)
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        invoked = pool.submit(client.invoke, FunctionName=function, Payload=json.dumps(event).encode())
        while not invoked.done():
            note(function)
            wait([invoked], timeout=0.5)
        answer = invoked.result()
    except ClientError as error:
        raise ActionFailedError(f"function {function} cannot be invoked: {error}") from error
    finally:
        pool.shutdown(wait=False)
    payload = answer["Payload"].read().decode(errors="replace")
    try:
        told = config.client("codepipeline").get_job_details(jobId=job)["jobDetails"]["data"]
    except ClientError as error:
        why = _error_of(payload) if answer.get("FunctionError") else "on AWS the action would wait for its time limit"
        raise ActionFailedError(f"{action.label}: {function} ended and told CodePipeline nothing: {why}") from error
    result = told["actionConfiguration"]["configuration"]
    if result["status"] != "Succeeded":
        raise ActionFailedError(result["message"])
    return result["message"], json.loads(result["variables"])


def run_state_machine(
    config: LocalConfig, machine: str, name: str, given: str, seconds: float, note: Callable[[str], None]
) -> str:
    """Start an execution and wait for its end; a sentence about it.

    Raises:
        ActionFailedError: it failed, and in which state; or it takes longer than ``seconds``, and is stopped.
    """
    states = config.client("stepfunctions")
    try:
        definition = json.loads(states.describe_state_machine(stateMachineArn=machine)["definition"])
        arn = str(states.start_execution(stateMachineArn=machine, name=name, input=given)["executionArn"])
    except ClientError as error:
        raise ActionFailedError(f"{machine} cannot be started: {error}") from error
    history, until = StateHistory(definition), time.monotonic() + seconds

    def on_change() -> None:
        running = [run.label for run in history.running()]
        note(", ".join(running))
        if time.monotonic() > until:
            execution.stop(config, arn, "the action's time is over")

    try:
        described = execution.follow(config, arn, history, on_change)
    except BaseException:  # Ctrl-C among them: no job goes on
        execution.stop(config, arn, "the delivery was interrupted")
        raise
    if described["status"] != "SUCCEEDED":
        raise ActionFailedError(f"execution {name} of {machine.rpartition(':')[2]}: {_why(config, described, history)}")
    worked = [run for run in history.runs if not run.quiet]
    return f"{len(worked)} states of {machine.rpartition(':')[2]} succeeded"


def _why(config: LocalConfig, described: dict[str, Any], history: StateHistory) -> str:
    return str(explain_failure(config, described, history)).removeprefix("the run ")


def _error_of(payload: str) -> str:
    try:
        failure = json.loads(payload)
        return f"{failure.get('errorType')}: {failure.get('errorMessage')}"
    except (ValueError, AttributeError):
        return payload[:300]
