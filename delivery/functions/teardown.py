"""Removes a test environment: its stacks, and what the workflow and the acceptance suite made that no stack knows of.

The state machine ``topic-model-delivery-teardown`` calls it again until all is gone. A call does what can be done now
and waits for nothing; doing it twice is no error, and neither is an environment that was never made, or only in part.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENVIRONMENT, ACCEPTANCE = "topic-model-t-", "topic-model-acceptance-"
EXECUTION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OF_ACCEPTANCE = re.compile(r"topic-model-.+-acceptance-[0-9a-f]{8}")
"""The names of keys that ``acceptance.keys`` makes."""
ENDPOINT_TAG = "topic-model:endpoint"
OUTLIVING = ("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key")
"""Types whose resources the template lets outlive their stack; a test environment's go too."""
_KEY_DAYS = 7  # the fewest that KMS waits
ALARMS = ("errors", "latency", "confidence", "answers")
"""The workflow's; a configuration's alarms are called ``<configuration>-<kind>``."""
_DELETIONS = 3
"""How often a stack is deleted that cannot be: what was in its way may be gone by the next time."""
_SECONDS = 2 * 3_600
"""After which an environment that is still there is told of, while others are removed."""
_THERE = [  # all statuses of a stack that is not gone
    "CREATE_COMPLETE", "CREATE_FAILED", "CREATE_IN_PROGRESS", "DELETE_FAILED", "DELETE_IN_PROGRESS",
    "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "ROLLBACK_IN_PROGRESS", "REVIEW_IN_PROGRESS",
    "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_FAILED", "UPDATE_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_IN_PROGRESS",
]  # fmt: skip
_RETRIES = Config(retries={"mode": "standard", "max_attempts": 5})


