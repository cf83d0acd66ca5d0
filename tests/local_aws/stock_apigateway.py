"""Shows what stock moto drops of API Gateway, in a process of its own; prints what it saw as JSON.

Run by ``test_apigateway_stock.py``: a change here means that moto changed, and that a patch of ``local_aws`` may go.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import boto3
from moto import mock_aws

from tests.local_aws.test_apigateway import document


def main() -> None:
    """Ask one in-process moto for all of it."""
    logging.disable(logging.CRITICAL)
    with mock_aws():
        print(json.dumps(seen(boto3.client("apigateway", region_name="us-east-1"))))


def seen(gateway: Any) -> dict[str, Any]:
    """What is left of a document, a stage and a plan."""
    api = gateway.import_rest_api(body=json.dumps(document()).encode())["id"]
    resources = gateway.get_resources(restApiId=api)["items"]
    thing = next(one for one in resources if one["path"] == "/things/{id}")
    method = gateway.get_method(restApiId=api, resourceId=thing["id"], httpMethod="GET")
    first = gateway.create_deployment(restApiId=api)["id"]
    canary = {"percentTraffic": 10.0, "deploymentId": first}
    stage = gateway.create_stage(restApiId=api, stageName="test", deploymentId=first, canarySettings=canary)
    operation = {"op": "replace", "path": "/*/*/caching/enabled", "value": "true"}
    gateway.update_stage(restApiId=api, stageName="test", patchOperations=[operation])
    gateway.create_deployment(restApiId=api, stageName="test")
    plan = gateway.create_usage_plan(name="plan", throttle={"rateLimit": 1.0, "burstLimit": 1})["id"]
    operation = {"op": "replace", "path": "/throttle/rateLimit", "value": "0.5"}
    slowed = outcome(lambda: gateway.update_usage_plan(usagePlanId=plan, patchOperations=[operation])["throttle"])
    return {
        "asks for a key": method["apiKeyRequired"],
        "parameters": method.get("requestParameters"),
        "cache keys": method["methodIntegration"].get("cacheKeyParameters"),
        "validators": gateway.get_request_validators(restApiId=api)["items"],
        "models": gateway.get_models(restApiId=api)["items"],
        "gateway responses": gateway.get_gateway_responses(restApiId=api)["items"],
        "canary": stage.get("canarySettings"),
        "settings after a deployment": gateway.get_stage(restApiId=api, stageName="test")["methodSettings"],
        "a rate of 0.5": slowed,
        "usage": outcome(lambda: gateway.get_usage(usagePlanId=plan, startDate="2026-01-01", endDate="2026-01-02")),
    }


def outcome(call: Any) -> Any:
    """What a call returned, or the kind of its error."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whatever moto raises is what is to be shown
        return type(error).__name__


if __name__ == "__main__":
    main()
