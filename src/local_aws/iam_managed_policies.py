"""AWS's own managed policies, each there when it is first asked for.

moto has their documents but loads none of them, or all 1,582 with every server's start. A role that
``AWSLambdaBasicExecutionRole`` is attached to needs that one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, IAMBackend

from local_aws.config import LocalConfig

_ARN = "arn:aws:iam::aws:policy/"


def install(config: LocalConfig) -> None:
    """Patch moto; before the journal is played."""
    del config
    for name in ("attach_role_policy", "attach_user_policy", "attach_group_policy", "get_policy"):
        _patch(name)


def _patch(name: str) -> None:
    stock = getattr(IAMBackend, name)

    @functools.wraps(stock)
    def patched(self: Any, policy_arn: str, *args: Any, **more: Any) -> Any:
        _load(self, str(policy_arn))
        return stock(self, policy_arn, *args, **more)

    if not hasattr(stock, "__wrapped__"):
        setattr(IAMBackend, name, patched)


def _load(backend: Any, arn: str) -> None:
    if not arn.startswith(_ARN) or arn in backend.managed_policies:
        return
    name = arn.rpartition("/")[2]
    found = _documents().get(name)
    if found is None:
        return
    policy = AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, found)
    if policy.arn == arn:  # its path is that of the ARN
        backend.managed_policies[arn] = policy


@functools.cache
def _documents() -> Mapping[str, Any]:
    documents: Mapping[str, Any] = json.loads(aws_managed_policies_data)
    return documents
