"""Feedback: what analysts accepted or rejected of an answer, for A/B tests and later training.

An item's key is a digest of who said it (client and person), of which answer, and about what, so saying it again is
the same item, and saying otherwise replaces it. ``by_version`` is an index of (``model_version``, ``given_at``).
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import orjson

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

    async def put(self, feedback: Feedback, principal: Principal) -> tuple[str, Stored]:
        """Keep it; its id, and whether it is new, was there, or replaces another verdict.

        Raises:
            Problem: 503, where the table does not answer.
        """
        subject = [principal.client_id, feedback.by, feedback.answer_id, feedback.kind, feedback.item]
        feedback_id = hashlib.sha256(orjson.dumps(subject)).hexdigest()[:32]
        before = await self._calls.table(self._put, feedback_id, feedback, principal)
        if not before:
            return feedback_id, "created"
        return feedback_id, "unchanged" if before["verdict"]["S"] == feedback.verdict else "changed"

    def _put(self, feedback_id: str, feedback: Feedback, principal: Principal) -> dict[str, Any]:
        given = {**feedback.model_dump(exclude_none=True), "feedback_id": feedback_id}
        if principal.client_id is not None:
            given["client_id"] = principal.client_id
        now = datetime.now(UTC)
        given["given_at"] = now.isoformat(timespec="milliseconds")
        item: dict[str, AttributeValueTypeDef] = {
            name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in given.items()
        }
        if self._days:
            item["expires_at"] = {"N": str(int(time.time()) + self._days * SECONDS_A_DAY)}
        answer = self._calls.dynamodb.put_item(TableName=self._table, Item=item, ReturnValues="ALL_OLD")
        return dict(answer.get("Attributes", {}))
