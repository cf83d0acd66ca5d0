"""Request bodies: bounded before they are read, JSON before they are decoded, models before they are used."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from lookup_api.problems import Problem, bad_request
from lookup_api.schemas import MAX_BODY_BYTES

MAX_MISTAKES = 10
_Model = TypeVar("_Model", bound=BaseModel)


async def read_body(request: Request, model: type[_Model]) -> _Model:
    """The body as a model.

    Raises:
        Problem: 413, 415, or 400 with the mistakes.
    """
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "unsupported-media-type", f"the body is {kind[:100]!r}; expected application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Problem(413, "too-large", f"the body is over {MAX_BODY_BYTES:,} bytes; send fewer keywords")
    try:
        return model.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is not JSON: {error}") from error
    except ValidationError as error:
        raise mistakes(
            [(one["loc"], one["msg"]) for one in error.errors(include_input=False, include_url=False)]
        ) from error


def mistakes(found: list[tuple[tuple[Any, ...], str]]) -> Problem:
    """A problem that lists what is wrong where; at most ten, so that a wrong list is not answered by a longer one."""
    listed = [
        {"place": ".".join(map(str, place))[:200], "message": message[:300]} for place, message in found[:MAX_MISTAKES]
    ]
    detail = "; ".join(f"{one['place'] or 'body'}: {one['message']}" for one in listed[:3])
    return bad_request(detail, errors=listed)
