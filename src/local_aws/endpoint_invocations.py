"""``InvokeEndpoint``: a request to one of the endpoint's model servers, and its answer as SageMaker gives it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import TYPE_RESPONSE
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse

from local_aws.endpoint_fleet import Fleet, Variant
from local_aws.model_server import Answer, ModelServerError

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 6_291_456
_INVOCATION_SECONDS = 60.0
_PASSED_ON = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id")
_TRIES = 2  # an instance may die under a request; another, or the restarted one, takes it

Serving = Callable[[str], "tuple[Fleet | None, str]"]
_serving: list[Serving] = []


class RuntimeValidationError(ServiceException):  # type: ignore[misc]
    """The runtime's name for a request that is at fault."""

    code = "ValidationError"


def install(serving: Serving) -> None:
    """Puts ``InvokeEndpoint`` in moto's place; ``serving`` gives an endpoint's fleet and status."""
    _serving[:] = [serving]
    SageMakerRuntimeResponse.use_raw_body = True  # a body may be of any bytes
    SageMakerRuntimeResponse.invoke_endpoint = invoke_endpoint


def invoke_endpoint(self: Any) -> TYPE_RESPONSE:
    """The handler of ``POST /endpoints/<name>/invocations``."""
    headers = {name.lower(): value for name, value in self.headers.items()}
    body = self.raw_body or b""
    body = body.encode() if isinstance(body, str) else body
    name = self.path.split("/")[2]
    if len(body) > MAX_BODY_BYTES:
        raise RuntimeValidationError(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less "
            f"than or equal to {MAX_BODY_BYTES}; it has {len(body)}"
        )
    fleet, status = _fleet_of(name)
    if fleet is None:
        raise RuntimeValidationError(f"Endpoint {name} is not InService but {status}; wait until it is")
    target = headers.get("x-amzn-sagemaker-target-variant")
    try:
        variant = fleet.pick(target)
    except KeyError as error:
        raise RuntimeValidationError(f"Variant {target} not found; {name} has {sorted(fleet.variants)}") from error
    passed = {name: headers[name] for name in _PASSED_ON if name in headers}
    answer, problem = _ask(variant, body, passed)
    if answer is None and problem is None:
        return _error(503, "ServiceUnavailable", {"Message": f"no instance of variant {variant.plan.name} is healthy"})
    if answer is None or not 200 <= answer.status < 300:
        return _model_error(name, variant, answer, problem or "")
    shown = {
        "Content-Type": answer.headers.get("content-type", "application/octet-stream"),
        "x-Amzn-Invoked-Production-Variant": variant.plan.name,
    }
    if custom := answer.headers.get("x-amzn-sagemaker-custom-attributes"):
        shown["X-Amzn-SageMaker-Custom-Attributes"] = custom
    return 200, shown, answer.body


def _fleet_of(name: str) -> tuple[Fleet | None, str]:
    try:
        return _serving[0](name)
    except ServiceException as error:
        raise RuntimeValidationError(error.message) from error


def _ask(variant: Variant, body: bytes, headers: Mapping[str, str]) -> tuple[Answer | None, str | None]:
    """The answer, or what went wrong; neither where no instance is healthy."""
    problem = None
    for _ in range(_TRIES):
        server = variant.next_ready()
        if server is None:
            break
        try:
            request = server.request("POST", "/invocations", body, headers, timeout_seconds=_INVOCATION_SECONDS)
        except ModelServerError as error:
            problem = str(error)
            if server.alive:  # it is there and too slow: a second request would be too
                break
        else:
            return request, None
    return None, problem


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
