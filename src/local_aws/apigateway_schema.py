"""Request bodies against a method's model: JSON Schema draft 4, with the messages of API Gateway's validator."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft4Validator

_MOST_FAULTS = 5
_LONGEST_VALUE = 80


class BodyCheck:
    """One model."""

    def __init__(self, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
        # References are written #/components/schemas/<name> in a document.
        self._validator = Draft4Validator({**schema, "components": {"schemas": dict(schemas)}})

    def fault(self, body: bytes) -> str | None:
        """What is wrong with a body, as ``$context.error.validationErrorString`` tells it; None where it is right.

        An empty body is held against the model as an empty object.
        """
        try:
            document = json.loads(body) if body.strip() else {}
        except (ValueError, RecursionError):
            return "[unable to parse request body as JSON]"
        faults = []
        for error in self._validator.iter_errors(document):
            faults.append(_told(error))
            # What is too long is not looked through to its end.
            if len(faults) == _MOST_FAULTS or error.validator == "maxItems":
                break
        return f"[{', '.join(faults)}]" if faults else None


def _told(error: Any) -> str:
    tell = _MESSAGES.get(error.validator)
    return str(error.message)[: 2 * _LONGEST_VALUE] if tell is None else tell(error)


def _required(error: Any) -> str:
    missing = sorted(set(error.validator_value) - set(error.instance))
    return f"object has missing required properties ({_listed(missing)})"


def _type(error: Any) -> str:
    allowed = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    return (
        f"instance type ({_kind(error.instance)}) does not match any allowed primitive type "
        f"(allowed: {_listed(sorted(allowed))})"
    )


def _extra(error: Any) -> str:
    unknown = sorted(set(error.instance) - set(error.schema.get("properties", {})))
    return f"object instance has properties which are not allowed by the schema: {_listed(unknown)}"


def _length(error: Any) -> str:
    long = error.validator == "maxLength"
    limit = "maximum allowed" if long else "required minimum"
    return (
        f"string {_shown(error.instance)} is too {'long' if long else 'short'} "
        f"(length: {len(error.instance)}, {limit}: {error.validator_value})"
    )


def _items(error: Any) -> str:
    long = error.validator == "maxItems"
    return (
        f"array is too {'long' if long else 'short'}: must have at {'most' if long else 'least'} "
        f"{error.validator_value} elements but instance has {len(error.instance)} elements"
    )


def _bound(error: Any) -> str:
    high = error.validator == "maximum"
    side, name = ("greater than", "maximum") if high else ("lower than", "minimum")
    return (
        f"numeric instance is {side} the required {name} "
        f"({name}: {error.validator_value}, found: {_shown(error.instance)})"
    )


def _enum(error: Any) -> str:
    possible = _listed(error.validator_value)
    return f"instance value ({_shown(error.instance)}) not found in enum (possible values: {possible})"


def _any_of(error: Any) -> str:
    return f"instance failed to match at least one required schema among {len(error.validator_value)}"


_MESSAGES: dict[str, Callable[[Any], str]] = {
    "required": _required,
    "type": _type,
    "additionalProperties": _extra,
    "maxLength": _length,
    "minLength": _length,
    "maxItems": _items,
    "minItems": _items,
    "maximum": _bound,
    "minimum": _bound,
    "enum": _enum,
    "anyOf": _any_of,
}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def _listed(values: list[Any]) -> str:
    return json.dumps(values[:20], separators=(",", ":"))[: 4 * _LONGEST_VALUE]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f'{text[:_LONGEST_VALUE]}..."'
