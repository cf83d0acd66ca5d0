"""Requests held against the service's own model, as AWS does and moto does not.

botocore's validator finds unknown, missing and mistyped parameters; patterns, allowed values and lengths, which it
leaves to the service, are checked here.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.validate import ParamValidator
from moto.sagemaker.exceptions import ValidationError

_MOST_SHOWN = 5


@functools.cache
def sagemaker_model() -> Any:
    """botocore's service model of SageMaker."""
    return botocore.session.get_session().get_service_model("sagemaker")


def validated_request(body: str | bytes | None, operation: str) -> dict[str, Any]:
    """The request's parameters.

    Raises:
        ValidationError: a ``ValidationException`` that names every fault and what is allowed.
    """
    try:
        request = json.loads(body or "{}")
    except ValueError as error:
        raise ValidationError(message=f"the request is no JSON: {error}") from error
    shape = sagemaker_model().operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        raise ValidationError(message=report.generate_report())
    faults = list(_faults(request, shape, ""))
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected: "
        raise ValidationError(message=count + "; ".join(faults[:_MOST_SHOWN]))
    return dict(request)


def _faults(value: Any, shape: Any, where: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        for name, part in value.items():
            if part is not None:
                yield from _faults(part, shape.members[name], f"{where}.{name}" if where else name)
        return
    yield from _size_faults(value, shape, where)
    if kind == "list":
        for index, part in enumerate(value):
            yield from _faults(part, shape.member, f"{where}.{index + 1}")
    elif kind == "map":
        for name, part in value.items():
            yield from _faults(name, shape.key, f"{where} (key)")
            yield from _faults(part, shape.value, f"{where}.{name}")
    elif kind == "string":
        yield from _text_faults(value, shape, where)


def _size_faults(value: Any, shape: Any, where: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if shape.type_name in ("string", "list", "map"):
        size, what = len(value), "length "
    elif shape.type_name in ("integer", "long", "float", "double"):
        size, what = value, "value "
    else:
        return
    if least is not None and size < least:
        yield _fault(value, where, f"Member must have {what}greater than or equal to {least}")
    if most is not None and size > most:
        yield _fault(value, where, f"Member must have {what}less than or equal to {most}")


def _text_faults(value: str, shape: Any, where: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield _fault(value, where, f"Member must satisfy enum value set: {list(shape.enum)}")
    pattern, most = shape.metadata.get("pattern"), shape.metadata.get("max")
    compiled = _compiled(pattern) if pattern else None
    # A text that is too long is told so already, and is not matched: it could take a pattern long.
    if compiled and (most is None or len(value) <= most) and not compiled.fullmatch(value):
        yield _fault(value, where, f"Member must satisfy regular expression pattern: {pattern}")


def _fault(value: Any, where: str, constraint: str) -> str:
    shown = repr(value) if not isinstance(value, str) else f"'{value}'"
    shown = shown if len(shown) <= 100 else f"{shown[:97]}..."
    return f"Value {shown} at '{where}' failed to satisfy constraint: {constraint}"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:  # the models' patterns are Java's; the few that Python does not know are left unchecked
        return None
