"""Stages and deployments as API Gateway changes them: canaries and the settings of methods.

moto's stage knows no canary, loses its settings with a deployment, and takes half of the patch operations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.apigateway import models as moto_models
from moto.apigateway.exceptions import BadRequestException

from local_aws.apigateway_deployed import snapshot
from local_aws.apigateway_values import boolean, number

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "metrics/enabled": ("metricsEnabled", bool),
    "logging/loglevel": ("loggingLevel", str),
    "logging/dataTrace": ("dataTraceEnabled", bool),
    "throttling/burstLimit": ("throttlingBurstLimit", int),
    "throttling/rateLimit": ("throttlingRateLimit", float),
    "caching/enabled": ("cachingEnabled", bool),
    "caching/ttlInSeconds": ("cacheTtlInSeconds", int),
    "caching/dataEncrypted": ("cacheDataEncrypted", bool),
    "caching/requireAuthorizationForCacheControl": ("requireAuthorizationForCacheControl", bool),
    "caching/unauthorizedCacheControlHeaderStrategy": ("unauthorizedCacheControlHeaderStrategy", str),
}
_TEXTS = {
    "deploymentId": "deployment_id",
    "description": "description",
    "cacheClusterSize": "cache_cluster_size",
}
_STRATEGIES = ("FAIL_WITH_403", "SUCCEED_WITH_RESPONSE_HEADER", "SUCCEED_WITHOUT_RESPONSE_HEADER")
LONGEST_TTL = 3_600


class Stage(moto_models.Stage):  # type: ignore[misc]
    """moto's stage with a canary."""

    canary: dict[str, Any] | None = None
    access_log_settings: dict[str, Any] | None
    variables: dict[str, str]
    method_settings: dict[str, dict[str, Any]]
    deployment_id: str

    def to_json(self) -> dict[str, Any]:
        """As ``GetStage`` answers."""
        shown: dict[str, Any] = super().to_json()
        return shown if self.canary is None else {**shown, "canarySettings": self.canary}

    def apply_operations(self, patch_operations: list[dict[str, Any]] | None) -> Stage:
        """``UpdateStage``: all operations, or none of them.

        Raises:
            BadRequestException: a path or a value is none of a stage's.
        """
        changed = Stage()
        changed.__dict__.update(json.loads(json.dumps(self.__dict__)))
        for operation in patch_operations or []:
            changed._apply(str(operation.get("op")), str(operation.get("path")), operation)
        self.__dict__.update(changed.__dict__)
        return self

    def _apply(self, op: str, path: str, operation: Mapping[str, Any]) -> None:
        parts, value = path.lstrip("/").split("/"), operation.get("value")
        if op == "copy":
            self._copy(str(operation.get("from")), path)
        elif parts[0] == "canarySettings":
            self._apply_to_canary(op, parts[1:], value)
        elif op == "remove":
            self._remove(parts)
        elif op in ("replace", "add"):
            self._replace(parts, value)
        else:
            raise BadRequestException(f"Invalid patch operation: {op}")

    def _remove(self, path: list[str]) -> None:
        match path:
            case ["accessLogSettings"]:
                self.access_log_settings = None
            case ["variables", name]:
                self.variables.pop(name, None)
            case [resource, method]:
                self.method_settings.pop(f"{resource}/{method}", None)
            case _:
                raise BadRequestException(f"Invalid patch path: remove /{'/'.join(path)}")

    def _replace(self, path: list[str], value: Any) -> None:
        match path:
            case [name] if name in _TEXTS:
                setattr(self, _TEXTS[name], str(value))
            case ["cacheClusterEnabled"]:
                self.cache_cluster_enabled = boolean(value)
                self.cache_cluster_status = "AVAILABLE" if self.cache_cluster_enabled else "NOT_AVAILABLE"
            case ["tracingEnabled"]:
                self.tracing_enabled = boolean(value)
            case ["accessLogSettings", ("destinationArn" | "format") as name]:
                self.access_log_settings = {**(self.access_log_settings or {}), name: str(value)}
            case ["variables", name]:
                self.variables[name] = str(value)
            case [resource, method, group, name] if f"{group}/{name}" in _SETTINGS:
                self._set(f"{resource}/{method}", f"{group}/{name}", str(value))
            case _:
                raise BadRequestException(f"Invalid patch path: replace /{'/'.join(path)}")

    def _set(self, method: str, name: str, value: str) -> None:
        key, kind = _SETTINGS[name]
        converted: Any = boolean(value) if kind is bool else number(value, kind) if kind is not str else value
        if key == "cacheTtlInSeconds" and not 0 <= converted <= LONGEST_TTL:
            raise BadRequestException(f"Invalid cache TTL {value}; expected 0 to {LONGEST_TTL} seconds")
        if key == "unauthorizedCacheControlHeaderStrategy" and value not in _STRATEGIES:
            raise BadRequestException(f"Invalid strategy {value!r}; expected one of {list(_STRATEGIES)}")
        settings = self.method_settings.setdefault(method, {})
        settings[key] = converted

    def _apply_to_canary(self, op: str, path: list[str], value: Any) -> None:
        if op == "remove" and not path:
            self.canary = None
            return
        canary = dict(
            self.canary or {"percentTraffic": 0.0, "deploymentId": self.deployment_id, "useStageCache": False}
        )
        match op, path:
            case "replace" | "add", ["percentTraffic"]:
                canary["percentTraffic"] = _percent(value)
            case "replace" | "add", ["deploymentId"]:
                canary["deploymentId"] = str(value)
            case "replace" | "add", ["useStageCache"]:
                canary["useStageCache"] = boolean(value)
            case "replace" | "add", ["stageVariableOverrides", name]:
                canary["stageVariableOverrides"] = {**canary.get("stageVariableOverrides", {}), name: str(value)}
            case "remove", ["stageVariableOverrides"]:
                canary.pop("stageVariableOverrides", None)
            case "remove", ["stageVariableOverrides", name]:
                canary.get("stageVariableOverrides", {}).pop(name, None)
            case _:
                raise BadRequestException(f"Invalid patch path or operation: {op} /canarySettings/{'/'.join(path)}")
        self.canary = canary

    def _copy(self, source: str, path: str) -> None:
        """What promotes a canary: its deployment and its variables become the stage's."""
        if self.canary is None:
            raise BadRequestException("The stage has no canary settings")
        match source, path:
            case "/canarySettings/deploymentId", "/deploymentId":
                self.deployment_id = self.canary["deploymentId"]
            case ("/canarySettings/stageVariableOverrides", "/variables"):
                self.variables = {**self.variables, **self.canary.get("stageVariableOverrides", {})}
            case _:
                raise BadRequestException(f"Invalid copy from {source} to {path}")


