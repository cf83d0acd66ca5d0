"""What a route says of its answers, errors and body in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from lookup_api.examples import EXAMPLES
from lookup_api.problems import PROBLEM_JSON

EVERYWHERE = (400, 403, 500, 503)
_MEANINGS = {
    400: "A parameter or the body is not as it should be; `errors` says where.",
    403: "No API key, or one that is not valid.",
    404: "There is no such thing, or none that the key may see.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    422: "The model knows none of the campaign's terms; `unknown_terms` lists them.",
    500: "A defect; the log says more under the request's id.",
    502: "The model that serves failed on this campaign.",
    503: "What the answer needs does not answer now; `Retry-After` says when to try again.",
}


def operation(
    model: type[BaseModel], *statuses: int, status: int = 200, meanings: Mapping[int, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The arguments of a route whose answer is a model and whose errors, beside the usual ones, have these statuses.

    ``meanings`` says of a status what it means here, where that is not what it usually means.
    """
    answer: dict[str, Any] = {"model": model, "description": (model.__doc__ or "").strip()}
    if (example := EXAMPLES.get(model.__name__)) is not None:
        answer["content"] = {"application/json": {"example": example}}
    problems = {
        code: _problem(code, meanings.get(code), f"Problem{code}{model.__name__}")
        for code in sorted({*EVERYWHERE, *statuses})
    }
    return {"responses": {status: answer, **problems}, "response_model": None}


def body(model: type[BaseModel]) -> dict[str, Any]:
    """The request body of a route that reads it itself."""
    content = {"schema": reference(model.__name__), "example": EXAMPLES[model.__name__]}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def reference(name: str) -> dict[str, str]:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _problem(status: int, meaning: str | None, own_example: str) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": reference("ProblemDocument")}
    if (example := EXAMPLES.get(own_example, EXAMPLES.get(f"Problem{status}"))) is not None:
        content["example"] = example
    documented: dict[str, Any] = {"description": meaning or _MEANINGS[status], "content": {PROBLEM_JSON: content}}
    if status in (502, 503):
        seconds = {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
        documented["headers"] = {"Retry-After": seconds}
    return documented
