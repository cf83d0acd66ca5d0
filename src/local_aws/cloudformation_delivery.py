"""CloudFormation's repositories, builds, pipelines and nested stacks; and the types that are recorded, not emulated."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from local_aws.cloudformation_providers import Call, Properties, Provider, Recorded, ResourceError, normal, text

_NESTED_SECONDS = 1_800.0


class _Repository(Provider):
    """``AWS::ECR::Repository``."""

    def create(self, call: Call) -> None:
        """Make it, and set its policies."""
        name = call.name("RepositoryName", 256, lower=True)
        parts = call.pick("EncryptionConfiguration", "ImageScanningConfiguration", "ImageTagMutability")
        made = call.send("ecr", "create_repository", parts, repositoryName=name, tags=call.tag_list())["repository"]
        call.made(name)
        call.attributes = {"Arn": made["repositoryArn"], "RepositoryUri": made["repositoryUri"]}
        self._check(call)
        self._policies(call)

    def update(self, call: Call) -> None:
        """Change its settings and policies."""
        self._check(call)
        name = call.physical_id
        for key, operation in (
            ("ImageScanningConfiguration", "put_image_scanning_configuration"),
            ("ImageTagMutability", "put_image_tag_mutability"),
        ):
            if call.changed(key):
                empty: Any = {"ScanOnPush": False} if key.endswith("Configuration") else "MUTABLE"
                call.send("ecr", operation, {key: call.properties.get(key, empty)}, repositoryName=name)
        self._policies(call)

    def delete(self, call: Call) -> None:
        """Delete it; with its images only if it is to be emptied."""
        force = normal(call.properties.get("EmptyOnDelete", False)) == "true"
        call.delete("ecr", "delete_repository", repositoryName=call.physical_id, force=force)

    @staticmethod
    def _check(call: Call) -> None:
        if "ImageTagMutabilityExclusionFilters" in call.properties:
            raise ResourceError("the local AWS does not emulate the property ImageTagMutabilityExclusionFilters")

    @staticmethod
    def _policies(call: Call) -> None:
        name = call.physical_id
        if call.changed("LifecyclePolicy"):
            if given := call.properties.get("LifecyclePolicy"):
                policy = {"lifecyclePolicyText": given["LifecyclePolicyText"]}
                call.send("ecr", "put_lifecycle_policy", policy, repositoryName=name)
            else:
                call.delete("ecr", "delete_lifecycle_policy", "LifecyclePolicyNotFoundException", repositoryName=name)
        if call.changed("RepositoryPolicyText"):
            if given := call.properties.get("RepositoryPolicyText"):
                call.send("ecr", "set_repository_policy", repositoryName=name, policyText=given)
            else:
                call.delete("ecr", "delete_repository_policy", "RepositoryPolicyNotFoundException", repositoryName=name)


class _Project(Provider):
    """``AWS::CodeBuild::Project``; a change makes it anew under its name, since the local AWS has no UpdateProject."""

    def create(self, call: Call) -> None:
        """Make it."""
        name = call.name("Name", 150)
        made = call.send("codebuild", "create_project", call.rest("Name", "Tags"), name=name, tags=call.tag_list())
        call.made(name)
        call.attributes = {"Arn": made["project"]["arn"], "Id": name}

    def update(self, call: Call) -> None:
        """Make it anew."""
        name = call.physical_id
        call.delete("codebuild", "delete_project", name=name)
        call.send("codebuild", "create_project", call.rest("Name", "Tags"), name=name, tags=call.tag_list())

    def delete(self, call: Call) -> None:
        """Delete it."""
        call.delete("codebuild", "delete_project", name=call.physical_id)


class _Pipeline(Provider):
    """``AWS::CodePipeline::Pipeline``; nothing starts it on the local AWS but its user."""

    def create(self, call: Call) -> None:
        """Make it."""
        name = call.name("Name", 100)
        made = call.send("codepipeline", "create_pipeline", pipeline=self._declared(call, name), tags=call.tag_list())
        call.made(name)
        self._tell(call, made)

    def update(self, call: Call) -> None:
        """Change its declaration."""
        made = call.send("codepipeline", "update_pipeline", pipeline=self._declared(call, call.physical_id))
        self._tell(call, made)

    def delete(self, call: Call) -> None:
        """Delete it."""
        call.delete("codepipeline", "delete_pipeline", name=call.physical_id)

    @staticmethod
    def _declared(call: Call, name: str) -> Properties:
        return {**call.rest("Name", "Tags", "RestartExecutionOnUpdate", "DisableInboundStageTransitions"), "name": name}

    @staticmethod
    def _tell(call: Call, made: Mapping[str, Any]) -> None:
        version = text(made["pipeline"].get("version", 1))
        call.attributes = {"Arn": call.arn("codepipeline", call.physical_id), "Version": version}


class _CommitRepository(Provider):
    """``AWS::CodeCommit::Repository``."""

    def create(self, call: Call) -> None:
        """Make it, empty."""
        if "Code" in call.properties:
            raise ResourceError("the local AWS does not emulate the property Code of a repository")
        parts = {"repositoryDescription": call.properties.get("RepositoryDescription", "")}
        made = call.send("codecommit", "create_repository", parts, repositoryName=call.properties["RepositoryName"])
        about = made["repositoryMetadata"]
        call.made(about["repositoryId"])
        call.attributes = {
            "Arn": about["Arn"],
            "CloneUrlHttp": about.get("cloneUrlHttp", ""),
            "CloneUrlSsh": about.get("cloneUrlSsh", ""),
            "Name": about["repositoryName"],
            "RepositoryId": about["repositoryId"],
        }

    def delete(self, call: Call) -> None:
        """Delete it."""
        name = call.properties["RepositoryName"]
        call.delete("codecommit", "delete_repository", "RepositoryDoesNotExistException", repositoryName=name)


class _Stack(Provider):
    """``AWS::CloudFormation::Stack``: a nested stack, which is waited for."""

    def create(self, call: Call) -> None:
        """Create it."""
        room = 128 - len(call.token) - 2
        name = f"{call.stack_name}-{call.logical_id}"[:room] + f"-{call.token}"
        call.made(name)  # stacks are in no journal: one that is cut off here is found by its name
        # The parent's user has acknowledged what the nested one makes.
        made = call.send("cloudformation", "create_stack", self._parts(call), StackName=name, OnFailure="DO_NOTHING",
                         Capabilities=["CAPABILITY_NAMED_IAM"])  # fmt: skip
        call.made(made["StackId"])
        self._wait(call, "CREATE_COMPLETE")

    def update(self, call: Call) -> None:
        """Update it, if there is anything to."""
        try:
            call.send("cloudformation", "update_stack", self._parts(call), StackName=call.physical_id,
                      Capabilities=["CAPABILITY_NAMED_IAM"])  # fmt: skip
        except call.client("cloudformation").exceptions.ClientError as error:
            if "No updates" not in str(error):
                raise
            return
        self._wait(call, "UPDATE_COMPLETE")

    def delete(self, call: Call) -> None:
        """Delete it."""
        if call.there("cloudformation", "describe_stacks", StackName=call.physical_id) is None:
            return
        call.send("cloudformation", "delete_stack", StackName=call.physical_id)
        self._wait(call, "DELETE_COMPLETE")

    @staticmethod
    def _parts(call: Call) -> Properties:
        parts: Properties = {"TemplateURL": call.properties["TemplateURL"], "Tags": call.tag_list()}
        given = call.properties.get("Parameters") or {}
        parts["Parameters"] = [
            {"ParameterKey": name, "ParameterValue": ",".join(map(text, one)) if isinstance(one, list) else text(one)}
            for name, one in given.items()
        ]
        return parts

    @staticmethod
    def _wait(call: Call, wanted: str) -> None:
        deadline = time.monotonic() + _NESTED_SECONDS
        while time.monotonic() < deadline:
            stack = call.send("cloudformation", "describe_stacks", StackName=call.physical_id)["Stacks"][0]
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                break
            time.sleep(0.1)  # between two looks; the nested stack has a thread of its own
        if stack["StackStatus"] != wanted:
            raise ResourceError(f"Embedded stack {call.physical_id} was not successfully made: "
                                f"{stack['StackStatus']}: {stack.get('StackStatusReason', '')}")  # fmt: skip
        outputs = {f"Outputs.{one['OutputKey']}": one["OutputValue"] for one in stack.get("Outputs") or []}
        call.attributes = {"StackId": call.physical_id, **outputs}


def _associated(call: Call) -> str:
    return f"{text(call.properties['WebACLArn'])}|{text(call.properties['ResourceArn'])}"


def _uuid(call: Call) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{call.stack_id}/{call.logical_id}/{call.token}"))


def _arn(service: str, noun: str) -> Recorded:
    """A type whose ``Ref`` is an ARN that ends in a made-up id."""
    attributes = {
        "Arn": lambda call: call.physical_id,
        "ConnectionArn": lambda call: call.physical_id,
        "ConnectionStatus": lambda _call: "PENDING",  # as on AWS, until somebody completes it by hand
        "MonitorArn": lambda call: call.physical_id,
        "OwnerAccountId": lambda call: call.config.account,
        "SubscriptionArn": lambda call: call.physical_id,
    }
    return Recorded(lambda call: call.arn(service, f"{noun}/{_uuid(call)}"), attributes)


RECORDED: Mapping[str, Provider] = {
    "AWS::CE::AnomalyMonitor": _arn("ce", "anomalymonitor"),
    "AWS::CE::AnomalySubscription": _arn("ce", "anomalysubscription"),
    "AWS::CloudFormation::WaitConditionHandle": Recorded(_uuid),
    "AWS::CloudWatch::CompositeAlarm": Recorded(
        lambda call: call.name("AlarmName", 255),
        {"Arn": lambda call: call.arn("cloudwatch", f"alarm:{call.physical_id}")},
    ),
    "AWS::CodeConnections::Connection": _arn("codeconnections", "connection"),
    "AWS::CodeStarConnections::Connection": _arn("codestar-connections", "connection"),
    "AWS::CodeStarNotifications::NotificationRule": _arn("codestar-notifications", "notificationrule"),
    "AWS::WAFv2::WebACLAssociation": Recorded(_associated),
}
"""Types whose services the local AWS does not have: kept, shown as recorded, and nothing else."""

PROVIDERS: Mapping[str, Provider] = {
    "AWS::CloudFormation::Stack": _Stack(),
    "AWS::CodeBuild::Project": _Project(),
    "AWS::CodeCommit::Repository": _CommitRepository(),
    "AWS::CodePipeline::Pipeline": _Pipeline(),
    "AWS::ECR::Repository": _Repository(),
    **RECORDED,
}
