"""CloudFormation's Lambda functions, state machines, model package groups, autoscaling, and ECS (Fargate)."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import yaml

from local_aws.cloudformation_providers import Call, Properties, Provider, ResourceError, tag_changes, text


class _Function(Provider):
    """``AWS::Lambda::Function``."""

    _APART = ("FunctionName", "Code", "ReservedConcurrentExecutions", "Tags", "PackageType", "Architectures")

    def create(self, call: Call) -> None:
        name = call.name("FunctionName")
        parts = {**call.rest("FunctionName", "Code", "ReservedConcurrentExecutions", "Tags"), "Code": _code(call)}
        if tags := call.all_tags():
            parts["Tags"] = tags
        made = call.send("lambda", "create_function", parts, FunctionName=name)
        call.made(name)
        call.attributes = {"Arn": made["FunctionArn"]}
        self._concurrency(call)

    def update(self, call: Call) -> None:
        name = call.physical_id
        if call.changed("Code", "Architectures"):
            parts = {**_code(call), **call.pick("Architectures")}
            call.send("lambda", "update_function_code", parts, FunctionName=name)
        settings = [one for one in self.changes(call) if one not in self._APART]
        if settings:
            empty = {one: _NOTHING.get(one) for one in settings if one not in call.properties}
            if unknown := [one for one, value in empty.items() if value is None]:
                raise ResourceError(f"the local AWS cannot take {unknown[0]} away from a function")
            call.send("lambda", "update_function_configuration", {**empty, **call.pick(*settings)}, FunctionName=name)
        self._concurrency(call)
        if call.changed("Tags"):
            after, gone = tag_changes(call)
            if gone:
                call.send("lambda", "untag_resource", Resource=call.attributes["Arn"], TagKeys=gone)
            if after:
                call.send("lambda", "tag_resource", Resource=call.attributes["Arn"], Tags=after)

    def delete(self, call: Call) -> None:
        call.delete("lambda", "delete_function", FunctionName=call.physical_id)

    @staticmethod
    def _concurrency(call: Call) -> None:
        if not call.changed("ReservedConcurrentExecutions"):
            return
        if "ReservedConcurrentExecutions" in call.properties:
            given = call.pick("ReservedConcurrentExecutions")
            call.send("lambda", "put_function_concurrency", given, FunctionName=call.physical_id)
        else:
            call.send("lambda", "delete_function_concurrency", FunctionName=call.physical_id)


_NOTHING: Mapping[str, Any] = {
    "DeadLetterConfig": {"TargetArn": ""},
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "KmsKeyArn": "",
    "Layers": [],
    "MemorySize": 128,
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
}
"""What a function has where a template says nothing."""


def _code(call: Call) -> Properties:
    code: Properties = dict(call.properties["Code"])
    if "ZipFile" not in code:
        return code
    # Code written into the template is the module "index".
    handler = text(call.properties.get("Handler", "index.handler")).rpartition(".")[0]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo(f"{handler or 'index'}.py"), text(code["ZipFile"]))
    return {**code, "ZipFile": archive.getvalue()}


class _Version(Provider):
    """``AWS::Lambda::Version``: a snapshot of what the function is now."""

    def create(self, call: Call) -> None:
        function = call.properties["FunctionName"]
        before = {
            one["Version"]
            for one in call.send("lambda", "list_versions_by_function", FunctionName=function)["Versions"]
        }
        made = call.send("lambda", "publish_version", call.pick("FunctionName", "CodeSha256", "Description"))
        if made["Version"] in before:
            raise ResourceError(
                f"A version for this Lambda function exists ( {made['Version']} ). Modify the function to create a new "
                "version."
            )
        call.made(made["FunctionArn"])
        call.attributes = {"Version": made["Version"], "FunctionArn": made["FunctionArn"]}

    def delete(self, call: Call) -> None:
        function, _, version = call.physical_id.rpartition(":")
        call.delete("lambda", "delete_function", FunctionName=function, Qualifier=version)


class _Alias(Provider):
    """``AWS::Lambda::Alias``."""

    def create(self, call: Call) -> None:
        made = call.send("lambda", "create_alias", self._parts(call))
        call.made(made["AliasArn"])
        call.attributes = {"AliasArn": made["AliasArn"]}

    def update(self, call: Call) -> None:
        parts = self._parts(call)
        parts.setdefault("RoutingConfig", {"AdditionalVersionWeights": {}})
        call.send("lambda", "update_alias", parts)

    def delete(self, call: Call) -> None:
        function, _, name = call.physical_id.rpartition(":")
        call.delete("lambda", "delete_alias", FunctionName=function, Name=name)

    @staticmethod
    def _parts(call: Call) -> Properties:
        parts = call.rest("RoutingConfig")
        if routing := call.properties.get("RoutingConfig"):
            weights = {
                text(one["FunctionVersion"]): one["FunctionWeight"] for one in routing["AdditionalVersionWeights"]
            }
            parts["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        return parts


class _Permission(Provider):
    """``AWS::Lambda::Permission``: one statement of a function's policy."""

    def create(self, call: Call) -> None:
        statement = f"{call.stack_name[:40]}-{call.logical_id[:40]}-{call.token}"
        function = _qualified(call.properties["FunctionName"])
        call.send("lambda", "add_permission", {**call.rest("FunctionName"), **function}, StatementId=statement)
        call.made(statement)
        call.attributes = {"Id": statement}

    def delete(self, call: Call) -> None:
        function = _qualified(call.properties["FunctionName"])
        call.delete("lambda", "remove_permission", **function, StatementId=call.physical_id)