def create_stage(self: Any) -> tuple[int, dict[str, int], str]:
    """``CreateStage``, with its canary."""
    request = json.loads(self.body)
    api = self.backend.get_rest_api(self.path.split("/")[2])
    _deployment(api, request.get("deploymentId"))
    canary = request.get("canarySettings")
    if canary is not None:
        canary = _canary(api, canary, canary.get("deploymentId") or request["deploymentId"])
    stage = self.backend.create_stage(
        api.id,
        request["stageName"],
        request["deploymentId"],
        variables=request.get("variables") or {},
        description=request.get("description", ""),
        cacheClusterEnabled=boolean(request.get("cacheClusterEnabled", False)),
        cacheClusterSize=request.get("cacheClusterSize"),
        tags=request.get("tags"),
        tracing_enabled=request.get("tracingEnabled"),
    )
    stage.canary = canary
    return 201, {"status": 201}, json.dumps(stage.to_json())


def create_deployment(self: Any) -> tuple[int, dict[str, int], str]:
    """``CreateDeployment``: a snapshot of the API, for a stage, for its canary, or for neither yet."""
    request = json.loads(self.body or "{}")
    api = self.backend.get_rest_api(self.path.replace("/restapis/", "", 1).split("/")[0])
    name, canary = request.get("stageName"), request.get("canarySettings")
    stage = api.stages.get(name)
    if canary is not None and stage is None:
        raise BadRequestException("Stage name must exist for a canary release deployment")
    # Without a stage's name: moto would make the stage anew, and drop its settings.
    deployment = self.backend.create_deployment(api.id, None, request.get("description") or "", {})
    deployment.snapshot = snapshot(api)
    if canary is not None:
        stage.canary = _canary(api, canary, deployment.id)
    elif stage is not None:
        stage.deployment_id = deployment.id
        stage.variables.update(request.get("variables") or {})
    elif name:
        api.create_stage(
            name,
            deployment.id,
            request.get("variables") or {},
            request.get("stageDescription", ""),
            boolean(request.get("cacheClusterEnabled", False)),
            request.get("cacheClusterSize"),
            None,
            request.get("tracingEnabled"),
        )
    return 201, {"status": 201}, json.dumps(deployment.to_json())


def delete_deployment(self: Any, deployment_id: str) -> Any:
    """``DeleteDeployment``, which a stage that serves it refuses."""
    if deployment_id not in self.deployments:
        raise moto_models.DeploymentNotFoundException
    for stage in self.stages.values():
        if deployment_id in (stage.deployment_id, (stage.canary or {}).get("deploymentId")):
            raise moto_models.StageStillActive
    return self.deployments.pop(deployment_id)


def update_stage(self: Any, function_id: str, stage_name: str, patch_operations: Any) -> Any:
    """``UpdateStage``; the deployments that it names are there."""
    stage, api = self.get_stage(function_id, stage_name), self.get_rest_api(function_id)
    for operation in patch_operations or []:
        if operation.get("op") == "replace" and str(operation.get("path")).endswith("/deploymentId"):
            _deployment(api, operation.get("value"))
    return stage.apply_operations(patch_operations)


def _canary(api: Any, settings: Mapping[str, Any], deployment_id: str) -> dict[str, Any]:
    _deployment(api, deployment_id)
    overrides = settings.get("stageVariableOverrides")
    made = {
        "percentTraffic": _percent(settings.get("percentTraffic", 0.0)),
        "deploymentId": deployment_id,
        "useStageCache": boolean(settings.get("useStageCache", False)),
    }
    return {**made, "stageVariableOverrides": dict(overrides)} if overrides else made


def _deployment(api: Any, deployment_id: Any) -> None:
    if deployment_id not in api.deployments:
        raise BadRequestException("Deployment id does not exist")


def _percent(value: Any) -> float:
    percent = float(number(value, float))
    if not 0 <= percent <= 100:
        raise BadRequestException(f"Invalid percentTraffic {value}; expected 0 to 100")
    return percent
