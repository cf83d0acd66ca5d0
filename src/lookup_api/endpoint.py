"""Fresh campaigns: the endpoint's answer, or what its refusal means to who asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from lookup_api.assignment import Assignment
from lookup_api.calls import AwsCalls
from lookup_api.keys import Principal
from lookup_api.problems import Problem, bad_request, unavailable

ONLY_CLIENT = "only_client"
BUSY_SECONDS, ABSENT_SECONDS = 2, 30
_NO_SUCH_VARIANT = ("ValidationError", "ValidationException")
_LOGGER = logging.getLogger(__name__)


class _Target(TypedDict, total=False):
    TargetVariant: str


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """A decoded answer, and the production variant that gave it."""

    document: dict[str, Any]
    variant: str | None


class Endpoint:
    """One SageMaker endpoint; during an A/B test the variant is asked for that a question is assigned to."""

    def __init__(self, calls: AwsCalls, name: str, assignment: Assignment | None = None) -> None:
        self._calls, self._name, self._assignment = calls, name, assignment

    async def ask(self, campaign: Mapping[str, Any], principal: Principal, client_id: str | None) -> EndpointAnswer:
        """The answer to a fresh campaign, of what the principal may see (``client_id`` narrows it further).

        Raises:
            Problem: 422 without known terms, 400 where the endpoint refuses the campaign, 503 where it cannot answer.
        """
        # A client's key is never widened, whatever else is asked for.
        only = principal.client_id if principal.client_id is not None else client_id
        question = dict(campaign) if only is None else {**campaign, ONLY_CLIENT: only}
        try:
            answer = await self._answer(orjson.dumps(question), await self._variant(campaign, only))
        except ClientError as error:
            raise _problem(error) from error
        except (ValueError, TypeError) as error:
            _LOGGER.error("endpoint %s answered with no JSON object: %s", self._name, error)
            raise _failed() from error
        except BotoCoreError as error:
            _LOGGER.warning("endpoint %s cannot be reached: %s", self._name, error)
            raise unavailable("the endpoint cannot be reached; try again", BUSY_SECONDS) from error
        if only is not None and answer.document.get(ONLY_CLIENT) != only:
            # An older container ignores the field, and its answer tells of other clients.
            _LOGGER.error("endpoint %s does not keep to one client; deploy a container of this version", self._name)
            raise unavailable("the model that serves cannot answer for one client yet", ABSENT_SECONDS)
        if "similar" not in answer.document:
            _LOGGER.error("endpoint %s serves a trained model and no lookup model", self._name)
            raise unavailable("the model that serves knows no campaigns", ABSENT_SECONDS)
        return answer

    async def _variant(self, campaign: Mapping[str, Any], client_id: str | None) -> str | None:
        return None if self._assignment is None else await self._assignment.variant(campaign, client_id)

    async def _answer(self, body: bytes, variant: str | None) -> EndpointAnswer:
        if self._assignment is None or variant is None:
            return await self._calls.run(self._invoke, body)
        try:
            return await self._calls.run(self._invoke, body, variant)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _NO_SUCH_VARIANT:
                raise
            # The test has just begun or ended; without a variant the request is SageMaker's to route.
            self._assignment.forget()
            return await self._calls.run(self._invoke, body)

    def _invoke(self, body: bytes, variant: str | None = None) -> EndpointAnswer:
        target: _Target = {} if variant is None else {"TargetVariant": variant}
        answer = self._calls.runtime.invoke_endpoint(
            EndpointName=self._name, ContentType="application/json", Accept="application/json", Body=body, **target
        )
        document = orjson.loads(answer["Body"].read())
        if not isinstance(document, dict):
            raise TypeError(f"the endpoint answered {type(document).__name__}; expected an object")
        return EndpointAnswer(document, answer.get("InvokedProductionVariant"))


def _problem(error: ClientError) -> Problem:
    code = str(error.response.get("Error", {}).get("Code"))
    message = str(error.response.get("Error", {}).get("Message", ""))
    if code == "ModelError":
        return _refusal(error.response)
    _LOGGER.warning("the endpoint did not answer: %s: %s", code, message[:500])
    if code in (*_NO_SUCH_VARIANT, "ResourceNotFound"):
        return unavailable("no model serves yet", ABSENT_SECONDS)
    return unavailable("the endpoint is busy; try again", BUSY_SECONDS)


def _refusal(response: Any) -> Problem:
    """What the container answered instead of an answer."""
    status = int(response.get("OriginalStatusCode") or 500)
    told: dict[str, Any] = {}
    try:
        told = orjson.loads(response.get("OriginalMessage") or "")["error"]
        detail = str(told["message"])
    except (ValueError, KeyError, TypeError):
        detail = ""
    if status == 422 and told.get("code") == "no_known_terms":
        unknown = [str(term) for term in told.get("unknown_terms") or []]
        words = "the model knows none of the campaign's terms"
        if not unknown:
            words = "there is no word in the campaign that a model could know; give keywords or search_terms"
        return Problem(422, "no-known-terms", words, unknown_terms=unknown)
    if status in (400, 422) and detail:
        return bad_request(detail)
    if status == 413:
        return Problem(413, "too-large", "the campaign is larger than the endpoint takes; send fewer keywords")
    if status in (429, 503):
        return unavailable("the endpoint is busy; try again", BUSY_SECONDS)
    _LOGGER.error("the container failed with %d: %s", status, str(response.get("OriginalMessage"))[:500])
    return _failed()


def _failed() -> Problem:
    detail = "the model that serves failed on this campaign"
    return Problem(502, "endpoint-failed", detail, retry_after_seconds=BUSY_SECONDS)
