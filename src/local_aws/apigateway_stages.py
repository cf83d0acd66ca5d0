"""Stages, deployments and usage plans as API Gateway changes them: canaries, method settings, quotas, throttles.

moto's stage knows no canary, loses its settings with a deployment, and takes half of the patch operations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.apigateway import models as moto_models
from moto.apigateway.exceptions import BadRequestException, NotFoundException

from local_aws.apigateway_deployed import snapshot

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
_QUOTA_DAYS = {"DAY": 0, "WEEK": 6, "MONTH": 27}
"""The largest offset: the day of the period on which a quota begins."""


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
                self.cache_cluster_enabled = _boolean(value)
                self.cache_cluster_status = "AVAILABLE" if self.cache_cluster_enabled else "NOT_AVAILABLE"
            case ["tracingEnabled"]:
                self.tracing_enabled = _boolean(value)
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
        converted: Any = _boolean(value) if kind is bool else _number(value, kind) if kind is not str else value
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
                canary["useStageCache"] = _boolean(value)
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
        cacheClusterEnabled=_boolean(request.get("cacheClusterEnabled", False)),
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
            _boolean(request.get("cacheClusterEnabled", False)),
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


def create_usage_plan(self: Any, payload: Mapping[str, Any]) -> Any:
    """``CreateUsagePlan``, whose quota and stages are checked."""
    _check_quota(payload.get("quota"))
    for entry in payload.get("apiStages") or []:
        self.get_stage(entry["apiId"], entry["stage"])
    made = moto_models.UsagePlan(
        moto_models.ApigwUsagePlanIdentifier(None, None, payload["name"]).generate(), **payload
    )
    self.usage_plans[made.id] = made
    return made


def update_usage_plan(self: Any, usage_plan_id: str, patch_operations: Any) -> Any:
    """``UpdateUsagePlan``: moto takes a rate of 0.5 for 0, and knows no throttle of a method."""
    plan = self.get_usage_plan(usage_plan_id)
    throttle, quota, stages = dict(plan.throttle), dict(plan.quota), json.loads(json.dumps(plan.api_stages))
    for operation in patch_operations or []:
        op, path, value = operation.get("op"), str(operation.get("path")), operation.get("value")
        match op, path.lstrip("/").split("/"):
            case "replace" | "add", ["throttle", ("rateLimit" | "burstLimit") as name]:
                throttle[name] = _number(value, float if name == "rateLimit" else int)
            case "remove", ["throttle"]:
                throttle = {}
            case "replace" | "add", ["quota", ("limit" | "offset") as name]:
                quota[name] = _number(value, int)
            case "replace" | "add", ["quota", "period"]:
                quota["period"] = value
            case "remove", ["quota"]:
                quota = {}
            case "add", ["apiStages"]:
                api_id, _, stage = str(value).partition(":")
                self.get_stage(api_id, stage)
                stages.append({"apiId": api_id, "stage": stage})
            case "remove", ["apiStages"]:
                stages = [one for one in stages if f"{one['apiId']}:{one['stage']}" != value]
            case "replace" | "add", ["apiStages", which, "throttle", resource, method, name]:
                limits = _method_limits(stages, which, f"{resource.replace('~1', '/')}/{method}")
                limits[name] = _number(value, float if name == "rateLimit" else int)
            case "replace" | "add", [("name" | "description" | "productCode") as name]:
                setattr(plan, {"productCode": "product_code"}.get(name, name), value)
            case _:
                raise BadRequestException(f"Invalid patch path or operation: {op} {path}")
    _check_quota(quota)
    plan.throttle, plan.quota, plan.api_stages = throttle, quota, stages
    return plan


def _method_limits(stages: list[dict[str, Any]], which: str, method: str) -> dict[str, Any]:
    for stage in stages:
        if f"{stage['apiId']}:{stage['stage']}" == which:
            limits: dict[str, Any] = stage.setdefault("throttle", {}).setdefault(method, {})
            return limits
    raise NotFoundException(f"The usage plan has no stage {which}")


def _check_quota(quota: Mapping[str, Any] | None) -> None:
    if not quota:
        return
    period, offset = quota.get("period"), int(quota.get("offset") or 0)
    if period not in _QUOTA_DAYS:
        raise BadRequestException(f"Invalid quota period {period!r}; expected one of {list(_QUOTA_DAYS)}")
    if not 0 <= offset <= _QUOTA_DAYS[period]:
        raise BadRequestException(
            f"Usage Plan quota offset must be between 0 and {_QUOTA_DAYS[period]} inclusive in the {period} period"
        )


def _canary(api: Any, settings: Mapping[str, Any], deployment_id: str) -> dict[str, Any]:
    _deployment(api, deployment_id)
    overrides = settings.get("stageVariableOverrides")
    made = {
        "percentTraffic": _percent(settings.get("percentTraffic", 0.0)),
        "deploymentId": deployment_id,
        "useStageCache": _boolean(settings.get("useStageCache", False)),
    }
    return {**made, "stageVariableOverrides": dict(overrides)} if overrides else made


def _deployment(api: Any, deployment_id: Any) -> None:
    if deployment_id not in api.deployments:
        raise BadRequestException("Deployment id does not exist")


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false", "none"):
        raise BadRequestException(f"Invalid boolean value: {value}")
    return text == "true"


def _number(value: Any, kind: type) -> Any:
    try:
        return kind(float(value)) if kind is int else kind(value)
    except (TypeError, ValueError) as error:
        raise BadRequestException(f"Invalid number: {value}") from error


def _percent(value: Any) -> float:
    number = float(_number(value, float))
    if not 0 <= number <= 100:
        raise BadRequestException(f"Invalid percentTraffic {value}; expected 0 to 100")
    return number
