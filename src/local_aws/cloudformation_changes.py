"""What an update would do to a stack: the changes of a change set, and whether there are any."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from local_aws import cloudformation_schema as schema
from local_aws.cloudformation_functions import UNKNOWN
from local_aws.cloudformation_plan import Plan
from local_aws.cloudformation_providers import Properties, normal
from local_aws.cloudformation_stacks import Stack
from local_aws.cloudformation_template import TemplateError, references_in


def changes(stack: Stack, plan: Plan) -> list[dict[str, Any]]:
    """The resource changes that bring a stack to a plan, as DescribeChangeSet answers them.

    A resource that is made or replaced has an id and attributes that are not known yet; what is given them may change
    what it belongs to (``Dynamic``), and replaces it perhaps (``Conditional``).

    Raises:
        TemplateError: a function cannot be evaluated, or a resource would get another type.
    """
    unknown: set[str] = set()
    resources = stack.resources

    def physical_id(name: str) -> Any:
        return UNKNOWN if name in unknown else resources[name].physical_id

    def attribute(name: str, asked: str) -> Any:
        known = {**resources[name].properties, **resources[name].attributes} if name not in unknown else {}
        return known.get(asked, UNKNOWN)

    plan.bind(physical_id, attribute)
    retyped = [
        name for name, one in plan.definitions.items() if name in resources and resources[name].type != one["Type"]
    ]
    if retyped:
        raise TemplateError("Update of resource type is not permitted. The new template modifies resource type of the "
                            f"following resources: [{', '.join(retyped)}]")  # fmt: skip
    found = []
    for name in plan.order:
        kind = plan.definitions[name]["Type"]
        if name not in resources:
            unknown.add(name)
            found.append(_change("Add", name, "", kind))
            continue
        change = _modification(stack, plan, name, unknown)
        if change is not None:
            found.append(change)
            if change["ResourceChange"]["Replacement"] != "False":
                unknown.add(name)
    for name, resource in resources.items():
        if name not in plan.definitions:
            gone = _change("Remove", name, resource.physical_id, resource.type)
            kept = resource.deletion_policy in ("Retain", "RetainExceptOnCreate")
            gone["ResourceChange"]["PolicyAction"] = "Retain" if kept else "Delete"
            found.append(gone)
    return found


def outputs_change(stack: Stack, plan: Plan) -> bool:
    """Whether the outputs would be others; ask :func:`changes` first."""
    try:
        return plan.outputs() != stack.outputs
    except KeyError:
        return True


def _change(action: str, name: str, physical_id: str, kind: str) -> dict[str, Any]:
    change: dict[str, Any] = {
        "Action": action,
        "LogicalResourceId": name,
        "ResourceType": kind,
        "Scope": [],
        "Details": [],
    }
    if physical_id:
        change["PhysicalResourceId"] = physical_id
    return {"Type": "Resource", "ResourceChange": change}


def _modification(stack: Stack, plan: Plan, name: str, unknown: Collection[str]) -> dict[str, Any] | None:
    current = stack.resources[name]
    after = plan.properties(name)
    changed = [
        one
        for one in sorted(set(after) | set(current.properties))
        if normal(after.get(one)) != normal(current.properties.get(one))
    ]
    policies = [
        policy
        for policy, before, now in zip(
            ("DeletionPolicy", "UpdateReplacePolicy"),
            (current.deletion_policy, current.replace_policy),
            plan.policies(name),
            strict=True,
        )
        if before != now
    ]
    if not changed and not policies:
        return None
    details = [_detail(stack, plan, name, one, after, unknown) for one in changed]
    details += [{"Target": {"Attribute": one, "RequiresRecreation": "Never"}, "Evaluation": "Static",
                 "ChangeSource": "DirectModification"} for one in policies]  # fmt: skip
    kinds = {detail["Target"]["RequiresRecreation"] for detail in details}
    change = _change("Modify", name, current.physical_id, current.type)
    scope = (["Properties"] if set(changed) - {"Tags"} else []) + (["Tags"] if "Tags" in changed else []) + policies
    replacement = "True" if "Always" in kinds else "Conditional" if "Conditionally" in kinds else "False"
    change["ResourceChange"] |= {"Scope": scope, "Details": details, "Replacement": replacement}
    if replacement == "True":
        kept = current.replace_policy == "Retain"
        change["ResourceChange"]["PolicyAction"] = "ReplaceAndRetain" if kept else "ReplaceAndDelete"
    return change


def _detail(
    stack: Stack, plan: Plan, name: str, property_name: str, after: Properties, unknown: Collection[str]
) -> dict[str, Any]:
    current = stack.resources[name]
    dynamic = UNKNOWN in str(after.get(property_name, ""))
    recreation = "Never"
    if property_name in schema.replaced_by(current.type):
        recreation = "Conditionally" if dynamic else "Always"
    target: dict[str, Any] = {"Attribute": "Tags" if property_name == "Tags" else "Properties",
                              "RequiresRecreation": recreation}  # fmt: skip
    if property_name != "Tags":
        target["Name"] = property_name
    source, cause = _source(stack, plan, plan.definitions[name]["Properties"].get(property_name), unknown)
    detail: dict[str, Any] = {
        "Target": target,
        "Evaluation": "Dynamic" if dynamic else "Static",
        "ChangeSource": source,
    }
    if cause:
        detail["CausingEntity"] = cause
    return detail


def _source(stack: Stack, plan: Plan, written: Any, unknown: Collection[str]) -> tuple[str, str]:
    """Where a property's change comes from, and what it is called there; of several, the resource or parameter."""
    references = list(references_in(written))
    for name, attribute in references:
        if name in unknown:
            return ("ResourceAttribute", f"{name}.{attribute}") if attribute else ("ResourceReference", name)
    before = stack.goal.parameters
    for name, _ in references:
        if name in plan.scope.parameters and (name not in before or before[name].value != plan.scope.parameters[name]):
            return "ParameterReference", name
    return "DirectModification", ""


def has_updates(stack: Stack, plan: Plan, tags: dict[str, str], found: Callable[[], list[dict[str, Any]]]) -> bool:
    """Whether an update would do anything."""
    return bool(found()) or outputs_change(stack, plan) or tags != stack.goal.tags
