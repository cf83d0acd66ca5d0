"""The application stack, made on a bare moto server."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local_aws.config import LocalConfig
from pipelines.substitutions import DEPLOY_SUBSTITUTIONS, SUBSTITUTIONS, VPC_SUBSTITUTIONS
from topic_model_cli.stack import FUNCTIONS, ensure_stack, ensure_state_machine, state_machine_arn

DEFINITION = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A functions' zip."""
    return _package(tmp_path / "functions.zip", "def handler(event, context): return 1")


def _package(path: Path, source: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("workflow_functions/validate_request.py"), source)
    return path


def _changes(config: LocalConfig, seen: list[str]) -> None:
    """Record every call that makes or changes something."""
    for service in ("iam", "s3", "dynamodb", "lambda", "stepfunctions"):
        config.client(service).meta.events.register(
            "before-call",
            lambda model, **_: None if model.name.startswith(("Get", "Describe", "Head")) else seen.append(model.name),
        )


def test_the_stack_has_what_the_workflow_names(moto_aws: LocalConfig, package: Path) -> None:
    """Bucket, table, topic, roles and functions can be described after one call."""
    stack = ensure_stack(moto_aws, package=package)

    moto_aws.client("s3").head_bucket(Bucket=stack.bucket)
    table = moto_aws.client("dynamodb").describe_table(TableName=stack.lookup_table)["Table"]
    assert {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]} == {
        "campaign_id": "HASH",
        "model_version": "RANGE",
    }
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    moto_aws.client("sns").get_topic_attributes(TopicArn=stack.topic_arn)
    for name, module in FUNCTIONS.items():
        described = moto_aws.client("lambda").get_function(FunctionName=stack.function_arns[name])["Configuration"]
        assert described["Handler"] == f"workflow_functions.{module}.handler"
    trust = moto_aws.client("iam").get_role(RoleName=stack.job_role_arn.rsplit("/", 1)[-1])["Role"]
    assert trust["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}


def test_every_substitution_of_the_definition_has_a_value(moto_aws: LocalConfig, package: Path) -> None:
    """The stack names exactly what the definitions leave open."""
    substitutions = ensure_stack(moto_aws, package=package).substitutions()

    assert set(substitutions) == {*SUBSTITUTIONS, *DEPLOY_SUBSTITUTIONS, *VPC_SUBSTITUTIONS}
    assert all(substitutions.values())


def test_a_second_call_changes_nothing(moto_aws: LocalConfig, package: Path) -> None:
    """An unchanged stack is found, not made again."""
    first = ensure_stack(moto_aws, package=package)
    ensure_state_machine(moto_aws, first, DEFINITION)
    changes: list[str] = []
    _changes(moto_aws, changes)

    second = ensure_stack(moto_aws, package=package)
    ensure_state_machine(moto_aws, second, DEFINITION)

    assert second == first
    assert changes == []


def test_changed_code_reaches_the_functions(moto_aws: LocalConfig, package: Path, tmp_path: Path) -> None:
    """The functions run the code of the package last given."""
    stack = ensure_stack(moto_aws, package=package)
    changed = _package(tmp_path / "changed.zip", "def handler(event, context): return 2")

    ensure_stack(moto_aws, package=changed)

    functions = moto_aws.client("lambda")
    size = functions.get_function(FunctionName=stack.function_arns["smoke-test"])["Configuration"]["CodeSize"]
    shas = {
        functions.get_function(FunctionName=arn)["Configuration"]["CodeSha256"] for arn in stack.function_arns.values()
    }
    assert size == changed.stat().st_size
    assert len(shas) == 1


def test_a_changed_definition_reaches_the_state_machine(moto_aws: LocalConfig, package: Path) -> None:
    """The state machine has the definition last given."""
    stack = ensure_stack(moto_aws, package=package)
    ensure_state_machine(moto_aws, stack, DEFINITION)
    changed: dict[str, Any] = {"StartAt": "Other", "States": {"Other": {"Type": "Succeed"}}}

    arn = ensure_state_machine(moto_aws, stack, changed)

    assert arn == state_machine_arn(moto_aws)
    described = moto_aws.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    assert json.loads(described["definition"]) == changed


def test_the_package_of_this_installation_holds_the_handlers(moto_aws: LocalConfig) -> None:
    """Without a package given, the functions get the code that is installed here."""
    stack = ensure_stack(moto_aws)

    location = moto_aws.client("lambda").get_function(FunctionName=stack.function_arns["smoke-test"])
    assert location["Configuration"]["CodeSize"] > 0


def test_the_built_package_is_the_same_twice() -> None:
    """The same sources give the same bytes, so that functions change only when their code does."""
    from topic_model_cli.stack import _build_package

    first = _build_package()
    assert first == _build_package()
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert {f"workflow_functions/{module}.py" for module in FUNCTIONS.values()} <= set(names)
