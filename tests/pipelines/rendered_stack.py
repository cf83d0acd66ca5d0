"""``template.yaml`` with its parameters' values, as CloudFormation of the local AWS evaluates it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_aws.cloudformation_functions import Scope, evaluated
from local_aws.cloudformation_parameters import check_rules, parameters_of
from topic_model_cli.packaged_template import read_template

ROOT = Path(__file__).parents[2]
TEMPLATE = read_template(ROOT / "template.yaml")
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/topic-model@sha256:{'0' * 64}"


def parameters(environment: str) -> dict[str, str]:
    """What the pipeline gives an environment's stack; the image is the package's."""
    path = ROOT / "delivery" / "parameters" / f"{environment}.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["Parameters"]
    return found | {"ImageUri": IMAGE}


def rendered(given: Mapping[str, str], stack_name: str = "topic-model-x") -> dict[str, Any]:
    """The resources that a stack of these parameters has, by logical id; another resource's id is ``<its name>``.

    Raises:
        TemplateError: a parameter, or parameters together, are refused; in the template's words.
    """
    values = parameters_of(
        TEMPLATE, [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()], {}, str
    )
    pseudo = {
        "AWS::AccountId": "123456789012",
        "AWS::Partition": "aws",
        "AWS::Region": "eu-west-1",
        "AWS::StackName": stack_name,
        "AWS::URLSuffix": "amazonaws.com",
    }
    scope = Scope(
        TEMPLATE,
        {name: value.value for name, value in values.items()},
        pseudo,
        lambda name: f"<{name}>",
        lambda name, attribute: f"<{name}.{attribute}>",
    )
    check_rules(TEMPLATE, scope)
    return {
        name: evaluated({key: value for key, value in resource.items() if key != "Condition"}, scope)
        for name, resource in RESOURCES.items()
        if "Condition" not in resource or scope.condition(resource["Condition"])
    }
