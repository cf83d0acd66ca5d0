"""Answers from published rows and from the endpoint's answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lookup_api.keys import Principal
from topic_model.published import SAME

CAMPAIGN_FIELDS = (
    "campaign_id",
    "client_id",
    "channel",
    "name",
    "model_version",
    "cluster",
    "cluster_label",
    "topics",
    "keywords",
    "num_keywords",
)
FRESH_FIELDS = (
    "model_version",
    "campaign_id",
    "known_terms",
    "unknown_terms",
    "cluster",
    "cluster_label",
    "topics",
    "recommendations",
)


def lists_for(row: Mapping[str, Any], principal: Principal, client_id: str | None = None) -> Mapping[str, Any]:
    """The row's ``similar`` and ``recommendations`` as the principal may see them.

    A client's key sees the lists that are made of the client's campaigns alone: another client's campaigns are neither
    neighbours nor evidence in them. An administrator gets the same lists by asking for the row's own client.
    """
    if principal.client_id is None and (client_id is None or client_id != row["client_id"]):
        return row
    within = row["within_client"]
    if within == SAME:
        return row
    return within if isinstance(within, dict) else {"similar": [], "recommendations": []}


def similar_campaigns(
    neighbours: Iterable[Mapping[str, Any]],
    principal: Principal,
    *,
    k: int,
    min_similarity: float = 0.0,
    channel: str | None = None,
    client_id: str | None = None,
    explain: bool = False,
) -> list[dict[str, Any]]:
    """The first k neighbours that pass the filters and that the principal may see."""
    found: list[dict[str, Any]] = []
    for neighbour in neighbours:
        if (
            len(found) < k
            and neighbour["similarity"] >= min_similarity
            and channel in (None, neighbour["channel"])
            and client_id in (None, neighbour["client_id"])
            and principal.sees(neighbour["client_id"])
        ):
            shown = {"related_terms": [], **neighbour}
            del shown["contributions"]
            found.append({**shown, "explanation": _explanation(neighbour)} if explain else shown)
    return found


def _explanation(neighbour: Mapping[str, Any]) -> dict[str, Any]:
    parts = neighbour["contributions"]
    return {
        "terms": _by_term(neighbour["shared_terms"], parts["terms"]),
        "other_terms": parts["other_terms"],
        "related_terms": _by_term(neighbour.get("related_terms", ()), parts.get("related_terms", ())),
        "other_related_terms": parts.get("other_related_terms", 0.0),
        "topics": [
            {"topic": topic["topic"], "terms": topic["terms"], "contribution": part}
            for topic, part in zip(neighbour["shared_topics"], parts["topics"], strict=True)
        ],
        "other_topics": parts["other_topics"],
    }


def _by_term(terms: Sequence[str], parts: Sequence[float]) -> list[dict[str, Any]]:
    return [{"term": term, "contribution": part} for term, part in zip(terms, parts, strict=True)]


def known_campaign(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of its campaign itself."""
    return {name: row[name] for name in CAMPAIGN_FIELDS}


def fresh_answer(document: Mapping[str, Any], variant: str | None) -> dict[str, Any]:
    """The endpoint's answer without its fingerprint and its neighbours, with who gave it."""
    return {
        "variant": variant,
        **{name: document[name] for name in FRESH_FIELDS},
        "low_confidence": document.get("low_confidence"),
        "confidence": document.get("confidence"),
    }
