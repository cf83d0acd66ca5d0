"""A raw request as a call: which service, which operation, which parameters.

The operation is the API's own name (``CreateTrainingJob``), whatever the protocol; parameters are those of the JSON
body, of the query protocol's form (its lists as lists), or of the path in the REST protocols.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

import botocore.session

from local_aws.http_server import Environ
from local_aws.request_names import action_of, region_of, service_of

_KEY_ID = re.compile(r"Credential=([^/,\s]+)/")
_REST = {"lambda": "lambda", "scheduler": "scheduler", "xray": "xray"}
"""Signing names of services in REST protocols, to botocore's; S3 and API Gateway have rules of their own."""
_BODY_FIRST_BYTES = frozenset(b"{[")


class UnreadableCallError(Exception):
    """A request whose operation or parameters cannot be told."""


@dataclass(frozen=True)
class Call:
    """One request."""

    service: str
    """The signing name: ``states``, ``monitoring`` …"""
    operation: str
    params: Mapping[str, Any]
    region: str

    def text(self, path: str) -> str | None:
        """A parameter by its dotted path, where it is text."""
        value: Any = self.params
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, str) else None


def key_of(environ: Environ) -> tuple[str, str]:
    """Access key id and session token of a request; empty where it has none."""
    if found := _KEY_ID.search(environ.get("HTTP_AUTHORIZATION", "")):
        return found[1], environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
    query = environ.get("QUERY_STRING", "")
    if "X-Amz-Credential" in query:  # a presigned URL
        given = parse_qs(query)
        credential, token = given["X-Amz-Credential"][0], given.get("X-Amz-Security-Token", [""])[0]
        return credential.partition("/")[0], token
    if "AWSAccessKeyId=" in query:  # one in S3's older way, which boto3 still makes by default
        given = parse_qs(query)
        return given["AWSAccessKeyId"][0], given.get("x-amz-security-token", [""])[0]
    return "", ""


def needs_body(environ: Environ) -> bool:
    """Whether a request's parameters stand in its body; those of uploads and invocations do not."""
    service, method = service_of(environ), environ["REQUEST_METHOD"]
    if method in ("GET", "HEAD"):
        return False
    if service == "s3":
        return method == "POST" and "delete" in re.split("[=&]", environ.get("QUERY_STRING", ""))
    return not str(environ["PATH_INFO"]).endswith(("/invocations", "/invoke-async", "/invoke-async/"))


def call_of(environ: Environ, body: bytes) -> Call:
    """The call that a request is.

    Raises:
        UnreadableCallError: it is in a protocol that is not read here.
    """
    service, region = service_of(environ), region_of(environ)
    if service == "s3":
        return Call(service, environ["REQUEST_METHOD"], _s3_parameters(environ, body), region)
    if service == "apigateway":
        return Call(service, environ["REQUEST_METHOD"], {"path": environ["PATH_INFO"], **_json(body)}, region)
    path = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]
    if service == "sagemaker" and path.endswith("/invocations"):
        return Call(service, "InvokeEndpoint", {"EndpointName": unquote(path.split("/")[2])}, region)
    if service in _REST:
        operation, params = _rest_operation(_REST[service], environ["REQUEST_METHOD"], path)
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        return Call(service, operation, {**query, **_json(body), **params}, region)
    if body[:1] and body[0] not in _BODY_FIRST_BYTES and "cbor" in str(environ.get("CONTENT_TYPE", "")):
        raise UnreadableCallError("the Smithy RPC v2 CBOR protocol is not read by the local AWS's IAM")
    operation = action_of(environ, body)
    if " " in operation:
        raise UnreadableCallError(f"it is no operation of {service} that the local AWS knows: {operation}")
    return Call(service, operation, _json(body) if body[:1] == b"{" else _form(environ, body), region)


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body) if body else {}
    except ValueError as error:
        raise UnreadableCallError("its body is no JSON") from error
    return value if isinstance(value, dict) else {}


def _form(environ: Environ, body: bytes) -> dict[str, Any]:
    """The query protocol's parameters; ``Tags.member.1.Key=a`` is ``{"Tags": [{"Key": "a"}]}``."""
    nested: dict[str, Any] = {}
    pairs = parse_qsl(environ.get("QUERY_STRING", "")) + parse_qsl(body.decode("utf-8", errors="replace"))
    for name, value in pairs:
        *path, last = [part for part in name.split(".") if part not in ("member", "entry")]
        at = nested
        for part in path:
            inner = at.setdefault(part, {})
            at = inner if isinstance(inner, dict) else {}
        at[last] = value
    return {name: _as_list(value) for name, value in nested.items()}


def _as_list(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(name.isdigit() for name in value):
        return [_as_list(value[name]) for name in sorted(value, key=int)]
    return {name: _as_list(inner) for name, inner in value.items()}


def _s3_parameters(environ: Environ, body: bytes) -> dict[str, Any]:
    """Bucket and key as the path has them, the query, the headers that permissions depend on, keys to delete."""
    path = unquote(str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]).removeprefix("/")
    bucket, _, key = path.partition("/")
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    headers = {
        name: environ[variable]
        for name, variable in (
            ("source", "HTTP_X_AMZ_COPY_SOURCE"),
            ("tagging", "HTTP_X_AMZ_TAGGING"),
            ("encryption", "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"),
            ("kms_key", "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID"),
        )
        if environ.get(variable)
    }
    deleted = re.findall(rb"<Key>([^<]*)</Key>", body)
    return {"bucket": bucket, "key": key, "query": query, **headers, "deleted": [_unescaped(one) for one in deleted]}


def _unescaped(text: bytes) -> str:
    from xml.sax.saxutils import unescape

    return unescape(text.decode("utf-8", errors="replace"), {"&quot;": '"', "&apos;": "'"})


def _rest_operation(service: str, method: str, path: str) -> tuple[str, dict[str, str]]:
    for operation, its_method, pattern in _routes(service):
        if its_method == method and (found := pattern.fullmatch(path)):
            return operation, {name: unquote(value) for name, value in found.groupdict().items()}
    raise UnreadableCallError(f"it is no operation of {service} that the local AWS knows: {method} {path}")


@cache
def _routes(service: str) -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """Operation, method and path of a REST service as botocore has them, literal paths first."""
    return tuple(sorted(_all_routes(service), key=lambda route: route[2].pattern.count("(?P<")))


def _all_routes(service: str) -> Iterator[tuple[str, str, re.Pattern[str]]]:
    model = botocore.session.get_session().get_service_model(service)
    for name in model.operation_names:
        http = model.operation_model(name).http
        template = http["requestUri"].partition("?")[0]
        pattern = re.sub(r"\\\{(\w+)(\\\+)?\\\}", lambda found: f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})",
                         re.escape(template))  # fmt: skip
        yield name, http["method"], re.compile(pattern + "/?")
