"""What an endpoint answers: one record in, one answer or one named refusal out."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import Any

import orjson

from containers.contract import base_folder
from topic_model.artifact import read_artifact, read_model
from topic_model.campaigns import MAX_ID_LENGTH, Campaign, campaign_from_record
from topic_model.errors import ArtifactError, CampaignError, NoKnownTermsError, TopicModelError
from topic_model.lookup_model import LookupModel, describe_fingerprint, has_index, read_lookup_model
from topic_model.model import TopicModel
from topic_model.text import Tokenizer

MAX_ANSWERS = 1_000
MAX_UNKNOWN_TERMS = 50
WARM_UP_TERMS = 20
ONLY_CLIENT = "only_client"
ARCHIVES = ("model.tar.gz",)
"""SageMaker's local mode leaves the archive beside what it unpacked from it."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back for one record: the JSON document, its HTTP status, and what it says of its confidence.

    ``low_confidence`` is None where nothing is known of it: refusals of malformed records, models without an index.
    """

    document: dict[str, Any]
    status: int = 200
    low_confidence: bool | None = None


class Scorer:
    """Answers records with one model; ``lookup`` is None where the artifact is a trained model alone."""

    def __init__(self, model: TopicModel, version: str, lookup: LookupModel | None, *, batch: bool) -> None:
        self.model, self.version, self.lookup, self.batch = model, version, lookup, batch
        self._tokenizer = Tokenizer(model.text_settings)

    def warm_up(self) -> None:
        """Answer once, so that whatever loads at first use is loaded, and shared by the processes forked later.

        Raises:
            ArtifactError: the model cannot answer, so it is not to be served.
        """
        self.model.warm_up()
        record: dict[str, Any] = {"keywords": self.model.vocabulary.terms[:WARM_UP_TERMS]}
        for scope in ({}, {ONLY_CLIENT: "nobody"}):
            answer = self.answer(orjson.dumps(record | scope))
            if answer.status >= 500:
                raise ArtifactError("the model fails on a campaign of its own terms, see above; train it again")

    def answer(self, content: bytes) -> Answer:
        """The answer to one record, whatever the bytes are."""
        return self._answer_or_refuse(content, "the body")[1]

    def answer_line(self, line: bytes, number: int) -> Answer:
        """The answer to one line of a batch: an error object for a bad one, so that no line is lost."""
        record, answer = self._answer_or_refuse(line, f"line {number}")
        if "error" in answer.document:
            answer.document["error"].pop("unknown_terms", None)
            if isinstance(record, dict):
                answer.document["campaign_id"] = _id_as_given(record)
        return answer

    def _answer_or_refuse(self, content: bytes, what: str) -> tuple[Any, Answer]:
        """The record, as far as it was JSON, and what it is answered."""
        record: Any = None
        try:
            record = orjson.loads(content)
            document = self._answer(record)
            return record, Answer(document, low_confidence=document.get("low_confidence"))
        except orjson.JSONDecodeError as error:
            refused = refusal("malformed_json", f"{what} is not JSON: {error}")
        except NoKnownTermsError as error:
            refused = refusal("no_known_terms", str(error), 422)
            refused.document["error"]["unknown_terms"] = list(error.terms)
            # A model that knows no word of what it is asked is not sure of anything.
            refused = replace(refused, low_confidence=None if self.lookup is None else True)
        except TopicModelError as error:
            refused = refusal("invalid_campaign", str(error))
        except RecursionError:
            refused = refusal("invalid_campaign", f"{what} is nested too deeply; expected a campaign record")
        except Exception:
            _LOGGER.exception("%s could not be answered", what)
            refused = refusal("internal_error", f"{what} could not be answered; the container's log says why", 500)
        return record, refused

    def _answer(self, record: Any) -> dict[str, Any]:
        if not isinstance(record, dict):
            raise CampaignError(f"expected a JSON object, got {type(record).__name__}")
        options = {name: _whole_number(record, name) for name in ("k", "num_recommendations") if name in record}
        fields = {name: value for name, value in record.items() if name not in options and name != ONLY_CLIENT}
        campaign = campaign_from_record({"campaign_id": "fresh", **fields})
        if "campaign_id" not in record:
            campaign = replace(campaign, campaign_id="")  # nobody's id, so that it hides no known campaign
        about = {"campaign_id": campaign.campaign_id or None, "model_version": self.version}
        try:
            return about | self._described(campaign, _client(record), options)
        except NoKnownTermsError as error:
            error.terms = tuple(self._tokenizer.campaign_terms(campaign))[:MAX_UNKNOWN_TERMS]
            raise

    def _described(self, campaign: Campaign, only_client: str | None, options: dict[str, int]) -> dict[str, Any]:
        if self.batch or self.lookup is None:
            theta = self.model.infer(self._tokenizer.campaign_terms(campaign))
            described = describe_fingerprint(self.model, theta)
            return {"fingerprint": described["fingerprint"]} if self.batch else described
        # Said back, so that a caller who must not see other clients' campaigns knows that this container obeyed.
        scope = {ONLY_CLIENT: only_client} if only_client is not None else {}
        return scope | self.lookup.answer(campaign, self._tokenizer, **options, only_client=only_client)


def load_scorer() -> Scorer:
    """The scorer of the container's model folder.

    Raises:
        ArtifactError: the model folder is not a whole, unchanged artifact.
    """
    artifact = read_artifact(base_folder() / "model", beside=ARCHIVES)
    batch = os.environ.get("SAGEMAKER_BATCH", "").lower() == "true"
    if has_index(artifact) and not batch:
        lookup = read_lookup_model(artifact)
        return Scorer(lookup.model, artifact.model_version, lookup, batch=False)
    return Scorer(read_model(artifact), artifact.model_version, None, batch=batch)


def refusal(code: str, message: str, status: int = 400) -> Answer:
    """An error object, as every refusal of an endpoint is."""
    return Answer({"error": {"code": code, "message": message}}, status)


def _id_as_given(record: dict[str, Any]) -> str | int | None:
    """The id of a refused record, where it may be one: what was refused is not sent back by the megabyte."""
    given = record.get("campaign_id")
    return given if isinstance(given, int) or (isinstance(given, str) and len(given) <= MAX_ID_LENGTH) else None


def _whole_number(record: dict[str, Any], name: str) -> int:
    value = record[name]
    low = 1 if name == "k" else 0
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MAX_ANSWERS:
        raise CampaignError(f"{name} is {str(value)[:40]!r}; expected a whole number from {low} to {MAX_ANSWERS}")
    return value


def _client(record: dict[str, Any]) -> str | None:
    """The client whose campaigns alone are to be in the answer; None for all."""
    value = record.get(ONLY_CLIENT)
    if value is not None and (not isinstance(value, str) or not value):
        raise CampaignError(f"{ONLY_CLIENT} is {str(value)[:40]!r}; expected a client's id, or nothing")
    return value
