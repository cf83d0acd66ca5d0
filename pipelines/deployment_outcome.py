"""What a deployment comes to: the wait for the endpoint, why it does not serve what was asked for, and tidying up.

While the endpoint is updated, every look at it comes with some probes (``deployment_probes``).
"""

from __future__ import annotations

from typing import Any

from pipelines.deployment_probes import count_requests, judge_canary, probe_canary
from pipelines.failures import (
    any_failure_retries,
    failure_cause,
    function_retries,
    guard,
    publish,
    record_failure,
)
from pipelines.sdk import ChoiceRule, Pass, Task, steps
from pipelines.settings import PipelineSettings

SAGEMAKER = "arn:aws:states:::aws-sdk:sagemaker"
ENDPOINT_LOGS = "/aws/sagemaker/Endpoints/${EndpointName}"


def watch(settings: PipelineSettings, *, then: Any, on_failure: Any) -> Any:
    """The loop that asks for the endpoint's status: serving what was asked, something else, broken, or not yet."""
    failed = record_failure("Deployment", logs=ENDPOINT_LOGS, then=on_failure)
    wanted, status = "$.endpoint_config.name", "$.endpoint.status"

    def end(name: str, error: str, cause: str) -> Any:
        state = Pass(name, parameters={"Error": error, "Cause": cause}, result_path="$.error")
        state.next(failed)
        return state

    rolled_back = end(
        "DeploymentRolledBack",
        "DeploymentRolledBack",
        "States.Format('{}; the canary had {}', $.explanation.cause, $.canary.asked)",
    )
    stuck = end(
        "DeploymentStuck",
        "DeploymentTimedOut",
        f"States.Format('endpoint ${{EndpointName}} is still {{}} after {settings.deployment.max_polls} looks, "
        f"{settings.deployment.poll_seconds} seconds or more apart', {status})",
    )
    broken = end("DeploymentBroken", "DeploymentFailed", "$.explanation.cause")

    look = Task(
        "DescribeDeployment",
        resource=f"{SAGEMAKER}:describeEndpoint",
        parameters={"EndpointName": "${EndpointName}"},
        result_selector={"status": "$.EndpointStatus", "config": "$.EndpointConfigName"},
        result_path="$.endpoint",
        timeout_seconds=60,
        retry=any_failure_retries(),
    )
    wait = steps.Wait("WaitForEndpoint", seconds=settings.deployment.poll_seconds)
    count = Pass("CountPoll", parameters={"count": "States.MathAdd($.polls.count, 1)"}, result_path="$.polls")
    wait.next(count)
    probed = steps.Choice("Probe?", comment="Only an update has a canary")
    probed.add_choice(ChoiceRule.StringEquals(status, "Updating"), probe_canary(settings, then=look))
    probed.default_choice(look)
    count.next(probed)

    serves = steps.Choice("Deployed?")
    in_service = ChoiceRule.StringEquals(status, "InService")
    as_asked = ChoiceRule.StringEqualsPath("$.endpoint.config", wanted)
    serves.add_choice(ChoiceRule.And([in_service, as_asked]), judge_canary(settings, then=then))
    explained = _explain("ExplainRollback", then=rolled_back, on_failure=on_failure)
    serves.add_choice(in_service, count_requests(settings, then=explained))
    broken_status = [
        ChoiceRule.StringEquals(status, dead) for dead in ("Failed", "OutOfService", "UpdateRollbackFailed")
    ]
    serves.add_choice(ChoiceRule.Or(broken_status), _explain("ExplainFailure", then=broken, on_failure=on_failure))
    serves.add_choice(ChoiceRule.NumericGreaterThanEquals("$.polls.count", settings.deployment.max_polls), stuck)
    serves.default_choice(wait)
    look.next(serves)

    start = Pass("StartPolling", result={"count": 0}, result_path="$.polls")
    start.next(guard(look, logs=ENDPOINT_LOGS, then=on_failure))
    return start


def _explain(name: str, *, then: Any, on_failure: Any) -> Any:
    """Why what was asked for does not serve, in words: the alarm that fired, or what SageMaker says."""
    explain = Task(
        name,
        resource="arn:aws:states:::lambda:invoke",
        parameters={
            "FunctionName": "${ExplainDeploymentFunctionArn}",
            "Payload": {"endpoint": "${EndpointName}", "config": "$.endpoint_config.name"},
        },
        result_selector={"cause": "$.Payload.cause"},
        result_path="$.explanation",
        timeout_seconds=90,
        retry=function_retries(),
    )
    explain.next(then)
    return guard(explain, logs="the log group of ${ExplainDeploymentFunctionArn}", then=on_failure)


def retire(settings: PipelineSettings) -> Any:
    """The end of a good deployment: what served before the last few is deleted.

    The model serves, so a failure here does not fail the deployment; it is told, and the next deployment tries again.
    """
    done = steps.Succeed("Deployed")
    untidy = publish(
        "NotRetired",
        subject="topic-model: old models were not removed",
        message="States.Format('Model {} is deployed; older ones could not be removed: {}', $.model_version, "
        "$.failure_cause.text)",
    )
    untidy.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.notify_error", next_step=done))
    untidy.next(done)
    retire = Task(
        "RetireModels",
        resource="arn:aws:states:::lambda:invoke",
        parameters={
            "FunctionName": "${RetireModelsFunctionArn}",
            "Payload": {
                "endpoint": "${EndpointName}",
                "config": "$.endpoint_config.name",
                "before": "$.before.config",
                "retained": settings.deployment.retained_models,
            },
        },
        result_selector={"retired": "$.Payload.retired", "kept": "$.Payload.kept"},
        result_path="$.retirement",
        timeout_seconds=330,
        retry=function_retries(),
    )
    cause = failure_cause("Retirement", then=untidy)
    retire.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.error", next_step=cause))
    retire.next(done)
    return retire
