"""Answer ids: they name an answer, and prove that it was given, to whom, when, by which model, and what it held.

Nothing is stored for it. An id is, in URL-safe base64: a MAC of 16 bytes; the format's number; how many similar
campaigns and how many keywords the answer held; a tag of 4 bytes for each of them, in their order; and, as JSON, when
the answer was given (epoch seconds), the request's id, ``model_version``, ``variant`` and ``campaign_id``. The MAC is
HMAC-SHA-256 (RFC 2104), cut to its first half, over all of that and the client that was answered: of another client's
id it cannot be told whether it was ever given. Tags are HMACs too, so nobody can make up an item that fits one.

An id names the answer and not its reader. An answer that API Gateway has cached is given to several readers, all with
the one key that the cache keeps it under; their verdicts are about one answer, and are told apart by who says so.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from lookup_api.answer_key import AnswerKey
from lookup_api.keys import Principal
from lookup_api.problems import Problem, unavailable

Kind = Literal["neighbour", "keyword"]
ANSWER_DAYS = 7
"""For which feedback on an answer is taken."""
_FORMAT = 1
_MAC_BYTES, _COUNTS, _TAG_BYTES = 16, 3, 4
_RETRY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Judged:
    """An item of an answer that was given."""

    answer: str
    """What tells the answer from all others: its MAC, in hexadecimal."""
    request_id: str
    model_version: str
    variant: str | None
    campaign_id: str | None
    rank: int
    """The item's place in the answer, from 1."""


class AnswerIds:
    """Signs the ids of answers, and knows them again."""

    def __init__(self, key: AnswerKey) -> None:
        self._key = key

    async def sign(
        self,
        principal: Principal,
        request_id: str,
        about: Mapping[str, Any],
        *,
        similar: Sequence[Mapping[str, Any]] = (),
        recommendations: Sequence[Mapping[str, Any]] = (),
    ) -> str | None:
        """The id of an answer to a principal; None where there is no key to sign with.

        ``about`` has the answer's ``model_version`` and, where there are any, ``variant`` and ``campaign_id``.
        """
        key = await self._key.value()
        if key is None:
            return None
        tags = [_tag(key, "neighbour", one["campaign_id"]) for one in similar]
        tags += [_tag(key, "keyword", one["keyword"]) for one in recommendations]
        facts = [int(time.time()), request_id, about["model_version"], about.get("variant"), about.get("campaign_id")]
        head = bytes((_FORMAT, len(similar), len(recommendations)))
        content = b"".join((head, *tags, orjson.dumps(facts)))
        return base64.urlsafe_b64encode(_mac(key, principal, content) + content).decode().rstrip("=")

    async def judged(self, answer_id: str, principal: Principal, kind: Kind, item: str) -> Judged:
        """What an id and an item say together; the item is a similar campaign's id, or a keyword.

        Raises:
            Problem: 422, where this client was given no such answer, or too long ago, or where it held no such item;
                503 without a key.
        """
        key = await self._key.value()
        if key is None:
            raise unavailable("feedback cannot be taken now: there is no key to know answers by", _RETRY_SECONDS)
        mac, content = _parts(answer_id)
        if not hmac.compare_digest(mac, _mac(key, principal, content)):
            raise _unknown()
        _, similar, keywords = content[:_COUNTS]
        end = _COUNTS + _TAG_BYTES * (similar + keywords)
        given_at, request_id, model_version, variant, campaign_id = orjson.loads(content[end:])
        if time.time() - given_at > ANSWER_DAYS * 86_400:
            detail = f"the answer is more than {ANSWER_DAYS} days old; ask again, and judge the new answer"
            raise Problem(422, "expired-answer", detail)
        tags = [content[start : start + _TAG_BYTES] for start in range(_COUNTS, end, _TAG_BYTES)]
        of_kind, tag = tags[:similar] if kind == "neighbour" else tags[similar:], _tag(key, kind, item)
        if tag not in of_kind:
            words = "similar campaign" if kind == "neighbour" else "recommended keyword"
            raise Problem(
                422, "unknown-item", f"the answer held no {words} {item[:256]!r}; give one as it stands there"
            )
        return Judged(mac.hex(), request_id, model_version, variant, campaign_id, of_kind.index(tag) + 1)


def _mac(key: bytes, principal: Principal, content: bytes) -> bytes:
    # JSON has no bare newline, so no client's name can be taken for another's with something behind it.
    whole = b"answer\n" + orjson.dumps(principal.client_id) + b"\n" + content
    return hmac.digest(key, whole, "sha256")[:_MAC_BYTES]


def _tag(key: bytes, kind: Kind, item: str) -> bytes:
    return hmac.digest(key, f"{kind}\n{item}".encode(), "sha256")[:_TAG_BYTES]


def _parts(answer_id: str) -> tuple[bytes, bytes]:
    """MAC and content of what may be an id."""
    try:
        whole = base64.b64decode(answer_id + "=" * (-len(answer_id) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _unknown() from error
    return whole[:_MAC_BYTES], whole[_MAC_BYTES:]


def _unknown() -> Problem:
    detail = "this key's client was given no such answer; send the answer_id of an answer as it came, with the same key"
    return Problem(422, "unknown-answer", detail)
