"""Lambda proxy integrations: the event that a function gets, and the answer that is made of what it returns."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import re
from collections.abc import Mapping
from typing import Any

from moto.awslambda.models import lambda_backends

from local_aws.apigateway_answers import RefusedError
from local_aws.apigateway_cache import Answer
from local_aws.iam_enforcement import service_may

LARGEST_EVENT = LARGEST_RESULT = 6 * 1024 * 1024  # bytes; of a synchronous invocation
_FUNCTION = re.compile(r"arn:[^:]+:apigateway:([^:]+):lambda:path/[^/]+/functions/(arn:.+)/invocations")
_VARIABLE = re.compile(r"\$\{stageVariables\.([A-Za-z0-9_]+)\}")
_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded", "cookies"}
_REMAPPED = frozenset({"connection", "content-length", "date", "server", "www-authenticate", "authorization",
                       "content-md5", "expect", "host", "max-forwards", "proxy-authenticate", "te", "trailer",
                       "transfer-encoding", "upgrade", "user-agent", "via"})  # fmt: skip
"""Headers that a function gives and API Gateway renames to ``x-amzn-Remapped-…``."""


def function_of(uri: str, variables: Mapping[str, str], source_arn: str) -> Any:
    """The function (an alias's or a version's) that an integration's URI names.

    Raises:
        RefusedError: there is none, a variable is not set, or its policy does not let API Gateway invoke it.
    """
    resolved = _VARIABLE.sub(lambda found: variables.get(found[1], ""), uri)
    found = _FUNCTION.fullmatch(resolved)
    if found is None:
        raise RefusedError("API_CONFIGURATION_ERROR", "Internal server error", f"no function's URI: {resolved}")
    arn = found[2]
    account = arn.split(":")[4]
    try:
        function = lambda_backends[account][found[1]].get_function(arn)
    except Exception as error:  # moto's own kinds, for an unknown function, version and alias
        raise RefusedError("API_CONFIGURATION_ERROR", "Internal server error", f"no function {arn}") from error
    if not _may_invoke(function, arn, source_arn):
        detail = f"Invalid permissions on Lambda function {arn}"
        raise RefusedError("API_CONFIGURATION_ERROR", "Internal server error", detail)
    return function


def _may_invoke(function: Any, arn: str, source_arn: str) -> bool:
    """Whether a statement of the function's policy lets API Gateway invoke it for this method."""
    asked = service_may("apigateway.amazonaws.com", "lambda:InvokeFunction", arn, {"aws:sourcearn": (source_arn,)})
    if asked is not None:
        return asked
    for statement in function.policy.statements:
        principal = statement.get("Principal")
        service = principal.get("Service") if isinstance(principal, dict) else principal
        actions = statement.get("Action")
        conditions = statement.get("Condition") or {}
        wanted = [
            value
            for operator in ("ArnLike", "ArnEquals", "StringLike")
            for key, value in (conditions.get(operator) or {}).items()
            if key.lower() == "aws:sourcearn"
        ]
        if (
            statement.get("Effect") == "Allow"
            and service in ("apigateway.amazonaws.com", "*")
            and actions in ("lambda:InvokeFunction", ["lambda:InvokeFunction"], "lambda:*")
            and statement.get("Resource") == arn
            and all(fnmatch.fnmatchcase(source_arn, pattern) for pattern in wanted)
        ):
            return True
    return False


def is_binary(content_type: str, binary_types: tuple[str, ...]) -> bool:
    """Whether a media type is one of the API's binary ones."""
    kind = content_type.partition(";")[0].strip().lower()
    return any(fnmatch.fnmatchcase(kind or "application/octet-stream", pattern.lower()) for pattern in binary_types)


def event_body(body: bytes, content_type: str, binary_types: tuple[str, ...]) -> tuple[str | None, bool]:
    """``body`` and ``isBase64Encoded`` of an event; text that is no UTF-8 is not kept as it was, as on AWS."""
    if not body:
        return None, False
    if is_binary(content_type, binary_types):
        return base64.b64encode(body).decode("ascii"), True
    return body.decode("utf-8", errors="replace"), False


def answer_of(payload: str, failed: bool, accept: str, binary_types: tuple[str, ...]) -> Answer:
    """What a function returned, as an HTTP answer.

    Raises:
        RefusedError: 502: the function failed, or what it returned is not of the shape of a proxy's answer.
    """
    if failed:
        raise _malformed(f"the function failed: {payload[:500]}")
    if len(payload) > LARGEST_RESULT:
        raise _malformed(f"Response payload size exceeded maximum allowed payload size ({LARGEST_RESULT} bytes)")
    try:
        result = json.loads(payload)
    except ValueError as error:
        raise _malformed("Malformed Lambda proxy response") from error
    if not isinstance(result, dict) or set(result) - _KEYS:
        raise _malformed("Malformed Lambda proxy response")
    status, text = result.get("statusCode", 200), result.get("body")
    if not re.fullmatch(r"[1-5]\d\d", str(status)) or not isinstance(text, str | None):
        raise _malformed("Malformed Lambda proxy response")
    body = (text or "").encode()
    if result.get("isBase64Encoded") and is_binary(accept.partition(",")[0], binary_types):
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise RefusedError("API_CONFIGURATION_ERROR", "Internal server error", "no base64") from error
    return Answer(int(status), tuple(_headers(result)), body)


def _headers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    single, multiple = result.get("headers") or {}, result.get("multiValueHeaders") or {}
    if not (isinstance(single, dict) and isinstance(multiple, dict)):
        raise _malformed("Malformed Lambda proxy response")
    given: dict[str, tuple[str, list[str]]] = {}
    for name, value in single.items():
        if isinstance(value, dict | list):
            raise _malformed("Malformed Lambda proxy response")
        given[name.lower()] = (name, [_text(value)])
    for name, values in multiple.items():  # where both are given the lists win, with what the other has beside them
        if not isinstance(values, list):
            raise _malformed("Malformed Lambda proxy response")
        given[name.lower()] = (name, [_text(value) for value in values])
    headers = [
        (f"x-amzn-Remapped-{name}" if key in _REMAPPED else name, value)
        for key, (name, values) in given.items()
        for value in values
    ]
    if "content-type" not in given:
        headers.append(("Content-Type", "application/json"))
    return headers


def _text(value: Any) -> str:
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if "\r" in text or "\n" in text:
        raise _malformed("Malformed Lambda proxy response")
    return text


def _malformed(detail: str) -> RefusedError:
    return RefusedError("DEFAULT_5XX", "Internal server error", detail, status=502)
