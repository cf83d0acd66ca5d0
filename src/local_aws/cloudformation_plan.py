"""What a template with its parameters asks for: which resources, in which order, with which properties."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local_aws import cloudformation_schema as schema
from local_aws.cloudformation_functions import Scope, evaluated, without_conditions
from local_aws.cloudformation_parameters import check_rules
from local_aws.cloudformation_providers import Properties, normal
from local_aws.cloudformation_stacks import Goal, Resource
from local_aws.cloudformation_template import (
    Template,
    TemplateError,
    depends_on,
    functions_in,
    in_order,
    parsed,
    references_in,
)
from local_aws.config import LocalConfig

_NESTED = "AWS::CloudFormation::Stack"
_EXPORT_NAME = re.compile(r"[A-Za-z0-9:-]{1,255}")


@dataclass
class Plan:
    """A template evaluated as far as it can be before its resources are there.

    Args:
        template: the template.
        scope: its names; resources' are looked up in what :meth:`bind` was given.
        definitions: the resources whose conditions hold, without branches that are not taken.
        needs: what each stands behind.
    """

    template: Template
    scope: Scope
    definitions: dict[str, dict[str, Any]]
    needs: dict[str, set[str]]
    _resources: Mapping[str, Resource] = field(default_factory=dict)

    @property
    def order(self) -> list[str]:
        """Logical ids, each behind those that it needs."""
        return in_order(self.needs)

    def bind(self, physical_id: Callable[[str], Any], attribute: Callable[[str, str], Any]) -> None:
        """Say what resources' ``Ref`` and ``Fn::GetAtt`` are."""
        self.scope.physical_id, self.scope.attribute = physical_id, attribute

    def bind_to(self, resources: Mapping[str, Resource]) -> None:
        """Look names up in a stack's resources, as they are when asked."""

        def attribute(name: str, asked: str) -> Any:
            for found in (resources[name].attributes, resources[name].properties):  # of some types, properties too
                if asked in found:
                    return found[asked]
            raise TemplateError(f"Template error: resource {name} does not have the attribute {asked}")

        self.bind(lambda name: resources[name].physical_id, attribute)

    def properties(self, name: str) -> Properties:
        """A resource's properties.

        Raises:
            TemplateError: a function in them cannot be evaluated.
        """
        found: Properties = evaluated(self.definitions[name].get("Properties") or {}, self.scope)
        return found

    def policies(self, name: str) -> tuple[str, str]:
        """DeletionPolicy and UpdateReplacePolicy."""
        definition = self.definitions[name]
        return definition.get("DeletionPolicy", "Delete"), definition.get("UpdateReplacePolicy", "Delete")

    def outputs(self) -> list[dict[str, str]]:
        """The outputs whose conditions hold, as DescribeStacks answers them.

        Raises:
            TemplateError: one cannot be evaluated.
        """
        made = []
        for name, output in self.template.get("Outputs", {}).items():
            if "Condition" in output and not self.scope.condition(output["Condition"]):
                continue
            value = evaluated(output.get("Value"), self.scope)
            if isinstance(value, list | dict) or value is None:
                raise TemplateError(f"Template format error: Output {name} is malformed; its value must be a string")
            one = {"OutputKey": str(name), "OutputValue": str(normal(value))}
            if "Description" in output:
                one["Description"] = str(output["Description"])
            if "Export" in output:
                one["ExportName"] = str(evaluated(output["Export"].get("Name"), self.scope))
                if not _EXPORT_NAME.fullmatch(one["ExportName"]):
                    raise TemplateError(f"Template format error: Output {name} is malformed; its export's name is "
                                        f"{one['ExportName']!r}")  # fmt: skip
            made.append(one)
        return made

    def imports(self) -> list[str]:
        """The names of other stacks' exports that it uses."""
        uses = [argument for function, argument in functions_in(self.definitions) if function == "Fn::ImportValue"]
        return sorted({str(evaluated(argument, self.scope)) for argument in uses})


def pseudo_parameters(config: LocalConfig, stack_id: str, stack_name: str, notified: list[str]) -> dict[str, Any]:
    """``AWS::…`` of a stack."""
    return {
        "AWS::AccountId": config.account,
        "AWS::NotificationARNs": notified,
        "AWS::Partition": "aws",
        "AWS::Region": config.region,
        "AWS::StackId": stack_id,
        "AWS::StackName": stack_name,
        "AWS::URLSuffix": "amazonaws.com",
    }


def planned(goal: Goal, pseudo: Mapping[str, Any], imported: Callable[[str], Any]) -> Plan:
    """The plan of a stack's goal.

    Raises:
        TemplateError: the template or its parameters are refused.
    """
    template = parsed(goal.template)
    values = {name: parameter.value for name, parameter in goal.parameters.items()}
    scope = Scope(template, values, pseudo, imported=imported)
    check_rules(template, scope)
    unknown = sorted({one["Type"] for one in template["Resources"].values() if not schema.known(one["Type"])})
    if unknown:
        raise TemplateError(
            f"Template format error: Unrecognized resource types: [{', '.join(unknown)}] "
            "(local_aws/cloudformation_types.json lists what the local AWS has)"
        )
    definitions: dict[str, dict[str, Any]] = {}
    for name, resource in template["Resources"].items():
        if "Condition" not in resource or scope.condition(resource["Condition"]):
            definitions[name] = {**resource, "Properties": without_conditions(resource.get("Properties") or {}, scope)}
    needs = {name: _needs(one, template, definitions) for name, one in definitions.items()}
    plan = Plan(template, scope, definitions, needs)
    _check_outputs(plan)
    plan.order  # noqa: B018 - refuses circles
    return plan


def _needs(definition: Mapping[str, Any], template: Template, definitions: Mapping[str, Mapping[str, Any]]) -> set[str]:
    needs = {other for other in depends_on(definition) if other in definitions}
    for other, attribute in references_in(definition["Properties"]):
        if other not in template["Resources"] or (attribute is None and other in template.get("Parameters", {})):
            continue
        if other not in definitions:
            raise TemplateError(
                f"Template format error: Unresolved resource dependencies [{other}] in the Resources block of the "
                "template"
            )
        _check_attribute(other, attribute, definitions)
        needs.add(other)
    return needs


def _check_attribute(name: str, attribute: str | None, definitions: Mapping[str, Mapping[str, Any]]) -> None:
    kind = definitions[name]["Type"]
    if not attribute or kind == _NESTED or attribute in schema.attributes(kind):
        return
    raise TemplateError(f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt")


def _check_outputs(plan: Plan) -> None:
    for output in plan.template.get("Outputs", {}).values():
        if not isinstance(output, dict) or "Value" not in output:
            raise TemplateError("Template format error: Every Outputs member must contain a Value object")
        if "Condition" in output and not plan.scope.condition(output["Condition"]):
            continue
        for name, attribute in references_in(without_conditions(output["Value"], plan.scope)):
            if name in plan.template["Resources"]:
                if name not in plan.definitions:
                    raise TemplateError(
                        f"Template format error: Unresolved resource dependencies [{name}] in the Outputs block of the "
                        "template"
                    )
                _check_attribute(name, attribute, plan.definitions)


def replaces(kind: str, before: Properties, after: Properties) -> bool:
    """Whether a change of properties makes a new resource."""
    return any(normal(before.get(name)) != normal(after.get(name)) for name in schema.replaced_by(kind))
