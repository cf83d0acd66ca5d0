"""What EventBridge does when a delivery does not succeed: the rules of the pipeline's stack, as they stand there.

The local AWS sends no events of CodePipeline's, since no CodePipeline runs in it. So the event is made here, held
against the rules that CloudFormation made of the template, and their targets are started with the input that their
transformers make: a rule that misses a state, or a wrong transformer, leaves a test environment behind here as on AWS.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from topic_model_cli.deliver_errors import ActionFailedError
from topic_model_cli.deliver_invoke import run_state_machine

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

DETAIL_TYPE = "CodePipeline Pipeline Execution State Change"
ENVIRONMENTS = ("topic-model-t-", "topic-model-acceptance-")
"""What the names of a delivery's stacks begin with; its id follows."""
ENDPOINT_TAG = "topic-model:endpoint"
_ID_KEPT = 23
"""Characters of a delivery's id that a bucket's name still has, of 63 in all: four of five groups."""
_SECONDS = 3_600.0


def tell_end(config: LocalConfig, pipeline: str, execution: str, state: str, note: Callable[[str], None]) -> str:
    """Tell how a delivery ended, wait for the state machines that listen, and say what is left of its environment.

    Raises:
        ActionFailedError: a state machine failed, or something of the environment is still there.
    """
    event = {
        "source": "aws.codepipeline",
        "detail-type": DETAIL_TYPE,
        "detail": {"pipeline": pipeline, "execution-id": execution, "state": state},
    }
    events = config.client("events")
    started = 0
    for rule in events.list_rules()["Rules"]:
        if rule.get("State") != "ENABLED" or not matches(json.loads(rule.get("EventPattern") or "null"), event):
            continue
        for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]:
            given = transformed(target.get("InputTransformer"), event)
            if ":stateMachine:" in target["Arn"]:
                run_state_machine(config, target["Arn"], f"event-{uuid.uuid4()}", given, _SECONDS, note)
                started += 1
            elif ":sns:" in target["Arn"]:
                config.client("sns").publish(TopicArn=target["Arn"], Message=json.loads(given))
    if left := left_of(config, execution):
        told = "no rule of the pipeline's stack removes it" if not started else "the teardown did not remove it"
        raise ActionFailedError(f"{', '.join(left)} is still there: {told}")
    return "its test environment is removed" if started else "it had no test environment"


def left_of(config: LocalConfig, execution: str) -> list[str]:
    """What of a delivery's test environment is still there, its workflow's and its acceptance suite's things included.

    CloudFormation cuts the stack's name in the names that it makes up, so those are known by its beginning.
    """
    names = [f"{beginning}{execution}" for beginning in ENVIRONMENTS]
    cut = names[0][: len(ENVIRONMENTS[0]) + _ID_KEPT]
    sagemaker, cloudwatch = config.client("sagemaker"), config.client("cloudwatch")
    there = {stack["StackName"] for stack in config.client("cloudformation").describe_stacks()["Stacks"]}
    left = [f"stack {name}" for name in names if name in there]
    endpoints = sagemaker.list_endpoints(NameContains=names[0])["Endpoints"]
    left += [f"endpoint {endpoint['EndpointName']}" for endpoint in endpoints]
    for configs in sagemaker.get_paginator("list_endpoint_configs").paginate():
        for one in configs["EndpointConfigs"]:
            tags = sagemaker.list_tags(ResourceArn=one["EndpointConfigArn"])["Tags"]
            if {"Key": ENDPOINT_TAG, "Value": names[0]} in tags:
                left.append(f"endpoint configuration {one['EndpointConfigName']}")
    for models in sagemaker.get_paginator("list_models").paginate():
        for model in models["Models"]:
            described = sagemaker.describe_model(ModelName=model["ModelName"])
            if described.get("PrimaryContainer", {}).get("ModelDataUrl", "").startswith(f"s3://{cut}"):
                left.append(f"model {model['ModelName']}")
    for alarms in cloudwatch.get_paginator("describe_alarms").paginate():
        left += [
            f"alarm {alarm['AlarmName']}"
            for alarm in alarms["MetricAlarms"]
            if names[0] in json.dumps(alarm, default=str)
        ]
    left += [f"table {name}" for name in config.client("dynamodb").list_tables()["TableNames"] if name.startswith(cut)]
    keys = config.client("apigateway").get_api_keys(nameQuery=f"{names[0]}-")["items"]
    left += [f"API key {key['name']}" for key in keys]
    buckets = config.client("s3").list_buckets()["Buckets"]
    return left + [f"bucket {bucket['Name']}" for bucket in buckets if bucket["Name"].startswith(cut)]


def matches(pattern: Any, event: Mapping[str, Any]) -> bool:
    """Whether an event pattern of values alone (what the templates use) matches."""
    if not isinstance(pattern, dict):
        return False
    for name, wanted in pattern.items():
        if name not in event:
            return False
        if isinstance(wanted, dict):
            if not isinstance(event[name], Mapping) or not matches(wanted, event[name]):
                return False
        elif event[name] not in wanted:
            return False
    return True


def transformed(transformer: Mapping[str, Any] | None, event: Mapping[str, Any]) -> str:
    """The input that a target gets: the event, or what its transformer makes of it."""
    if not transformer:
        return json.dumps(event)
    text = str(transformer["InputTemplate"])
    for name, path in transformer.get("InputPathsMap", {}).items():
        value: Any = event
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        text = text.replace(f"<{name}>", str(value))
    return text
