"""How a new model takes the endpoint over, and how the workflow knows that it did.

Plain tasks on the SageMaker API: the SDK's endpoint steps lose DeploymentConfig. There is no ``.sync`` for endpoints,
so the workflow asks until the endpoint is in service; and because an endpoint that was rolled back is in service too,
on its old configuration, it compares the configuration that serves with the one that it asked for.
"""

from __future__ import annotations

from typing import Any

from pipelines.failures import any_failure_retries, guard, record_failure, retry
from pipelines.jobs import job_name
from pipelines.sdk import ChoiceRule, Pass, Task, steps
from pipelines.settings import PipelineSettings

_SDK = "arn:aws:states:::aws-sdk:sagemaker"
_LOGS = "/aws/sagemaker/Endpoints/${EndpointName}"
VARIANT_NAME = "AllTraffic"


def deploy(settings: PipelineSettings, *, then: Any, on_failure: Any) -> Any:
    """The states that deploy ``$.lookup_model``; ``then`` follows when the endpoint serves it."""
    watch = _watch(settings, then=then, on_failure=on_failure)

    def call(name: str, action: str, parameters: dict[str, Any]) -> Any:
        task = Task(
            name,
            resource=f"{_SDK}:{action}",
            parameters={"EndpointName": "${EndpointName}", "EndpointConfigName": "$.endpoint_config.name"} | parameters,
            # The answer has the endpoint's ARN alone, and nothing needs it.
            result_path=None,
            timeout_seconds=60,
            retry=_throttled(),
        )
        task.next(watch)
        return guard(task, logs=_LOGS, then=on_failure)

    create = call("CreateEndpoint", "createEndpoint", {})
    update = call("UpdateEndpoint", "updateEndpoint", {"DeploymentConfig": _deployment_config(settings)})

    missing = steps.Choice("EndpointMissing?")
    unexpected = Pass("EndpointUnknown", input_path="$.lookup_error", result_path="$.error")
    undescribed = record_failure("DescribeEndpoint", logs=_LOGS, then=on_failure)
    unexpected.next(undescribed)
    missing.add_choice(ChoiceRule.StringMatches("$.lookup_error.Cause", "*ould not find endpoint*"), create)
    missing.default_choice(unexpected)

    describe = Task(
        "DescribeEndpoint",
        comment="An endpoint that is there is updated; one that is not is created",
        resource=f"{_SDK}:describeEndpoint",
        parameters={"EndpointName": "${EndpointName}"},
        result_selector={"status": "$.EndpointStatus", "config": "$.EndpointConfigName"},
        result_path="$.endpoint_before",
        timeout_seconds=60,
        # Not retried for a missing endpoint, which has the same error name as every refusal of the API.
        retry=[retry(["ThrottlingException"], attempts=4, seconds=2, max_seconds=30)],
    )
    describe.add_catch(steps.Catch(error_equals=["States.TaskFailed"], result_path="$.lookup_error", next_step=missing))
    describe.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.error", next_step=undescribed))
    describe.next(update)

    configure = Task(
        "CreateEndpointConfig",
        resource=f"{_SDK}:createEndpointConfig",
        parameters={
            "EndpointConfigName": job_name("config"),
            "ProductionVariants": [
                {
                    "VariantName": VARIANT_NAME,
                    "ModelName.$": "$.lookup_model.name",
                    "InstanceType": settings.deployment.instance_type,
                    "InitialInstanceCount": settings.deployment.instance_count,
                    "InitialVariantWeight": 1.0,
                }
            ],
        },
        # The answer has the ARN alone: arn:…:endpoint-config/<name>.
        result_selector={"name": "States.ArrayGetItem(States.StringSplit($.EndpointConfigArn, '/'), 1)"},
        result_path="$.endpoint_config",
        timeout_seconds=60,
        retry=any_failure_retries(),
    )
    configure.next(describe)
    return guard(configure, logs=_LOGS, then=on_failure)


def _throttled() -> list[Any]:
    return [
        retry(["ThrottlingException", "SageMaker.ThrottlingException"], attempts=4, seconds=2, max_seconds=60),
        retry(["SageMaker.ResourceLimitExceededException"], attempts=5, seconds=30, max_seconds=600),
    ]


def _deployment_config(settings: PipelineSettings) -> dict[str, Any]:
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": 0,
            "MaximumExecutionTimeoutInSeconds": settings.deployment.timeout_seconds,
        }
    }


def _watch(settings: PipelineSettings, *, then: Any, on_failure: Any) -> Any:
    """The loop that asks for the endpoint's status: serving what was asked, something else, broken, or not yet."""
    failed = record_failure("Deploy", logs=_LOGS, then=on_failure)
    wanted, status = "$.endpoint_config.name", "$.endpoint.status"

    def end(name: str, error: str, cause: str) -> Any:
        state = Pass(name, parameters={"Error": error, "Cause": cause}, result_path="$.error")
        state.next(failed)
        return state

    rolled_back = end(
        "DeploymentRolledBack",
        "DeploymentRolledBack",
        f"States.Format('endpoint ${{EndpointName}} is in service on {{}} and not on {{}}, which was asked for', "
        f"$.endpoint.config, {wanted})",
    )
    broken = end(
        "DeploymentBroken",
        "DeploymentFailed",
        "States.Format('endpoint ${EndpointName} is {}; describe-endpoint tells the reason', $.endpoint.status)",
    )
    stuck = end(
        "DeploymentStuck",
        "DeploymentTimedOut",
        f"States.Format('endpoint ${{EndpointName}} is still {{}} after {settings.deployment.timeout_seconds} "
        "seconds', $.endpoint.status)",
    )

    look = Task(
        "DescribeDeployment",
        resource=f"{_SDK}:describeEndpoint",
        parameters={"EndpointName": "${EndpointName}"},
        result_selector={"status": "$.EndpointStatus", "config": "$.EndpointConfigName"},
        result_path="$.endpoint",
        timeout_seconds=60,
        retry=any_failure_retries(),
    )
    wait = steps.Wait("WaitForEndpoint", seconds=settings.deployment.poll_seconds)
    count = Pass("CountPoll", parameters={"count": "States.MathAdd($.polls.count, 1)"}, result_path="$.polls")
    wait.next(count)
    count.next(look)

    serves = steps.Choice("Deployed?")
    in_service = ChoiceRule.StringEquals(status, "InService")
    as_asked = ChoiceRule.StringEqualsPath("$.endpoint.config", wanted)
    serves.add_choice(ChoiceRule.And([in_service, as_asked]), then)
    serves.add_choice(in_service, rolled_back)
    for dead in ("Failed", "OutOfService", "UpdateRollbackFailed"):
        serves.add_choice(ChoiceRule.StringEquals(status, dead), broken)
    serves.add_choice(ChoiceRule.NumericGreaterThanEquals("$.polls.count", settings.deployment.max_polls), stuck)
    serves.default_choice(wait)
    look.next(serves)

    start = Pass("StartPolling", result={"count": 0}, result_path="$.polls")
    start.next(guard(look, logs=_LOGS, then=on_failure))
    return start
