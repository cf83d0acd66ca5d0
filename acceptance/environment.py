"""An environment as its stack's outputs tell it."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

NEEDED = (
    "BucketName",
    "ClientsTableName",
    "EndpointName",
    "LookupApiUrl",
    "SystemsUsagePlanId",
    "TrainingWorkflowArn",
)
_RETRIES = Config(retries={"mode": "standard", "max_attempts": 5})
_ON_AWS = re.compile(r"https://([a-z0-9]+)\.execute-api\.[^/]+/([^/]+)/?")


class NoEnvironmentError(Exception):
    """There is no such environment, or its stack is not one of topic-model's."""


@dataclass(frozen=True)
class Environment:
    """What there is to ask."""

    stack: str
    bucket: str
    clients_table: str
    endpoint: str
    api_url: str
    """Without a slash at the end."""
    usage_plan: str
    workflow_arn: str


def client(service: str) -> Any:
    """A boto3 client; a laptop's local AWS is reached by ``AWS_ENDPOINT_URL`` alone."""
    session: Any = boto3.session.Session()
    return session.client(service, config=_RETRIES)


def environment_of(stack: str) -> Environment:
    """The environment that a stack is.

    Raises:
        NoEnvironmentError: there is no such stack, it is not ready, or it lacks an output.
    """
    try:
        described = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        raise NoEnvironmentError(f"stack {stack!r} cannot be described: {error}") from error
    status = described["StackStatus"]
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "IMPORT_COMPLETE"):
        raise NoEnvironmentError(f"stack {stack!r} is {status}; expected one that was created or updated completely")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    if missing := [name for name in NEEDED if not outputs.get(name)]:
        raise NoEnvironmentError(f"stack {stack!r} has no output {missing}; expected a stack of topic-model's template")
    return Environment(
        stack=stack,
        bucket=outputs["BucketName"],
        clients_table=outputs["ClientsTableName"],
        endpoint=outputs["EndpointName"],
        api_url=reachable(outputs["LookupApiUrl"], os.environ),
        usage_plan=outputs["SystemsUsagePlanId"],
        workflow_arn=outputs["TrainingWorkflowArn"],
    )


def reachable(url: str, environ: Mapping[str, str]) -> str:
    """The API's address as it is reached from here: boto3 knows where a local AWS is, a URL of AWS's does not."""
    local, found = environ.get("AWS_ENDPOINT_URL"), _ON_AWS.fullmatch(url)
    if local and found:
        return f"{local.rstrip('/')}/restapis/{found[1]}/{found[2]}/_user_request_"
    return url.rstrip("/")


def alarms_of(stack: str) -> list[dict[str, Any]]:
    """The stack's own alarms, as CloudWatch describes them."""
    pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    names = [
        resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::CloudWatch::Alarm" and resource["ResourceStatus"] != "DELETE_COMPLETE"
    ]
    watching, alarms = client("cloudwatch"), []
    for start in range(0, len(names), 100):  # DescribeAlarms takes as many
        alarms += watching.describe_alarms(AlarmNames=names[start : start + 100])["MetricAlarms"]
    return alarms


def deployed_at(stack: str) -> dt.datetime:
    """When the stack was changed last."""
    described = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    when: dt.datetime = described.get("LastUpdatedTime") or described["CreationTime"]
    return when


def fires(alarm: Mapping[str, Any], since: dt.datetime | None) -> bool:
    """Whether an alarm is in ALARM, and if ``since`` is given has come to be after it."""
    if alarm["StateValue"] != "ALARM":
        return False
    began = alarm.get("StateTransitionedTimestamp") or alarm["StateUpdatedTimestamp"]
    return since is None or began >= since
