"""What CloudFormation's schemas say of a resource type: property names, attributes, what replaces it.

``cloudformation_types.json`` is made of them by :mod:`local_aws.cloudformation_schema_made`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_TYPES = Path(__file__).with_name("cloudformation_types.json")


@functools.cache
def _types() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(_TYPES.read_text(encoding="utf-8"))
    return found


def known(kind: str) -> bool:
    """Whether the local AWS has a type."""
    return kind in _types()


def attributes(kind: str) -> frozenset[str]:
    """What ``Fn::GetAtt`` may ask of a type."""
    return frozenset(_types()[kind]["attributes"])


def replaced_by(kind: str) -> frozenset[str]:
    """The properties whose change makes a new resource."""
    return frozenset(name.split(".")[0] for name in _types()[kind]["replaced_by"])


def identifiers(kind: str) -> list[str]:
    """The properties, or attributes, that say which resource of the type it is."""
    return list(_types()[kind]["ref"])


def faults(kind: str, properties: Mapping[str, Any]) -> list[str]:
    """What is wrong with a resource's properties, in CloudFormation's words; empty if nothing is."""
    schema = _types()[kind]
    found = [f"#: required key [{name}] not found" for name in schema["required"] if name not in properties]
    return found + list(_extraneous(properties, schema["properties"], "#"))


def _extraneous(value: Any, shape: Any, where: str) -> Iterator[str]:
    if isinstance(shape, list):
        if isinstance(value, list):
            for index, one in enumerate(value):
                yield from _extraneous(one, shape[0], f"{where}/{index}")
        return
    if not isinstance(shape, dict) or not isinstance(value, dict):
        return
    for name, one in value.items():
        if name not in shape:
            yield f"{where}: extraneous key [{name}] is not permitted"
        else:
            yield from _extraneous(one, shape[name], f"{where}/{name}")
