"""The roles of the workflows' functions: what their code calls, and nothing that it does not call."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from topic_model_cli.packaged_template import read_template

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "workflow_functions"
SERVICES = {"s3": "s3", "dynamodb": "dynamodb", "sagemaker": "sagemaker", "cloudwatch": "cloudwatch"}
SERVICES["sagemaker-runtime"] = "sagemaker"
IAM_NAMES = {"s3:ListObjectsV2": "s3:ListBucket"}
"""Operations that IAM calls otherwise."""

TEMPLATE = read_template(ROOT / "template.yaml")["Resources"]
FUNCTIONS = {
    name: resource["Properties"]
    for name, resource in TEMPLATE.items()
    if resource["Type"] == "AWS::Lambda::Function" and resource["Properties"]["Code"] == "dist/functions.zip"
}


@cache
def operations() -> dict[str, str]:
    """IAM's action of each method that a client has."""
    found = {}
    for service, prefix in SERVICES.items():
        client = boto3.client(service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
        for method, operation in client.meta.method_to_api_mapping.items():
            action = f"{prefix}:{operation}"
            found[method] = IAM_NAMES.get(action, action)
    return found


def words(node: ast.AST) -> set[str]:
    """The attributes, names and strings in a piece of code: ``get_paginator("scan")`` calls by a string."""
    found = set()
    for part in ast.walk(node):
        match part:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.Constant(value=str(name)):
                found.add(name)
    return found


def modules(name: str) -> set[str]:
    """A module of the functions and those that it imports, of the functions' own."""
    found, left = set(), [name]
    while left:
        module = left.pop()
        if module in found or not (SOURCES / f"{module}.py").is_file():
            continue
        found.add(module)
        source = (SOURCES / f"{module}.py").read_text(encoding="utf-8")
        left += re.findall(r"^from workflow_functions\.(\w+) import", source, re.MULTILINE)
        for names in re.findall(r"^from workflow_functions import (.+)$", source, re.MULTILINE):
            left += re.findall(r"\w+", names)
    return found


def called(module: str) -> set[str]:
    """The actions that a function's code calls; of the modules that it imports, those of what it uses there."""
    used = words(tree(module))
    shared = {
        node.name: words(node)
        for other in modules(module) - {module}
        for node in tree(other).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    while more := {word for name in shared.keys() & used for word in shared[name]} - used:
        used |= more
    # A function of ours is not the client's method of that name.
    return {operations()[word] for word in used - shared.keys() if word in operations()}


def tree(module: str) -> ast.Module:
    """A module's code."""
    return ast.parse((SOURCES / f"{module}.py").read_text(encoding="utf-8"))


def allowed(role: str) -> set[str]:
    """The actions of a role's policies."""
    statements = [
        statement
        for policy in TEMPLATE[role]["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    listed: list[Any] = [statement["Action"] for statement in statements]
    return {action for one in listed for action in (one if isinstance(one, list) else [one])}


BY_OTHERS = {"logs:CreateLogStream", "logs:PutLogEvents", "kms:Decrypt"}
"""Lambda writes logs as the function's role, and a service decrypts what it keeps as who reads it."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_role_allows_what_its_function_calls(name: str) -> None:
    """No call is refused, and no action is allowed that nothing calls."""
    module = FUNCTIONS[name]["Handler"].split(".")[1]
    assert allowed(FUNCTIONS[name]["Role"]["Fn::GetAtt"][0]) - BY_OTHERS == called(module)
