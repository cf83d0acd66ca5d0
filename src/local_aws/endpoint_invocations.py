"""``InvokeEndpoint``: a request to one of the endpoint's model servers, and its answer as SageMaker gives it."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import TYPE_RESPONSE
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse

from local_aws import endpoint_metrics
from local_aws.data_capture import exchange_of
from local_aws.endpoint_fleet import Variant
from local_aws.endpoint_traffic import Route, Traffic
from local_aws.model_server import Answer, ModelServerError, UnansweredError

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 6_291_456
_INVOCATION_SECONDS = 60.0
_PASSED_ON = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id")
_NO_ANSWER = 500  # what counts as a 5XX error of the model though it has no status
_TRIES = 2  # an instance may die under a request; another, or the restarted one, takes it

Serving = Callable[[str], "tuple[Traffic | None, str]"]
_serving: list[Serving] = []


class RuntimeValidationError(ServiceException):  # type: ignore[misc]
    """The runtime's name for a request that is at fault."""

    code = "ValidationError"


def install(serving: Serving) -> None:
    """Puts ``InvokeEndpoint`` in moto's place; ``serving`` gives an endpoint's traffic and status."""
    _serving[:] = [serving]
    SageMakerRuntimeResponse.use_raw_body = True  # a body may be of any bytes
    SageMakerRuntimeResponse.invoke_endpoint = invoke_endpoint


def invoke_endpoint(self: Any) -> TYPE_RESPONSE:
    """The handler of ``POST /endpoints/<name>/invocations``."""
    arrived = time.perf_counter()
    headers = {name.lower(): value for name, value in self.headers.items()}
    body = self.raw_body or b""
    body = body.encode() if isinstance(body, str) else body
    name = self.path.split("/")[2]
    if len(body) > MAX_BODY_BYTES:
        raise RuntimeValidationError(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less "
            f"than or equal to {MAX_BODY_BYTES}; it has {len(body)}"
        )
    traffic, status = _traffic_of(name)
    if traffic is None:
        raise RuntimeValidationError(f"Endpoint {name} is not InService but {status}; wait until it is")
    target = headers.get("x-amzn-sagemaker-target-variant")
    passed = {name: headers[name] for name in _PASSED_ON if name in headers}
    try:
        asked = _ask(name, target, body, passed)
    except KeyError as error:
        raise RuntimeValidationError(
            f"Variant {target} not found; {name} has {sorted(traffic.blue.variants)}"
        ) from error
    if asked is None:
        return _error(503, "ServiceUnavailable", {"Message": f"no instance of endpoint {name} is healthy"})
    variant, answer = asked.route.variant, asked.answer
    whole = time.perf_counter() - arrived
    endpoint_metrics.record(
        name,
        variant.plan.name,
        asked.route.fleet.config_name,
        instances=len(variant.servers),
        status=answer.status if answer else _NO_ANSWER,
        model=asked.seconds,
        overhead=max(0.0, whole - asked.seconds),
    )
    if answer is None or not 200 <= answer.status < 300:
        return _model_error(name, variant, answer, asked.problem)
    content_type = answer.headers.get("content-type", "application/octet-stream")
    capture = asked.route.fleet.capture
    if capture and capture.wants_this_one():
        event = str(uuid.uuid4())
        capture.take(exchange_of(variant.plan.name, body, headers, answer.body, content_type, event))
    shown = {"Content-Type": content_type, "x-Amzn-Invoked-Production-Variant": variant.plan.name}
    if custom := answer.headers.get("x-amzn-sagemaker-custom-attributes"):
        shown["X-Amzn-SageMaker-Custom-Attributes"] = custom
    return 200, shown, answer.body


def _traffic_of(name: str) -> tuple[Traffic | None, str]:
    try:
        return _serving[0](name)
    except ServiceException as error:
        raise RuntimeValidationError(error.message) from error


@dataclass(frozen=True)
class _Asked:
    """Who was asked last, what came of it, and how long that took."""

    route: Route
    answer: Answer | None
    problem: str
    seconds: float


def _ask(name: str, target: str | None, body: bytes, headers: Mapping[str, str]) -> _Asked | None:
    """An instance's answer, or what went wrong; None where no instance is healthy.

    An instance that is gone before it sent a byte leaves the request to one other: by the traffic as it is by then.
    """
    asked: _Asked | None = None
    for _ in range(_TRIES):
        traffic, _status = _traffic_of(name)
        route = traffic.choose(target, without=asked.route.server if asked else None) if traffic else None
        if route is None:
            break
        began = time.perf_counter()
        try:
            answer = route.server.request("POST", "/invocations", body, headers, timeout_seconds=_INVOCATION_SECONDS)
        except UnansweredError as error:
            asked = _Asked(route, None, str(error), time.perf_counter() - began)
        except ModelServerError as error:  # it is there and too slow, or broke off: a second one would be too
            return _Asked(route, None, str(error), time.perf_counter() - began)
        else:
            return _Asked(route, answer, "", time.perf_counter() - began)
    return asked


def _model_error(endpoint: str, variant: Variant, answer: Answer | None, problem: str) -> TYPE_RESPONSE:
    code = answer.status if answer else 0
    said = answer.text if answer else problem
    side = "client" if 400 <= code < 500 else "server"
    message = (
        f'Received {side} error ({code}) from {variant.plan.name} with message "{said}". '
        f"See the log group /aws/sagemaker/Endpoints/{endpoint} for more information."
    )
    return _error(
        424,
        "ModelError",
        {
            "Message": message,
            "OriginalStatusCode": code,
            "OriginalMessage": said,
            "LogStreamArn": f"/aws/sagemaker/Endpoints/{endpoint}",
        },
    )


def _error(status: int, kind: str, body: Mapping[str, Any]) -> TYPE_RESPONSE:
    headers = {"status": str(status), "Content-Type": "application/json", "x-amzn-ErrorType": kind}
    return status, headers, json.dumps(body)
