"""The operations. Answers are raw responses: FastAPI checks and documents requests, and builds no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from lookup_api import schemas
from lookup_api.answers import fresh_answer, known_campaign, lists_for, similar_campaigns
from lookup_api.bodies import mistakes, read_body
from lookup_api.documented import body, operation
from lookup_api.keys import Principal
from lookup_api.map_parts import map_part
from lookup_api.paths import CAMPAIGN_ID
from lookup_api.problems import Problem
from lookup_api.schemas import MAX_K, MAX_PAGES, MAX_PARTS, MAX_QUERY_LENGTH, PAGE_SIZE

if TYPE_CHECKING:
    from lookup_api.app import Services

_NOT_JUDGED = (
    "This key's client was given no such answer (`unknown-answer`), or more than 7 days ago (`expired-answer`), or the "
    "answer held no such item (`unknown-item`)."
)

router = APIRouter(default_response_class=Response)


class SimilarQuery(BaseModel):
    """Which of the similar campaigns."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    k: int = Field(10, ge=1, le=MAX_K, description="how many at most")
    min_similarity: float = Field(0.0, ge=0, le=1)
    channel: str | None = Field(None, min_length=1, max_length=256, description="only campaigns of this channel")
    client: str | None = Field(None, min_length=1, max_length=1_024, description="only campaigns of this client")
    explain: bool = Field(False, description="say what each similarity is made of")


class RecommendationsQuery(BaseModel):
    """How many of the recommended keywords."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=MAX_K, description="how many at most")


class SearchQuery(BaseModel):
    """What to find, and which page of it."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field("", max_length=MAX_QUERY_LENGTH, description="words of a name, id or keywords; empty: all")
    page: int = Field(1, ge=1, le=MAX_PAGES)
    client: str | None = Field(None, min_length=1, max_length=1_024, description="only campaigns of this client")


class MapQuery(BaseModel):
    """Which part of which map."""

    model_config = ConfigDict(extra="forbid")

    part: int = Field(1, ge=1, le=MAX_PARTS)
    client: str | None = Field(None, min_length=1, max_length=1_024, description="only campaigns of this client")


QUERIES: Mapping[str, type[BaseModel]] = {
    "/v1/campaigns": SearchQuery,
    "/v1/campaigns/{campaign_id}/recommendations": RecommendationsQuery,
    "/v1/campaigns/{campaign_id}/similar": SimilarQuery,
    "/v1/map": MapQuery,
}
"""The parameters that operations declare, by their paths; no other operation has any."""


@router.get(f"/v1/campaigns/{CAMPAIGN_ID}/similar", **operation(schemas.SimilarCampaigns, 404))
async def similar_to_campaign(
    request: Request, campaign_id: str, options: Annotated[SimilarQuery, Query()]
) -> Response:
    """Campaigns similar to a known one."""
    services, principal = _of(request)
    row = await services.table.row(campaign_id, principal)
    neighbours = lists_for(row, principal, options.client)["similar"]
    similar = similar_campaigns(
        neighbours,
        principal,
        k=options.k,
        min_similarity=options.min_similarity,
        channel=options.channel,
        client_id=options.client,
        explain=options.explain,
    )
    about = await _about_known(request, row, similar=similar)
    return _known(services, {**about, "considered": len(neighbours), "similar": similar})


@router.get(f"/v1/campaigns/{CAMPAIGN_ID}/recommendations", **operation(schemas.Recommendations, 404))
async def recommendations_for_campaign(
    request: Request, campaign_id: str, options: Annotated[RecommendationsQuery, Query()]
) -> Response:
    """Keywords that campaigns similar to a known one use and it lacks."""
    services, principal = _of(request)
    row = await services.table.row(campaign_id, principal)
    recommended = lists_for(row, principal)["recommendations"][: options.k]
    about = await _about_known(request, row, recommendations=recommended)
    return _known(services, {**about, "recommendations": recommended})


