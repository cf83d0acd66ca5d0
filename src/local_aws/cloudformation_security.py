"""CloudFormation's IAM roles and policies, and KMS keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.cloudformation_providers import Call, Provider, ResourceError, normal, tag_changes, text, without


class _Role(Provider):
    """``AWS::IAM::Role``."""

    def create(self, call: Call) -> None:
        name = call.name("RoleName")
        parts = call.pick(
            "AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "Path", "PermissionsBoundary"
        )
        if call.all_tags():
            parts["Tags"] = call.tag_list()
        made = call.send("iam", "create_role", parts, RoleName=name)["Role"]
        call.made(name)
        call.attributes = {"Arn": made["Arn"], "RoleId": made["RoleId"]}
        self._policies(call)

    def update(self, call: Call) -> None:
        name = call.physical_id
        if call.changed("AssumeRolePolicyDocument"):
            document = call.properties["AssumeRolePolicyDocument"]
            call.send("iam", "update_assume_role_policy", RoleName=name, PolicyDocument=document)
        if call.changed("Description", "MaxSessionDuration"):
            parts = {"Description": "", "MaxSessionDuration": 3600, **call.pick("Description", "MaxSessionDuration")}
            call.send("iam", "update_role", parts, RoleName=name)
        if call.changed("PermissionsBoundary"):
            if "PermissionsBoundary" in call.properties:
                call.send("iam", "put_role_permissions_boundary", call.pick("PermissionsBoundary"), RoleName=name)
            else:
                call.send("iam", "delete_role_permissions_boundary", RoleName=name)
        if call.changed("Tags"):
            after, gone = tag_changes(call)
            if gone:
                call.send("iam", "untag_role", RoleName=name, TagKeys=gone)
            if after:
                call.send("iam", "tag_role", RoleName=name, Tags=call.tag_list())
        self._policies(call)

    def delete(self, call: Call) -> None:
        name = call.physical_id
        if call.there("iam", "get_role", RoleName=name) is None:
            return
        for one in call.properties.get("Policies") or []:
            call.delete("iam", "delete_role_policy", RoleName=name, PolicyName=one["PolicyName"])
        for arn in call.properties.get("ManagedPolicyArns") or []:
            call.delete("iam", "detach_role_policy", RoleName=name, PolicyArn=arn)
        call.delete("iam", "delete_role", RoleName=name)

    @staticmethod
    def _policies(call: Call) -> None:
        name = call.physical_id
        before = {one["PolicyName"]: one for one in call.before.get("Policies") or []}
        after = {one["PolicyName"]: one for one in call.properties.get("Policies") or []}
        for policy, one in after.items():
            if normal(one) != normal(before.get(policy)):
                document = one["PolicyDocument"]
                call.send("iam", "put_role_policy", RoleName=name, PolicyName=policy, PolicyDocument=document)
        for policy in without(list(before), list(after)):
            call.delete("iam", "delete_role_policy", RoleName=name, PolicyName=policy)
        attached, wanted = (given.get("ManagedPolicyArns") or [] for given in (call.before, call.properties))
        for arn in without(wanted, attached):
            call.send("iam", "attach_role_policy", RoleName=name, PolicyArn=arn)
        for arn in without(attached, wanted):
            call.delete("iam", "detach_role_policy", RoleName=name, PolicyArn=arn)


class _RolePolicy(Provider):
    """``AWS::IAM::RolePolicy``: one inline policy of one role."""

    def create(self, call: Call) -> None:
        role, name = (text(call.properties[key]) for key in ("RoleName", "PolicyName"))
        call.refuse_if(call.there("iam", "get_role_policy", RoleName=role, PolicyName=name), f"{name}|{role}")
        call.made(f"{name}|{role}")
        self.update(call)

    def update(self, call: Call) -> None:
        call.send("iam", "put_role_policy", call.properties)

    def delete(self, call: Call) -> None:
        name, _, role = call.physical_id.partition("|")
        call.delete("iam", "delete_role_policy", RoleName=role, PolicyName=name)


class _Policy(Provider):
    """``AWS::IAM::Policy``: one inline policy of several roles."""

    def create(self, call: Call) -> None:
        self._check(call)
        call.made(call.name("PolicyName", 128))
        self._put(call)

    def update(self, call: Call) -> None:
        self._check(call)
        self._put(call)
        named = text(call.before["PolicyName"])
        for role in call.before.get("Roles", []):
            if role not in call.properties.get("Roles", []) or named != text(call.properties["PolicyName"]):
                call.delete("iam", "delete_role_policy", RoleName=role, PolicyName=named)

    def delete(self, call: Call) -> None:
        for role in call.properties.get("Roles", []):
            call.delete("iam", "delete_role_policy", RoleName=role, PolicyName=call.properties["PolicyName"])

    @staticmethod
    def _check(call: Call) -> None:
        if call.properties.get("Users") or call.properties.get("Groups"):
            raise ResourceError("the local AWS puts an AWS::IAM::Policy on Roles only, not on Users or Groups")

    @staticmethod
    def _put(call: Call) -> None:
        for role in call.properties.get("Roles", []):
            call.send("iam", "put_role_policy", call.pick("PolicyName", "PolicyDocument"), RoleName=role)
        call.attributes = {"Id": call.physical_id}


class _ManagedPolicy(Provider):
    """``AWS::IAM::ManagedPolicy``."""

    def create(self, call: Call) -> None:
        parts = call.pick("PolicyDocument", "Description", "Path")
        arn = call.send("iam", "create_policy", parts, PolicyName=call.name("ManagedPolicyName", 128))["Policy"]["Arn"]
        call.made(arn)
        for role in call.properties.get("Roles", []):
            call.send("iam", "attach_role_policy", RoleName=role, PolicyArn=arn)
        call.attributes = {"PolicyArn": arn}

    def update(self, call: Call) -> None:
        arn = call.physical_id
        if call.changed("PolicyDocument"):
            versions = call.send("iam", "list_policy_versions", PolicyArn=arn)["Versions"]
            made = call.send(
                "iam", "create_policy_version", call.pick("PolicyDocument"), PolicyArn=arn, SetAsDefault=True
            )
            del made
            for one in versions:
                call.delete("iam", "delete_policy_version", PolicyArn=arn, VersionId=one["VersionId"])
        before, after = (given.get("Roles", []) for given in (call.before, call.properties))
        for role in without(after, before):
            call.send("iam", "attach_role_policy", RoleName=role, PolicyArn=arn)
        for role in without(before, after):
            call.delete("iam", "detach_role_policy", RoleName=role, PolicyArn=arn)

    def delete(self, call: Call) -> None:
        arn = call.physical_id
        if call.there("iam", "get_policy", PolicyArn=arn) is None:
            return
        for role in call.properties.get("Roles", []):
            call.delete("iam", "detach_role_policy", RoleName=role, PolicyArn=arn)
        for one in call.send("iam", "list_policy_versions", PolicyArn=arn)["Versions"]:
            if not one["IsDefaultVersion"]:
                call.delete("iam", "delete_policy_version", PolicyArn=arn, VersionId=one["VersionId"])
        call.delete("iam", "delete_policy", PolicyArn=arn)


class _Key(Provider):
    """``AWS::KMS::Key``."""

    def create(self, call: Call) -> None:
        parts: dict[str, Any] = call.pick("Description", "KeySpec", "KeyUsage", "MultiRegion", "Origin")
        if "KeyPolicy" in call.properties:
            parts["Policy"] = call.properties["KeyPolicy"]
        parts["Tags"] = [{"TagKey": key, "TagValue": value} for key, value in call.all_tags().items()]
        made = call.send("kms", "create_key", parts)["KeyMetadata"]
        call.made(made["KeyId"])
        call.attributes = {"Arn": made["Arn"], "KeyId": made["KeyId"]}
        self._settings(call)

    def update(self, call: Call) -> None:
        key = call.physical_id
        if call.changed("KeySpec", "KeyUsage", "MultiRegion", "Origin"):
            super().update(call)
        if call.changed("KeyPolicy"):
            call.send("kms", "put_key_policy", KeyId=key, PolicyName="default", Policy=call.properties["KeyPolicy"])
        if call.changed("Description"):
            call.send("kms", "update_key_description", KeyId=key, Description=call.properties.get("Description", ""))
        if call.changed("Tags"):
            after, gone = tag_changes(call)
            if gone:
                call.send("kms", "untag_resource", KeyId=key, TagKeys=gone)
            if after:
                tags = [{"TagKey": name, "TagValue": value} for name, value in after.items()]
                call.send("kms", "tag_resource", KeyId=key, Tags=tags)
        self._settings(call)

    def delete(self, call: Call) -> None:
        about = call.there("kms", "describe_key", KeyId=call.physical_id)
        if about is not None and about["KeyMetadata"]["KeyState"] != "PendingDeletion":
            days = call.properties.get("PendingWindowInDays", 30)
            call.send("kms", "schedule_key_deletion", KeyId=call.physical_id, PendingWindowInDays=days)

    @staticmethod
    def _settings(call: Call) -> None:
        key = call.physical_id
        if call.changed("EnableKeyRotation"):
            on = normal(call.properties.get("EnableKeyRotation")) == "true"
            call.send("kms", "enable_key_rotation" if on else "disable_key_rotation", KeyId=key)
        if call.changed("Enabled"):
            off = normal(call.properties.get("Enabled")) == "false"
            call.send("kms", "disable_key" if off else "enable_key", KeyId=key)


class _Alias(Provider):
    """``AWS::KMS::Alias``."""

    def create(self, call: Call) -> None:
        call.send("kms", "create_alias", call.properties)
        call.made(text(call.properties["AliasName"]))

    def update(self, call: Call) -> None:
        call.send("kms", "update_alias", call.properties)

    def delete(self, call: Call) -> None:
        call.delete("kms", "delete_alias", AliasName=call.physical_id)


PROVIDERS: Mapping[str, Provider] = {
    "AWS::IAM::Role": _Role(),
    "AWS::IAM::RolePolicy": _RolePolicy(),
    "AWS::IAM::Policy": _Policy(),
    "AWS::IAM::ManagedPolicy": _ManagedPolicy(),
    "AWS::KMS::Key": _Key(),
    "AWS::KMS::Alias": _Alias(),
}
