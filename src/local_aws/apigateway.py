"""API Gateway (REST): moto's control plane, mended and kept, and stages that serve.

A stage answers at ``/restapis/<api id>/<stage>/_user_request_/<path>``, and where the host is
``<api id>.execute-api.localhost``, as on AWS, at ``/<stage>/<path>``.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from moto.apigateway import models as moto_models
from moto.apigateway import utils as moto_utils
from moto.apigateway.responses import APIGatewayResponse

from local_aws import apigateway_ids, apigateway_import, apigateway_plans, apigateway_stages
from local_aws.apigateway_calls import Gateway
from local_aws.apigateway_records import record
from local_aws.apigateway_requests import LARGEST_BODY, request_of
from local_aws.config import LocalConfig
from local_aws.http_server import Environ, Headers, WsgiApp
from local_aws.request_names import service_of

SERVICE = "apigateway"
_PATH_STYLE = re.compile(r"/restapis/([a-z0-9]+)/([A-Za-z0-9_-]+)/_user_request_(/.*)?")
_HOST_STYLE = re.compile(r"([a-z0-9]+)\.execute-api(?:\.[a-z0-9-]+)?\.localhost(?::\d+)?")
_STAGE_PATH = re.compile(r"/([A-Za-z0-9_-]+)(/.*)?")
_USAGE = re.compile(r"/usageplans/([^/]+)(?:/keys/([^/]+))?/usage")
_CACHE = re.compile(r"/restapis/([^/]+)/stages/([^/]+)/cache/(data|authorizers)")

_gateway: list[Gateway] = []  # at most one: the local AWS that this process serves
_create_api_key = moto_models.APIGatewayBackend.create_api_key


def install(config: LocalConfig) -> None:
    """Mend moto's control plane, and let its stages serve."""
    _gateway[:] = [Gateway(config)]
    moto_utils.generate_str_id = apigateway_ids.new_id
    moto_models.time = apigateway_ids.Clock
    moto_models.Stage = apigateway_stages.Stage
    moto_models.RestAPI.update_integration_mocks = lambda *_: None  # of moto's in-process mode
    moto_models.RestAPI.delete_deployment = apigateway_stages.delete_deployment
    backend = moto_models.APIGatewayBackend
    backend.import_rest_api = apigateway_import.import_rest_api
    backend.put_rest_api = apigateway_import.put_rest_api
    backend.update_stage = apigateway_stages.update_stage
    backend.create_usage_plan = apigateway_plans.create_usage_plan
    backend.update_usage_plan = apigateway_plans.update_usage_plan
    backend.create_api_key = _with_value
    APIGatewayResponse.create_stage = apigateway_stages.create_stage
    APIGatewayResponse.create_deployment = apigateway_stages.create_deployment


def shutdown() -> None:
    """Write what is counted; idempotent."""
    while _gateway:
        _gateway.pop().close()


def _with_value(self: Any, payload: Mapping[str, Any]) -> Any:
    """``CreateApiKey`` with a value that a replay makes again."""
    return _create_api_key(self, {**payload, "value": payload.get("value") or apigateway_ids.new_key_value()})


def control_plane(app: WsgiApp) -> WsgiApp:
    """moto, with ids and times that are the same when the journal plays a request again."""

    def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if service_of(environ) != SERVICE:
            return app(environ, start_response)
        with apigateway_ids.stamped(environ):
            return app(environ, start_response)

    return wsgi


def front(app: WsgiApp) -> WsgiApp:
    """``app`` (with its journal), the stages before it, and what moto's control plane lacks."""

    def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
        target = _target(environ)
        if target is not None:
            return _serve(environ, start_response, *target)
        if service_of(environ) != SERVICE:
            return app(environ, start_response)
        if (answered := _beside_moto(environ)) is not None:
            status, document = answered
            return _send(start_response, status, [("Content-Type", "application/json")], json.dumps(document).encode())
        apigateway_ids.stamp(environ)
        return app(environ, start_response)

    return wsgi


def is_for_a_stage(environ: Environ) -> bool:
    """Whether a request is for a deployed API, whose keys decide, and not for API Gateway itself."""
    return _target(environ) is not None


