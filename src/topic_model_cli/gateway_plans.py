"""Usage plans and keys of the local lookup API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topic_model_cli.stack import PREFIX

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

NAME = f"{PREFIX}-lookup-api"
STAGE = "local"
CLIENTS_TABLE = f"{PREFIX}-clients"
ANSWER_KEY = f"{PREFIX}-answer-key"
"""The secret that answer ids are signed with; it is drawn at the first start and stays."""
MOST_ITEMS = 500  # of one page of API Gateway's lists


@dataclass(frozen=True)
class Limits:
    """What a usage plan grants each of its keys, and how long the stage keeps answers."""

    rate: float = 20.0
    """Requests a second."""
    burst: int = 40
    quota: int = 100_000
    """Requests a day."""
    cache_seconds: int = 60
    """0 caches nothing. A new version of the lookups is seen this much later."""


def ensure_plan(config: LocalConfig, name: str, api_id: str, limits: Limits) -> str:
    """The id of a usage plan of the stage with these limits."""
    gateway = config.client("apigateway")
    throttle: dict[str, Any] = {"rateLimit": limits.rate, "burstLimit": limits.burst}
    quota: dict[str, Any] = {"limit": limits.quota, "period": "DAY"}
    full_name = f"{NAME}-{name}"
    plans = gateway.get_usage_plans(limit=MOST_ITEMS)["items"]
    plan = next((plan for plan in plans if plan["name"] == full_name), None)
    if plan is None:
        stages = [{"apiId": api_id, "stage": STAGE}]
        made = gateway.create_usage_plan(name=full_name, apiStages=stages, throttle=throttle, quota=quota)
        return str(made["id"])
    before: dict[str, Any] = {"throttle": dict(plan["throttle"]), "quota": dict(plan["quota"])}
    wanted = {"throttle": throttle, "quota": quota}
    changes = {
        f"/{part}/{key}": value
        for part, values in wanted.items()
        for key, value in values.items()
        if before[part].get(key) != value
    }
    if changes:
        operations = [{"op": "replace", "path": path, "value": str(value)} for path, value in changes.items()]
        gateway.update_usage_plan(usagePlanId=plan["id"], patchOperations=operations)
    return str(plan["id"])


def known_keys(config: LocalConfig) -> dict[str, tuple[str, str]]:
    """Ids and values of the keys that are there, by name."""
    items = config.client("apigateway").get_api_keys(limit=MOST_ITEMS, includeValues=True)["items"]
    return {key["name"]: (key["id"], key["value"]) for key in items}


def ensure_key(
    config: LocalConfig, name: str, client: str | None, plan: str, known: Mapping[str, tuple[str, str]]
) -> str:
    """The value of a key that is in a plan, and in the table of clients."""
    from lookup_api.keys import gateway_key

    gateway, dynamodb = config.client("apigateway"), config.client("dynamodb")
    full_name = f"{NAME} {name}"
    if full_name in known:
        return known[full_name][1]
    made = gateway.create_api_key(name=full_name, enabled=True)
    whose = {"admin": {"BOOL": True}} if client is None else {"client_id": {"S": client}}
    dynamodb.put_item(TableName=CLIENTS_TABLE, Item={"key": {"S": gateway_key(made["id"])}, **whose})
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=made["id"], keyType="API_KEY")
    return str(made["value"])
