"""What API Gateway answers by itself: gateway responses, and the ``$context`` that templates and access logs read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.apigateway_cache import Answer

_KINDS: Mapping[str, tuple[int, str]] = {
    "ACCESS_DENIED": (403, "AccessDeniedException"),
    "API_CONFIGURATION_ERROR": (500, "InternalServerErrorException"),
    "BAD_REQUEST_BODY": (400, "BadRequestException"),
    "BAD_REQUEST_PARAMETERS": (400, "BadRequestException"),
    "DEFAULT_5XX": (500, "InternalServerErrorException"),
    "INTEGRATION_FAILURE": (504, "InternalServerErrorException"),
    "INTEGRATION_TIMEOUT": (504, "InternalServerErrorException"),
    "INVALID_API_KEY": (403, "ForbiddenException"),
    "MISSING_AUTHENTICATION_TOKEN": (403, "MissingAuthenticationTokenException"),
    "QUOTA_EXCEEDED": (429, "LimitExceededException"),
    "REQUEST_TOO_LARGE": (413, "RequestTooLargeException"),
    "THROTTLED": (429, "TooManyRequestsException"),
}
"""Of each type of gateway response its status and the ``x-amzn-ErrorType`` that goes with it."""

_DEFAULT_TEMPLATE = '{"message":$context.error.messageString}'
_CONTEXT = re.compile(r"\$context\.([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*)")
_QUOTED_CONTEXT = re.compile(rf'"{_CONTEXT.pattern}"')


@dataclass
class RefusedError(Exception):
    """API Gateway answers by itself: a type of gateway response, its message, and what was wrong in detail."""

    kind: str
    message: str
    detail: str = ""
    status: int | None = None
    """Where it is not the type's own: API Gateway answers 502 for an integration's malformed answer."""


def context_text(template: str, context: Mapping[str, Any], *, absent: str = "") -> str:
    """A template with its ``$context`` variables filled in; there is no other language in it.

    A variable that stands alone between quotes is written so that the string stays one.
    """

    def quoted(found: re.Match[str]) -> str:
        return json.dumps(str(context.get(found[1], absent)))

    def plain(found: re.Match[str]) -> str:
        return str(context.get(found[1], absent))

    return _CONTEXT.sub(plain, _QUOTED_CONTEXT.sub(quoted, template))


def error_context(refusal: RefusedError) -> dict[str, str]:
    """``$context.error``."""
    return {
        "error.message": refusal.message,
        "error.messageString": json.dumps(refusal.message),
        "error.responseType": refusal.kind,
        "error.validationErrorString": refusal.detail,
    }


def gateway_response(
    refusal: RefusedError,
    responses: Mapping[str, Mapping[str, Any]],
    context: Mapping[str, Any],
    parameters: Mapping[tuple[str, str], str],
) -> Answer:
    """The answer of a type of gateway response: the API's own, else its DEFAULT_4XX or DEFAULT_5XX, else AWS's.

    ``parameters`` are the request's, by place and name, for ``method.request.…`` in the response's headers.
    """
    usual, error_type = _KINDS[refusal.kind]
    status = refusal.status or usual
    fallback = responses.get("DEFAULT_4XX" if status < 500 else "DEFAULT_5XX", {})
    chosen = responses.get(refusal.kind, fallback)
    templates = chosen.get("responseTemplates") or {"application/json": _DEFAULT_TEMPLATE}
    content_type, template = next(iter(templates.items()))
    headers = {"Content-Type": content_type, "x-amzn-ErrorType": error_type}
    for target, source in (chosen.get("responseParameters") or {}).items():
        name = target.removeprefix("gatewayresponse.header.")
        if (value := _mapped(source, context, parameters)) is not None:
            headers[name] = value
    body = context_text(template, context)
    return Answer(int(chosen.get("statusCode") or status), tuple(headers.items()), body.encode())


def _mapped(source: str, context: Mapping[str, Any], parameters: Mapping[tuple[str, str], str]) -> str | None:
    """The value of a header: ``'a text'``, ``context.…`` or ``method.request.<place>.<name>``."""
    if source.startswith("'"):
        return source[1:-1]
    if source.startswith("context."):
        value = context.get(source.removeprefix("context."))
        return None if value is None else str(value)
    _, _, place_and_name = source.partition("method.request.")
    place, _, name = place_and_name.partition(".")
    return parameters.get((place, name.lower() if place == "header" else name))
