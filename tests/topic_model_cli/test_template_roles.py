"""The template's roles for the local stack: read from template.yaml, brought up to its state, and no others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from local_aws.config import LocalConfig
from local_aws.iam_policies import parse_policy
from topic_model_cli import template_roles as roles_module
from topic_model_cli.packaged_template import TemplateError
from topic_model_cli.stack import FUNCTIONS, bucket_name, ensure_roles
from topic_model_cli.template_roles import LocalNames, TemplateRole, ensure_template_role, template_roles

ROOT = Path(__file__).parents[2]
TRUSTED = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
TRUST = {"Version": "2012-10-17", "Statement": [TRUSTED]}


def statement(action: str) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


@pytest.mark.parametrize("path", ["template.yaml", "delivery/pipeline.yaml"])
def test_every_role_can_be_evaluated(path: str) -> None:
    """Nothing of CloudFormation's functions is left in any role, and IAM's evaluator reads all of it."""
    config = LocalConfig(Path("unused"), 1)
    roles = template_roles(config, ROOT / path, LocalNames("topic-model-local", refs={}, arns={}))
    assert roles
    for name, role in roles.items():
        text = json.dumps([role.trust, role.policies])
        assert "Fn::" not in text and '"Ref"' not in text and "${" not in text, name
        for policy, document in {"trust": role.trust, **role.policies}.items():
            assert parse_policy(json.dumps(document), name, policy)


def test_the_local_stack_has_the_templates_roles(moto_aws: LocalConfig) -> None:
    """A role a function, with the local names of what the template names."""
    arns = ensure_roles(moto_aws)
    assert len(set(arns.values())) == len(FUNCTIONS) + 4  # the lookup API's, jobs, and two workflows
    policy = moto_aws.client("iam").get_role_policy(RoleName="topic-model-local-read-evaluation", PolicyName="read")
    verdict = next(one for one in policy["PolicyDocument"]["Statement"] if one["Sid"] == "ReadVerdict")
    assert verdict["Resource"] == f"arn:aws:s3:::{bucket_name(moto_aws)}/runs/*/evaluation/*"


def test_a_role_that_differs_is_brought_up_to_date(moto_aws: LocalConfig) -> None:
    """What the template no longer gives is taken away, too."""
    iam = moto_aws.client("iam")
    old = TemplateRole(TRUST, {"a": statement("s3:GetObject"), "b": statement("s3:PutObject")})
    new = TemplateRole(TRUST, {"a": statement("s3:ListBucket")})
    arn = ensure_template_role(moto_aws, "changing", old)
    assert ensure_template_role(moto_aws, "changing", new) == arn
    assert iam.list_role_policies(RoleName="changing")["PolicyNames"] == ["a"]
    document = iam.get_role_policy(RoleName="changing", PolicyName="a")["PolicyDocument"]
    assert document["Statement"][0]["Action"] == "s3:ListBucket"


def test_enforcement_needs_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without it has roles that may be assumed and no more; under enforcement that is said."""
    monkeypatch.setattr(roles_module, "template_path", lambda: None)
    config, names = LocalConfig(Path("unused"), 1), LocalNames("s", refs={}, arns={})
    assert roles_module.roles_of_the_stack(config, names)["JobRole"].policies == {}
    with pytest.raises(TemplateError, match=r"no template\.yaml .* start the local AWS without --enforce-iam"):
        roles_module.roles_of_the_stack(replace(config, enforce_iam=True), names)
