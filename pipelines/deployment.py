"""The Deploy workflow: how a new model takes the endpoint over, and how the workflow knows that it did.

Plain tasks on the SageMaker API: the SDK's endpoint steps lose DeploymentConfig. There is no ``.sync`` for endpoints,
so the workflow asks until the endpoint is in service; and because an endpoint that was rolled back is in service too,
on its old configuration, it compares the configuration that serves with the one that it asked for. The training
workflow starts it and waits for it; it can be started by hand with an earlier model as well.
"""

from __future__ import annotations

from typing import Any

from pipelines.deployment_alarms import VARIANT_NAME, alarm_names, alarm_tasks
from pipelines.deployment_outcome import ENDPOINT_LOGS, SAGEMAKER, retire, watch
from pipelines.deployment_probes import NO_MODEL_BEFORE, not_judged
from pipelines.failures import any_failure_retries, failure_cause, guard, record_failure, retry
from pipelines.jobs import ENCRYPTED, job_name
from pipelines.sdk import ChoiceRule, Fail, Pass, Task, graph, steps
from pipelines.settings import PipelineSettings
from pipelines.substitutions import STACK_TAGS

_NO_LOGS = "no logs; the call to AWS failed"
CAPTURE_PREFIX = "capture"
ENDPOINT_TAG = "topic-model:endpoint"
"""The tag of an endpoint configuration that says which endpoint it was made for."""
AB_TEST_CONFIG = "-config-ab-"
"""What the names of an A/B test's endpoint configurations have in common; ``topic-model ab`` gives them."""
JSON_TYPES = ["application/json", "application/jsonlines"]

DEPLOY_INPUT = {"prefix": None, "model": {"name": None}, "model_version": None}
"""What an execution's input has: the prefix of names, the SageMaker model, and the version that it answers with."""
OVERHEAD_SECONDS = 1_800
"""What a deployment's execution may take beyond the deployment itself: small calls, waits for a quota of machines."""


def build_deploy_workflow(settings: PipelineSettings) -> dict[str, Any]:
    """The Amazon States Language definition of the Deploy workflow, as a dictionary."""
    failure = _fail()
    serves = watch(settings, then=retire(settings), on_failure=failure)

    retained: dict[str, Any] = {"RetainAllVariantProperties": settings.deployment.keep_instance_count}
    if settings.deployment.keep_instance_count:
        retained["ExcludeRetainedVariantProperties"] = [{"VariantPropertyType": "DataCaptureConfig"}]
    update = _change("UpdateEndpoint", retained | {"DeploymentConfig": _deployment_config(settings)}, serves, failure)
    create = _change("CreateEndpoint", {"Tags": STACK_TAGS}, serves, failure)

    names = Pass("NameAlarms", parameters=alarm_names(), result_path="$.alarms")
    alarms = [guard(task, logs=_NO_LOGS, then=failure) for task in alarm_tasks(settings.deployment.alarms)]
    before = Pass("RememberBefore", parameters={"config": "$.endpoint_before.config"}, result_path="$.before")
    unjudged = not_judged("NotJudgedYet", "no verdict: nothing was asked of the canary")
    steps.Chain([before, unjudged, names, *alarms, update])
    nothing = Pass("NothingBefore", result={"config": NO_MODEL_BEFORE}, result_path="$.before")
    steps.Chain([nothing, not_judged("NoCanary", "none, because no model served before"), create])

    configure = guard(_create_config(settings), logs=_NO_LOGS, then=failure)
    configure.next(_describe(settings, exists=before, missing=nothing, on_failure=failure))
    return graph(
        configure,
        comment="topic-model: a new model takes the endpoint over, or the old one stays",
        timeout_seconds=settings.deployment.timeout_seconds + OVERHEAD_SECONDS,
    )


def _create_config(settings: PipelineSettings) -> Any:
    deployment = settings.deployment
    capture = {
        "EnableCapture": deployment.capture_percent > 0,
        "InitialSamplingPercentage": deployment.capture_percent,
        "DestinationS3Uri": f"s3://${{Bucket}}/{CAPTURE_PREFIX}",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": JSON_TYPES},
        **ENCRYPTED,
    }
    return Task(
        "CreateEndpointConfig",
        resource=f"{SAGEMAKER}:createEndpointConfig",
        parameters={
            "EndpointConfigName": job_name("config", "$.prefix"),
            "ProductionVariants": [
                {
                    "VariantName": VARIANT_NAME,
                    "ModelName": "$.model.name",
                    "InstanceType": deployment.instance_type,
                    "InitialInstanceCount": deployment.instance_count,
                    "InitialVariantWeight": 1.0,
                }
            ],
            "DataCaptureConfig": capture,
            "Tags": [{"Key": ENDPOINT_TAG, "Value": "${EndpointName}"}, *STACK_TAGS],
        },
        # The answer has the ARN alone: arn:…:endpoint-config/<name>.
        result_selector={"name": "States.ArrayGetItem(States.StringSplit($.EndpointConfigArn, '/'), 1)"},
        result_path="$.endpoint_config",
        timeout_seconds=60,
        retry=any_failure_retries(),
    )


