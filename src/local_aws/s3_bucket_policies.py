"""Bucket policies as moto's S3 looks at them: without the statements whose conditions it would not look at.

moto asks a bucket's policy at each request and knows no conditions, so that the statement that every bucket should have
(deny all but TLS) denies all. Statements with a condition are left to ``local_aws.iam_enforcement``, which evaluates
them; plain HTTP on loopback counts as TLS there.
"""

from __future__ import annotations

import json
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket


def install() -> None:
    """Patch moto's buckets."""

    def get_permission(self: Any, action: str, resource: str) -> PermissionResult:
        document = json.loads(self.policy.decode()) if self.policy is not None else {"Statement": []}
        given = document["Statement"]
        kept = [one for one in (given if isinstance(given, list) else [given]) if not one.get("Condition")]
        if not kept:
            return PermissionResult.NEUTRAL
        return IAMPolicy(json.dumps({**document, "Statement": kept})).is_action_permitted(action, resource)

    FakeBucket.get_permission = get_permission
