"""One permission that a call needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from local_aws.iam_policies import Context


class UnmappedError(Exception):
    """It is not known what a call asks permission for."""


@dataclass(frozen=True)
class Access:
    """An action on a resource, under conditions."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)
    role_arn: str | None = None
    """The role that needs it where that is not the caller: a service asks as the role that it is given."""
    service: str | None = None
    """The service that needs it, for itself: to assume a role, to use a key."""
    refusal: tuple[str, str] | None = None
    """Code and message of the service's own where it does not answer with AccessDenied."""


@dataclass(frozen=True)
class Place:
    """Where ARNs are: account and region."""

    account: str
    region: str

    def arn(self, service: str, rest: str) -> str:
        """An ARN of this account and region; what is one already stays."""
        return rest if rest.startswith("arn:") else f"arn:aws:{service}:{self.region}:{self.account}:{rest}"
