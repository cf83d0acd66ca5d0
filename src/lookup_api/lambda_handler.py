"""The Lambda function: API Gateway's proxy events to the application and back."""

from __future__ import annotations

import os
from typing import Any

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

from lookup_api.app import create_app
from lookup_api.problems import PROBLEM_JSON
from lookup_api.proxy_events import as_cached
from lookup_api.settings import ApiSettings

# What else is text: in base64 it would reach the caller as such, since the API declares no binary media types.
_TEXT_TYPES = [*DEFAULT_TEXT_MIME_TYPES, PROBLEM_JSON, "image/svg+xml"]

# Made when the function starts, so that the first request finds clients and routes ready.
_answer = Mangum(create_app(ApiSettings.from_environment(os.environ)), lifespan="off", text_mime_types=_TEXT_TYPES)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one event of API Gateway."""
    return _answer(as_cached(event), context)
