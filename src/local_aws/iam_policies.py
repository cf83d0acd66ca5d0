"""IAM policy documents: what they say, and what that means for a request.

Evaluation as AWS documents it ("Policy evaluation logic", "IAM JSON policy elements: Condition operators"). A document
that holds what is not understood here is an error and never a silent yes or no.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from local_aws.config import LocalAwsError

Context = Mapping[str, tuple[str, ...]]
"""Condition keys in lower case, to their values; a key that is not there was not in the request."""

KNOWN_KEYS = frozenset({
    "application-autoscaling:service-namespace", "kms:resourcealiases",
    "aws:principalaccount", "aws:principalarn", "aws:principaltype", "aws:requestedregion", "aws:securetransport",
    "aws:sourceaccount", "aws:sourcearn", "aws:sourceowner", "aws:tagkeys", "aws:userid",
    "aws:viaawsservice", "aws:calledvia",
    "cloudwatch:namespace", "dynamodb:attributes", "dynamodb:leadingkeys", "dynamodb:select",
    "dynamodb:returnvalues", "events:source", "events:detail-type", "iam:passedtoservice", "iam:awsservicename",
    "iam:associatedresourcearn", "iam:permissionsboundary", "iam:policyarn", "kms:calleraccount",
    "kms:grantisforawsresource", "kms:grantoperations", "kms:viaservice", "lambda:functionarn", "lambda:principal",
    "lambda:sourcefunctionarn",
    "s3:delimiter", "s3:max-keys", "s3:prefix", "s3:versionid", "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id", "sagemaker:instancetypes", "sagemaker:modelarn",
    "sns:endpoint", "sns:protocol", "sts:externalid",
})  # fmt: skip
"""Condition keys that the map of requests knows how to fill; a policy that asks for another cannot be evaluated.

Two are never filled, since what they are about is not emulated: functions in a VPC, and service-linked roles, whose
creation is refused as a request that is not mapped.
"""
KNOWN_PREFIXES = (
    "aws:principaltag/", "aws:requesttag/", "aws:resourcetag/", "kms:encryptioncontext:", "s3:existingobjecttag/",
    "s3:requestobjecttag/",
)  # fmt: skip


class PolicyError(LocalAwsError):
    """A policy document that cannot be evaluated; the message names the part."""


class StatementId(NamedTuple):
    """Where a statement stands."""

    owner: str
    """The ARN of the role, user or resource that has the policy."""
    policy: str
    """The policy's name: an inline one's, a managed one's ARN, ``trust`` or ``resource``."""
    position: int
    """Its place among the document's statements, from 0."""


@dataclass(frozen=True)
class Request:
    """One thing that somebody wants to do."""

    action: str
    """``service:Action``."""
    resource: str
    """The ARN, or ``*`` where the action takes none."""
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Caller:
    """Who asks, as policies name principals."""

    arn: str
    """As messages show it: an assumed role's session, a user, or a service's name."""
    account: str
    role_arn: str | None = None
    service: str | None = None
    """A service's principal (``states.amazonaws.com``) where AWS itself asks."""


@dataclass(frozen=True)
class Condition:
    """One operator on one key."""

    operator: str
    key: str
    values: tuple[str, ...]

    def holds(self, context: Context) -> bool:
        """Whether it is true of a request's context."""
        qualifier, _, rest = self.operator.rpartition(":")
        name = rest.removesuffix("IfExists")
        found = context.get(self.key)
        if name == "Null":
            return any((found is None) == (value.lower() == "true") for value in self.values)
        if not found:
            if qualifier:
                return qualifier == "ForAllValues"
            return name != rest or "Not" in name
        wanted = [_substituted(value, context) for value in self.values]
        negated, compare = _OPERATORS[name]
        matches = [any(compare(value, one) for one in wanted) != negated for value in found]
        return any(matches) if qualifier == "ForAnyValue" else all(matches)


