"""CloudFormation's short forms in YAML, such as ``!Sub`` and ``!GetAtt``, as the long ones that JSON has."""

from __future__ import annotations

from typing import Any

import yaml


def add_short_forms(loader: type[yaml.SafeLoader]) -> None:
    """Teach a loader, one of YAML's safe ones, what every tag stands for."""
    loader.add_multi_constructor("!", _long_form)


def _long_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    argument: Any
    if isinstance(node, yaml.ScalarNode):
        argument = loader.construct_scalar(node)
        if name == "GetAtt":
            argument = str(argument).split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        argument = loader.construct_sequence(node, deep=True)
    else:
        argument = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": argument}
