"""What a call needs of KMS: data that a key of the account encrypts is read and written by who may use the key.

Services ask KMS in the caller's name (``kms:ViaService`` says which), so the caller's own policies decide, or the
key's. CloudWatch Logs alone asks as itself, when a group is given a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from local_aws.config import LocalConfig
from local_aws.iam_access import Access
from local_aws.iam_calls import Call
from local_aws.iam_policies import Context

_WRITES = ("kms:GenerateDataKey", "kms:Decrypt")
_READS = ("kms:Decrypt",)
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "s3:PutObject": ("kms:GenerateDataKey",),
    "s3:GetObject": _READS,
    "sns:Publish": _WRITES,
    "sqs:SendMessage": _WRITES,
    "sqs:ReceiveMessage": _READS,
    "secretsmanager:GetSecretValue": _READS,
    "secretsmanager:PutSecretValue": _WRITES,
    # DynamoDB keeps a table's own key, which it decrypts as who reads or writes the table.
    **dict.fromkeys(
        (f"dynamodb:{name}Item" for name in ("Get", "Put", "Update", "Delete", "BatchGet", "BatchWrite")), _READS
    ),
    "dynamodb:Query": _READS,
    "dynamodb:Scan": _READS,
}


def key_accesses(access: Access, config: LocalConfig) -> Iterator[Access]:
    """The permissions of KMS that come with a permission on something encrypted."""
    needed = _NEEDED.get(access.action)
    key = _key_of(access, config) if needed else None
    if needed is None or key is None:
        return
    service = access.action.partition(":")[0]
    context: Context = {
        "kms:viaservice": (f"{service}.{config.region}.amazonaws.com",),
        "kms:calleraccount": (config.account,),
        **{name: values for name, values in access.context.items() if name.startswith("aws:source")},
    }
    for action in needed:
        yield Access(action, key, context)


def log_group_key_accesses(call: Call, config: LocalConfig) -> Iterator[Access]:
    """CloudWatch Logs must be let use a key that a log group is given."""
    key, name = call.text("kmsKeyId"), call.text("logGroupName")
    if call.service != "logs" or not key or not name:
        return
    group = f"arn:aws:logs:{config.region}:{config.account}:log-group:{name}"
    refusal = (
        "InvalidParameterException",
        f"The specified KMS key does not exist or is not allowed to be used with Arn '{group}'",
    )
    service = f"logs.{config.region}.amazonaws.com"
    context = {"kms:encryptioncontext:aws:logs:arn": (group,)}
    for action in ("kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"):
        yield Access(action, key, context, service=service, refusal=refusal)


def _key_of(access: Access, config: LocalConfig) -> str | None:
    """The ARN of the account's key that encrypts a bucket, table, topic, queue or secret; None for AWS's own keys."""
    service, name = access.action.partition(":")[0], access.resource.rpartition(":")[2]
    found: Any = None
    if service == "s3":
        from moto.s3.models import s3_backends

        bucket = s3_backends[config.account]["aws"].buckets.get(name.partition("/")[0])
        rule = ((getattr(bucket, "encryption", None) or {}).get("Rule")) or {}
        rule = rule[0] if isinstance(rule, list) else rule
        found = (rule.get("ApplyServerSideEncryptionByDefault") or {}).get("KMSMasterKeyID")
    elif service == "dynamodb":
        from moto.dynamodb.models import dynamodb_backends

        table = dynamodb_backends[config.account][config.region].tables.get(name.split("/")[1])
        found = (getattr(table, "sse_specification", None) or {}).get("KMSMasterKeyId")
    elif service == "sns":
        from moto.sns.models import sns_backends

        topic = sns_backends[config.account][config.region].topics.get(access.resource)
        found = getattr(topic, "kms_master_key_id", None)
    elif service == "sqs":
        from moto.sqs.models import sqs_backends

        queue = sqs_backends[config.account][config.region].queues.get(name)
        found = getattr(queue, "kms_master_key_id", None)
    elif service == "secretsmanager":
        from moto.secretsmanager.models import secretsmanager_backends

        secret = secretsmanager_backends[config.account][config.region].secrets.get(access.resource)
        found = getattr(secret, "kms_key_id", None)
    if not found or "alias/aws/" in str(found):
        return None
    return str(found) if str(found).startswith("arn:") else f"arn:aws:kms:{config.region}:{config.account}:key/{found}"