@dataclass(frozen=True)
class Statement:
    """One statement of a policy."""

    id: StatementId
    allows: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    principals: tuple[tuple[str, str], ...]
    """Kind (``AWS``, ``Service``, ``*``) and name; empty in identity policies."""
    conditions: tuple[Condition, ...]

    def applies(self, request: Request) -> bool:
        """Whether it speaks of this action and resource under these conditions, whoever asks."""
        action, resource = request.action.lower(), request.resource
        if self.actions and not any(_glob(pattern.lower()).fullmatch(action) for pattern in self.actions):
            return False
        if any(_glob(pattern.lower()).fullmatch(action) for pattern in self.not_actions):
            return False
        if self.resources and not any(_matches(one, resource, request.context) for one in self.resources):
            return False
        if any(_matches(one, resource, request.context) for one in self.not_resources):
            return False
        return all(condition.holds(request.context) for condition in self.conditions)

    def names(self, caller: Caller) -> Literal["directly", "account"] | None:
        """Whether its principals are this caller, by name, or by the account, which leaves it to identity policies."""
        by_account = False
        for kind, name in self.principals:
            if kind == "*" or name == "*":
                return "directly"
            if kind == "Service":
                if caller.service is not None and _glob(name).fullmatch(caller.service):
                    return "directly"
            elif name in (caller.arn, caller.role_arn):
                return "directly"
            elif name in (caller.account, f"arn:aws:iam::{caller.account}:root") and caller.service is None:
                by_account = True
        return "account" if by_account else None


@dataclass(frozen=True)
class Decision:
    """What policies say of a request."""

    allowed: bool
    by: tuple[StatementId, ...] = ()
    """The statements that allowed it, all of them; or those that denied it explicitly."""
    why: str = ""
    """For a denial: AWS's words behind "because"."""


def evaluate(
    request: Request,
    caller: Caller,
    identity: Iterable[Statement],
    resource: Iterable[Statement] = (),
    *,
    resource_decides: bool = False,
    boundary: Iterable[Statement] | None = None,
) -> Decision:
    """What the policies of caller and resource say together, within one account.

    ``resource_decides``: without a word of the resource's own policy nobody may (KMS keys, roles that are assumed).
    """
    own = [statement for statement in identity if statement.applies(request)]
    limit = None if boundary is None else [statement for statement in boundary if statement.applies(request)]
    said = [(one, names) for one in resource if (names := one.names(caller)) and one.applies(request)]
    for kind, statements in (("identity", [*own, *(limit or ())]), ("resource", [one for one, _ in said])):
        if denied := tuple(one.id for one in statements if not one.allows):
            return Decision(False, denied, f"with an explicit deny in {_A[kind]} {kind}-based policy")
    direct = [one.id for one, names in said if names == "directly"]
    by_account = [one.id for one, names in said if names == "account"]
    allowing = [one.id for one in own] if limit is None or limit else []
    if resource_decides:
        by = direct or ([*by_account, *allowing] if by_account and allowing else [])
        lacking = "identity" if by_account else "resource"
    else:
        by = [*allowing, *direct]
        lacking = "resource" if caller.service else "identity"
    if by:
        return Decision(True, tuple(by))
    if own and not allowing and lacking == "identity":
        return Decision(False, why=f"because no permissions boundary allows the {request.action} action")
    return Decision(False, why=f"because no {lacking}-based policy allows the {request.action} action")


_A = {"identity": "an", "resource": "a"}


@lru_cache(maxsize=4096)
def parse_policy(text: str, owner: str, name: str) -> tuple[Statement, ...]:
    """The statements of a policy's JSON text.

    Raises:
        PolicyError: it is no policy, or it holds what cannot be evaluated.
    """
    where = f"policy {name!r} of {owner}"
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PolicyError(f"{where} is no JSON: {error}") from error
    if not isinstance(document, dict) or "Statement" not in document:
        raise PolicyError(f"{where} has no Statement")
    listed = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    return tuple(_statement(one, StatementId(owner, name, index), where) for index, one in enumerate(listed))


