"""CloudFormation's API Gateway: an API of a document, its deployments, stages, usage plans and keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from local_aws.cloudformation_providers import Call, Properties, Provider, ResourceError, normal, text

Operation = dict[str, str]

_SETTINGS = {
    "MetricsEnabled": "metrics/enabled",
    "LoggingLevel": "logging/loglevel",
    "DataTraceEnabled": "logging/dataTrace",
    "ThrottlingBurstLimit": "throttling/burstLimit",
    "ThrottlingRateLimit": "throttling/rateLimit",
    "CachingEnabled": "caching/enabled",
    "CacheTtlInSeconds": "caching/ttlInSeconds",
    "CacheDataEncrypted": "caching/dataEncrypted",
}


def _set(path: str, value: Any) -> Operation:
    return {"op": "replace", "path": path, "value": text(value)}


def _remove(path: str) -> Operation:
    return {"op": "remove", "path": path}


class _RestApi(Provider):
    """``AWS::ApiGateway::RestApi``."""

    _SIMPLE: Mapping[str, str] = {
        "ApiKeySourceType": "apiKeySource",
        "Description": "description",
        "DisableExecuteApiEndpoint": "disableExecuteApiEndpoint",
        "MinimumCompressionSize": "minimumCompressionSize",
        "Policy": "policy",
    }
    _DOCUMENT = ("Body", "BodyS3Location", "Mode", "FailOnWarnings", "Parameters")

    def create(self, call: Call) -> None:
        given = call.properties
        name = given.get("Name") or (self._document(call) or {}).get("info", {}).get("title")
        if not name:
            raise ResourceError("Properties validation failed: an API needs a Name, or a Body whose info has a title")
        parts = {self._SIMPLE.get(key, key): value for key, value in call.rest(*self._DOCUMENT, "Name", "Tags").items()}
        made = call.send("apigateway", "create_rest_api", parts, name=name, tags=call.all_tags())
        call.made(made["id"])
        self._import(call)
        self._tell(call)

    def update(self, call: Call) -> None:
        handled = {*self._SIMPLE, *self._DOCUMENT, "Name"}
        if left := [name for name in self.changes(call) if name not in handled]:
            raise ResourceError(f"{call.type} cannot be changed on the local AWS: {', '.join(left)}")
        names = {"Name": "name", **self._SIMPLE}
        operations = [_set(f"/{names[one]}", call.properties.get(one, "")) for one in names if call.changed(one)]
        if operations:
            call.send("apigateway", "update_rest_api", restApiId=call.physical_id, patchOperations=operations)
        if call.changed(*self._DOCUMENT):
            self._import(call)
        self._tell(call)

    def delete(self, call: Call) -> None:
        call.delete("apigateway", "delete_rest_api", restApiId=call.physical_id)

    def _import(self, call: Call) -> None:
        document = self._document(call)
        if document is None:
            return
        parts = {"failOnWarnings": call.properties.get("FailOnWarnings", False)}
        if "Parameters" in call.properties:
            parts["parameters"] = call.properties["Parameters"]
        call.send("apigateway", "put_rest_api", parts, restApiId=call.physical_id, body=json.dumps(document).encode(),
                  mode=call.properties.get("Mode", "overwrite"))  # fmt: skip

    @staticmethod
    def _document(call: Call) -> dict[str, Any] | None:
        if where := call.properties.get("BodyS3Location"):
            found = call.client("s3").get_object(Bucket=where["Bucket"], Key=where["Key"])
            document: dict[str, Any] = json.loads(found["Body"].read())
            return document
        return call.properties.get("Body")

    @staticmethod
    def _tell(call: Call) -> None:
        pages = call.client("apigateway").get_paginator("get_resources").paginate(restApiId=call.physical_id)
        root = next(one["id"] for page in pages for one in page["items"] if one["path"] == "/")
        call.attributes = {"RestApiId": call.physical_id, "RootResourceId": root}


class _Deployment(Provider):
    """``AWS::ApiGateway::Deployment``: a snapshot."""

    def create(self, call: Call) -> None:
        made = call.send("apigateway", "create_deployment", call.pick("RestApiId", "Description", "StageName"))
        call.made(made["id"])
        call.attributes = {"DeploymentId": made["id"]}
        if extra := set(call.properties) - {"RestApiId", "Description", "StageName"}:
            raise ResourceError(f"the local AWS does not emulate the property {sorted(extra)[0]} of a deployment")

    def delete(self, call: Call) -> None:
        call.delete(
            "apigateway", "delete_deployment", restApiId=call.properties["RestApiId"], deploymentId=call.physical_id
        )


class _Stage(Provider):
    """``AWS::ApiGateway::Stage``."""

    _APART = ("AccessLogSetting", "CanarySetting", "MethodSettings", "Tags")
    _TEXTS: Mapping[str, tuple[str, str]] = {
        "CacheClusterEnabled": ("cacheClusterEnabled", "false"),
        "CacheClusterSize": ("cacheClusterSize", "0.5"),
        "DeploymentId": ("deploymentId", ""),
        "Description": ("description", ""),
        "TracingEnabled": ("tracingEnabled", "false"),
    }

    def create(self, call: Call) -> None:
        api, name = (text(call.properties[key]) for key in ("RestApiId", "StageName"))
        call.refuse_if(call.there("apigateway", "get_stage", restApiId=api, stageName=name), name)
        parts = call.rest(*self._APART)
        if canary := call.properties.get("CanarySetting"):
            parts["canarySettings"] = canary
        call.send("apigateway", "create_stage", parts, tags=call.all_tags())
        call.made(name)
        self._patch(call, [*self._log_operations(call), *self._method_operations(call)])

    def update(self, call: Call) -> None:
        handled = {*self._TEXTS, "AccessLogSetting", "CanarySetting", "MethodSettings", "Variables"}
        if left := [name for name in self.changes(call) if name not in handled]:
            raise ResourceError(f"{call.type} cannot be changed on the local AWS: {', '.join(left)}")
        operations = [
            _set(f"/{path}", call.properties.get(name, otherwise))
            for name, (path, otherwise) in self._TEXTS.items()
            if call.changed(name)
        ]
        after, before = (given.get("Variables") or {} for given in (call.properties, call.before))
        operations += [_set(f"/variables/{name}", value) for name, value in after.items()]
        operations += [_remove(f"/variables/{name}") for name in before if name not in after]
        operations += self._canary_operations(call)
        operations += [*self._log_operations(call), *self._method_operations(call)]
        self._patch(call, operations)

    def delete(self, call: Call) -> None:
        call.delete("apigateway", "delete_stage", restApiId=call.properties["RestApiId"], stageName=call.physical_id)

    @staticmethod
    def _patch(call: Call, operations: list[Operation]) -> None:
        if operations:
            call.send("apigateway", "update_stage", restApiId=call.properties["RestApiId"], stageName=call.physical_id,
                      patchOperations=operations)  # fmt: skip

    @staticmethod
    def _canary_operations(call: Call) -> Iterator[Operation]:
        if not call.changed("CanarySetting"):
            return
        after, before = (given.get("CanarySetting") for given in (call.properties, call.before))
        if before:
            yield _remove("/canarySettings")
        for name in ("DeploymentId", "PercentTraffic", "UseStageCache"):
            if after and name in after:
                yield _set(f"/canarySettings/{name[0].lower()}{name[1:]}", after[name])
        for name, value in ((after or {}).get("StageVariableOverrides") or {}).items():
            yield _set(f"/canarySettings/stageVariableOverrides/{name}", value)

    @staticmethod
    def _log_operations(call: Call) -> Iterator[Operation]:
        if not call.changed("AccessLogSetting"):
            return
        setting = call.properties.get("AccessLogSetting")
        if setting is None:
            yield _remove("/accessLogSettings")
            return
        for name in ("DestinationArn", "Format"):
            if name in setting:
                yield _set(f"/accessLogSettings/{name[0].lower()}{name[1:]}", setting[name])

    @staticmethod
    def _method_operations(call: Call) -> Iterator[Operation]:
        if not call.changed("MethodSettings"):
            return
        sides = [{_method(one): one for one in given.get("MethodSettings") or []}
                 for given in (call.before, call.properties)]  # fmt: skip
        for path, one in sides[0].items():
            if normal(one) != normal(sides[1].get(path)):
                yield _remove(path)
        for path, one in sides[1].items():
            if normal(one) != normal(sides[0].get(path)):
                for name, setting in _SETTINGS.items():
                    if name in one:
                        yield _set(f"{path}/{setting}", one[name])


def _method(setting: Mapping[str, Any]) -> str:
    """The path of a method's settings: ``/~1health/GET``, or ``/*/*`` for all."""
    return f"/{text(setting['ResourcePath']).lstrip('/')}/{text(setting['HttpMethod'])}"


