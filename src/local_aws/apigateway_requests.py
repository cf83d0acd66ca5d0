"""A request to a stage: what of it API Gateway looks at, and what its ``$context`` says."""

from __future__ import annotations

import datetime as dt
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from local_aws.apigateway_answers import RefusedError
from local_aws.http_server import BodyReader, Environ

LARGEST_BODY = 10 * 1024 * 1024  # bytes
_KEPT_BACK = frozenset({"Connection", "Content-Length"})
"""Headers of a connection, which a function does not see."""


@dataclass
class StageRequest:
    """One request to ``/<stage><path>`` of an API."""

    api_id: str
    stage: str
    method: str
    raw_path: str
    """Below the stage, as it came: encoded."""
    whole_path: str
    """As the client sent it, with the stage; in path style with all that stands before it."""
    headers: dict[str, list[str]]
    """By name, as WSGI leaves them: ``X-Api-Key``, however the client wrote it."""
    query: dict[str, list[str]]
    environ: Environ
    started: float = field(default_factory=time.perf_counter)
    moment: float = field(default_factory=time.time)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    extended_id: str = field(default_factory=lambda: f"{secrets.token_urlsafe(11)}=")
    path_parameters: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The trace goes on from a caller's, or begins here."""
        self.trace = self.header("X-Amzn-Trace-Id") or f"Root=1-{int(self.moment):08x}-{secrets.token_hex(12)}"

    def header(self, name: str) -> str:
        """A header's last value; empty where there is none."""
        return self.headers.get(name, [""])[-1]

    def value(self, place: str, name: str) -> str | None:
        """A parameter: of ``path``, ``querystring`` or ``header``, or all values of a ``multivalue…`` one."""
        if place == "path":
            return self.path_parameters.get(name)
        values = self.headers.get(name.title()) if place.endswith("header") else self.query.get(name)
        if not values:
            return None
        return "\0".join(values) if place.startswith("multivalue") else values[-1]

    def parameters(self) -> dict[tuple[str, str], str]:
        """All parameters by place and name, headers in small letters."""
        return {
            **{("path", name): value for name, value in self.path_parameters.items()},
            **{("querystring", name): values[-1] for name, values in self.query.items()},
            **{("header", name.lower()): values[-1] for name, values in self.headers.items()},
        }

    def body(self) -> bytes | None:
        """The body; None where it is too large, and is not read.

        Raises:
            RefusedError: 400, where its chunks are none.
        """
        source = self.environ["wsgi.input"]
        if isinstance(source, BodyReader) and source.left > LARGEST_BODY:
            return None
        try:
            body = bytes(source.read(LARGEST_BODY + 1))  # a chunked one tells its length only when it is read
        except OSError as error:
            raise RefusedError("BAD_REQUEST_BODY", "Bad Request", f"the body breaks off: {error}") from error
        return None if len(body) > LARGEST_BODY else body

    def context(self) -> dict[str, Any]:
        """``$context``, flat, as far as it is known before the method is."""
        moment = dt.datetime.fromtimestamp(self.moment, dt.UTC)
        host = str(self.environ.get("HTTP_HOST", "127.0.0.1"))
        return {
            "apiId": self.api_id,
            "stage": self.stage,
            "requestId": self.request_id,
            "extendedRequestId": self.extended_id,
            "httpMethod": self.method,
            "path": self.whole_path,
            "protocol": str(self.environ.get("SERVER_PROTOCOL", "HTTP/1.1")),
            "requestTime": f"{moment:%d/%b/%Y:%H:%M:%S +0000}",
            "requestTimeEpoch": int(self.moment * 1000),
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "xrayTraceId": self.trace.partition("Root=")[2].partition(";")[0],
            "identity.sourceIp": str(self.environ.get("REMOTE_ADDR", "")),
            "identity.userAgent": self.header("User-Agent"),
        }


def request_of(environ: Environ, api_id: str, stage: str, raw_path: str) -> StageRequest:
    """A request from its WSGI environment."""
    headers = {
        _header_name(key): [str(value)]
        for key, value in environ.items()
        if key.startswith("HTTP_") and value is not None
    }
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[_header_name(f"HTTP_{key}")] = [str(environ[key])]
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(str(environ.get("QUERY_STRING", "")), keep_blank_values=True):
        query.setdefault(name, []).append(value)
    whole_path = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]
    return StageRequest(api_id, stage, str(environ["REQUEST_METHOD"]), raw_path, whole_path, headers, query, environ)


def _header_name(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-").title()


def proxy_event(
    request: StageRequest,
    context: Mapping[str, Any],
    resource: tuple[str, str],
    variables: Mapping[str, str],
    body: tuple[str | None, bool],
) -> dict[str, Any]:
    """The event of a Lambda proxy integration, version 1.0; ``resource`` is its path and its id."""
    identity_names = ("sourceIp", "userAgent", "apiKey", "apiKeyId")
    identity: dict[str, Any] = dict.fromkeys(
        ("accessKey", "accountId", "caller", "cognitoAuthenticationProvider", "cognitoAuthenticationType",
         "cognitoIdentityId", "cognitoIdentityPoolId", "principalOrgId", "user", "userArn")
    )  # fmt: skip
    identity |= {name: context[f"identity.{name}"] for name in identity_names if f"identity.{name}" in context}
    names = ("accountId", "apiId", "deploymentId", "domainName", "domainPrefix", "extendedRequestId", "httpMethod",
             "isCanaryRequest", "path", "protocol", "requestId", "requestTime", "requestTimeEpoch",
             "stage")  # fmt: skip
    path, resource_id = resource
    headers = {name: values for name, values in request.headers.items() if name not in _KEPT_BACK}
    headers |= {
        "X-Amzn-Trace-Id": [request.trace],
        "X-Forwarded-For": [str(context["identity.sourceIp"])],
        "X-Forwarded-Port": [str(request.environ.get("SERVER_PORT", ""))],
        "X-Forwarded-Proto": [str(request.environ.get("wsgi.url_scheme", "http"))],
    }
    return {
        "resource": path,
        "path": request.raw_path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in request.query.items()} or None,
        "multiValueQueryStringParameters": request.query or None,
        "pathParameters": request.path_parameters or None,
        "stageVariables": dict(variables) or None,
        "requestContext": {
            "resourceId": resource_id,
            "resourcePath": path,
            **{name: context[name] for name in names if name in context},
            "identity": identity,
        },
        "body": body[0],
        "isBase64Encoded": body[1],
    }