class TeardownError(Exception):
    """The input names no delivery, or a stack cannot be deleted, or not in time."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """``find`` answers ``{"environments": [{"execution"}]}``; ``remove`` an environment again, with ``gone``.

    ``find`` takes ``{"execution": id}``, or ``{"older_than_hours": n}`` for the environments that nobody removed. What
    ``remove`` answers is its next input: ``data`` are the buckets, tables and keys that outlive the stack, ``left`` is
    what it waits for, ``until`` how long (seconds since 1970).

    Raises:
        TeardownError: as its message says.
    """
    del context
    if event["step"] == "find":
        return {"environments": [{"execution": execution} for execution in _find(event["input"])]}
    return _remove(dict(event["environment"]))


def _find(given: Mapping[str, Any]) -> list[str]:
    if "execution" in given:
        execution = str(given["execution"])
        if not EXECUTION.fullmatch(execution):
            raise TeardownError(f"execution is {execution!r}; expected the id of a pipeline's execution")
        return [execution]
    hours = given.get("older_than_hours")
    if not isinstance(hours, int) or hours < 1:
        raise TeardownError(f"the input is {dict(given)}; expected execution, or older_than_hours of 1 and more")
    before = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    _without_old_api_keys(before)
    pages = _client("cloudformation").get_paginator("list_stacks").paginate(StackStatusFilter=_THERE)
    found = set()
    for stack in (stack for page in pages for stack in page["StackSummaries"]):
        for beginning in (ENVIRONMENT, ACCEPTANCE):
            execution = stack["StackName"].removeprefix(beginning)
            if EXECUTION.fullmatch(execution) and stack["CreationTime"] < before:
                found.add(execution)
    return sorted(found)


def _remove(environment: dict[str, Any]) -> dict[str, Any]:
    """One round; the order is that of dependence: who uses a thing goes before the thing."""
    name, acceptance = ENVIRONMENT + environment["execution"], ACCEPTANCE + environment["execution"]
    stack, is_first = _stack(name), "data" not in environment
    resources = list(_resources(stack["StackId"] if stack else _deleted(name, environment)))
    data = [*environment.get("data", []), *([kind, one] for kind, one in resources if kind in OUTLIVING)]
    # The answer is the next input. So of a stack that is there a first round only says what would outlive it.
    environment |= {"data": [one for at, one in enumerate(data) if one not in data[:at]]}
    environment.setdefault("until", int(time.time()) + _SECONDS)
    if is_first and stack is not None:
        return {**environment, "gone": False, "left": [f"stack {name}"]}
    left = [*_without_stack(acceptance, environment)]
    if stack is not None:
        left += _without_executions([one for kind, one in resources if kind == "AWS::StepFunctions::StateMachine"])
    if not left:
        outputs = {output["OutputKey"]: output["OutputValue"] for output in (stack or {}).get("Outputs", [])}
        left += _without_endpoint(outputs.get("EndpointName", name))
        _without_models(environment["data"])
        if stack is not None:
            _without_packages([one for kind, one in resources if kind == "AWS::SageMaker::ModelPackageGroup"])
    _without_api_keys(name)
    _empty_buckets(environment["data"])
    if not left:
        left += _without_stack(name, environment)
    if not left:
        left += _without_data(environment["data"])
    if left and time.time() > environment["until"]:
        raise TeardownError(f"after {_SECONDS // 3_600} hours there is still {', '.join(left)}")
    return {**environment, "gone": not left, "left": left}


def _client(service: str) -> Any:
    session: Any = boto3.session.Session()
    return session.client(service, config=_RETRIES)


def _absent(error: ClientError, *signs: str) -> bool:
    told = f"{error.response.get('Error', {}).get('Code')} {error.response.get('Error', {}).get('Message')}".lower()
    return any(sign in told for sign in ("not exist", "not found", "could not find", "notfound", *signs))


def _stack(name: str) -> dict[str, Any] | None:
    try:
        stack: dict[str, Any] = _client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if _absent(error):
            return None
        raise
    return None if stack["StackStatus"] == "DELETE_COMPLETE" else stack


def _deleted(name: str, environment: dict[str, Any]) -> str | None:
    """The id of the last stack of a name that is gone; asked once, since CloudFormation keeps it for 90 days.

    Somebody else may have deleted it, or a round before which was cut off.
    """
    if environment.get("looked_back"):
        return None
    environment["looked_back"] = True
    pages = _client("cloudformation").get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    stacks = [stack for page in pages for stack in page["StackSummaries"] if stack["StackName"] == name]
    return str(max(stacks, key=lambda stack: stack["CreationTime"])["StackId"]) if stacks else None


def _resources(stack: str | None) -> Iterator[tuple[str, str]]:
    """Type and physical id of what a stack has made and not deleted."""
    if stack is None:
        return
    for page in _client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            if resource.get("PhysicalResourceId") and resource["ResourceStatus"] != "DELETE_COMPLETE":
                yield resource["ResourceType"], resource["PhysicalResourceId"]


def _without_stack(name: str, environment: dict[str, Any]) -> Iterator[str]:
    stack = _stack(name)
    if stack is None:
        return
    status = stack["StackStatus"]
    if status == "DELETE_FAILED":
        tried = environment.get("deletions", {}).get(name, 1)
        if tried >= _DELETIONS:
            why = stack.get("StackStatusReason", "its events say why")
            raise TeardownError(f"stack {name} cannot be deleted, {tried} times: {why}")
        environment["deletions"] = {**environment.get("deletions", {}), name: tried + 1}
    # A stack that is being made can be deleted; one that is being changed or rolled back must have ended first.
    if status == "CREATE_IN_PROGRESS" or not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
        _client("cloudformation").delete_stack(StackName=name)
    yield f"stack {name}"


def _without_executions(machines: list[str]) -> Iterator[str]:
    states = _client("stepfunctions")
    for machine in machines:
        try:
            running = states.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
        except ClientError as error:
            if _absent(error):
                continue
            raise
        for execution in running:
            states.stop_execution(
                executionArn=execution["executionArn"], error="Teardown", cause="the test environment is being removed"
            )
            yield f"execution {execution['name']}"


def _without_endpoint(name: str) -> Iterator[str]:
    sagemaker = _client("sagemaker")
    try:
        status = sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]
    except ClientError as error:
        if _absent(error):
            status = None
        else:
            raise
    if status is not None:
        if status not in ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"):
            sagemaker.delete_endpoint(EndpointName=name)
        yield f"endpoint {name}"
        return
    for page in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains="-config-"):
        for config in page["EndpointConfigs"]:
            tags = sagemaker.list_tags(ResourceArn=config["EndpointConfigArn"])["Tags"]
            if {"Key": ENDPOINT_TAG, "Value": name} in tags:
                _delete_config(config["EndpointConfigName"])


def _delete_config(config: str) -> None:
    watching, alarms = _client("cloudwatch"), [f"{config}-{kind}" for kind in ALARMS]
    # DeleteAlarms deletes none if one is not there.
    there = watching.describe_alarms(AlarmNames=alarms)["MetricAlarms"]
    if there:
        watching.delete_alarms(AlarmNames=[alarm["AlarmName"] for alarm in there])
    _client("sagemaker").delete_endpoint_config(EndpointConfigName=config)


def _without_models(data: list[list[str]]) -> None:
    """Models have no tag; their archive lies in the environment's bucket."""
    places = tuple(f"s3://{name}/" for kind, name in data if kind == "AWS::S3::Bucket")
    if not places:
        return
    sagemaker = _client("sagemaker")
    for page in sagemaker.get_paginator("list_models").paginate(NameContains="tm-"):
        for model in page["Models"]:
            described = sagemaker.describe_model(ModelName=model["ModelName"])
            archive = described.get("PrimaryContainer", {}).get("ModelDataUrl", "")
            if archive.startswith(places):
                sagemaker.delete_model(ModelName=model["ModelName"])


