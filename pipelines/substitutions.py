"""The names that a stack puts into the definition: everything else in it is the same on AWS and on a laptop."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from topic_model.errors import SettingsError

SUBSTITUTIONS = (
    "Bucket",
    "DeployWorkflowArn",
    "EndpointName",
    "ImageUri",
    "JobRoleArn",
    "KeyArn",
    "LookupTableName",
    "NotificationTopicArn",
    "PublishLookupsFunctionArn",
    "ReadEvaluationFunctionArn",
    "SmokeTestFunctionArn",
    "StackName",
    "ValidateRequestFunctionArn",
)
"""Names that appear as ``${Name}`` in the training definition, as a stack's DefinitionSubstitutions writes them."""

DEPLOY_SUBSTITUTIONS = (
    "Bucket",
    "EndpointName",
    "ExplainDeploymentFunctionArn",
    "KeyArn",
    "NotificationTopicArn",
    "RetireModelsFunctionArn",
    "SmokeTestFunctionArn",
    "StackName",
)
"""Those of the Deploy definition."""

VPC_SUBSTITUTIONS = ("SecurityGroupIds", "SubnetIds")
"""Those that a definition has where its jobs run in a VPC: ids, parted by commas."""

STACK_TAGS = [{"Key": "topic-model:stack", "Value": "${StackName}"}]
"""By which costs are told apart and a stack's budget finds them; ``template.yaml`` gives its resources the same."""

_NAME = re.compile(r"\$\{([A-Za-z0-9]+)\}")


def names_used(definition: Any) -> set[str]:
    """The names of all ``${Name}`` in a definition, keys included."""
    return {name for text in _strings(definition) for name in _NAME.findall(text)}


def substitute(definition: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The definition with every ``${Name}`` replaced, as a stack's DefinitionSubstitutions does it.

    Raises:
        SettingsError: a name that the definition uses is missing or empty, or one is given that it does not use.
    """
    used = names_used(definition)
    if missing := sorted(name for name in used if not names.get(name)):
        raise SettingsError(f"the definition needs a value for {missing}; given were {sorted(names)}")
    if unknown := sorted(set(names) - used):
        raise SettingsError(f"the definition has no place for {unknown}; it uses {sorted(used)}")
    text = json.dumps(definition)
    # A value is put into JSON text, so it is escaped as the inside of a JSON string.
    replaced = _NAME.sub(lambda match: json.dumps(names[match[1]])[1:-1], text)
    result: dict[str, Any] = json.loads(replaced)
    return result


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
