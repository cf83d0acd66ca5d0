"""Who asks: the administrator, IAM users, and sessions of roles that services or users assumed.

Services of the local AWS act under the roles that they were given: :func:`acting_as` gives them the configuration whose
clients and child processes have that role's session credentials. Without enforcement it gives back the one it got.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from local_aws.config import LocalAwsError, LocalConfig
from local_aws.iam_administrator import ADMINISTRATOR, ensure_administrator, new_credentials
from local_aws.iam_policies import (
    Caller,
    Context,
    Decision,
    Request,
    Statement,
    StatementId,
    evaluate,
    parse_policy,
)

TRUST = "trust"

_EVERYTHING = Statement(StatementId(ADMINISTRATOR, "administrator", 0), True, ("*",), (), ("*",), (), (), ())


class AssumeRoleRefusedError(LocalAwsError):
    """A role's trust policy does not let a service assume it, or there is no such role."""


@dataclass(frozen=True)
class Policies:
    """What an identity may do: statements that allow and deny, and a permissions boundary."""

    statements: tuple[Statement, ...]
    boundary: tuple[Statement, ...] | None = None


class Identities:
    """The callers of one local AWS by their access keys."""

    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._callers: dict[str, Caller] = {}
        self._sessions: dict[tuple[str, str, str], LocalConfig] = {}
        self.account = account = config.account
        for credentials, arn in (
            (config.credentials, f"arn:aws:sts::{account}:assumed-role/local-aws/itself"),
            (ensure_administrator(config.root), f"arn:aws:iam::{account}:user/{ADMINISTRATOR}"),
        ):
            if credentials is None:
                raise LocalAwsError("the local AWS that enforces IAM needs credentials of its own")
            self._callers[credentials.access_key_id] = Caller(arn, account)
        self._unlimited = frozenset(self._callers.values())

    def caller(self, access_key_id: str, session_token: str) -> Caller | None:
        """Whose key it is; None for nobody's, or a session's without its token."""
        if (own := self._callers.get(access_key_id)) is not None:
            return own
        account = self._config.account
        for assumed in sts_backends[account]["aws"].assumed_roles:
            if assumed.access_key_id == access_key_id and assumed.session_token == session_token:
                return Caller(assumed.arn, account, role_arn=assumed.role_arn)
        for user in iam_backends[account]["aws"].users.values():
            if any(key.access_key_id == access_key_id and key.status == "Active" for key in user.access_keys):
                return Caller(user.arn, account)
        return None

    def is_unlimited(self, caller: Caller) -> bool:
        """Whether it is the administrator or the local AWS itself, which may do what no resource's policy denies."""
        return caller in self._unlimited

    def policies(self, caller: Caller) -> Policies:
        """The identity policies of a caller.

        Raises:
            PolicyError: one of them cannot be evaluated.
        """
        if caller in self._unlimited:
            return Policies((_EVERYTHING,))
        if caller.service is not None:
            return Policies(())
        backend = iam_backends[caller.account]["aws"]
        if caller.role_arn is not None:
            role = self.role(caller.role_arn)
            return _policies_of(backend, role, [role] if role is not None else [])
        user = next((user for user in backend.users.values() if user.arn == caller.arn), None)
        groups = [group for group in backend.groups.values() if user in group.users]
        return _policies_of(backend, user, [user, *groups] if user is not None else [])

    def role(self, role_arn: str) -> Any | None:
        """moto's role of an ARN."""
        roles = iam_backends[self._config.account]["aws"].roles.values()
        return next((role for role in roles if role.arn == role_arn), None)

    def may_be_assumed(self, role_arn: str, caller: Caller, context: Context) -> tuple[Request, Decision]:
        """Whether a role's trust policy, and for users their own policies, let a caller assume it.

        Raises:
            PolicyError: a policy cannot be evaluated.
        """
        request = Request("sts:AssumeRole", role_arn, context)
        role = self.role(role_arn)
        if role is None:
            return request, Decision(False, why="because there is no such role")
        trust = parse_policy(_text(role.assume_role_policy_document), role_arn, TRUST)
        trusted = tuple(replace(statement, resources=()) for statement in trust)
        own = self.policies(caller)
        decision = evaluate(request, caller, own.statements, trusted, resource_decides=True, boundary=own.boundary)
        return request, decision

    def session(self, role_arn: str, service: str, name: str) -> LocalConfig:
        """The configuration of a service that acts under a role, the same for the same three names."""
        with self._lock:
            found = self._sessions.get((role_arn, service, name))
            if found is None:
                credentials = new_credentials("ASIA", with_token=True)
                account, role = self._config.account, role_arn.rpartition("/")[2]
                arn = f"arn:aws:sts::{account}:assumed-role/{role}/{name}"
                self._callers[credentials.access_key_id] = Caller(arn, account, role_arn=role_arn)
                found = replace(self._config, credentials=credentials)
                self._sessions[role_arn, service, name] = found
            return found


def _policies_of(backend: Any, entity: Any, holders: Iterable[Any]) -> Policies:
    statements: list[Statement] = []
    for holder in holders:
        for name, document in holder.policies.items():
            statements += parse_policy(_text(document), holder.arn, name)
        for arn, policy in holder.managed_policies.items():
            statements += parse_policy(_text(_in_force(policy)), holder.arn, arn)
    boundary = getattr(entity, "permissions_boundary_arn", None)
    if not boundary:
        return Policies(tuple(statements))
    limits = _in_force(backend.get_policy(boundary))
    return Policies(tuple(statements), parse_policy(_text(limits), boundary, "boundary"))


def _in_force(policy: Any) -> Any:
    """A managed policy's document: that of its default version."""
    return next(version.document for version in policy.versions if version.is_default)


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)