class _UsagePlan(Provider):
    """``AWS::ApiGateway::UsagePlan``."""

    def create(self, call: Call) -> None:
        parts = call.rest("UsagePlanName", "Tags")
        made = call.send(
            "apigateway", "create_usage_plan", parts, name=call.name("UsagePlanName", 255), tags=call.all_tags()
        )
        call.made(made["id"])
        call.attributes = {"Id": made["id"]}

    def update(self, call: Call) -> None:
        operations: list[Operation] = []
        for name, path in (("UsagePlanName", "name"), ("Description", "description")):
            if call.changed(name):
                operations.append(_set(f"/{path}", call.properties.get(name, "")))
        for name, path in (("Throttle", "throttle"), ("Quota", "quota")):
            if call.changed(name):
                operations += [_remove(f"/{path}")] if call.before.get(name) else []
                given = call.properties.get(name) or {}
                operations += [_set(f"/{path}/{key[0].lower()}{key[1:]}", value) for key, value in given.items()]
        after, before = (
            {f"{one['ApiId']}:{one['Stage']}": one for one in given.get("ApiStages") or []}
            for given in (call.properties, call.before)
        )
        for key in before:
            if normal(before[key]) != normal(after.get(key)):
                operations.append({"op": "remove", "path": "/apiStages", "value": key})
        for key, one in after.items():
            if normal(one) != normal(before.get(key)):
                operations.append({"op": "add", "path": "/apiStages", "value": key})
                for method, limits in (one.get("Throttle") or {}).items():
                    place = f"/apiStages/{key}/throttle/{method.replace('/', '~1', method.count('/') - 1)}"
                    operations += [
                        _set(f"{place}/{name[0].lower()}{name[1:]}", value) for name, value in limits.items()
                    ]
        if operations:
            call.send("apigateway", "update_usage_plan", usagePlanId=call.physical_id, patchOperations=operations)

    def delete(self, call: Call) -> None:
        call.delete("apigateway", "delete_usage_plan", usagePlanId=call.physical_id)