@router.get("/v1/campaigns", **operation(schemas.FoundCampaigns))
async def find_campaigns(request: Request, options: Annotated[SearchQuery, Query()]) -> Response:
    """Campaigns by words of their names, ids or keywords."""
    services, principal = _of(request)
    version, matches = await services.search.find(options.query, principal, options.client)
    total = len(matches.campaigns)
    start = (options.page - 1) * PAGE_SIZE
    answer = {
        "model_version": version,
        "query": options.query,
        "page": options.page,
        "pages": -(-total // PAGE_SIZE),
        "total": total,
        "more": matches.more,
        "campaigns": matches.campaigns[start : start + PAGE_SIZE],
    }
    return _known(services, answer)


@router.get(f"/v1/campaigns/{CAMPAIGN_ID}", **operation(schemas.KnownCampaign, 404))
async def known_campaign_by_id(request: Request, campaign_id: str) -> Response:
    """A known campaign: its topics, cluster and keywords."""
    services, principal = _of(request)
    return _known(services, known_campaign(await services.table.row(campaign_id, principal)))


@router.post(
    "/v1/similar", **operation(schemas.FreshAnswer, 413, 415, 422, 502), openapi_extra=body(schemas.FreshCampaign)
)
async def similar_to_fresh_campaign(request: Request) -> Response:
    """Campaigns similar to a fresh one, recommended keywords and topics, by the model that serves."""
    services, principal = _of(request)
    fresh = await read_body(request, schemas.FreshCampaign)
    if fresh.client is not None and not principal.sees(fresh.client):
        raise Problem(400, "bad-request", "client is another client's than the key's; leave it out")
    asked = {"k", "num_recommendations", "min_similarity", "client", "explain"}
    record = fresh.model_dump(exclude_none=True, exclude=asked)
    record |= {"k": fresh.k, "num_recommendations": fresh.num_recommendations}
    answer = await services.endpoint.ask(record, principal, fresh.client)
    similar = similar_campaigns(
        answer.document["similar"],
        principal,
        k=fresh.k,
        min_similarity=fresh.min_similarity,
        client_id=fresh.client,
        explain=fresh.explain,
    )
    about = fresh_answer(answer.document, answer.variant)
    answer_id = await services.answers.sign(
        principal, request.state.request_id, about, similar=similar, recommendations=about["recommendations"]
    )
    return _json({"answer_id": answer_id, **about, "similar": similar})


@router.post(
    "/v1/feedback",
    status_code=201,
    **operation(schemas.FeedbackKept, 413, 415, 422, status=201, meanings={422: _NOT_JUDGED}),
    openapi_extra=body(schemas.Feedback),
)
async def give_feedback(request: Request) -> Response:
    """Say that a recommended keyword or a similar campaign was accepted or rejected; saying it twice is once."""
    services, principal = _of(request)
    feedback = await read_body(request, schemas.Feedback)
    judged = await services.answers.judged(feedback.answer_id, principal, feedback.kind, feedback.item)
    feedback_id, stored = await services.feedback.put(feedback, judged, principal)
    return _json({"feedback_id": feedback_id, "stored": stored}, 201)


@router.get("/v1/map", **operation(schemas.MapPart, 404))
async def map_of_campaigns(request: Request, options: Annotated[MapQuery, Query()]) -> Response:
    """Places of campaigns on a map, in parts of at most 350 KB."""
    services, principal = _of(request)
    return _known(services, await map_part(services.table, principal, options.part, options.client))


@router.get("/v1/topics", **operation(schemas.Topics))
async def all_topics(request: Request) -> Response:
    """All topics, each with its most probable terms."""
    services, _ = _of(request)
    version, topics = await services.table.document("topics")
    return _known(services, {"model_version": version, "topics": topics})


@router.get("/v1/topics/{topic}", **operation(schemas.TopicOfVersion, 404))
async def topic_by_number(request: Request, topic: Annotated[int, Field(ge=0, le=1_000_000)]) -> Response:
    """One topic."""
    services, _ = _of(request)
    version, topics = await services.table.document("topics")
    if topic >= len(topics):
        raise Problem(404, "unknown-topic", f"there is no topic {topic}; the model has {len(topics)}, from 0")
    return _known(services, {"model_version": version, **topics[topic]})


@router.get("/health", **operation(schemas.Health))
async def health(request: Request) -> Response:
    """Whether lookups can be answered; needs no key."""
    services: Services = request.app.state.services
    return _json({"status": "ok", "model_version": await services.table.version()})


def _of(request: Request) -> tuple[Services, Principal]:
    given = request.query_params
    if len(given) != len(given.multi_items()):
        twice = next(name for name in given if len(given.getlist(name)) > 1)
        raise mistakes([((twice,), "given more than once")])
    return request.app.state.services, request.state.principal


async def _about_known(request: Request, row: dict[str, Any], **held: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What an answer about a known campaign begins with; ``held`` is what the answer holds to be judged."""
    services, principal = _of(request)
    about = {name: row[name] for name in ("model_version", "campaign_id")}
    return {"answer_id": await services.answers.sign(principal, request.state.request_id, about, **held), **about}


def _known(services: Services, answer: dict[str, Any]) -> Response:
    """An answer that stays true until the next version is published."""
    return _json(answer, cache=f"private, max-age={services.version_seconds:.0f}")


def _json(answer: dict[str, Any], status: int = 200, cache: str = "no-store") -> Response:
    return Response(orjson.dumps(answer), status, {"Cache-Control": cache}, media_type="application/json")
