"""The campaign record: what is accepted, and how a mistake is named."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from topic_model.campaigns import MAX_ID_LENGTH, Campaign, Keyword, campaign_from_record, campaign_to_line
from topic_model.errors import CampaignError


def test_a_record_survives_a_round_trip() -> None:
    """What is written is read back the same, absent figures included."""
    campaign = Campaign(
        "c1",
        "client",
        "google_ads",
        "Shoes",
        (Keyword("red shoes", "exact", 1, 2.5, 0.0, None), Keyword("blue shoes")),
        (Keyword("shoes 茶", None, None, 3, None, None),),
        ("free",),
    )
    assert campaign_from_record(orjson.loads(campaign_to_line(campaign))) == campaign


def test_only_the_id_is_required() -> None:
    """A campaign without keywords is a campaign; a numeric id is its digits."""
    assert campaign_from_record({"campaign_id": 12}) == Campaign("12")


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ([], "object"),
        ({}, "campaign_id"),
        ({"campaign_id": True}, "campaign_id"),
        ({"campaign_id": " "}, "campaign_id"),
        ({"campaign_id": "a\x00b"}, "campaign_id"),
        ({"campaign_id": "a\ud800"}, "campaign_id"),
        ({"campaign_id": "x" * (MAX_ID_LENGTH + 1)}, "campaign_id"),
        ({"campaign_id": "1", "name": 3}, "name"),
        ({"campaign_id": "1", "keywords": "red shoes"}, "keywords"),
        ({"campaign_id": "1", "keywords": [1]}, "keywords[0]"),
        ({"campaign_id": "1", "search_terms": ["a", {"text": None}]}, "search_terms[1]"),
        ({"campaign_id": "1", "keywords": [{"text": "a", "clicks": "7"}]}, "keywords[0].clicks"),
        ({"campaign_id": "1", "keywords": [{"text": "a", "cost": -1}]}, "keywords[0].cost"),
        ({"campaign_id": "1", "keywords": [{"text": "a", "cost": True}]}, "keywords[0].cost"),
        ({"campaign_id": "1", "keywords": [{"text": "a", "cost": float("nan")}]}, "keywords[0].cost"),
        ({"campaign_id": "1", "keywords": [{"text": "a", "match_type": 1}]}, "keywords[0].match_type"),
    ],
)
def test_a_mistake_is_named(record: Any, named: str) -> None:
    """The error says which field is wrong."""
    with pytest.raises(CampaignError, match=named.replace("[", r"\[").replace("]", r"\]")):
        campaign_from_record(record)


def test_an_unknown_field_is_refused_where_asked() -> None:
    """Exports may carry foreign columns, a request may not."""
    assert campaign_from_record({"campaign_id": "1", "vertical": "x"}).campaign_id == "1"
    with pytest.raises(CampaignError, match="keyword_list"):
        campaign_from_record({"campaign_id": "1", "keyword_list": []}, ignore_unknown=False)


def test_a_name_becomes_one_line() -> None:
    """Line breaks and NUL in a name would break logs and tables."""
    assert campaign_from_record({"campaign_id": "1", "name": "a\nb\x00"}).name == "a b"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("keyword", "keywords"),
        ("Keywords", "keywords"),
        ("search_term", "search_terms"),
        ("search terms", "search_terms"),
    ],
)
def test_a_misspelt_field_is_named_with_what_was_meant(given: str, meant: str) -> None:
    """A near miss would leave a campaign without keywords, so it is refused in exports too."""
    with pytest.raises(CampaignError, match=f"unknown field '{given}'; did you mean '{meant}'"):
        campaign_from_record({"campaign_id": "1", given: ["red shoes"]})


def test_fields_of_other_tools_are_ignored() -> None:
    """Neither a field like none of ours nor one beside the field that it resembles is taken for a mistake."""
    others = {"vertical": "shoes", "budget": 3, "campaign": "x", "client": "y", "keyword": "z", "k" * 99: 0}
    record = {"campaign_id": "1", "keywords": ["red shoes"], **others}
    assert campaign_from_record(record) == Campaign("1", keywords=(Keyword("red shoes"),))
