"""Campaigns are found by words of their names, ids and keywords."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lookup_api.search import ClientCampaigns
from tests.lookup_api.conftest import HTML, SLASHED, Server
from topic_model.published import searchable


def found(api: Server, query: str, **more: Any) -> list[str]:
    return [one["campaign_id"] for one in api.get("/v1/campaigns", query=query, **more)["campaigns"]]


def test_words_find_what_they_begin(api: Server) -> None:
    """By id, by name, by keyword; all words must be there, in any order and case; the beginning of a word is enough."""
    assert found(api, "coffee-0001") == ["coffee-0001"]
    assert found(api, "GUITAR 4") == found(api, "4 guitar")
    assert "guitar-0004" in found(api, "guitar 4")
    assert found(api, "fretb coffee") == []
    assert HTML.campaign_id in found(api, "script")
    assert SLASHED.campaign_id in found(api, "É")
    assert found(api, "hyperlink") == [SLASHED.campaign_id]


def test_names_come_before_keywords(api: Server) -> None:
    """What a campaign is called counts more than what it bids on."""
    answer = api.get("/v1/campaigns", query="espresso")
    kinds = [one["matched"] for one in answer["campaigns"]]
    assert kinds == sorted(kinds, key=["id", "name", "keyword"].index)
    assert set(kinds) == {"keyword"}
    assert api.get("/v1/campaigns", query="coffee-0001")["campaigns"][0]["matched"] == "id"
    assert {one["matched"] for one in api.get("/v1/campaigns", query="coffee")["campaigns"]} == {"name"}


def test_pages_hold_every_match_once(api: Server) -> None:
    """An empty query lists all campaigns, page by page, by name; a page behind the last is empty."""
    first = api.get("/v1/campaigns")
    assert (first["total"], first["pages"], first["more"]) == (len(api.rows()), 5, False)
    ids = [campaign_id for page in range(1, 6) for campaign_id in found(api, "", page=page)]
    assert sorted(ids) == sorted(api.rows())
    assert found(api, "", page=6) == []


@pytest.mark.parametrize("query", ["!!!", "\x00", " ", "%", "^.*$", "zzzz", "\n\t", "a" * 200, "latte " * 33])
def test_any_query_is_answered(query: str, api: Server) -> None:
    """Punctuation finds nothing, blanks are no query, and nothing is a pattern."""
    answer = api.get("/v1/campaigns", query=query)
    every = len(api.rows())
    assert answer["total"] == {" ": every, "\n\t": every}.get(query, answer["total"])
    assert answer["total"] in (0, every) or "latte" in query


def test_searching_memory_finds_what_comparing_each_campaign_finds() -> None:
    """Random names, words and queries, against a search that looks at one campaign after the other."""
    draw = random.Random(11)  # noqa: S311 - test data
    letters = "abcé "
    texts = [["".join(draw.choices(letters, k=draw.randint(1, 8))) for _ in range(300)] for _ in range(2)]
    ids = [f"{number}" for number in range(300)]
    words = [" ".join(searchable(text)) for text in texts[1]]
    campaigns = ClientCampaigns("c", [{"campaign_id": ids, "name": texts[0], "channel": [None] * 300, "words": words}])
    for _ in range(300):
        query = searchable("".join(draw.choices(letters, k=draw.randint(1, 5))))
        if not query:
            continue

        def has(text: str, query: list[str] = query) -> bool:
            return all(any(word.startswith(part) for word in searchable(text)) for part in query)

        heads = [f"{campaign_id} {name}" for campaign_id, name in zip(ids, texts[0], strict=True)]
        assert list(campaigns.named(query)) == [place for place, head in enumerate(heads) if has(head)]
        both = [f"{head} {text}" for head, text in zip(heads, words, strict=True)]
        assert list(campaigns.using(query)) == [place for place, text in enumerate(both) if has(text)]
