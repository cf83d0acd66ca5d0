"""Feedback: what analysts accepted or rejected of an answer, for A/B tests and later training.

What the answer was is not said by who gives feedback, but by the answer's signed id (:mod:`lookup_api.answer_ids`).

An item's key is a digest of who said it (client and person), of which answer, and about what, so saying it again is
the same item, and saying otherwise replaces it. ``by_version`` is an index of (``model_version``, ``given_at``).
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import orjson

from lookup_api.answer_ids import Judged
from lookup_api.calls import AwsCalls
from lookup_api.keys import Principal
from lookup_api.schemas import Feedback

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

BY_VERSION = "by_version"
SECONDS_A_DAY = 86_400
Stored = Literal["created", "unchanged", "changed"]


class FeedbackStore:
    """The table of feedback."""

    def __init__(self, calls: AwsCalls, table: str, days: int) -> None:
        self._calls, self._table, self._days = calls, table, days

    async def put(self, feedback: Feedback, judged: Judged, principal: Principal) -> tuple[str, Stored]:
        """Keep it; its id, and whether it is new, was there, or replaces another verdict.

        Raises:
            Problem: 503, where the table does not answer.
        """
        subject = [principal.client_id, feedback.by, judged.answer, feedback.kind, feedback.item]
        feedback_id = hashlib.sha256(orjson.dumps(subject)).hexdigest()[:32]
        before = await self._calls.table(self._put, feedback_id, feedback, judged, principal)
        if not before:
            return feedback_id, "created"
        return feedback_id, "unchanged" if before["verdict"]["S"] == feedback.verdict else "changed"

    def _put(self, feedback_id: str, feedback: Feedback, judged: Judged, principal: Principal) -> dict[str, Any]:
        said = {**feedback.model_dump(exclude={"answer_id"}), "feedback_id": feedback_id}
        about = {**asdict(judged), "client_id": principal.client_id}
        about["answer_id"] = about.pop("answer")
        given = {name: value for name, value in {**said, **about}.items() if value is not None}
        now = datetime.now(UTC)
        given["given_at"] = now.isoformat(timespec="milliseconds")
        item: dict[str, AttributeValueTypeDef] = {
            name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in given.items()
        }
        if self._days:
            item["expires_at"] = {"N": str(int(time.time()) + self._days * SECONDS_A_DAY)}
        answer = self._calls.dynamodb.put_item(TableName=self._table, Item=item, ReturnValues="ALL_OLD")
        return dict(answer.get("Attributes", {}))
