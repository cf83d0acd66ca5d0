"""What delivery/pipeline.yaml promises of AWS that nothing on a laptop could break."""

from __future__ import annotations

import fnmatch
import importlib.util
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


OTHER_SERVICES = (
    *("amplify:*", "apprunner:*", "appsync:*", "bedrock-agentcore:*", "billing:*", "codedeploy:*", "cognito-idp:*"),
    *("elasticfilesystem:*", "elasticloadbalancing:*", "firehose:*", "kinesis:*", "s3files:*", "s3tables:*"),
    *("vpc-lattice:*", "vpce:*", "ec2:*VerifiedAccess*", "s3:REST.*"),
)
UNUSED_PROPERTIES = (
    *("apigateway:UpdateRestApiPolicy", "application-autoscaling:*ScheduledAction", "cloudwatch:GetMetricData"),
    *("dynamodb:*Replica", "dynamodb:*Item", "dynamodb:*Import*", "dynamodb:*ResourcePolicy", "dynamodb:*Kinesis*"),
    *("dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateContributorInsights", "ecs:PutAccountSetting*"),
    *("ecs:PutClusterCapacityProviders", "iam:*GroupPolicy", "iam:*UserPolicy", "iam:*RolePermissionsBoundary"),
    *("kms:Encrypt", "kms:RevokeGrant", "logs:*LogStream*", "logs:PutLogEvents", "logs:*DataProtectionPolicy"),
    *("logs:*IndexPolicy", "logs:DeleteResourcePolicy", "logs:PutBearer*", "logs:*DeletionProtection", "s3:*Metadata*"),
    *("s3:DeleteBucket*", "s3:DeleteObject", "s3:Put*", "sns:PutDataProtectionPolicy", "wafv2:*PermissionPolicy"),
    *("sagemaker:PutModelPackageGroupPolicy", "secretsmanager:GetSecretValue", "secretsmanager:*Replica*"),
)


def test_the_role_may_do_what_resource_types_ask_for(resources: dict[str, Any]) -> None:
    """By the handlers of AWS's schemas, which cfn-lint brings; without what the templates have no property for."""
    policies = [one["PolicyDocument"] for one in resources["EnvironmentRole"]["Properties"]["Policies"]]
    policies.append(resources["EnvironmentOptions"]["Properties"]["PolicyDocument"])
    allowed = {action for policy in policies for one in policy["Statement"] for action in _listed(one["Action"])}
    known = [one.lower() for one in (*allowed, *OTHER_SERVICES, *UNUSED_PROPERTIES)]
    spec = importlib.util.find_spec("cfnlint")
    assert spec is not None and spec.origin is not None
    schemas = Path(spec.origin).parent / "data" / "schemas"
    files = json.loads((schemas / "providers" / "us-east-1.json").read_text())
    missing = set()
    for template in ("template.yaml", "delivery/acceptance.yaml"):
        for kind in {one["Type"] for one in read_template(ROOT / template)["Resources"].values()}:
            name = files[kind] if files[kind].endswith(".json") else f"{files[kind]}.json"
            handlers = json.loads((schemas / "resources" / name).read_text()).get("handlers", {})
            for needed in (one for each in handlers.values() for one in each.get("permissions", [])):
                is_listing = needed in handlers.get("list", {}).get("permissions", [])
                if not is_listing and not any(fnmatch.fnmatch(needed.lower(), one) for one in known):
                    missing.add((kind, needed))
    assert not missing


def _listed(action: str | list[str]) -> list[str]:
    return [action] if isinstance(action, str) else action
