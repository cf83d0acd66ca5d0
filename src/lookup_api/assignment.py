"""Which variant answers during an A/B test: the same one for the same question of the same client.

``topic-model ab start`` writes the item (:data:`~topic_model.published.AB_TEST`, twice) to the lookup table: the
``endpoint``, the endpoint's ``config`` and ``variants`` (name to weight). A hash of config, client and question falls
on a variant as often as the weights say; the config's name is new with each test, and so is who gets what.

By question and not by client: who asks again gets the same answer again, while a client with many questions does not
decide the test alone, and the questions, of which there are many, are what is assigned by chance.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import orjson

from lookup_api.calls import AwsCalls
from lookup_api.renewed import STALE_SECONDS, Renewed
from topic_model.published import AB_TEST

_NOT_THE_QUESTION = frozenset({"k", "num_recommendations"})


def chosen_variant(config: str, weights: Mapping[str, float], client_id: str | None, question: bytes) -> str:
    """The variant that a question falls on; each with the probability of its weight, which are not all 0."""
    subject = orjson.dumps([config, client_id]) + question
    draw = int.from_bytes(hashlib.sha256(subject).digest()[:8], "big") / 2**64 * math.fsum(weights.values())
    *others, last = sorted(weights.items())
    for name, weight in others:
        draw -= weight
        if draw < 0:
            return name
    return last[0]


def question_of(campaign: Mapping[str, Any]) -> bytes:
    """What makes a question the same: the known campaign's id, or else all that is said of the fresh one."""
    if (campaign_id := campaign.get("campaign_id")) is not None:
        return orjson.dumps(campaign_id)
    said = {name: value for name, value in campaign.items() if name not in _NOT_THE_QUESTION}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


class Assignment:
    """The A/B test of one endpoint, if one is on; what is read of it is believed for some seconds."""

    def __init__(
        self, calls: AwsCalls, table: str, endpoint: str, seconds: float, *, stale_seconds: float = STALE_SECONDS
    ) -> None:
        self._calls, self._table, self._endpoint = calls, table, endpoint
        self._test = Renewed(calls, self._read, seconds, stale_seconds=stale_seconds)

    async def variant(self, campaign: Mapping[str, Any], client_id: str | None) -> str | None:
        """The variant to ask for; None without a test, or where the table is silent: then SageMaker chooses.

        A new process waits for its first reading, so that a slow one sends nobody to another model.
        """
        test = await self._test.value_or(None)
        if test is None:
            return None
        config, weights = test
        return chosen_variant(config, weights, client_id, question_of(campaign))

    def forget(self) -> None:
        """A variant of the test is not there: SageMaker chooses until the test is read again."""
        self._test.believe(None)

    def _read(self) -> tuple[str, dict[str, float]] | None:
        key = {"campaign_id": {"S": AB_TEST}, "model_version": {"S": AB_TEST}}
        item: Mapping[str, Any] = self._calls.dynamodb.get_item(TableName=self._table, Key=key).get("Item", {})
        if item.get("endpoint", {}).get("S") != self._endpoint:
            return None
        weights = {name: float(weight["N"]) for name, weight in item["variants"]["M"].items()}
        return (item["config"]["S"], weights) if sum(weights.values()) > 0 else None