def _without_packages(groups: list[str]) -> None:
    """A group with a package in it cannot be deleted."""
    sagemaker = _client("sagemaker")
    for group in groups:
        name = group.rpartition("/")[2]
        for page in sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=name):
            for package in page["ModelPackageSummaryList"]:
                sagemaker.delete_model_package(ModelPackageName=package["ModelPackageArn"])


def _without_api_keys(stack: str) -> None:
    """Those that an acceptance run left which was killed; it names them after the stack."""
    gateway = _client("apigateway")
    for page in gateway.get_paginator("get_api_keys").paginate(nameQuery=f"{stack}-"):
        for key in page["items"]:
            gateway.delete_api_key(apiKey=key["id"])


def _without_old_api_keys(before: dt.datetime) -> None:
    """Those that killed acceptance runs left in production, which is never torn down; they expired long before.

    The suite does not do it itself: who may list keys may read all keys of the account.
    """
    gateway = _client("apigateway")
    for page in gateway.get_paginator("get_api_keys").paginate(nameQuery="topic-model-"):
        for key in page["items"]:
            if OF_ACCEPTANCE.fullmatch(key.get("name", "")) and key["createdDate"] < before:
                gateway.delete_api_key(apiKey=key["id"])


def _empty_buckets(data: list[list[str]]) -> None:
    """No bucket logs into another any more: to empty the one would put something into the other."""
    storage = _client("s3")
    buckets = [name for kind, name in data if kind == "AWS::S3::Bucket"]
    for bucket in buckets:
        try:
            storage.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
        except ClientError as error:
            if not _absent(error, "nosuchbucket"):
                raise
    for bucket in buckets:
        try:
            for page in storage.get_paginator("list_object_versions").paginate(Bucket=bucket):
                objects = [
                    {"Key": one["Key"], "VersionId": one["VersionId"]}
                    for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                ]
                if objects:
                    storage.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        except ClientError as error:
            if not _absent(error, "nosuchbucket"):
                raise


def _without_data(data: list[list[str]]) -> Iterator[str]:
    """Buckets, tables and keys that the template has outlive their stack; keys last, which the others need."""
    _empty_buckets(data)
    for kind, name in sorted(data, key=lambda one: one[0] == "AWS::KMS::Key"):
        try:
            yield from _without(kind, name)
        except ClientError as error:
            if not _absent(error, "nosuchbucket"):
                raise


def _without(kind: str, name: str) -> Iterator[str]:
    if kind == "AWS::S3::Bucket":
        _client("s3").delete_bucket(Bucket=name)
    elif kind == "AWS::KMS::Key":
        if _client("kms").describe_key(KeyId=name)["KeyMetadata"]["KeyState"] != "PendingDeletion":
            _client("kms").schedule_key_deletion(KeyId=name, PendingWindowInDays=_KEY_DAYS)
    else:
        if _client("dynamodb").describe_table(TableName=name)["Table"]["TableStatus"] != "DELETING":
            _client("dynamodb").delete_table(TableName=name)
        yield f"table {name}"
