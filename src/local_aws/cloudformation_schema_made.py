"""Writes ``cloudformation_types.json``: what CloudFormation's own schemas say of the types that the local AWS has.

``python -m local_aws.cloudformation_schema_made``. The schemas come with cfn-lint, which only development needs; what
stays of each is the names of its properties (nested ones too), which are required, which replace the resource when they
change, which the service makes up (``Fn::GetAtt``), and what ``Ref`` is made of.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TYPES_FILE = Path(__file__).with_name("cloudformation_types.json")
_REGION = "us-east-1"
_DEEPEST = 7  # levels of properties; types that hold themselves end here
_REPLACING = ("createOnlyProperties", "conditionalCreateOnlyProperties")
_PLACE = "/properties/"


def types() -> dict[str, Any]:
    """What the file holds: a resource type's name to its compact schema."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    from local_aws.cloudformation_providers import providers

    schemas = {name: PROVIDER_SCHEMA_MANAGER.get_resource_schema(_REGION, name) for name in sorted(providers())}
    return {name: _compact(one.schema, list(one.get_atts)) for name, one in schemas.items()}


def _compact(schema: Mapping[str, Any], attributes: list[str]) -> dict[str, Any]:
    read_only = [_path(one) for one in schema.get("readOnlyProperties", [])]
    properties = {
        name: _shape(one, schema, 0)
        for name, one in sorted(schema.get("properties", {}).items())
        if name not in read_only
    }
    return {
        "properties": properties,
        "required": sorted(schema.get("required", [])),
        "replaced_by": sorted(_path(one) for key in _REPLACING for one in schema.get(key, [])),
        "attributes": sorted({*read_only, *(name for name in attributes if "." not in name)}),
        "ref": [_path(one) for one in schema.get("primaryIdentifier", [])],
    }


def _path(pointer: str) -> str:
    return pointer.removeprefix(_PLACE).replace("/", ".")


def _shape(given: Any, schema: Mapping[str, Any], depth: int) -> Any:
    """``{name: shape}`` of an object with named properties, ``[shape]`` of a list, None of all else."""
    if not isinstance(given, dict) or depth > _DEEPEST:
        return None
    while "$ref" in given:
        target: Any = schema
        for part in given["$ref"].removeprefix("#/").split("/"):
            target = target.get(part, {})
        given = target
    if "properties" in given and given.get("additionalProperties") is not True:
        return {name: _shape(one, schema, depth + 1) for name, one in sorted(given["properties"].items())}
    if given.get("type") == "array" and "items" in given:
        inner = _shape(given["items"], schema, depth + 1)
        return None if inner is None else [inner]
    return None


def main() -> None:
    """Write the file."""
    TYPES_FILE.write_text(text(), encoding="utf-8")
    sys.stderr.write(f"{TYPES_FILE}: {TYPES_FILE.stat().st_size} bytes\n")


def text() -> str:
    """The file's text: a line a type, so that a change of one is a change of a line."""
    lines = [f"{json.dumps(name)}:{json.dumps(one, separators=(',', ':'))}" for name, one in types().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