def _qualified(function: Any) -> Properties:
    """A function's name or ARN, and apart from it the version or alias that stands at its end."""
    parts = text(function).split(":")
    if len(parts) == 8:
        return {"FunctionName": ":".join(parts[:7]), "Qualifier": parts[7]}
    return {"FunctionName": text(function)}


class _EventInvokeConfig(Provider):
    """``AWS::Lambda::EventInvokeConfig``."""

    def create(self, call: Call) -> None:
        call.made(f"{call.properties['FunctionName']}|{call.properties['Qualifier']}")
        self.update(call)

    def update(self, call: Call) -> None:
        call.send("lambda", "put_function_event_invoke_config", call.properties)

    def delete(self, call: Call) -> None:
        call.delete("lambda", "delete_function_event_invoke_config", **call.pick("FunctionName", "Qualifier"))


class _StateMachine(Provider):
    """``AWS::StepFunctions::StateMachine``."""

    _DEFINITION = ("Definition", "DefinitionString", "DefinitionS3Location", "DefinitionSubstitutions")

    def create(self, call: Call) -> None:
        name = call.name("StateMachineName", 80)
        arn = call.arn("states", f"stateMachine:{name}")
        call.refuse_if(call.there("stepfunctions", "describe_state_machine", stateMachineArn=arn), arn)
        parts = call.rest(*self._DEFINITION, "StateMachineName", "StateMachineType", "Tags")
        made = call.send(
            "stepfunctions",
            "create_state_machine",
            parts,
            name=name,
            definition=_definition(call),
            type=call.properties.get("StateMachineType", "STANDARD"),
            tags=call.tag_list(),
        )
        call.made(made["stateMachineArn"])
        self._tell(call, name)

    def update(self, call: Call) -> None:
        parts = call.pick("RoleArn", "LoggingConfiguration", "TracingConfiguration", "EncryptionConfiguration")
        parts.setdefault("LoggingConfiguration", {"Level": "OFF"})
        parts.setdefault("TracingConfiguration", {"Enabled": False})
        call.send(
            "stepfunctions",
            "update_state_machine",
            parts,
            stateMachineArn=call.physical_id,
            definition=_definition(call),
        )
        if call.changed("Tags"):
            after, gone = tag_changes(call)
            if gone:
                call.send("stepfunctions", "untag_resource", resourceArn=call.physical_id, tagKeys=gone)
            if after:
                call.send("stepfunctions", "tag_resource", resourceArn=call.physical_id, tags=call.tag_list())
        self._tell(call, call.physical_id.rpartition(":")[2])

    def delete(self, call: Call) -> None:
        call.delete("stepfunctions", "delete_state_machine", stateMachineArn=call.physical_id)

    @staticmethod
    def _tell(call: Call, name: str) -> None:
        about = call.send("stepfunctions", "describe_state_machine", stateMachineArn=call.physical_id)
        revision = about.get("revisionId", "INITIAL")
        call.attributes = {"Arn": call.physical_id, "Name": name, "StateMachineRevisionId": revision}