def _statement(document: Mapping[str, Any], identity: StatementId, where: str) -> Statement:
    effect = document.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise PolicyError(f"{where}: statement {identity.position} has Effect {effect!r}; expected Allow or Deny")
    if "NotPrincipal" in document:
        raise PolicyError(
            f"{where}: statement {identity.position} has NotPrincipal, which the local AWS does not evaluate"
        )
    conditions = []
    for operator, keys in (document.get("Condition") or {}).items():
        if _bare(operator) != "Null" and _bare(operator) not in _OPERATORS:
            raise PolicyError(f"{where}: the condition operator {operator!r} is none that the local AWS evaluates")
        for key, values in keys.items():
            lower = key.lower()
            if lower not in KNOWN_KEYS and not lower.startswith(KNOWN_PREFIXES):
                raise PolicyError(f"{where}: the condition key {key!r} is none that the local AWS knows of requests")
            conditions.append(Condition(operator, lower, tuple(_text(value) for value in _list(values))))
    return Statement(
        id=identity,
        allows=effect == "Allow",
        actions=tuple(_list(document.get("Action", ()))),
        not_actions=tuple(_list(document.get("NotAction", ()))),
        resources=tuple(_list(document.get("Resource", ()))),
        not_resources=tuple(_list(document.get("NotResource", ()))),
        principals=_principals(document.get("Principal")),
        conditions=tuple(conditions),
    )


def _principals(value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        # A Lambda permission of moto's has the service's name there.
        return (("*", "*"),) if value == "*" else (("Service" if value.endswith(".amazonaws.com") else "AWS", value),)
    return tuple((kind, name) for kind, names in value.items() for name in _list(names))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bare(operator: str) -> str:
    return operator.removeprefix("ForAllValues:").removeprefix("ForAnyValue:").removesuffix("IfExists")


def _matches(pattern: str, resource: str, context: Context) -> bool:
    return _glob(_substituted(pattern, context)).fullmatch(resource) is not None


def _substituted(text: str, context: Context) -> str:
    """Policy variables such as ``${aws:PrincipalAccount}``; one that the request lacks matches nothing."""
    if "${" not in text:
        return text
    return re.sub(r"\$\{([^}]+)\}", lambda found: context.get(found[1].lower(), ("\0",))[0], text)


@lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.compile("".join(parts), re.DOTALL)


def _like(value: str, pattern: str) -> bool:
    return _glob(pattern).fullmatch(value) is not None


def _arn_like(value: str, pattern: str) -> bool:
    """ARNs by their six parts, so that a wildcard stays within its part."""
    parts, wanted = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(wanted) and all(map(_like, parts, wanted))


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def compared(value: str, wanted: str) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return compared


_OPERATORS: Mapping[str, tuple[bool, Callable[[str, str], bool]]] = {
    "StringEquals": (False, lambda value, wanted: value == wanted),
    "StringNotEquals": (True, lambda value, wanted: value == wanted),
    "StringEqualsIgnoreCase": (False, lambda value, wanted: value.lower() == wanted.lower()),
    "StringNotEqualsIgnoreCase": (True, lambda value, wanted: value.lower() == wanted.lower()),
    "StringLike": (False, _like),
    "StringNotLike": (True, _like),
    "ArnEquals": (False, _arn_like),  # AWS treats ArnEquals as ArnLike
    "ArnNotEquals": (True, _arn_like),
    "ArnLike": (False, _arn_like),
    "ArnNotLike": (True, _arn_like),
    "Bool": (False, lambda value, wanted: value.lower() == wanted.lower()),
    "NumericEquals": (False, _number(lambda value, wanted: value == wanted)),
    "NumericNotEquals": (True, _number(lambda value, wanted: value == wanted)),
    "NumericLessThan": (False, _number(lambda value, wanted: value < wanted)),
    "NumericLessThanEquals": (False, _number(lambda value, wanted: value <= wanted)),
    "NumericGreaterThan": (False, _number(lambda value, wanted: value > wanted)),
    "NumericGreaterThanEquals": (False, _number(lambda value, wanted: value >= wanted)),
}
"""Whether it is the negation, and whether a value of the request matches one of the policy."""