def _target(environ: Environ) -> tuple[str, str, str] | None:
    """API, stage and path of a request to a stage."""
    path = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]
    if found := _PATH_STYLE.fullmatch(path):
        return found[1], found[2], found[3] or "/"
    host = _HOST_STYLE.fullmatch(str(environ.get("HTTP_HOST", "")).lower())
    if host is None:
        return None
    staged = _STAGE_PATH.fullmatch(path)
    return (host[1], staged[1], staged[2] or "/") if staged else (host[1], "", "/")


def _serve(environ: Environ, start_response: Any, api_id: str, stage: str, path: str) -> Iterable[bytes]:
    request = request_of(environ, api_id, stage, path)
    ids = [("x-amzn-RequestId", request.request_id), ("x-amz-apigw-id", request.extended_id)]
    call = _gateway[0].begin(request) if _gateway else None
    if call is None:
        headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", "ForbiddenException"), *ids]
        return _send(start_response, 403, headers, b'{"message":"Forbidden"}')
    answer = _gateway[0].answer(call)
    record(_gateway[0].config, call, answer)
    if call.integration_seconds is not None:
        ids.append(("X-Amzn-Trace-Id", request.trace))
    return _send(start_response, answer.status, [*answer.headers, *ids], answer.body)


def _send(start_response: Any, status: int, headers: Headers, body: bytes) -> Iterable[bytes]:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    start_response(f"{status} {phrase}", [*headers, ("Content-Length", str(len(body)))])
    return [body]


def _beside_moto(environ: Environ) -> tuple[int, dict[str, Any]] | None:
    """``GetUsage``, ``UpdateUsage`` and ``FlushStageCache``, which moto does not have; None for any other request."""
    if not _gateway:
        return None
    gateway, method, path = _gateway[0], environ["REQUEST_METHOD"], str(environ["PATH_INFO"])
    if method == "DELETE" and (found := _CACHE.fullmatch(path)):
        gateway.caches.flush(found[1], found[2])
        return 202, {}
    found = _USAGE.fullmatch(path)
    if found is None:
        return None
    plan = gateway.backend.usage_plans.get(found[1])
    if plan is None:
        return 404, {"message": "Invalid Usage Plan ID specified"}
    if method == "PATCH":
        return _update_usage(environ, gateway, plan, found[2])
    return _get_usage(environ, gateway, plan)


def _get_usage(environ: Environ, gateway: Gateway, plan: Any) -> tuple[int, dict[str, Any]]:
    query = parse_qs(str(environ.get("QUERY_STRING", "")))
    try:
        first, last = (dt.date.fromisoformat(query[name][0]) for name in ("startDate", "endDate"))
    except (KeyError, ValueError):
        return 400, {"message": "startDate and endDate are dates: YYYY-MM-DD"}
    if not 0 <= (last - first).days <= 90:
        return 400, {"message": "The date range must be 1 to 90 days"}
    return 200, _usage(gateway, plan, query.get("keyId", [None])[0], first, last)


def _usage(gateway: Gateway, plan: Any, key: str | None, first: dt.date, last: dt.date) -> dict[str, Any]:
    keys = [key] if key else list(gateway.backend.usage_plan_keys.get(plan.id, {}))
    counted = {one: list(gateway.usage.between(plan.id, one, first, last, plan.quota)) for one in keys}
    return {
        "usagePlanId": plan.id,
        "startDate": first.isoformat(),
        "endDate": last.isoformat(),
        # "values" on the wire; boto3 calls it "items".
        "values": {one: [list(pair) for pair in days] for one, days in counted.items()},
    }


def _update_usage(environ: Environ, gateway: Gateway, plan: Any, key: str | None) -> tuple[int, dict[str, Any]]:
    try:
        operations = json.loads(environ["wsgi.input"].read(LARGEST_BODY) or b"{}").get("patchOperations") or []
        remaining = [int(one["value"]) for one in operations if one["path"] == "/remaining" and one["op"] == "replace"]
    except (ValueError, KeyError, TypeError, AttributeError):
        remaining = []
    if not remaining or not plan.quota or key is None:
        return 400, {"message": "expected to replace /remaining of a key whose plan has a quota"}
    today = dt.datetime.now(dt.UTC).date()
    gateway.usage.extend(plan.id, key, remaining[-1], plan.quota)
    return 200, _usage(gateway, plan, key, today, today)
