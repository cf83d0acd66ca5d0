"""What delivery/pipeline.yaml promises of AWS that nothing on a laptop could break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local_aws.config import LocalConfig
from topic_model_cli.packaged_template import read_template
from topic_model_cli.template_roles import LocalNames, template_roles

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = read_template(ROOT / "delivery" / "pipeline.yaml")["Resources"]
    return found


def statements(resources: dict[str, Any], role: str) -> dict[str, Any]:
    """A role's statements by their Sids."""
    policies = resources[role]["Properties"]["Policies"]
    return {one["Sid"]: one for policy in policies for one in policy["PolicyDocument"]["Statement"] if "Sid" in one}


def test_a_preview_never_replaces_what_was_approved(resources: dict[str, Any]) -> None:
    """A delivery behind makes its preview while the one ahead executes: their change sets have different names."""
    stages = resources["Pipeline"]["Properties"]["Stages"]
    names = [
        action["Configuration"]["ChangeSetName"]
        for stage in stages
        for action in stage.get("Actions", [])
        if action.get("Configuration", {}).get("ActionMode") == "CHANGE_SET_REPLACE"
    ]
    assert len(names) == 2 == len(set(names))


def test_the_teardown_knows_keys_by_the_tag_that_the_template_gives_them(resources: dict[str, Any]) -> None:
    """CloudFormation gives a KMS key no tag of its own, and the key's alias goes with the stack."""
    condition = statements(resources, "TeardownFunctionRole")["EndKeys"]["Condition"]["StringLike"]
    key = read_template(ROOT / "template.yaml")["Resources"]["Key"]["Properties"]
    assert {f"aws:ResourceTag/{tag['Key']}" for tag in key["Tags"]} >= set(condition)


def test_no_template_of_an_unapproved_commit_is_applied_by_productions_role(resources: dict[str, Any]) -> None:
    """What changes production works as a role that nothing before the approval's stage gets."""
    roles: dict[str, set[str]] = {}
    for stage in resources["Pipeline"]["Properties"]["Stages"]:
        for action in stage.get("Actions", []):
            if "RoleArn" in (configuration := action.get("Configuration", {})):
                roles.setdefault(configuration["RoleArn"]["Fn::GetAtt"][0], set()).add(stage["Name"])
    assert roles == {"EnvironmentRole": {"Test"}, "ProductionRole": {"Approval", "Production"}}
    denied = {name: one["Properties"]["Roles"] for name, one in resources.items() if name.startswith("NothingOf")}
    assert [role["Ref"] for role in denied["NothingOfProduction"]] == ["EnvironmentRole"]
    assert [role["Ref"] for role in denied["NothingOfDeliveries"]] == ["EnvironmentRole", "ProductionRole"]


def test_policies_are_no_longer_than_iam_takes() -> None:
    """10,240 characters in a role, 6,144 in a managed policy; AWS says so only when the stack is made."""
    path = ROOT / "delivery" / "pipeline.yaml"
    config = LocalConfig(Path("unused"), 1)
    for name, role in template_roles(config, path, LocalNames("topic-model-delivery", refs={}, arns={})).items():
        assert sum(len(json.dumps(one, separators=(",", ":"))) for one in role.policies.values()) < 10_000, name
    for name, one in read_template(path)["Resources"].items():
        if one["Type"] == "AWS::IAM::ManagedPolicy":
            assert len(json.dumps(one["Properties"]["PolicyDocument"], separators=(",", ":"))) < 6_000, name
