"""CloudFormation's S3 buckets, DynamoDB tables, parameters and secrets."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from typing import Any

from local_aws.cloudformation_providers import Call, Properties, Provider, ResourceError, normal, tag_changes, text


def _rules(name: str, value: Any) -> Any:
    return {name: value}


def _encryption(value: Mapping[str, Any]) -> Any:
    rules = []
    for rule in value["ServerSideEncryptionConfiguration"]:
        made = {name: one for name, one in rule.items() if name != "ServerSideEncryptionByDefault"}
        if "ServerSideEncryptionByDefault" in rule:
            made["ApplyServerSideEncryptionByDefault"] = rule["ServerSideEncryptionByDefault"]
        rules.append(made)
    return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def _lifecycle(value: Mapping[str, Any]) -> Any:
    return {"LifecycleConfiguration": {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}}


def _lifecycle_rule(rule: Mapping[str, Any]) -> Any:
    made: dict[str, Any] = {"Status": rule["Status"]}
    if "Id" in rule:
        made["ID"] = rule["Id"]
    tags = [{"Key": tag["Key"], "Value": text(tag["Value"])} for tag in rule.get("TagFilters", [])]
    sizes = {name: rule[name] for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan") if name in rule}
    parts: dict[str, Any] = {**({"Prefix": rule["Prefix"]} if "Prefix" in rule else {}), **sizes}
    if len(parts) + len(tags) > 1:
        made["Filter"] = {"And": {**parts, **({"Tags": tags} if tags else {})}}
    else:
        made["Filter"] = {"Tag": tags[0]} if tags else parts or {"Prefix": ""}
    expiration = {
        target: rule[name]
        for name, target in (("ExpirationInDays", "Days"), ("ExpirationDate", "Date"),
                             ("ExpiredObjectDeleteMarker", "ExpiredObjectDeleteMarker"))
        if name in rule
    }  # fmt: skip
    if expiration:
        made["Expiration"] = expiration
    if "NoncurrentVersionExpirationInDays" in rule:
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
    transitions = rule.get("Transitions") or [rule[name] for name in ("Transition",) if name in rule]
    if transitions:
        made["Transitions"] = [_transition(one, "Days") for one in transitions]
    earlier = rule.get("NoncurrentVersionTransitions") or [
        rule[name] for name in ("NoncurrentVersionTransition",) if name in rule
    ]
    if earlier:
        made["NoncurrentVersionTransitions"] = [_transition(one, "NoncurrentDays") for one in earlier]
    for name in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if name in rule:
            made[name] = rule[name]
    return made


def _transition(given: Mapping[str, Any], days: str) -> Any:
    made = {name: one for name, one in given.items() if name not in ("TransitionInDays", "TransitionDate")}
    if "TransitionInDays" in given:
        made[days] = given["TransitionInDays"]
    if "TransitionDate" in given:
        made["Date"] = given["TransitionDate"]
    return made


def _logging(value: Mapping[str, Any]) -> Any:
    enabled = {"TargetBucket": value.get("DestinationBucketName"), "TargetPrefix": value.get("LogFilePrefix", "")}
    return {"BucketLoggingStatus": {"LoggingEnabled": enabled}}


def _notification(value: Mapping[str, Any]) -> Any:
    if set(value) - {"EventBridgeConfiguration"}:
        raise ResourceError("the local AWS tells nobody of a bucket's events: NotificationConfiguration")
    return {"NotificationConfiguration": {"EventBridgeConfiguration": {}}}


def _cors(value: Mapping[str, Any]) -> Any:
    names = {"Id": "ID", "MaxAge": "MaxAgeSeconds", "ExposedHeaders": "ExposeHeaders"}
    rules = [{names.get(name, name): one for name, one in rule.items()} for rule in value["CorsRules"]]
    return {"CORSConfiguration": {"CORSRules": rules}}


class _Bucket(Provider):
    """``AWS::S3::Bucket``: each property is a configuration of its own."""

    # property → what puts it, what takes it away (None: it cannot be), and the request's part
    CONFIGURATIONS: Mapping[str, tuple[str, str | None, Any]] = {
        "BucketEncryption": ("put_bucket_encryption", "delete_bucket_encryption", _encryption),
        "CorsConfiguration": ("put_bucket_cors", "delete_bucket_cors", _cors),
        "LifecycleConfiguration": ("put_bucket_lifecycle_configuration", "delete_bucket_lifecycle", _lifecycle),
        "LoggingConfiguration": ("put_bucket_logging", None, _logging),
        "NotificationConfiguration": ("put_bucket_notification_configuration", None, _notification),
        "OwnershipControls": (
            "put_bucket_ownership_controls",
            "delete_bucket_ownership_controls",
            lambda value: _rules("OwnershipControls", value),
        ),
        "PublicAccessBlockConfiguration": (
            "put_public_access_block",
            "delete_public_access_block",
            lambda value: _rules("PublicAccessBlockConfiguration", value),
        ),
        "VersioningConfiguration": (
            "put_bucket_versioning",
            None,
            lambda value: _rules("VersioningConfiguration", value),
        ),
    }

    def create(self, call: Call) -> None:
        name = call.name("BucketName", 63, lower=True)
        self._check(call)
        call.refuse_if(call.there("s3", "head_bucket", Bucket=name), name)
        call.send("s3", "create_bucket", Bucket=name)
        call.made(name)
        self._configure(call)

    def update(self, call: Call) -> None:
        self._check(call)
        self._configure(call)

    def delete(self, call: Call) -> None:
        call.delete("s3", "delete_bucket", Bucket=call.physical_id)

    def _check(self, call: Call) -> None:
        if strangers := sorted(set(call.properties) - {"BucketName", "Tags", *self.CONFIGURATIONS}):
            raise ResourceError(f"the local AWS does not emulate the property {strangers[0]} of a bucket")

    def _configure(self, call: Call) -> None:
        bucket = call.physical_id
        for name, (put, remove, request) in self.CONFIGURATIONS.items():
            if not call.changed(name):
                continue
            if name in call.properties:
                call.send("s3", put, {"Bucket": bucket, **request(call.properties[name])})
            elif remove is not None:
                call.send("s3", remove, Bucket=bucket)
            elif name == "VersioningConfiguration":
                call.send("s3", put, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
            else:
                part = "BucketLoggingStatus" if name == "LoggingConfiguration" else name
                call.send("s3", put, {"Bucket": bucket, part: {}})
        tags = call.tag_list()
        if tags:
            call.send("s3", "put_bucket_tagging", Bucket=bucket, Tagging={"TagSet": tags})
        elif call.before.get("Tags"):
            call.send("s3", "delete_bucket_tagging", Bucket=bucket)
        call.attributes = {
            "Arn": call.arn("s3", bucket, region=False, account=False),
            "DomainName": f"{bucket}.s3.amazonaws.com",
            "RegionalDomainName": f"{bucket}.s3.{call.config.region}.amazonaws.com",
            "DualStackDomainName": f"{bucket}.s3.dualstack.{call.config.region}.amazonaws.com",
            "WebsiteURL": f"http://{bucket}.s3-website-{call.config.region}.amazonaws.com",
        }


class _BucketPolicy(Provider):
    """``AWS::S3::BucketPolicy``."""

    def create(self, call: Call) -> None:
        bucket = text(call.properties["Bucket"])
        call.refuse_if(call.there("s3", "get_bucket_policy", Bucket=bucket), bucket)
        call.made(bucket)
        self.update(call)

    def update(self, call: Call) -> None:
        call.send("s3", "put_bucket_policy", Bucket=call.physical_id, Policy=call.properties["PolicyDocument"])

    def delete(self, call: Call) -> None:
        call.delete("s3", "delete_bucket_policy", Bucket=call.physical_id)


class _Table(Provider):
    """``AWS::DynamoDB::Table``."""

    _APART = ("TableName", "PointInTimeRecoverySpecification", "TimeToLiveSpecification", "SSESpecification", "Tags",
              "StreamSpecification")  # fmt: skip

    def create(self, call: Call) -> None:
        name = call.name("TableName", 255)
        parts: Properties = {**call.rest(*self._APART), **self._specifications(call)}
        if tags := call.tag_list():
            parts["Tags"] = tags
        call.send("dynamodb", "create_table", parts, TableName=name)
        call.made(name)
        self._apart(call)

    def update(self, call: Call) -> None:
        table = call.physical_id
        parts: Properties = {}
        for name in (
            "BillingMode",
            "ProvisionedThroughput",
            "DeletionProtectionEnabled",
            "OnDemandThroughput",
            "TableClass",
        ):
            if call.changed(name) and name in call.properties:
                parts[name] = call.properties[name]
            elif call.changed(name) and name == "DeletionProtectionEnabled":
                parts[name] = False
        specifications = self._specifications(call)
        for name in ("SSESpecification", "StreamSpecification"):
            if call.changed(name):
                flag = "Enabled" if name.startswith("SSE") else "StreamEnabled"
                parts[name] = specifications.get(name, {flag: False})
        handled = {*parts, *self._APART, "GlobalSecondaryIndexes", "AttributeDefinitions"}
        if left := [name for name in self.changes(call) if name not in handled]:
            raise ResourceError(f"{call.type} cannot be changed on the local AWS: {', '.join(left)}")
        if parts:
            call.send("dynamodb", "update_table", parts, TableName=table)
        self._change_indexes(call)
        self._apart(call)
        after, gone = tag_changes(call)
        if call.changed("Tags"):
            arn = call.attributes["Arn"]
            if gone:
                call.send("dynamodb", "untag_resource", ResourceArn=arn, TagKeys=gone)
            if after:
                call.send("dynamodb", "tag_resource", ResourceArn=arn, Tags=call.tag_list())

    def delete(self, call: Call) -> None:
        call.delete("dynamodb", "delete_table", TableName=call.physical_id)

    @staticmethod
    def _specifications(call: Call) -> Properties:
        parts: Properties = {}
        if sse := call.properties.get("SSESpecification"):
            parts["SSESpecification"] = {
                ("Enabled" if name == "SSEEnabled" else name): one for name, one in sse.items()
            }
        if stream := call.properties.get("StreamSpecification"):
            parts["StreamSpecification"] = {"StreamEnabled": True, **stream}
        return parts

    @staticmethod
    def _change_indexes(call: Call) -> None:
        sides = [{one["IndexName"]: one for one in given.get("GlobalSecondaryIndexes", [])}
                 for given in (call.before, call.properties)]  # fmt: skip
        before, after = sides
        updates: list[Properties] = [{"Delete": {"IndexName": name}} for name in before if name not in after]
        for name, index in after.items():
            if name not in before:
                updates.append({"Create": index})
            elif normal(index) != normal(before[name]):
                updates += [{"Delete": {"IndexName": name}}, {"Create": index}]
        for one in updates:  # AWS takes one index a request
            call.send("dynamodb", "update_table", TableName=call.physical_id, GlobalSecondaryIndexUpdates=[one],
                      AttributeDefinitions=call.properties["AttributeDefinitions"])  # fmt: skip

    @staticmethod
    def _apart(call: Call) -> None:
        table = call.physical_id
        if call.changed("PointInTimeRecoverySpecification"):
            given = call.properties.get("PointInTimeRecoverySpecification") or {"PointInTimeRecoveryEnabled": False}
            call.send("dynamodb", "update_continuous_backups", TableName=table, PointInTimeRecoverySpecification=given)
        if call.changed("TimeToLiveSpecification"):
            before = call.before.get("TimeToLiveSpecification") or {}
            given = call.properties.get("TimeToLiveSpecification") or {**before, "Enabled": False}
            call.send("dynamodb", "update_time_to_live", TableName=table, TimeToLiveSpecification=given)
        about = call.send("dynamodb", "describe_table", TableName=table)["Table"]
        call.attributes = {"Arn": about["TableArn"]}
        if "LatestStreamArn" in about:
            call.attributes["StreamArn"] = about["LatestStreamArn"]


class _Parameter(Provider):
    """``AWS::SSM::Parameter``."""

    def create(self, call: Call) -> None:
        name = call.name("Name", 1011)
        parts = {**call.rest("Name", "Tags"), **({"Tags": call.tag_list()} if call.all_tags() else {})}
        call.send("ssm", "put_parameter", parts, Name=name)
        call.made(name)
        self._tell(call)

    def update(self, call: Call) -> None:
        call.send("ssm", "put_parameter", call.rest("Name", "Tags"), Name=call.physical_id, Overwrite=True)
        self._tell(call)

    def delete(self, call: Call) -> None:
        call.delete("ssm", "delete_parameter", Name=call.physical_id)

    @staticmethod
    def _tell(call: Call) -> None:
        call.attributes = {"Arn": call.arn("ssm", f"parameter/{call.physical_id.lstrip('/')}")}


class _Secret(Provider):
    """``AWS::SecretsManager::Secret``."""

    def create(self, call: Call) -> None:
        parts = call.pick("Description", "KmsKeyId")
        if call.all_tags():
            parts["Tags"] = call.tag_list()
        answer = call.send(
            "secretsmanager", "create_secret", parts, Name=call.name("Name", 512), SecretString=self._value(call)
        )
        call.made(answer["ARN"])
        call.attributes = {"Id": answer["ARN"]}

    def update(self, call: Call) -> None:
        parts = call.pick("Description", "KmsKeyId")
        if call.changed("SecretString", "GenerateSecretString"):
            parts["SecretString"] = self._value(call)
        call.send("secretsmanager", "update_secret", parts, SecretId=call.physical_id)

    def delete(self, call: Call) -> None:
        call.delete("secretsmanager", "delete_secret", SecretId=call.physical_id, ForceDeleteWithoutRecovery=True)

    @staticmethod
    def _value(call: Call) -> str:
        if "SecretString" in call.properties:
            return text(call.properties["SecretString"])
        given = call.properties.get("GenerateSecretString") or {}
        letters = (
            string.ascii_letters
            + string.digits
            + ("" if normal(given.get("ExcludePunctuation")) == "true" else "!#%+-_")
        )
        left = [one for one in letters if one not in given.get("ExcludeCharacters", "")]
        made = "".join(secrets.choice(left) for _ in range(int(given.get("PasswordLength", 32))))
        if "GenerateStringKey" not in given:
            return made
        template = str(given.get("SecretStringTemplate", "{}")).rstrip().removesuffix("}").rstrip()
        comma = "" if template.endswith("{") else ","
        return f'{template}{comma}"{given["GenerateStringKey"]}":"{made}"}}'


PROVIDERS: Mapping[str, Provider] = {
    "AWS::S3::Bucket": _Bucket(),
    "AWS::S3::BucketPolicy": _BucketPolicy(),
    "AWS::DynamoDB::Table": _Table(),
    "AWS::SSM::Parameter": _Parameter(),
    "AWS::SecretsManager::Secret": _Secret(),
}
