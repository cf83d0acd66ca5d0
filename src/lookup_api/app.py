"""The application: routes over the lookup table, the endpoint, and the table of feedback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lookup_api.answer_ids import AnswerIds
from lookup_api.answer_key import AnswerKey
from lookup_api.assignment import Assignment
from lookup_api.bodies import mistakes
from lookup_api.calls import AwsCalls
from lookup_api.endpoint import Endpoint
from lookup_api.feedback import FeedbackStore
from lookup_api.gate import Gate, print_line
from lookup_api.keys import KeyRing
from lookup_api.openapi import document_of
from lookup_api.page_files import router as page_router
from lookup_api.problems import Problem, internal_error
from lookup_api.routes import router
from lookup_api.search import CampaignSearch
from lookup_api.settings import ApiSettings
from lookup_api.table import LookupTable


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes use."""

    table: LookupTable
    search: CampaignSearch
    endpoint: Endpoint
    answers: AnswerIds
    feedback: FeedbackStore
    version_seconds: float


def create_app(settings: ApiSettings, *, write: Callable[[str], object] = print_line) -> Gate:
    """The application with its own AWS clients; ``write`` takes the lines of the access log."""
    calls = AwsCalls()
    # Rows, and what search holds, have half of the room each.
    half = settings.cache_bytes // 2
    seconds, stale = settings.version_seconds, settings.stale_seconds
    table = LookupTable(calls, settings.lookup_table, version_seconds=seconds, cache_bytes=half, stale_seconds=stale)
    api, name = bare_app(), settings.endpoint_name
    key = AnswerKey(calls, settings.answer_key_secret)
    key.begin()
    api.state.services = Services(
        table,
        CampaignSearch(calls, table, half),
        Endpoint(calls, name, Assignment(calls, settings.lookup_table, name, seconds, stale_seconds=stale)),
        AnswerIds(key),
        FeedbackStore(calls, settings.feedback_table, settings.feedback_days),
        seconds,
    )
    api.state.calls = calls
    return Gate(api, KeyRing(calls, settings.clients_table, settings.key_seconds, stale_seconds=stale), write)


def bare_app() -> FastAPI:
    """The routes without what they use: what the OpenAPI document is made from."""
    api = FastAPI(
        title="topic-model lookup API",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=_lifespan,
    )
    api.include_router(router)
    api.include_router(page_router)
    api.add_exception_handler(Problem, _on_problem)
    api.add_exception_handler(HTTPException, _on_http_error)
    api.add_exception_handler(RequestValidationError, _on_invalid)
    api.add_exception_handler(Exception, _on_defect)
    api.openapi = lambda: document_of(api)  # type: ignore[method-assign]
    return api


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    yield
    if calls := getattr(api.state, "calls", None):
        calls.close()


async def _on_problem(request: Request, error: Exception) -> Response:
    return cast("Problem", error).response(request.state.request_id)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What Starlette raises itself: no such route, no such method."""
    refused = cast("HTTPException", error)
    code = {404: "not-found", 405: "method-not-allowed"}.get(refused.status_code, "refused")
    detail = "there is nothing at this path"
    if request.url.path.startswith("/v1/campaigns/"):
        detail += "; a slash within a campaign's id is written %2F"
    if refused.status_code == 405:
        detail = f"{request.method} is not for this path"
    return Problem(refused.status_code, code, detail, headers=refused.headers).response(request.state.request_id)


async def _on_defect(request: Request, error: Exception) -> Response:
    """The answer to a defect; the error itself goes on to the gate, which logs it."""
    del error
    return internal_error().response(request.state.request_id)


async def _on_invalid(request: Request, error: Exception) -> Response:
    invalid = cast("RequestValidationError", error)
    found = [(tuple(one["loc"][1:]), str(one["msg"])) for one in invalid.errors()]
    return mistakes(found).response(request.state.request_id)
