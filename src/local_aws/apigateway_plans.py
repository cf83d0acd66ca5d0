"""Usage plans as API Gateway changes them.

moto takes a rate of 0.5 for 0, a limit for a text, and knows no throttle of a method.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.apigateway import models as moto_models
from moto.apigateway.exceptions import BadRequestException, NotFoundException

from local_aws.apigateway_values import number

_QUOTA_DAYS = {"DAY": 0, "WEEK": 6, "MONTH": 27}
"""The largest offset: the day of the period on which a quota begins."""


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
    """``UpdateUsagePlan``: all operations, or none of them."""
    plan = self.get_usage_plan(usage_plan_id)
    texts: dict[str, Any] = {}
    throttle, quota, stages = dict(plan.throttle), dict(plan.quota), json.loads(json.dumps(plan.api_stages))
    for operation in patch_operations or []:
        op, path, value = operation.get("op"), str(operation.get("path")), operation.get("value")
        match op, path.lstrip("/").split("/"):
            case "replace" | "add", ["throttle", ("rateLimit" | "burstLimit") as name]:
                throttle[name] = number(value, float if name == "rateLimit" else int)
            case "remove", ["throttle"]:
                throttle = {}
            case "replace" | "add", ["quota", ("limit" | "offset") as name]:
                quota[name] = number(value, int)
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
                limits[name] = number(value, float if name == "rateLimit" else int)
            case "replace" | "add", [("name" | "description" | "productCode") as name]:
                texts["product_code" if name == "productCode" else name] = value
            case _:
                raise BadRequestException(f"Invalid patch path or operation: {op} {path}")
    _check_quota(quota)
    plan.throttle, plan.quota, plan.api_stages = throttle, quota, stages
    plan.__dict__.update(texts)
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
