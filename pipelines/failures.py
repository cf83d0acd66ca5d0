"""What every task of the workflow does when it fails: try again where that can help, then tell somebody and fail.

A retried task gets a new job name (names are made at each attempt), and training resumes from the run's checkpoints.
What cannot succeed at a second attempt is not tried again: a refused request, a rejected model, a time-out.
"""

from __future__ import annotations

from typing import Any

from pipelines.sdk import ChoiceRule, Fail, Pass, Retry, Task, steps
from pipelines.settings import PipelineSettings

_TRANSIENT_LAMBDA_ERRORS = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException",
]
# Classes of botocore that a function of ours lets through: the network, not the request.
_TRANSIENT_FUNCTION_ERRORS = [
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "EndpointConnectionError",
    "ReadTimeoutError",
    "PublishConflictError",
]


def retry(errors: list[str], *, attempts: int, seconds: int, max_seconds: int) -> Retry:
    """A retrier: ``attempts`` after the first, each waiting up to twice as long, within ``max_seconds``, at random."""
    return Retry(
        error_equals=errors,
        interval_seconds=seconds,
        max_attempts=attempts,
        backoff_rate=2.0,
        max_delay_seconds=max_seconds,
        jitter_strategy="FULL",
    )


def api_retries() -> list[Retry]:
    """For a call to SageMaker: throttling and its own errors soon, a limit of the account after a longer while."""
    return [
        retry(["SageMaker.ResourceLimitExceededException"], attempts=5, seconds=30, max_seconds=600),
        retry(["SageMaker.AmazonSageMakerException", "ThrottlingException"], attempts=4, seconds=3, max_seconds=60),
    ]


def job_retries(settings: PipelineSettings) -> list[Retry]:
    """For a job: as for its call, and again when the job itself failed (killed, out of capacity, lost machine).

    Step Functions gives a failed job one error name whatever the reason, so a job that fails for its input is tried
    again too; few and quick attempts keep that cheap.
    """
    attempts = settings.workflow.job_retries
    again = [retry(["States.TaskFailed"], attempts=attempts, seconds=2, max_seconds=30)] if attempts else []
    return [*api_retries(), *again]


def function_retries() -> list[Retry]:
    """For a Lambda function: what Lambda and the network do to it, never an error that it names itself."""
    return [
        retry([*_TRANSIENT_LAMBDA_ERRORS, *_TRANSIENT_FUNCTION_ERRORS], attempts=4, seconds=2, max_seconds=30),
    ]


def any_failure_retries() -> list[Retry]:
    """For a small call that is safe to repeat."""
    return [retry(["States.TaskFailed"], attempts=4, seconds=2, max_seconds=30)]


def guard(task: Any, *, logs: str, then: Any) -> Any:
    """Let a task's failure be recorded as the task's own, with where its logs are, and told by ``then``.

    The state ``<task>Failed`` puts ``{"state", "logs"}`` at ``$.failure``; the error stays at ``$.error``.
    """
    recorder = record_failure(task.state_id, logs=logs, then=then)
    task.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.error", next_step=recorder))
    return task


def record_failure(state: str, *, logs: str, then: Any) -> Any:
    """The state that says in which state the execution failed."""
    recorder = Pass(f"{state}Failed", parameters={"state": state, "logs": logs}, result_path="$.failure")
    recorder.next(then)
    return recorder


def failure_cause(scope: str, *, then: Any) -> Any:
    """States that put the cause of ``$.error`` in words at ``$.failure_cause.text``.

    A failed job's or execution's cause is the whole answer of its describe call, and a function's is its error with a
    stack; people need one line of it. A time-out has no cause at all.
    """
    error = "$.error.Cause"
    present = steps.Choice(f"{scope}Cause?", comment="Which kind of cause the error carries")
    parse_job = _parse(f"{scope}JobCause", "FailureReason", then)
    parse_function = _parse(f"{scope}FunctionCause", "errorMessage", then)
    parse_execution = _parse(f"{scope}ExecutionCause", "Cause", then)
    plain = Pass(f"{scope}PlainCause", parameters={"text": error}, result_path="$.failure_cause")
    plain.next(then)
    none = Pass(f"{scope}NoCause", parameters={"text": "no cause was given"}, result_path="$.failure_cause")
    none.next(then)
    present.add_choice(ChoiceRule.IsPresent(error, False), none)
    present.add_choice(ChoiceRule.StringMatches(error, '{*"FailureReason":*}'), parse_job)
    present.add_choice(ChoiceRule.StringMatches(error, '{*"errorMessage":*}'), parse_function)
    # An execution that was stopped or timed out may have no cause of its own.
    present.add_choice(
        ChoiceRule.And(
            [
                ChoiceRule.StringMatches(error, '{*"ExecutionArn":*}'),
                ChoiceRule.StringMatches(error, '{*"Cause":*}'),
            ]
        ),
        parse_execution,
    )
    present.default_choice(plain)
    return present


def _parse(name: str, key: str, then: Any) -> Any:
    parse = Pass(
        f"{name}Parsed", parameters={"parsed": "States.StringToJson($.error.Cause)"}, result_path="$.failure_cause"
    )
    read = Pass(name, parameters={"text": f"$.failure_cause.parsed.{key}"}, result_path="$.failure_cause")
    parse.next(read)
    read.next(then)
    return parse


def notify_failure() -> Any:
    """The end of every failed execution: the cause in words, a notification, and Fail with that error and cause."""
    failed = Fail("Failed", error_path="$.error.Error", cause_path="$.notice.message")
    notify = publish("NotifyFailure", subject="topic-model: an execution failed", message="$.notice.message")
    notify.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.notify_error", next_step=failed))
    notify.next(failed)
    tell = Pass(
        "TellFailure",
        parameters={
            "message": (
                "States.Format('Execution {} failed in state {} with {}: {} (logs: {})', $$.Execution.Name, "
                "$.failure.state, $.error.Error, $.failure_cause.text, $.failure.logs)"
            )
        },
        result_path="$.notice",
    )
    tell.next(notify)
    return failure_cause("", then=tell)


def publish(name: str, *, subject: str, message: str) -> Any:
    """A task that publishes a message to the stack's topic; it leaves the execution's data as they are."""
    return Task(
        name,
        resource="arn:aws:states:::sns:publish",
        parameters={"TopicArn": "${NotificationTopicArn}", "Subject": subject, "Message": message},
        result_path=None,
        timeout_seconds=60,
        retry=any_failure_retries(),
    )