def _describe(settings: PipelineSettings, *, exists: Any, missing: Any, on_failure: Any) -> Any:
    """The state that tells whether there is an endpoint, and where the workflow goes on if there is, or if not.

    An endpoint that has failed serves nobody and cannot be updated: it is deleted and made anew.
    """
    absent = steps.Choice("EndpointMissing?")
    unexpected = Pass("EndpointUnknown", input_path="$.lookup_error", result_path="$.error")
    undescribed = record_failure("DescribeEndpoint", logs=ENDPOINT_LOGS, then=on_failure)
    unexpected.next(undescribed)
    cause = "$.lookup_error.Cause"
    absent.add_choice(ChoiceRule.StringMatches(cause, "*ould not find endpoint*"), missing)
    throttled = steps.Wait("WaitForThrottle", seconds=settings.deployment.poll_seconds)
    absent.add_choice(ChoiceRule.StringMatches(cause, "*ate exceeded*"), throttled)
    absent.default_choice(unexpected)
    describe = Task(
        "DescribeEndpoint",
        comment="An endpoint that is there is updated; one that is not is created",
        resource=f"{SAGEMAKER}:describeEndpoint",
        parameters={"EndpointName": "${EndpointName}"},
        result_selector={"status": "$.EndpointStatus", "config": "$.EndpointConfigName"},
        result_path="$.endpoint_before",
        timeout_seconds=60,
        # A missing endpoint has the same error name as every refusal of the API, throttling among them: none of these
        # is retried here, and the choice behind tells them apart.
        retry=[retry(["ThrottlingException"], attempts=4, seconds=2, max_seconds=30)],
    )
    throttled.next(describe)
    describe.add_catch(steps.Catch(error_equals=["States.TaskFailed"], result_path="$.lookup_error", next_step=absent))
    describe.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.error", next_step=undescribed))

    delete = Task(
        "DeleteFailedEndpoint",
        resource=f"{SAGEMAKER}:deleteEndpoint",
        parameters={"EndpointName": "${EndpointName}"},
        result_path=None,
        timeout_seconds=60,
        retry=any_failure_retries(),
    )
    gone = steps.Wait("WaitForEndpointToSettle", seconds=settings.deployment.poll_seconds)
    gone.next(describe)
    delete.next(gone)
    serves = steps.Choice("EndpointFailed?")
    status = "$.endpoint_before.status"
    serves.add_choice(ChoiceRule.StringEquals(status, "Failed"), guard(delete, logs=ENDPOINT_LOGS, then=on_failure))
    serves.add_choice(ChoiceRule.StringEquals(status, "Deleting"), gone)
    serves.add_choice(ChoiceRule.StringEquals(status, "SystemUpdating"), gone)

    def refuse(error: str, cause: str) -> Any:
        state = Pass(error, parameters={"Error": error, "Cause": cause}, result_path="$.error")
        state.next(undescribed)
        return state

    # Waiting for it would be no help: its smoke test would meet the next canary.
    busy = refuse(
        "EndpointBusy",
        "States.Format('endpoint ${EndpointName} is {}: another deployment is under way; when it is over, redrive this "
        "execution, or the one that started it', $.endpoint_before.status)",
    )
    changing = [ChoiceRule.StringEquals(status, busy_status) for busy_status in ("Creating", "Updating", "RollingBack")]
    serves.add_choice(ChoiceRule.Or(changing), busy)
    # An update would end the test, with nobody having looked at what it found.
    test = refuse(
        "AbTestUnderWay",
        "States.Format('an A/B test is under way on endpoint ${EndpointName} ({}); end it with topic-model ab stop, "
        "and deploy again', $.endpoint_before.config)",
    )
    serves.add_choice(ChoiceRule.StringMatches("$.endpoint_before.config", f"*{AB_TEST_CONFIG}*"), test)
    serves.default_choice(exists)
    describe.next(serves)
    return describe


def _change(name: str, parameters: dict[str, Any], then: Any, on_failure: Any) -> Any:
    task = Task(
        name,
        resource=f"{SAGEMAKER}:{name[0].lower()}{name[1:]}",
        parameters={"EndpointName": "${EndpointName}", "EndpointConfigName": "$.endpoint_config.name"} | parameters,
        # The answer has the endpoint's ARN alone, and nothing needs it.
        result_path=None,
        timeout_seconds=60,
        retry=[
            retry(["SageMaker.ResourceLimitExceededException"], attempts=5, seconds=30, max_seconds=600),
            # The SDK's integration gives throttling, as all that SageMaker's model does not name, this one name.
            retry(["ThrottlingException", "SageMaker.SageMakerException"], attempts=4, seconds=2, max_seconds=60),
        ],
    )
    task.next(then)
    return guard(task, logs=ENDPOINT_LOGS, then=on_failure)


def _deployment_config(settings: PipelineSettings) -> dict[str, Any]:
    deployment = settings.deployment
    routing: dict[str, Any] = {
        "Type": deployment.strategy.upper().replace("-", "_"),
        "WaitIntervalInSeconds": deployment.bake_seconds,
    }
    size = {"Type": "INSTANCE_COUNT", "Value": deployment.step_instances}
    if deployment.strategy == "canary":
        routing["CanarySize"] = size
    elif deployment.strategy == "linear":
        routing["LinearStepSize"] = size
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": deployment.termination_wait_seconds,
            "MaximumExecutionTimeoutInSeconds": deployment.timeout_seconds,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": f"$.alarms.{name}"} for name in alarm_names()]},
    }


def _fail() -> Any:
    """The end of a deployment that failed: its error, and a cause that says in which state and why."""
    failed = Fail("DeployFailed", error_path="$.error.Error", cause_path="$.notice.message")
    tell = Pass(
        "TellFailure",
        parameters={
            "message": "States.Format('{} failed: {} (logs: {})', $.failure.state, $.failure_cause.text, "
            "$.failure.logs)"
        },
        result_path="$.notice",
    )
    tell.next(failed)
    return failure_cause("", then=tell)
