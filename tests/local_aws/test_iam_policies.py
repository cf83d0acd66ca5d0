"""IAM's evaluation of policies, by what AWS documents of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_aws.iam_policies import Caller, PolicyError, Request, Statement, evaluate, parse_policy

ROLE = Caller("arn:aws:sts::123456789012:assumed-role/r/s", "123456789012", role_arn="arn:aws:iam::123456789012:role/r")
SERVICE = Caller("states.amazonaws.com", "123456789012", service="states.amazonaws.com")
OBJECT = "arn:aws:s3:::bucket/runs/one/model"


def statements(*documents: dict[str, Any], name: str = "p") -> tuple[Statement, ...]:
    """A policy's statements; each allows s3:GetObject on everything unless it says otherwise."""
    whole = [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", **one} for one in documents]
    return parse_policy(json.dumps({"Statement": whole}), "owner", name)


def allowed(document: dict[str, Any], context: dict[str, tuple[str, ...]] | None = None, **request: str) -> bool:
    """Whether one statement allows a request."""
    asked = Request(request.get("action", "s3:GetObject"), request.get("resource", OBJECT), context or {})
    return evaluate(asked, ROLE, statements(document)).allowed


@pytest.mark.parametrize(
    ("document", "yes"),
    [
        ({"Action": ["s3:PutObject", "S3:get*"]}, True),
        ({"Action": "s3:GetObjectVersion"}, False),
        ({"Action": "s3:GetObjec?"}, True),
        ({"Action": [], "NotAction": "s3:Put*"}, True),
        ({"Action": [], "NotAction": "s3:*"}, False),
        ({"Resource": "arn:aws:s3:::bucket/runs/*/model"}, True),
        ({"Resource": "arn:aws:s3:::bucket/runs"}, False),
        ({"Resource": [], "NotResource": "arn:aws:s3:::bucket/*"}, False),
        ({"Resource": [], "NotResource": "arn:aws:s3:::other/*"}, True),
        ({"Resource": "arn:aws:s3:::bucket/${aws:PrincipalAccount}/*"}, False),
    ],
)
def test_actions_and_resources_match_by_their_wildcards(document: dict[str, Any], yes: bool) -> None:
    """Actions whatever their case, resources as they are written, and what the Not… elements leave out."""
    assert allowed(document) is yes


@pytest.mark.parametrize(
    ("condition", "context", "yes"),
    [
        ({"StringEquals": {"aws:SourceAccount": "1"}}, {"aws:sourceaccount": ("1",)}, True),
        ({"StringEquals": {"aws:SourceAccount": ["2", "1"]}}, {"aws:sourceaccount": ("1",)}, True),
        ({"StringEquals": {"aws:SourceAccount": "1"}}, {}, False),
        ({"StringEqualsIfExists": {"aws:SourceAccount": "1"}}, {}, True),
        ({"StringNotEquals": {"aws:SourceAccount": "1"}}, {}, True),
        ({"StringNotEquals": {"aws:SourceAccount": ["1", "2"]}}, {"aws:sourceaccount": ("2",)}, False),
        ({"StringLike": {"s3:prefix": "runs/*"}}, {"s3:prefix": ("runs/one/",)}, True),
        ({"Null": {"s3:prefix": "true"}}, {}, True),
        ({"Null": {"s3:prefix": "false"}}, {}, False),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws:securetransport": ("false",)}, True),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"s3:max-keys": ("9",)}, True),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"s3:max-keys": ("10",)}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:events:*:1:rule/*"}}, {"aws:sourcearn": ("arn:aws:events:x:1:rule/a",)},
         True),
        # A wildcard of one part of an ARN does not reach into the next.
        ({"ArnLike": {"aws:SourceArn": "arn:aws:events:*:rule/*"}}, {"aws:sourcearn": ("arn:aws:events:x:1:rule/a",)},
         False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ("a", "b")}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ("a", "c")}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, {}, True),
        ({"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": "a*"}}, {"dynamodb:leadingkeys": ("b", "ab")}, True),
        ({"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": "a*"}}, {}, False),
        ({"StringEquals": {"aws:SourceAccount": "1"}, "Null": {"s3:prefix": "true"}}, {"aws:sourceaccount": ("2",)},
         False),
    ],
)  # fmt: skip
def test_conditions_hold_as_aws_documents(condition: Any, context: dict[str, tuple[str, ...]], yes: bool) -> None:
    """Several values of one key are alternatives, several keys are all asked for; absence is as AWS has it."""
    assert allowed({"Condition": condition}, context) is yes


@pytest.mark.parametrize(
    "condition",
    [{"DateLessThan": {"aws:CurrentTime": "2030-01-01"}}, {"StringEquals": {"ec2:Vpc": "vpc-1"}}],
)
def test_what_cannot_be_evaluated_is_an_error_and_no_answer(condition: Any) -> None:
    """An operator or a key that requests never carry here would make a statement silently true or false."""
    with pytest.raises(PolicyError, match="policy 'p' of owner"):
        statements({"Condition": condition})


def test_a_denial_wins_and_says_where_it_stands() -> None:
    """Whatever allows it, in whichever policy."""
    deny = {"Effect": "Deny", "Resource": "arn:aws:s3:::bucket/*"}
    asked = Request("s3:GetObject", OBJECT)

    by_identity = evaluate(asked, ROLE, statements({}, deny))
    by_resource = evaluate(asked, ROLE, statements({}), statements({**deny, "Principal": "*"}, name="resource"))

    assert (by_identity.allowed, by_identity.why) == (False, "with an explicit deny in an identity-based policy")
    assert (by_resource.allowed, by_resource.why) == (False, "with an explicit deny in a resource-based policy")


def test_a_resource_that_names_the_caller_needs_no_identity_policy() -> None:
    """Within one account either is enough; a principal that is the whole account leaves it to identity policies."""
    asked = Request("s3:GetObject", OBJECT)
    for principal, yes in (
        ({"AWS": ROLE.role_arn}, True),
        ({"AWS": "arn:aws:iam::123456789012:role/other"}, False),
        ({"AWS": "arn:aws:iam::123456789012:root"}, False),
        ({"Service": "states.amazonaws.com"}, False),
    ):
        assert evaluate(asked, ROLE, (), statements({"Principal": principal})).allowed is yes
    assert evaluate(asked, SERVICE, (), statements({"Principal": {"Service": "states.amazonaws.com"}})).allowed


def test_a_key_has_the_first_word() -> None:
    """Where the resource decides, an identity policy helps those alone to whom it leaves the decision."""
    asked, own = Request("kms:Decrypt", "arn:aws:kms:x:123456789012:key/1"), statements({"Action": "kms:Decrypt"})
    account = {"Action": "kms:*", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}

    assert not evaluate(asked, ROLE, own, (), resource_decides=True).allowed
    assert not evaluate(asked, ROLE, (), statements(account), resource_decides=True).allowed
    both = evaluate(asked, ROLE, own, statements(account, name="resource"), resource_decides=True)
    assert [one.policy for one in both.by] == ["resource", "p"]


def test_a_permissions_boundary_limits_what_is_allowed() -> None:
    """What is not in both is refused, and the refusal says that it was the boundary."""
    asked = Request("s3:GetObject", OBJECT)

    assert evaluate(asked, ROLE, statements({}), boundary=statements({})).allowed
    refused = evaluate(asked, ROLE, statements({}), boundary=statements({"Action": "s3:PutObject"}))
    assert refused.why == "because no permissions boundary allows the s3:GetObject action"
