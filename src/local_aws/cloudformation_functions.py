"""CloudFormation's intrinsic functions, evaluated."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local_aws.cloudformation_template import Template, TemplateError, attribute_of

NO_VALUE = object()
"""What ``AWS::NoValue`` is: the property that it is given to is not there."""

UNKNOWN = "{{known after the change}}"
"""Stands in a change set for what only the change itself makes up: another resource's new id or attribute."""

_SUBSTITUTED = re.compile(r"\$\{(!?)([^}]*)\}")
_ZONES = "abcdef"


def _unresolved(name: str) -> Any:
    raise TemplateError(f"Template error: {name} is no parameter and cannot be referred to here")


def _no_export(name: str) -> Any:
    raise TemplateError(f"No export named {name} found.")


@dataclass
class Scope:
    """What names mean while a stack's template is evaluated.

    Args:
        template: the template.
        parameters: values by name; lists for list types.
        pseudo: pseudo parameters by name.
        physical_id: a resource's ``Ref``.
        attribute: a resource's ``Fn::GetAtt``.
        imported: another stack's export, by its name.
    """

    template: Template
    parameters: Mapping[str, Any]
    pseudo: Mapping[str, Any]
    physical_id: Callable[[str], Any] = _unresolved
    attribute: Callable[[str, str], Any] = lambda name, _attribute: _unresolved(name)
    imported: Callable[[str], Any] = _no_export
    _conditions: dict[str, bool] = field(default_factory=dict)
    _asked: list[str] = field(default_factory=list)

    def condition(self, name: str) -> bool:
        """Whether a condition holds.

        Raises:
            TemplateError: there is none of the name, it depends on itself, or is no condition.
        """
        if name not in self._conditions:
            if name not in self.template.get("Conditions", {}):
                raise TemplateError(f"Template error: unresolved condition {name}")
            if name in self._asked:
                raise TemplateError(f"Circular dependency between conditions: [{', '.join(sorted(self._asked))}]")
            self._asked.append(name)
            try:
                self._conditions[name] = holds(self.template["Conditions"][name], self)
            finally:
                self._asked.pop()
        return self._conditions[name]


def holds(value: Any, scope: Scope) -> bool:
    """A condition's value.

    Raises:
        TemplateError: it is no condition.
    """
    found = evaluated(value, scope)
    if found in (True, "true"):
        return True
    if found in (False, "false"):
        return False
    raise TemplateError(f"Template error: a condition must be one of the condition functions; it is {found!r}")


