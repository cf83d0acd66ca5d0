"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

PROBLEM_JSON = "application/problem+json"


class Problem(Exception):  # noqa: N818 - RFC 9457's word for it
    """An answer that is an error: a status, a code for programs, and a sentence for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.members = status, code, detail, members
        self.headers = dict(headers or {})
        if retry_after_seconds is not None:
            self.headers["Retry-After"] = str(retry_after_seconds)

    def response(self, request_id: str) -> Response:
        """The problem document."""
        document = {
            "type": f"urn:topic-model:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
            **self.members,
        }
        headers = {**self.headers, "Cache-Control": "no-store"}
        return Response(orjson.dumps(document), self.status, headers, media_type=PROBLEM_JSON)


def bad_request(detail: str, **members: Any) -> Problem:
    """The request is not understood as it stands."""
    return Problem(400, "bad-request", detail, **members)


def forbidden() -> Problem:
    """As API Gateway answers a request without a key that it knows."""
    return Problem(403, "forbidden", "expected a valid API key in the header x-api-key")


def internal_error() -> Problem:
    """A defect of the application."""
    return Problem(500, "internal-error", "the request could not be answered; the log says why")


def unknown_campaign(campaign_id: str) -> Problem:
    """There is no such campaign, or none that the key may see: the two are told the same."""
    return Problem(404, "unknown-campaign", f"there is no campaign {campaign_id[:256]!r}")


def unavailable(detail: str, retry_after_seconds: int) -> Problem:
    """Something that the answer needs does not answer now."""
    return Problem(503, "unavailable", detail, retry_after_seconds=retry_after_seconds)
