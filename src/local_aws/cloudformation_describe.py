"""What the API answers about stacks, their resources and templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from local_aws.cloudformation_engine import NOT_EMULATED
from local_aws.cloudformation_parameters import SHOWN_SECRET, Parameter
from local_aws.cloudformation_providers import providers
from local_aws.cloudformation_stacks import Resource, Stack
from local_aws.cloudformation_template import Template, required_capabilities

PAGE = 100


def page(found: Sequence[Any], token: Any) -> tuple[list[Any], dict[str, str]]:
    """A page of what was found, and the token of the next one, if there is one."""
    start = int(token) if str(token or "").isdigit() else 0
    shown = list(found[start : start + PAGE])
    return shown, {"NextToken": str(start + PAGE)} if start + PAGE < len(found) else {}


def tags_of(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the API writes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def parameters_shown(parameters: Mapping[str, Parameter]) -> list[dict[str, str]]:
    """Parameters as the API writes them; secret ones as asterisks."""
    found = []
    for name, one in parameters.items():
        shown = {"ParameterKey": name, "ParameterValue": SHOWN_SECRET if one.no_echo else one.text}
        if one.resolved is not None:
            shown["ResolvedValue"] = SHOWN_SECRET if one.no_echo else one.resolved
        found.append(shown)
    return found


def _times(stack: Stack) -> dict[str, datetime]:
    times = {"CreationTime": stack.created, "LastUpdatedTime": stack.updated, "DeletionTime": stack.deleted}
    return {name: value for name, value in times.items() if value is not None}


def stack_summary(stack: Stack) -> dict[str, Any]:
    """A stack as ListStacks shows it."""
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "StackStatus": stack.status,
        "StackStatusReason": stack.reason,
        "TemplateDescription": stack.description,
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
        "ParentId": stack.parent,
        **_times(stack),
    }


def stack_shown(stack: Stack) -> dict[str, Any]:
    """A stack as DescribeStacks shows it."""
    with stack.lock:
        return {
            **{name: value for name, value in stack_summary(stack).items() if name != "TemplateDescription"},
            "Description": stack.description,
            "Parameters": parameters_shown(stack.goal.parameters),
            "Tags": tags_of(stack.goal.tags),
            "Outputs": list(stack.outputs),
            "Capabilities": stack.capabilities,
            "RoleARN": stack.role,
            "NotificationARNs": stack.notified,
            "DisableRollback": stack.on_failure == "DO_NOTHING",
            "EnableTerminationProtection": stack.protected,
            "ChangeSetId": stack.change_set,
            "RollbackConfiguration": {},
        }


def resource_shown(resource: Resource) -> dict[str, Any]:
    """A resource as it is listed; one that is not emulated says so."""
    emulated = providers()[resource.type].emulated
    return {
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.physical_id,
        "ResourceType": resource.type,
        "ResourceStatus": resource.status,
        "ResourceStatusReason": resource.reason or (None if emulated else NOT_EMULATED),
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }


def types_in(template: Template) -> list[str]:
    """The types of a template's resources."""
    return sorted({one["Type"] for one in template["Resources"].values()})


def template_summary(template: Template) -> dict[str, Any]:
    """What a template asks for."""
    needed = required_capabilities(template)
    parameters = [
        {
            "ParameterKey": name,
            "DefaultValue": None if "Default" not in one else str(one["Default"]),
            "NoEcho": one.get("NoEcho") in (True, "true"),
            "Description": one.get("Description"),
            "ParameterType": one.get("Type"),
            "ParameterConstraints": {"AllowedValues": [str(value) for value in one.get("AllowedValues", [])]},
        }
        for name, one in template.get("Parameters", {}).items()
    ]
    reason = "The following resource(s) require capabilities: IAM's" if needed else None
    return {
        "Description": template.get("Description"),
        "Parameters": parameters,
        "Capabilities": needed,
        "CapabilitiesReason": reason,
    }