def evaluated(value: Any, scope: Scope) -> Any:
    """A part of a template with every function replaced by its value, without what has no value.

    Raises:
        TemplateError: a function is called wrongly, or names what is not there.
    """
    if isinstance(value, list):
        return [one for one in (evaluated(part, scope) for part in value) if one is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name == "Condition" and isinstance(argument, str) and argument in scope.template.get("Conditions", {}):
            return scope.condition(argument)
        if name in _EVALUATED:
            return _EVALUATED[name](argument, scope)
    parts = {str(name): evaluated(part, scope) for name, part in value.items()}
    return {name: part for name, part in parts.items() if part is not NO_VALUE}


def without_conditions(value: Any, scope: Scope) -> Any:
    """A part of a template in which the branch that is taken stands for each ``Fn::If``; other functions stay."""
    if isinstance(value, list):
        return [one for one in (without_conditions(part, scope) for part in value) if one is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Fn::If"}:
        return without_conditions(_branch(value["Fn::If"], scope), scope)
    if value == {"Ref": "AWS::NoValue"}:
        return NO_VALUE
    parts = {name: without_conditions(part, scope) for name, part in value.items()}
    return {name: part for name, part in parts.items() if part is not NO_VALUE}


def text_of(value: Any) -> str:
    """A scalar as CloudFormation writes it into a text."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _check_count(argument: Any, function: str, count: int) -> None:
    if not isinstance(argument, list) or len(argument) != count:
        elements = ("one element", "two elements", "three elements")[count - 1]
        raise TemplateError(f"Template error: {function} requires a list argument with {elements}; it is {argument!r}")


def _branch(argument: Any, scope: Scope) -> Any:
    _check_count(argument, "Fn::If", 3)
    return argument[1] if scope.condition(str(argument[0])) else argument[2]


def _if(argument: Any, scope: Scope) -> Any:
    return evaluated(_branch(argument, scope), scope)


def _ref(argument: Any, scope: Scope) -> Any:
    if argument == "AWS::NoValue":
        return NO_VALUE
    if argument in scope.pseudo:
        return scope.pseudo[argument]
    if argument in scope.parameters:
        return scope.parameters[argument]
    return scope.physical_id(str(argument))


def _get_att(argument: Any, scope: Scope) -> Any:
    name, attribute = attribute_of(argument)
    if not attribute:
        attribute = str(evaluated(argument[1], scope))
    return scope.attribute(name, attribute)


def _sub(argument: Any, scope: Scope) -> Any:
    given: Mapping[str, Any] = {}
    text = argument
    if isinstance(argument, list):
        if len(argument) != 2 or not isinstance(argument[1], dict):
            raise TemplateError(
                "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a "
                "string as first argument, and an optional second argument to specify a mapping of values to replace "
                "in the string"
            )
        text, given = argument[0], {name: evaluated(value, scope) for name, value in argument[1].items()}
    if not isinstance(text, str):
        raise TemplateError("Template error: Fn::Sub requires a text as its first argument")

    def value_of(found: re.Match[str]) -> str:
        escaped, name = found[1], found[2].strip()
        if escaped:
            return f"${{{found[2]}}}"
        if name in given:
            value = given[name]
        elif "." in name:
            value = scope.attribute(*name.split(".", 1))
        else:
            value = _ref(name, scope)
        if isinstance(value, list | dict) or value is NO_VALUE:
            raise TemplateError(f"Template error: Fn::Sub cannot put {name} into a text: it is no scalar")
        return text_of(value)

    return _SUBSTITUTED.sub(value_of, text)


def _join(argument: Any, scope: Scope) -> Any:
    _check_count(argument, "Fn::Join", 2)
    parts = _list(argument[1], scope, "Fn::Join")
    return text_of(argument[0]).join(text_of(part) for part in parts)


def _list(value: Any, scope: Scope, function: str) -> list[Any]:
    found = evaluated(value, scope)
    if isinstance(found, str) and UNKNOWN in found:
        return [found]
    if not isinstance(found, list):
        raise TemplateError(f"Template error: {function} requires a list; it was given {found!r}")
    return found


def _select(argument: Any, scope: Scope) -> Any:
    _check_count(argument, "Fn::Select", 2)
    values = _list(argument[1], scope, "Fn::Select")
    try:
        return values[int(str(evaluated(argument[0], scope)))]
    except ValueError as error:
        raise TemplateError("Template error: Fn::Select requires an integer index") from error
    except IndexError as error:
        if any(UNKNOWN in str(one) for one in values):
            return UNKNOWN
        raise TemplateError(
            f"Template error: Fn::Select cannot select nonexistent value at index {argument[0]}"
        ) from error


def _split(argument: Any, scope: Scope) -> Any:
    _check_count(argument, "Fn::Split", 2)
    return text_of(evaluated(argument[1], scope)).split(text_of(argument[0]))


def _find_in_map(argument: Any, scope: Scope) -> Any:
    _check_count(argument, "Fn::FindInMap", 3)
    keys = [text_of(evaluated(one, scope)) for one in argument]
    value: Any = scope.template.get("Mappings", {})
    for depth, key in enumerate(keys):
        named = {text_of(name): one for name, one in value.items()} if isinstance(value, dict) else {}
        if key not in named:
            if depth == 0:
                raise TemplateError(
                    f"Template error: Mapping named '{key}' is not present in the 'Mappings' section of template."
                )
            raise TemplateError(f"Template error: Unable to get mapping for {'::'.join(keys)}")
        value = named[key]
    return value


def _base64(argument: Any, scope: Scope) -> Any:
    return base64.b64encode(text_of(evaluated(argument, scope)).encode()).decode("ascii")


def _get_azs(argument: Any, scope: Scope) -> Any:
    region = evaluated(argument, scope) or scope.pseudo["AWS::Region"]
    return [f"{region}{letter}" for letter in _ZONES]


def _cidr(argument: Any, scope: Scope) -> Any:
    parts = evaluated(argument, scope)
    try:
        network = ipaddress.ip_network(parts[0])
        count = int(parts[1])
        bits = int(parts[2]) if len(parts) > 2 else network.max_prefixlen - network.prefixlen
        blocks = network.subnets(new_prefix=network.max_prefixlen - bits)
        found = [str(block) for block, _ in zip(blocks, range(count), strict=False)]
    except (ValueError, IndexError, TypeError, KeyError) as error:
        raise TemplateError(
            f"Template error: every Fn::Cidr object requires [ipBlock, count, cidrBits]: {error}"
        ) from error
    if len(found) < count:
        raise TemplateError(f"Template error: Fn::Cidr: {parts[0]} has no {count} blocks of {bits} bits")
    return found


def _import_value(argument: Any, scope: Scope) -> Any:
    return scope.imported(text_of(evaluated(argument, scope)))


def _equals(argument: Any, scope: Scope) -> Any:
    _check_count(argument, "Fn::Equals", 2)
    first, second = (evaluated(one, scope) for one in argument)
    return text_of(first) == text_of(second)


def _holding(argument: Any, scope: Scope, function: str) -> list[bool]:
    if not isinstance(argument, list) or not 2 <= len(argument) <= 10:
        raise TemplateError(
            f"Template error: every {function} object requires a list of at least 2 and at most 10 boolean parameters."
        )
    return [holds(one, scope) for one in argument]


def _not(argument: Any, scope: Scope) -> Any:
    _check_count(argument, "Fn::Not", 1)
    return not holds(argument[0], scope)


def _members(argument: Any, scope: Scope) -> tuple[list[str], list[str]]:
    _check_count(argument, "Fn::Contains", 2)
    first, second = (evaluated(one, scope) for one in argument)
    sides = [one if isinstance(one, list) else [one] for one in (first, second)]
    return [text_of(one) for one in sides[0]], [text_of(one) for one in sides[1]]


def _contains(argument: Any, scope: Scope) -> Any:
    values, wanted = _members(argument, scope)
    return wanted[0] in values


def _each_member_in(argument: Any, scope: Scope) -> Any:
    values, allowed = _members(argument, scope)
    return all(one in allowed for one in values)


def _each_member_equals(argument: Any, scope: Scope) -> Any:
    values, wanted = _members(argument, scope)
    return all(one == wanted[0] for one in values)


_EVALUATED: Mapping[str, Callable[[Any, Scope], Any]] = {
    "Ref": _ref,
    "Fn::And": lambda argument, scope: all(_holding(argument, scope, "Fn::And")),
    "Fn::Base64": _base64,
    "Fn::Cidr": _cidr,
    "Fn::Contains": _contains,
    "Fn::EachMemberEquals": _each_member_equals,
    "Fn::EachMemberIn": _each_member_in,
    "Fn::Equals": _equals,
    "Fn::FindInMap": _find_in_map,
    "Fn::GetAtt": _get_att,
    "Fn::GetAZs": _get_azs,
    "Fn::If": _if,
    "Fn::ImportValue": _import_value,
    "Fn::Join": _join,
    "Fn::Not": _not,
    "Fn::Or": lambda argument, scope: any(_holding(argument, scope, "Fn::Or")),
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::Sub": _sub,
}