def _definition(call: Call) -> str:
    """The definition with its substitutions, from wherever the properties have it."""
    given = call.properties
    if where := given.get("DefinitionS3Location"):
        version = {"VersionId": where["Version"]} if "Version" in where else {}
        found = call.client("s3").get_object(Bucket=where["Bucket"], Key=where["Key"], **version)
        definition = str(found["Body"].read().decode("utf-8"))
        if where["Key"].endswith((".yaml", ".yml")):
            definition = json.dumps(yaml.safe_load(definition))
    elif "DefinitionString" in given:
        definition = text(given["DefinitionString"])
    elif "Definition" in given:
        definition = json.dumps(given["Definition"])
    else:
        raise ResourceError("a state machine needs a Definition, a DefinitionString or a DefinitionS3Location")
    for name, value in (given.get("DefinitionSubstitutions") or {}).items():
        definition = definition.replace(f"${{{name}}}", text(value))
    return definition


class _ModelPackageGroup(Provider):
    """``AWS::SageMaker::ModelPackageGroup``."""

    def create(self, call: Call) -> None:
        parts = call.rest("ModelPackageGroupName", "Tags")
        tags = {"Tags": call.tag_list()} if call.all_tags() else {}
        name = call.name("ModelPackageGroupName", 63)
        arn = call.send("sagemaker", "create_model_package_group", {**parts, **tags}, ModelPackageGroupName=name)
        call.made(arn["ModelPackageGroupArn"])
        about = call.send("sagemaker", "describe_model_package_group", ModelPackageGroupName=name)
        call.attributes = {
            "ModelPackageGroupArn": call.physical_id,
            "ModelPackageGroupStatus": about["ModelPackageGroupStatus"],
            "CreationTime": about["CreationTime"].isoformat(),
        }

    def delete(self, call: Call) -> None:
        name = call.physical_id.rpartition("/")[2]
        # SageMaker's word for what is not there is ValidationException.
        call.delete("sagemaker", "delete_model_package_group", "ValidationException", ModelPackageGroupName=name)


class _ScalableTarget(Provider):
    """``AWS::ApplicationAutoScaling::ScalableTarget``."""

    _KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")

    def create(self, call: Call) -> None:
        key = call.pick(*self._KEY)
        asked = {**call.pick("ServiceNamespace", "ScalableDimension"), "ResourceIds": [key["ResourceId"]]}
        there = call.send("application-autoscaling", "describe_scalable_targets", asked)
        call.refuse_if(there["ScalableTargets"], text(key["ResourceId"]))
        target = call.rest("ScheduledActions", "Tags") | ({"Tags": call.all_tags()} if call.all_tags() else {})
        call.send("application-autoscaling", "register_scalable_target", target)
        call.made(
            "|".join(text(call.properties[one]) for one in ("ResourceId", "ScalableDimension", "ServiceNamespace"))
        )
        self._actions(call)

    def update(self, call: Call) -> None:
        call.send("application-autoscaling", "register_scalable_target", call.rest("ScheduledActions", "Tags"))
        self._actions(call)

    def delete(self, call: Call) -> None:
        call.delete(
            "application-autoscaling", "deregister_scalable_target", "ValidationException", **call.pick(*self._KEY)
        )

    def _actions(self, call: Call) -> None:
        key = call.pick(*self._KEY)
        after = {one["ScheduledActionName"]: one for one in call.properties.get("ScheduledActions", [])}
        for one in after.values():
            call.send("application-autoscaling", "put_scheduled_action", {**key, **one})
        for one in call.before.get("ScheduledActions", []):
            if one["ScheduledActionName"] not in after:
                name = one["ScheduledActionName"]
                call.delete("application-autoscaling", "delete_scheduled_action", **key, ScheduledActionName=name)
        call.attributes = {"Id": call.physical_id}


