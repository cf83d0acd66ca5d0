"""PutBucketLogging takes a target whose policy does not allow the logs yet, as S3 does.

S3 looks at the target's policy when it delivers a log, which the local AWS does not. moto looks when logging is set up,
and so refuses the order of AWS's own templates: the policy names the bucket that is logged, and comes after it.
"""

from __future__ import annotations

from typing import Any

from moto.s3.models import FakeBucket

from local_aws.config import LocalConfig


def install(config: LocalConfig) -> None:
    """Patch moto; idempotent."""
    del config
    FakeBucket._log_permissions_enabled_policy = staticmethod(_allowed)


def _allowed(target_bucket: Any, target_prefix: str | None) -> bool:
    del target_bucket, target_prefix
    return True
