"""Policies of resources: buckets, topics, queues, functions, keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local_aws.config import LocalConfig
from local_aws.iam_policies import Statement, parse_policy

RESOURCE = "resource"
"""The name of a resource's own policy in a statement's id."""


def resource_policy(action: str, resource: str, config: LocalConfig) -> tuple[tuple[Statement, ...], bool]:
    """The statements of a resource's own policy, and whether nobody may anything without its word.

    Raises:
        PolicyError: it cannot be evaluated.
    """
    service = action.partition(":")[0]
    text: Any = None
    if service == "s3" and resource.startswith("arn:aws:s3:::"):
        text = _bucket_policy(resource.removeprefix("arn:aws:s3:::").partition("/")[0], config)
    elif service == "sns":
        text = _topic_policy(resource, config)
    elif service == "sqs":
        text = _queue_policy(resource, config)
    elif service == "lambda" and action == "lambda:InvokeFunction":
        text = _function_policy(resource, config)
    elif service == "kms" and ":key/" in resource:
        text = _key_policy(resource, config)
        return _parsed(text, resource), text is not None
    return _parsed(text, resource), False


def resource_context(action: str, resource: str, config: LocalConfig) -> dict[str, tuple[str, ...]]:
    """What conditions may ask of the resource itself: the tags of keys and secrets, and the aliases of keys."""
    if action.startswith("kms:") and ":key/" in resource:
        from moto.kms.models import kms_backends

        backend, key = kms_backends[config.account][config.region], resource.rpartition("/")[2]
        if key not in backend.keys:
            return {}
        aliases = tuple(sorted(backend.keys[key].aliases))
        tags = backend.tagger.get_tag_dict_for_resource(key)
        return {**_tagged(tags), **({"kms:resourcealiases": aliases} if aliases else {})}
    if action.startswith("secretsmanager:"):
        from moto.secretsmanager.models import secretsmanager_backends

        secret = secretsmanager_backends[config.account][config.region].secrets.get(resource)
        return _tagged({tag["Key"]: tag["Value"] for tag in getattr(secret, "tags", None) or []})
    return {}


def _tagged(tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {f"aws:resourcetag/{name.lower()}": (str(value),) for name, value in tags.items()}


def _parsed(text: Any, owner: str) -> tuple[Statement, ...]:
    if not text:
        return ()
    return parse_policy(text if isinstance(text, str) else json.dumps(text, sort_keys=True), owner, RESOURCE)


def _bucket_policy(bucket: str, config: LocalConfig) -> Any:
    from moto.s3.models import s3_backends

    found = s3_backends[config.account]["aws"].buckets.get(bucket)
    policy = getattr(found, "policy", None)
    return policy.decode() if isinstance(policy, bytes) else policy


def _topic_policy(arn: str, config: LocalConfig) -> Any:
    from moto.sns.models import sns_backends

    parts = arn.split(":")
    topic = sns_backends[config.account][parts[3]].topics.get(arn) if len(parts) == 6 else None
    return topic.policy if topic is not None else None


def _queue_policy(arn: str, config: LocalConfig) -> Any:
    from moto.sqs.models import sqs_backends

    parts = arn.split(":")
    queue = sqs_backends[config.account][parts[3]].queues.get(parts[5]) if len(parts) == 6 else None
    return getattr(queue, "_policy_json", None) or None


def _function_policy(arn: str, config: LocalConfig) -> Any:
    from moto.awslambda.models import lambda_backends

    parts = arn.split(":")
    if len(parts) < 7:
        return None
    try:
        function = lambda_backends[config.account][parts[3]].get_function(arn)
    except Exception:  # noqa: BLE001 - moto's own kinds, for an unknown function; then nobody may invoke it
        return None
    policy = getattr(function, "policy", None)
    return {"Statement": policy.statements} if policy is not None and policy.statements else None


def _key_policy(arn: str, config: LocalConfig) -> Any:
    from moto.kms.models import kms_backends

    parts = arn.split(":")
    key = kms_backends[config.account][parts[3]].keys.get(arn.rpartition("/")[2]) if len(parts) == 6 else None
    return key.policy if key is not None else None
