"""The lookup model as a BentoML service: ``bentoml serve bentoml_service:Lookups``."""

from __future__ import annotations

import os
from typing import Any

import bentoml  # type: ignore[import-not-found]
import orjson

from containers.scorer import load_scorer


@bentoml.service(
    workers=int(os.environ.get("TOPIC_MODEL_WORKERS", "2")),
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
)
class Lookups:
    """Answers one campaign record, as ``{"campaign": record}`` brings it."""

    def __init__(self) -> None:
        self._scorer = load_scorer()
        self._scorer.warm_up()

    @bentoml.api(route="/invocations")  # type: ignore[untyped-decorator]
    def invocations(self, campaign: dict[str, Any]) -> dict[str, Any]:
        """The answer."""
        return self._scorer.answer(orjson.dumps(campaign)).document
