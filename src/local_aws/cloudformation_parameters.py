"""A stack's parameters: what a request gives and what the template asks for, made values; and the template's rules."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from local_aws.cloudformation_functions import Scope, holds
from local_aws.cloudformation_template import Template, TemplateError

SHOWN_SECRET = "****"  # noqa: S105 - what is shown in a secret's place
_SSM_VALUE = re.compile(r"AWS::SSM::Parameter::Value<(List<.+>|CommaDelimitedList|.+)>")
_AWS_TYPES = re.compile(
    r"AWS::(EC2::(AvailabilityZone::Name|Image::Id|Instance::Id|KeyPair::KeyName|SecurityGroup::(GroupName|Id)|"
    r"Subnet::Id|Volume::Id|VPC::Id)|Route53::HostedZone::Id|SSM::Parameter::Name)"
)
_PARTS = frozenset({"Type", "Default", "AllowedValues", "AllowedPattern", "ConstraintDescription", "Description",
                    "MaxLength", "MaxValue", "MinLength", "MinValue", "NoEcho"})  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One parameter of a stack.

    Args:
        text: what was given, or the default: what ``UsePreviousValue`` gives again.
        resolved: of a parameter that names one of Systems Manager: what stands there.
        is_list: whether ``Ref`` is a list, its parts divided by commas.
        no_echo: whether it is shown as asterisks only.
    """

    text: str
    resolved: str | None = None
    is_list: bool = False
    no_echo: bool = False

    @property
    def value(self) -> Any:
        """What ``Ref`` is."""
        text = self.text if self.resolved is None else self.resolved
        return [part.strip() for part in text.split(",")] if self.is_list else text

    def to_dict(self) -> dict[str, Any]:
        """As it is saved."""
        return asdict(self)


def parameters_of(
    template: Template,
    given: Sequence[Mapping[str, Any]],
    previous: Mapping[str, Parameter],
    from_ssm: Callable[[str], str],
) -> dict[str, Parameter]:
    """The parameters' values.

    Args:
        template: whose parameters they are.
        given: the request's ``Parameters``.
        previous: the stack's present ones, for ``UsePreviousValue``.
        from_ssm: the value of a parameter of Systems Manager; raises TemplateError if there is none.

    Raises:
        TemplateError: one is missing, unknown, or not what the template allows.
    """
    declared: Mapping[str, Mapping[str, Any]] = template.get("Parameters", {})
    for name, declaration in declared.items():
        _check_declaration(name, declaration)
    texts: dict[str, str] = {}
    for one in given:
        name = str(one.get("ParameterKey"))
        if one.get("UsePreviousValue"):
            if name in declared and name not in previous:
                raise TemplateError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a parameter "
                    "key not in the previous template"
                )
            if name in previous:
                texts[name] = previous[name].text
        else:
            texts[name] = str(one.get("ParameterValue") or "")
    if strangers := [name for name in texts if name not in declared]:
        raise TemplateError(f"Parameters: [{', '.join(strangers)}] do not exist in the template")
    if missing := [name for name, one in declared.items() if name not in texts and "Default" not in one]:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    return {
        name: _parameter(name, declaration, texts.get(name, _text(declaration.get("Default"))), from_ssm)
        for name, declaration in declared.items()
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_declaration(name: str, declaration: Any) -> None:
    if not isinstance(declaration, dict) or not isinstance(declaration.get("Type"), str):
        raise TemplateError(
            f"Template format error: [/Parameters/{name}] Every Parameters object must contain a Type member."
        )
    if strangers := sorted(set(declaration) - _PARTS):
        raise TemplateError(f"Invalid template parameter property '{strangers[0]}'")
    kind = _plain_type(declaration["Type"])
    if kind not in ("String", "Number", "CommaDelimitedList") and not _AWS_TYPES.fullmatch(_member(kind)):
        raise TemplateError(f"Template format error: Unrecognized parameter type: {declaration['Type']}")


def _plain_type(kind: str) -> str:
    """The type of what a parameter of Systems Manager holds; any other type as it is."""
    found = _SSM_VALUE.fullmatch(kind)
    if found is None:
        return "List<AWS::EC2::Subnet::Id>" if kind in ("List<String>", "List<Number>") else kind
    return "CommaDelimitedList" if found[1] == "List<String>" else found[1]


def _member(kind: str) -> str:
    found = re.fullmatch(r"List<(.+)>", kind)
    return found[1] if found else kind


def _parameter(name: str, declaration: Mapping[str, Any], text: str, from_ssm: Callable[[str], str]) -> Parameter:
    kind = _plain_type(declaration["Type"])
    is_list = kind == "CommaDelimitedList" or kind.startswith("List<")
    resolved = from_ssm(text) if _SSM_VALUE.fullmatch(declaration["Type"]) else None
    for part in text.split(",") if is_list else [text]:
        _check_value(name, declaration, part.strip() if is_list else part)
    return Parameter(text, resolved, is_list, declaration.get("NoEcho") in (True, "true", "True"))


def _check_value(name: str, declaration: Mapping[str, Any], text: str) -> None:
    def refuse(otherwise: str) -> TemplateError:
        described = declaration.get("ConstraintDescription")
        return TemplateError(f"Parameter {name} failed to satisfy constraint: {described}" if described else otherwise)

    allowed = [_text(one) for one in declaration.get("AllowedValues", [])]
    if allowed and text not in allowed:
        raise refuse(f"Parameter '{name}' must be one of AllowedValues [{', '.join(allowed)}]; it is '{text}'")
    pattern = declaration.get("AllowedPattern")
    if pattern is not None:
        try:
            matches = re.fullmatch(str(pattern), text)
        except re.error as error:
            raise TemplateError(
                f"Template error: AllowedPattern of {name} is no regular expression: {error}"
            ) from error
        if not matches:
            raise refuse(f"Parameter '{name}' must match pattern {pattern}")
    if len(text) < int(declaration.get("MinLength", 0)):
        raise refuse(f"Parameter '{name}' must contain at least {declaration['MinLength']} characters")
    if len(text) > int(declaration.get("MaxLength", 4096)):
        raise refuse(f"Parameter '{name}' must contain at most {declaration.get('MaxLength', 4096)} characters")
    if declaration["Type"] == "Number":
        try:
            number = float(text)
        except ValueError as error:
            raise refuse(f"Parameter '{name}' must be a number") from error
        least, most = declaration.get("MinValue", -math.inf), declaration.get("MaxValue", math.inf)
        if number < float(least):
            raise refuse(f"Parameter '{name}' must be a number not less than {least}")
        if number > float(most):
            raise refuse(f"Parameter '{name}' must be a number not greater than {most}")


def check_rules(template: Template, scope: Scope) -> None:
    """Hold the parameters against the template's rules.

    Raises:
        TemplateError: an assertion fails; the message is its description.
    """
    for name, rule in template.get("Rules", {}).items():
        if "RuleCondition" in rule and not holds(rule["RuleCondition"], scope):
            continue
        for assertion in rule.get("Assertions", []):
            if not holds(assertion["Assert"], scope):
                raise TemplateError(
                    f"Template constraint error: rule {name}: {assertion.get('AssertDescription', 'assertion failed')}"
                )
