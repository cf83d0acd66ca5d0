"""``InvokeEndpoint``: a request to one of the endpoint's model servers, and its answer as SageMaker gives it.

Answered ahead of moto, whose way from a request to its handler takes longer than the model needs for an answer.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from moto.core.exceptions import ServiceException

from local_aws import endpoint_metrics
from local_aws.data_capture import exchange_of
from local_aws.endpoint_fleet import Variant
from local_aws.endpoint_traffic import Route, Traffic
from local_aws.http_server import BodyReader, Environ, Headers, WsgiApp
from local_aws.model_server import Answer, ModelServerError, UnansweredError
from local_aws.request_names import service_of

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 6_291_456
_INVOCATION_SECONDS = 60.0
_PASSED_ON = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id")
_TARGET_VARIANT = "x-amzn-sagemaker-target-variant"
_NO_ANSWER = 500  # what counts as a 5XX error of the model though it has no status
_TRIES = 2  # an instance may die under a request; another, or the restarted one, takes it
_PATH = re.compile(r"/endpoints/([^/]+)/invocations")
_JSON: Headers = [("Content-Type", "application/json")]

Serving = Callable[[str], "tuple[Traffic | None, str]"]
_serving: list[Serving] = []


@dataclass
class _RefusedError(Exception):
    """The request is answered by SageMaker itself: a status, the kind of error, and the error's document."""

    status: int
    kind: str
    document: Mapping[str, Any]


def _invalid(message: str) -> _RefusedError:
    """The runtime's name for a request that is at fault."""
    return _RefusedError(400, "ValidationError", {"message": message})


def install(serving: Serving) -> None:
    """Lets endpoints be invoked; ``serving`` gives an endpoint's traffic and status."""
    _serving[:] = [serving]


def wrap(app: WsgiApp) -> WsgiApp:
    """``app`` with ``POST /endpoints/<name>/invocations`` of SageMaker's runtime answered here."""

    def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
        found = _PATH.fullmatch(str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0])
        if found is None or environ["REQUEST_METHOD"] != "POST" or service_of(environ) != "sagemaker":
            return app(environ, start_response)
        try:
            status, headers, body = invoke_endpoint(unquote(found[1]), environ)
        except _RefusedError as refused:
            status, body = refused.status, json.dumps(refused.document).encode()
            headers = [*_JSON, ("x-amzn-ErrorType", refused.kind)]
        ids = ("x-amzn-RequestId", str(uuid.uuid4()))
        start_response(f"{status} {HTTPStatus(status).phrase}", [*headers, ids, ("Content-Length", str(len(body)))])
        return [body]

    return wsgi


def invoke_endpoint(name: str, environ: Environ) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer of the endpoint of that name.

    Raises:
        _RefusedError: there is no answer of a model.
    """
    arrived = time.perf_counter()
    body = _body(environ)
    traffic, status = _traffic_of(name)
    if traffic is None:
        raise _invalid(f"Endpoint {name} is not InService but {status}; wait until it is")
    headers = _headers(environ)
    target = headers.get(_TARGET_VARIANT)
    passed = {name: headers[name] for name in _PASSED_ON if name in headers}
    try:
        asked = _ask(name, target, body, passed)
    except KeyError as error:
        raise _invalid(f"Variant {target} not found; {name} has {sorted(traffic.blue.variants)}") from error
    if asked is None:
        message = f"no instance of endpoint {name} is healthy"
        raise _RefusedError(503, "ServiceUnavailable", {"Message": message})
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
        raise _model_error(name, variant, answer, asked.problem)
    content_type = answer.headers.get("content-type", "application/octet-stream")
    capture = asked.route.fleet.capture
    if capture and capture.wants_this_one():
        event = str(uuid.uuid4())
        capture.take(exchange_of(variant.plan.name, body, headers, answer.body, content_type, event))
    shown = [("Content-Type", content_type), ("x-Amzn-Invoked-Production-Variant", variant.plan.name)]
    if custom := answer.headers.get("x-amzn-sagemaker-custom-attributes"):
        shown.append(("X-Amzn-SageMaker-Custom-Attributes", custom))
    return 200, shown, answer.body


def _body(environ: Environ) -> bytes:
    source = environ["wsgi.input"]
    left = source.left if isinstance(source, BodyReader) else 0
    # A chunked body tells its length only when it is read.
    body = b"" if left > MAX_BODY_BYTES else bytes(source.read(MAX_BODY_BYTES + 1))
    if max(left, len(body)) > MAX_BODY_BYTES:
        raise _invalid(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less "
            f"than or equal to {MAX_BODY_BYTES}" + (f"; it has {left}" if left else "")
        )
    return body


def _headers(environ: Environ) -> dict[str, str]:
    """The headers that mean something here, by their names in small letters."""
    found = {}
    for name in (*_PASSED_ON, _TARGET_VARIANT):
        key = name.upper().replace("-", "_")
        value = environ.get(key if name == "content-type" else f"HTTP_{key}")
        if value:
            found[name] = str(value)
    return found


def _traffic_of(name: str) -> tuple[Traffic | None, str]:
    try:
        return _serving[0](name)
    except ServiceException as error:
        raise _invalid(str(error.message)) from error


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


def _model_error(endpoint: str, variant: Variant, answer: Answer | None, problem: str) -> _RefusedError:
    code = answer.status if answer else 0
    said = answer.text if answer else problem
    side = "client" if 400 <= code < 500 else "server"
    message = (
        f'Received {side} error ({code}) from {variant.plan.name} with message "{said}". '
        f"See the log group /aws/sagemaker/Endpoints/{endpoint} for more information."
    )
    return _RefusedError(
        424,
        "ModelError",
        {
            "Message": message,
            "OriginalStatusCode": code,
            "OriginalMessage": said,
            "LogStreamArn": f"/aws/sagemaker/Endpoints/{endpoint}",
        },
    )
