"""CloudFormation's templates: JSON or YAML with its short forms, read and held against the template language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from moto.core.exceptions import ServiceException

from local_aws.short_forms import add_short_forms

Template = dict[str, Any]

MOST_RESOURCES = 500
_MOST_PARTS = 200_000  # of a template whose YAML aliases are written out
_SECTIONS = frozenset({
    "AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Mappings", "Conditions", "Transform",
    "Hooks", "Globals", "Resources", "Outputs",
})  # fmt: skip
_RESOURCE_PARTS = frozenset({
    "Type", "Properties", "DependsOn", "Condition", "Metadata", "DeletionPolicy", "UpdateReplacePolicy",
    "CreationPolicy", "UpdatePolicy",
})  # fmt: skip
_DELETION_POLICIES = ("Delete", "Retain", "RetainExceptOnCreate", "Snapshot")
_LOGICAL_ID = re.compile(r"[A-Za-z0-9]{1,255}")
_FUNCTIONS = frozenset({
    "Fn::And", "Fn::Base64", "Fn::Cidr", "Fn::Equals", "Fn::FindInMap", "Fn::GetAtt", "Fn::GetAZs", "Fn::If",
    "Fn::ImportValue", "Fn::Join", "Fn::Not", "Fn::Or", "Fn::Select", "Fn::Split", "Fn::Sub",
})  # fmt: skip
_RULE_FUNCTIONS = frozenset({"Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn"})
_SUBSTITUTED = re.compile(r"\$\{([^!}][^}]*)\}")
PSEUDO = frozenset({
    "AWS::AccountId", "AWS::NoValue", "AWS::NotificationARNs", "AWS::Partition", "AWS::Region", "AWS::StackId",
    "AWS::StackName", "AWS::URLSuffix",
})  # fmt: skip
_POLICY_CAPABILITY = frozenset({"AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::ManagedPolicy", "AWS::IAM::Role",
                                "AWS::IAM::User", "AWS::IAM::Group", "AWS::IAM::InstanceProfile",
                                "AWS::IAM::UserPolicy", "AWS::IAM::GroupPolicy", "AWS::IAM::AccessKey",
                                "AWS::IAM::UserToGroupAddition"})  # fmt: skip
_IAM_NAMES = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::User": "UserName",
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
}


class TemplateError(ServiceException):  # type: ignore[misc]
    """A template or a request that CloudFormation refuses; the message is in its words."""

    code = "ValidationError"


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it: short forms are functions, and a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


add_short_forms(_Loader)


def parsed(text: str) -> Template:
    """The template in a text, its short forms written out.

    Raises:
        TemplateError: it is no JSON or YAML object, or breaks the template language.
    """
    try:
        template = json.loads(text)
    except ValueError:
        try:
            template = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader; its constructors make plain values
        except yaml.YAMLError as error:
            at = getattr(error, "problem_mark", None)
            where = f" (line {at.line + 1}, column {at.column + 1})" if at else ""
            raise TemplateError(f"Template format error: YAML not well-formed.{where}") from error
        except RecursionError as error:
            raise TemplateError("Template format error: it is nested too deeply") from error
    if not isinstance(template, dict):
        raise TemplateError("Template format error: unsupported structure.")
    _check_size(template)
    _check(template)
    return template


def _check_size(template: Template) -> None:
    parts = 0
    waiting: list[Any] = [template]
    while waiting:
        parts += 1
        if parts > _MOST_PARTS:
            raise TemplateError(f"Template format error: it has more than {_MOST_PARTS} parts")
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check(template: Template) -> None:
    strangers = sorted(str(name) for name in template if name not in _SECTIONS)
    if strangers:
        raise TemplateError(f"Invalid template property or properties [{', '.join(strangers)}]")
    if template.get("AWSTemplateFormatVersion", "2010-09-09") != "2010-09-09":
        raise TemplateError("Template format error: Unsupported template format version.")
    if template.get("Transform"):
        raise TemplateError(
            f"Transform {template['Transform']!r}: the local AWS runs no transforms; "
            "give the template that 'aws cloudformation package' or 'sam build' makes of it"
        )
    for section in ("Parameters", "Rules", "Mappings", "Conditions", "Resources", "Outputs"):
        if not isinstance(template.get(section, {}), dict):
            raise TemplateError(f"Template format error: {section} must be an object.")
    if not template.get("Resources"):
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    if len(template["Resources"]) > MOST_RESOURCES:
        raise TemplateError(
            f"Template format error: Number of resources, {len(template['Resources'])}, is greater than maximum "
            f"allowed, {MOST_RESOURCES}"
        )
    for name, resource in template["Resources"].items():
        _check_resource(name, resource)
    _check_conditions(template)
    _check_references(template)


def _check_resource(name: Any, resource: Any) -> None:
    if not _LOGICAL_ID.fullmatch(str(name)):
        raise TemplateError(f"Template format error: Resource name {name} is non alphanumeric.")
    if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
        raise TemplateError(
            f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
        )
    if strangers := sorted(str(one) for one in resource if one not in _RESOURCE_PARTS):
        raise TemplateError(f"Invalid template resource property '{strangers[0]}'")
    if not isinstance(resource.get("Properties") or {}, dict):
        raise TemplateError(f"Template format error: [/Resources/{name}/Properties] must be an object.")
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        value = resource.get(policy, "Delete")
        if value not in _DELETION_POLICIES or (policy, value) == ("UpdateReplacePolicy", "RetainExceptOnCreate"):
            raise TemplateError(f"Template format error: Unrecognized {policy} {value!r} for resource {name}")


def _check_conditions(template: Template) -> None:
    conditions = template.get("Conditions", {})
    for name, resource in template["Resources"].items():
        condition = resource.get("Condition")
        if condition is not None and condition not in conditions:
            raise TemplateError(
                f"Template format error: Unresolved condition dependency {condition} in the Resources block of the "
                f"template (of {name})"
            )
    for section in ("Conditions", "Resources", "Outputs"):
        for function, argument in functions_in(template.get(section, {})):
            named = argument if function == "Condition" and isinstance(argument, str) else None
            if function == "Fn::If" and isinstance(argument, list) and argument:
                named = argument[0]
            asks = section == "Conditions" or function == "Fn::If"
            if asks and named is not None and named not in conditions:
                raise TemplateError(
                    f"Template format error: Unresolved condition dependency {named} in the {section} block of the "
                    "template"
                )


def functions_in(value: Any) -> Iterator[tuple[str, Any]]:
    """Every function call of a part of a template, as name and argument."""
    if isinstance(value, list):
        for one in value:
            yield from functions_in(one)
    elif isinstance(value, dict):
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in ("Ref", "Condition") or str(name).startswith("Fn::"):
                yield name, argument
        for one in value.values():
            yield from functions_in(one)


def references_in(value: Any) -> Iterator[tuple[str, str | None]]:
    """What a part of a template refers to: a name and, of ``Fn::GetAtt``, the attribute."""
    for function, argument in functions_in(value):
        if function == "Ref" and isinstance(argument, str):
            yield argument, None
        elif function == "Fn::GetAtt":
            yield attribute_of(argument)
        elif function == "Fn::Sub":
            text, given = (
                (argument[0], argument[1]) if isinstance(argument, list) and len(argument) == 2 else (argument, {})
            )
            for found in _SUBSTITUTED.finditer(text if isinstance(text, str) else ""):
                name, dot, attribute = found[1].strip().partition(".")
                if found[1].strip() not in given:
                    yield name, attribute if dot else None


def attribute_of(argument: Any) -> tuple[str, str]:
    """Resource and attribute of a ``Fn::GetAtt``.

    Raises:
        TemplateError: it names none.
    """
    parts = argument.split(".", 1) if isinstance(argument, str) else argument
    if not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[0], str):
        raise TemplateError(
            "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the "
            "resource attribute"
        )
    return parts[0], parts[1] if isinstance(parts[1], str) else ""


def _check_references(template: Template) -> None:
    resources, parameters = template["Resources"], template.get("Parameters", {})
    for section in ("Conditions", "Rules", "Resources", "Outputs"):
        part = template.get(section, {})
        for function, _ in functions_in(part):
            known = function in _FUNCTIONS or (section == "Rules" and function in _RULE_FUNCTIONS)
            if function.startswith("Fn::") and not known:
                raise TemplateError(f"Template error: {function} is none of the functions that the local AWS evaluates")
        in_scope = set(parameters) | PSEUDO | (set(resources) if section in ("Resources", "Outputs") else set())
        bare = [name for name, attribute in references_in(part) if attribute is None and name not in in_scope]
        if bare:
            names = ", ".join(sorted(set(bare)))
            raise TemplateError(
                f"Template format error: Unresolved resource dependencies [{names}] in the {section} block of the "
                "template"
            )
        for name, attribute in references_in(part):
            if attribute is not None and name not in resources:
                raise TemplateError(f"Template error: instance of Fn::GetAtt references undefined resource {name}")
    for resource in resources.values():
        for other in depends_on(resource):
            if other not in resources:
                raise TemplateError(
                    f"Template format error: Unresolved resource dependencies [{other}] in the Resources block of the "
                    "template"
                )


def depends_on(resource: Mapping[str, Any]) -> list[str]:
    """The resources that a resource names in ``DependsOn``."""
    given = resource.get("DependsOn") or []
    return [str(given)] if isinstance(given, str) else [str(one) for one in given]


def required_capabilities(template: Template) -> list[str]:
    """What a request must say: ``CAPABILITY_IAM`` for IAM's resources, ``CAPABILITY_NAMED_IAM`` for named ones."""
    iam = [one for one in template["Resources"].values() if one["Type"] in _POLICY_CAPABILITY]
    if any(_IAM_NAMES.get(one["Type"]) in (one.get("Properties") or {}) for one in iam):
        return ["CAPABILITY_NAMED_IAM"]
    return ["CAPABILITY_IAM"] if iam else []


def in_order(dependencies: Mapping[str, set[str]]) -> list[str]:
    """Names so that each stands behind those that it depends on, otherwise as they come.

    Raises:
        TemplateError: some depend on each other.
    """
    ordered: dict[str, None] = {}
    left = dict(dependencies)
    while left:
        ready = [
            name for name, needs in left.items() if all(need in ordered or need not in dependencies for need in needs)
        ]
        if not ready:
            raise TemplateError(f"Circular dependency between resources: [{', '.join(sorted(_cycle(left)))}]")
        for name in ready:
            ordered[name] = None
            del left[name]
    return list(ordered)


def _cycle(left: Mapping[str, set[str]]) -> set[str]:
    """Those of what cannot be ordered that stand in a circle or lead from one to another."""
    names = set(left)
    while ends := {name for name in names if not any(name in left[other] for other in names)}:
        names -= ends  # nothing waits for it
    return names