class _UsagePlanKey(Provider):
    """``AWS::ApiGateway::UsagePlanKey``."""

    def create(self, call: Call) -> None:
        made = call.send("apigateway", "create_usage_plan_key", call.properties)
        call.made(f"{made['id']}:{call.properties['UsagePlanId']}")
        call.attributes = {"Id": call.physical_id}

    def delete(self, call: Call) -> None:
        call.delete("apigateway", "delete_usage_plan_key", **call.pick("UsagePlanId", "KeyId"))


class _ApiKey(Provider):
    """``AWS::ApiGateway::ApiKey``."""

    def create(self, call: Call) -> None:
        parts = call.rest("Name", "Tags")
        made = call.send("apigateway", "create_api_key", parts, name=call.name("Name", 255), tags=call.all_tags())
        call.made(made["id"])
        call.attributes = {"APIKeyId": made["id"]}

    def update(self, call: Call) -> None:
        if left := [name for name in self.changes(call) if name not in ("Description", "Enabled")]:
            raise ResourceError(f"{call.type} cannot be changed on the local AWS: {', '.join(left)}")
        operations = [
            _set("/description", call.properties.get("Description", "")),
            _set("/enabled", call.properties.get("Enabled", False)),
        ]
        call.send("apigateway", "update_api_key", apiKey=call.physical_id, patchOperations=operations)

    def delete(self, call: Call) -> None:
        call.delete("apigateway", "delete_api_key", apiKey=call.physical_id)


class _Account(Provider):
    """``AWS::ApiGateway::Account``: a setting of the account, which stays when the resource goes, as on AWS."""

    def create(self, call: Call) -> None:
        call.made(call.name("-", 64))
        self.update(call)

    def update(self, call: Call) -> None:
        role: Properties = call.pick("CloudWatchRoleArn")
        if role:
            operation = _set("/cloudwatchRoleArn", role["CloudWatchRoleArn"])
            call.send("apigateway", "update_account", patchOperations=[operation])
        call.attributes = {"Id": call.physical_id}

    def delete(self, call: Call) -> None:
        del call


PROVIDERS: Mapping[str, Provider] = {
    "AWS::ApiGateway::Account": _Account(),
    "AWS::ApiGateway::ApiKey": _ApiKey(),
    "AWS::ApiGateway::Deployment": _Deployment(),
    "AWS::ApiGateway::RestApi": _RestApi(),
    "AWS::ApiGateway::Stage": _Stage(),
    "AWS::ApiGateway::UsagePlan": _UsagePlan(),
    "AWS::ApiGateway::UsagePlanKey": _UsagePlanKey(),
}
