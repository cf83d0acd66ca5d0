"""CloudFormation actions: stacks created, changed by change sets, and looked at, on the local AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model_cli.deliver_errors import ActionFailedError

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

POLL_SECONDS = 0.4
_FAILURES_SHOWN = 4
_NO_CHANGE = ("no updates are to be performed", "didn't contain changes", "no changes")


@dataclass(frozen=True)
class StackRequest:
    """What an action asks of CloudFormation."""

    name: str
    template_url: str = ""
    parameters: Mapping[str, str] | None = None
    tags: Mapping[str, str] | None = None
    capabilities: tuple[str, ...] = ()
    role_arn: str = ""

    def call(self) -> dict[str, Any]:
        """The parameters of CreateStack, UpdateStack and CreateChangeSet."""
        parameters, tags = self.parameters or {}, self.tags or {}
        call: dict[str, Any] = {
            "StackName": self.name,
            "TemplateURL": self.template_url,
            "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            "Tags": [{"Key": name, "Value": value} for name, value in tags.items()],
            "Capabilities": list(self.capabilities),
        }
        return {**call, "RoleARN": self.role_arn} if self.role_arn else call


def create_or_update(config: LocalConfig, request: StackRequest, note: Callable[[str], None], seconds: float) -> None:
    """``CREATE_UPDATE``.

    Raises:
        ActionFailedError: the template or a parameter is refused, or a resource fails; the message has the reasons.
    """
    formation = config.client("cloudformation")
    before = describe(config, request.name)
    if before is not None and before["StackStatus"] == "ROLLBACK_COMPLETE":
        raise ActionFailedError(f"stack {request.name} is in ROLLBACK_COMPLETE and cannot be updated; delete it first")
    try:
        if before is None or before["StackStatus"] == "REVIEW_IN_PROGRESS":
            formation.create_stack(**request.call())
        else:
            formation.update_stack(**request.call())
    except ClientError as error:
        if _says_no_change(_message(error)):
            return
        raise ActionFailedError(f"stack {request.name}: {_message(error)}") from error
    _settle(config, request.name, note, seconds)


def replace_change_set(
    config: LocalConfig, request: StackRequest, name: str, note: Callable[[str], None], seconds: float
) -> list[str]:
    """``CHANGE_SET_REPLACE``; what it would change, a line each.

    Raises:
        ActionFailedError: it cannot be made.
    """
    formation = config.client("cloudformation")
    before = describe(config, request.name)
    is_new = before is None or before["StackStatus"] == "REVIEW_IN_PROGRESS"
    if before is not None:
        try:
            formation.delete_change_set(StackName=request.name, ChangeSetName=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ChangeSetNotFound":
                raise
    try:
        formation.create_change_set(
            **request.call(), ChangeSetName=name, ChangeSetType="CREATE" if is_new else "UPDATE"
        )
    except ClientError as error:
        raise ActionFailedError(f"change set {name} of stack {request.name}: {_message(error)}") from error
    until = time.monotonic() + seconds
    while True:
        told = formation.describe_change_set(StackName=request.name, ChangeSetName=name)
        if not told["Status"].endswith(("_PENDING", "_IN_PROGRESS")):
            break
        if time.monotonic() > until:
            raise ActionFailedError(f"change set {name} of stack {request.name} is still {told['Status']}")
        note(told["Status"])
        time.sleep(POLL_SECONDS)
    if told["Status"] == "FAILED" and not _says_no_change(told.get("StatusReason", "")):
        raise ActionFailedError(f"change set {name} of stack {request.name}: {told.get('StatusReason', 'FAILED')}")
    changes = (change["ResourceChange"] for change in told.get("Changes", []))
    return [f"{change['Action']} {change['LogicalResourceId']} ({change['ResourceType']})" for change in changes]


def execute_change_set(config: LocalConfig, stack: str, name: str, note: Callable[[str], None], seconds: float) -> None:
    """``CHANGE_SET_EXECUTE``; one without changes is done.

    Raises:
        ActionFailedError: it is not there or out of date, or a resource fails; the stack is rolled back then.
    """
    formation = config.client("cloudformation")
    try:
        told = formation.describe_change_set(StackName=stack, ChangeSetName=name)
        if told["Status"] == "FAILED" and _says_no_change(told.get("StatusReason", "")):
            formation.delete_change_set(StackName=stack, ChangeSetName=name)
            return
        formation.execute_change_set(StackName=stack, ChangeSetName=name)
    except ClientError as error:
        raise ActionFailedError(f"change set {name} of stack {stack}: {_message(error)}") from error
    _settle(config, stack, note, seconds)


def delete_failed_creation(config: LocalConfig, name: str, note: Callable[[str], None], seconds: float) -> None:
    """Delete a stack whose creation failed, which CloudFormation neither updates nor creates again."""
    stack = describe(config, name)
    if stack is None or stack["StackStatus"] not in ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED"):
        return
    config.client("cloudformation").delete_stack(StackName=name)
    until = time.monotonic() + seconds
    while describe(config, name) is not None and time.monotonic() < until:
        note("what is left of a failed creation is deleted")
        time.sleep(POLL_SECONDS)


def describe(config: LocalConfig, name: str) -> dict[str, Any] | None:
    """What DescribeStacks says; None where there is no such stack."""
    try:
        stack: dict[str, Any] = config.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in _message(error):
            return None
        raise
    return None if stack["StackStatus"] == "DELETE_COMPLETE" else stack


def outputs(config: LocalConfig, name: str) -> dict[str, str]:
    """A stack's outputs."""
    stack = describe(config, name) or {}
    return {output["OutputKey"]: str(output["OutputValue"]) for output in stack.get("Outputs", [])}


def _settle(config: LocalConfig, name: str, note: Callable[[str], None], seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        stack = describe(config, name)
        if stack is None:
            raise ActionFailedError(f"stack {name} is gone")
        status = str(stack["StackStatus"])
        if not status.endswith("_IN_PROGRESS"):
            break
        events = config.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        note(f"{events[0]['LogicalResourceId']} {events[0]['ResourceStatus']}" if events else status)
        if time.monotonic() > until:
            raise ActionFailedError(f"stack {name} is still {status}")
        time.sleep(POLL_SECONDS)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise ActionFailedError(f"stack {name} is {status}{_why(config, name)}")


def _why(config: LocalConfig, name: str) -> str:
    """The first failures of the last operation: what followed of them is their rollback."""
    events = config.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    failed = []
    for event in events:  # the newest first
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in event.get("ResourceStatusReason", ""):
            failed.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}")
        if event["ResourceType"] == "AWS::CloudFormation::Stack" and event["ResourceStatus"] in (
            "CREATE_IN_PROGRESS",
            "UPDATE_IN_PROGRESS",
        ):
            break
    return "".join(f"\n    {reason}" for reason in reversed(failed[-_FAILURES_SHOWN:]))


def _says_no_change(text: str) -> bool:
    return any(sign in text.lower() for sign in _NO_CHANGE)


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", error))


def configuration_of(content: bytes, where: str) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters and tags of a template configuration file.

    Raises:
        ActionFailedError: it is none.
    """
    try:
        given = json.loads(content)
        parameters, tags = given.get("Parameters", {}), given.get("Tags", {})
        return {str(k): str(v) for k, v in parameters.items()}, {str(k): str(v) for k, v in tags.items()}
    except (ValueError, AttributeError) as error:
        raise ActionFailedError(f"{where} is no template configuration: {error}") from error