class _ScalingPolicy(Provider):
    """``AWS::ApplicationAutoScaling::ScalingPolicy``."""

    def create(self, call: Call) -> None:
        made = call.send("application-autoscaling", "put_scaling_policy", self._parts(call))
        call.made(made["PolicyARN"])
        call.attributes = {"Arn": made["PolicyARN"]}

    def update(self, call: Call) -> None:
        self.delete(call)  # moto leaves the alarms of a policy that is put anew, and gives it another ARN
        self.create(call)

    def delete(self, call: Call) -> None:
        parts = self._parts(call)
        key = {name: parts[name] for name in ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension")}
        # moto says ValidationException where AWS says ObjectNotFoundException, as it does of targets.
        call.delete("application-autoscaling", "delete_scaling_policy", "ValidationException", **key)

    @staticmethod
    def _parts(call: Call) -> Properties:
        parts = call.rest("ScalingTargetId")
        if target := call.properties.get("ScalingTargetId"):
            names = ("ResourceId", "ScalableDimension", "ServiceNamespace")
            parts |= dict(zip(names, text(target).split("|"), strict=False))
        return parts


class _Cluster(Provider):
    """``AWS::ECS::Cluster``."""

    def create(self, call: Call) -> None:
        name = call.name("ClusterName", 255)
        there = call.send("ecs", "describe_clusters", clusters=[name])["clusters"]
        call.refuse_if([one for one in there if one["status"] != "INACTIVE"], name)
        made = call.send("ecs", "create_cluster", self._parts(call), clusterName=name, tags=call.tag_list())
        call.made(name)
        call.attributes = {"Arn": made["cluster"]["clusterArn"]}

    def update(self, call: Call) -> None:
        parts = {name: one for name, one in self._parts(call).items() if name in ("Configuration", "settings")}
        call.send("ecs", "update_cluster", parts, cluster=call.physical_id)

    def delete(self, call: Call) -> None:
        call.delete("ecs", "delete_cluster", cluster=call.physical_id)

    @staticmethod
    def _parts(call: Call) -> Properties:
        names = {"ClusterSettings": "settings"}
        return {names.get(name, name): one for name, one in call.rest("ClusterName", "Tags").items()}


class _TaskDefinition(Provider):
    """``AWS::ECS::TaskDefinition``: each change is a new revision."""

    def create(self, call: Call) -> None:
        parts = {**call.rest("Family", "Tags"), "family": call.name("Family", 255), "tags": call.tag_list()}
        made = call.send("ecs", "register_task_definition", parts)["taskDefinition"]["taskDefinitionArn"]
        call.made(made)
        call.attributes = {"TaskDefinitionArn": made}

    def delete(self, call: Call) -> None:
        call.delete("ecs", "deregister_task_definition", "ClientException", taskDefinition=call.physical_id)


PROVIDERS: Mapping[str, Provider] = {
    "AWS::Lambda::Function": _Function(),
    "AWS::Lambda::Version": _Version(),
    "AWS::Lambda::Alias": _Alias(),
    "AWS::Lambda::Permission": _Permission(),
    "AWS::Lambda::EventInvokeConfig": _EventInvokeConfig(),
    "AWS::StepFunctions::StateMachine": _StateMachine(),
    "AWS::SageMaker::ModelPackageGroup": _ModelPackageGroup(),
    "AWS::ApplicationAutoScaling::ScalableTarget": _ScalableTarget(),
    "AWS::ApplicationAutoScaling::ScalingPolicy": _ScalingPolicy(),
    "AWS::ECS::Cluster": _Cluster(),
    "AWS::ECS::TaskDefinition": _TaskDefinition(),
}
