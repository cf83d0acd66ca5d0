"""What stands around the application: request ids, API keys, a last resort for errors, and one line of log a request.

The line is JSON: who asked what, with which result, without bodies, ids or queries. It is also CloudWatch's embedded
metric format, so in a Lambda the metrics come of it without a call.
"""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookup_api.keys import KeyRing, Principal
from lookup_api.paths import routed_path
from lookup_api.problems import Problem, internal_error

NAMESPACE = "TopicModel/LookupApi"
_METRICS = [
    {
        "Namespace": NAMESPACE,
        "Dimensions": [[], ["Route"]],
        "Metrics": [
            {"Name": "Latency", "Unit": "Milliseconds"},
            {"Name": "ServerErrors", "Unit": "Count"},
            {"Name": "ClientErrors", "Unit": "Count"},
        ],
    }
]
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_LOGGER = logging.getLogger(__name__)


def print_line(line: str) -> None:
    """Write a line of the access log to standard output."""
    sys.stdout.write(line)
    sys.stdout.flush()


class Gate:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, keys: KeyRing, write: Callable[[str], object] = print_line) -> None:
        self._app, self._keys, self._write = app, keys, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        scope["path"] = routed_path(scope)
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        answer = {"status": 0, "bytes": 0}

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            else:
                answer["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            if scope["path"].startswith("/v1/"):
                state["principal"] = await self._keys.principal(scope)
            await self._app(scope, receive, send_noting)
        except Problem as problem:
            await problem.response(request_id)(scope, receive, send_noting)
        except ClientDisconnect:
            answer["status"] = 499
        except Exception:
            _LOGGER.exception("request %s failed", request_id)
            if not answer["status"]:
                await internal_error().response(request_id)(scope, receive, send_noting)
        finally:
            milliseconds = (time.perf_counter() - began) * 1_000
            self._write(_line(scope, answer, milliseconds))


def _request_id(scope: Scope) -> str:
    """API Gateway's request id, else the caller's where it is a plain one, else a new one."""
    event = scope.get("aws.event")
    given: Any = event.get("requestContext", {}).get("requestId") if isinstance(event, dict) else None
    if given is None:
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), None)
    return given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def _line(scope: Scope, answer: dict[str, int], milliseconds: float) -> str:
    route = getattr(scope.get("route"), "path_format", None)
    principal: Principal | None = scope["state"].get("principal")
    status = answer["status"]
    entry = {
        "_aws": {"Timestamp": int(time.time() * 1_000), "CloudWatchMetrics": _METRICS},
        "Route": f"{scope['method']} {route}" if route else "unmatched",
        "Latency": round(milliseconds, 3),
        "ServerErrors": int(status >= 500),
        "ClientErrors": int(400 <= status < 500),
        "level": "INFO",
        "message": "request",
        "request_id": scope["state"]["request_id"],
        "client": None if principal is None else principal.client_id or "(administrator)",
        "status": status,
        "bytes": answer["bytes"],
    }
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE).decode()
