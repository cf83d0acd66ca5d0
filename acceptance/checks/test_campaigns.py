"""Known and fresh campaigns of the sample: what is answered about them, and how good it is."""

from __future__ import annotations

from typing import Any

import pytest

from acceptance.api import Api

pytestmark = pytest.mark.sample

MIN_PRECISION = 0.6
"""Of the first five neighbours' verticals. The sample of 2,000 campaigns measures 0.9 and more; chance is 0.05."""
K = 5


def test_a_known_campaign_has_similar_ones_and_keywords(published: Api, known: list[dict[str, Any]]) -> None:
    """Most have; a campaign about which nothing is near may have none."""
    similar = recommended = 0
    for campaign in known:
        path = ("v1", "campaigns", campaign["campaign_id"])
        neighbours = published.get(*path, "similar")
        keywords = published.get(*path, "recommendations")
        assert (neighbours.status, keywords.status) == (200, 200)
        assert neighbours.document["model_version"] == campaign["model_version"]
        assert campaign["campaign_id"] not in [one["campaign_id"] for one in neighbours.document["similar"]]
        own = set(campaign["keywords"])
        assert not own & {one["keyword"] for one in keywords.document["recommendations"]}, "it has that keyword already"
        similar += bool(neighbours.document["similar"])
        recommended += bool(keywords.document["recommendations"])
    assert similar >= 0.9 * len(known), f"{similar} of {len(known)} campaigns have similar ones"
    assert recommended >= 0.5 * len(known), f"{recommended} of {len(known)} campaigns have recommended keywords"


def test_neighbours_are_about_the_same_thing(
    published: Api, known: list[dict[str, Any]], verticals: dict[str, str]
) -> None:
    """Precision of the first five neighbours, by the sample's ground truth."""
    right = asked = 0
    for campaign in known:
        answer = published.get("v1", "campaigns", campaign["campaign_id"], "similar", k=K).document["similar"]
        asked += len(answer)
        right += sum(verticals.get(one["campaign_id"]) == verticals[campaign["campaign_id"]] for one in answer)
    assert asked, "no campaign has a neighbour"
    assert right >= MIN_PRECISION * asked, f"precision@{K} is {right / asked:.3f}, expected {MIN_PRECISION} or more"


def test_a_fresh_campaign_finds_its_vertical(
    published: Api, known: list[dict[str, Any]], verticals: dict[str, str]
) -> None:
    """The endpoint, asked with half of a known campaign's keywords, answers with campaigns of its vertical."""
    right = asked = 0
    for campaign in [one for one in known if len(one["keywords"]) >= 4][:15]:
        answer = published.post("v1", "similar", body={"keywords": campaign["keywords"][::2], "k": K})
        assert answer.status == 200, f"campaign {campaign['campaign_id']}: {answer.status}: {answer.text[:200]}"
        document = answer.document
        assert sum(topic["share"] for topic in document["topics"]) <= 1.001
        asked += len(document["similar"])
        right += sum(
            verticals.get(one["campaign_id"]) == verticals[campaign["campaign_id"]] for one in document["similar"]
        )
    assert asked, "no fresh campaign has a neighbour"
    assert right >= MIN_PRECISION * asked, f"precision@{K} is {right / asked:.3f}, expected {MIN_PRECISION} or more"


def test_the_same_text_has_the_same_answer(published: Api, known: list[dict[str, Any]]) -> None:
    """A fingerprint depends on its campaign's text alone, whichever instance answers."""
    body = {"keywords": known[0]["keywords"][:8]}
    answers = [published.post("v1", "similar", body=body).document for _ in range(4)]
    assert len({str(answer["topics"]) for answer in answers}) == 1
    assert len({str([one["campaign_id"] for one in answer["similar"]]) for answer in answers}) == 1
