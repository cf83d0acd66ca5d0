"""Known campaigns: what is published is answered, filtered, and explained."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.lookup_api.conftest import BELOW, HTML, KEYS, SLASHED, Server


def test_a_known_campaign_is_its_row(api: Server) -> None:
    """Every campaign's answer is what was published of it."""
    for campaign_id, row in api.rows().items():
        answer = api.get(f"/v1/campaigns/{quote(campaign_id, safe='')}")
        assert answer == {name: row[name] for name in answer}
        assert answer["model_version"] == api.version and answer["keywords"]


def test_ids_may_have_any_printable_character(api: Server) -> None:
    """Slashes, spaces, percent signs and accents, encoded as parts of a path are, in every operation."""
    for campaign in (SLASHED, BELOW, HTML):
        encoded = quote(campaign.campaign_id, safe="")
        assert api.get(f"/v1/campaigns/{encoded}")["name"] == campaign.name
        assert api.get(f"/v1/campaigns/{encoded}/similar")["campaign_id"] == campaign.campaign_id
        assert api.get(f"/v1/campaigns/{encoded}/recommendations")["campaign_id"] == campaign.campaign_id
    assert api.get("/v1/campaigns/html/similar")["campaign_id"] == HTML.campaign_id


def test_a_bare_slash_in_an_id_is_told(api: Server) -> None:
    """As behind API Gateway a slash separates parts of a path; the problem says how one is written."""
    response = api.request("GET", f"/v1/campaigns/{quote(SLASHED.campaign_id)}")
    assert response.status_code == 404 and "%2F" in response.json()["detail"]


def test_names_are_untouched(api: Server) -> None:
    """Markup in a name is text, and stays as it is in JSON."""
    response = api.request("GET", f"/v1/campaigns/{HTML.campaign_id}")
    assert response.json()["name"] == HTML.name
    assert response.headers["content-type"] == "application/json"


def test_similar_campaigns_are_the_published_ones(api: Server) -> None:
    """An administrator sees all neighbours, in their order, k of them."""
    for campaign_id, row in list(api.rows().items())[:10]:
        answer = api.get(f"/v1/campaigns/{quote(campaign_id, safe='')}/similar", k=4)
        published = [(similar["campaign_id"], similar["similarity"]) for similar in row["similar"]]
        assert [(one["campaign_id"], one["similarity"]) for one in answer["similar"]] == published[:4]
        assert answer["considered"] == len(published)
        assert "explanation" not in answer["similar"][0]


def test_filters_narrow_the_neighbours(api: Server) -> None:
    """By channel, by client and by similarity, alone and together; order and values stay."""
    everyone = api.get("/v1/campaigns/coffee-0001/similar", k=100)["similar"]
    channel = everyone[0]["channel"]
    client = everyone[0]["client_id"]
    least = everyone[len(everyone) // 2]["similarity"]
    for query in (
        {"channel": channel},
        {"client": client},
        {"min_similarity": least},
        {"channel": channel, "client": client},
    ):
        expected = [
            one
            for one in everyone
            if one["channel"] == query.get("channel", one["channel"])
            and one["client_id"] == query.get("client", one["client_id"])
            and one["similarity"] >= query.get("min_similarity", 0)
        ]
        found = api.get("/v1/campaigns/coffee-0001/similar", k=100, **query)["similar"]
        assert found == expected or query.get("client") == api.rows()["coffee-0001"]["client_id"]
    assert api.get("/v1/campaigns/coffee-0001/similar", channel="none")["similar"] == []


def test_an_explanation_adds_up_to_the_similarity(api: Server) -> None:
    """Terms of the campaign, topics, and the rest: exactly the similarity, for known and fresh campaigns."""
    rows = api.rows()
    known = api.get("/v1/campaigns/coffee-0001/similar", explain=True)["similar"]
    fresh = api.post("/v1/similar", {"keywords": rows["coffee-0001"]["keywords"], "explain": True}).json()["similar"]
    for similar in [*known, *fresh]:
        why = similar["explanation"]
        named = [*why["terms"], *why["related_terms"], *why["topics"]]
        rest = why["other_terms"] + why["other_related_terms"] + why["other_topics"]
        assert round(sum(one["contribution"] for one in named) + rest, 6) == similar["similarity"]
        assert [one["term"] for one in why["terms"]] == similar["shared_terms"]
    own = set(" ".join(rows["coffee-0001"]["keywords"]).split())
    assert {one["term"] for one in known[0]["explanation"]["terms"]} <= own


def test_recommendations_are_the_published_ones(api: Server) -> None:
    """In their order, k of them, with their evidence."""
    row = api.rows()["coffee-0001"]
    assert api.get("/v1/campaigns/coffee-0001/recommendations", k=100)["recommendations"] == row["recommendations"]
    assert len(api.get("/v1/campaigns/coffee-0001/recommendations", k=3)["recommendations"]) == 3


def test_topics_are_the_models(api: Server) -> None:
    """All topics with their terms; one of them by its number; another is not there."""
    topics = api.get("/v1/topics")
    assert topics["model_version"] == api.version
    assert [topic["topic"] for topic in topics["topics"]] == [0, 1, 2, 3, 4]
    assert sum(topic["share"] for topic in topics["topics"]) == pytest.approx(1, abs=1e-4)
    assert api.get("/v1/topics/3") == {"model_version": api.version, **topics["topics"][3]}
    assert api.request("GET", "/v1/topics/5").status_code == 404


def test_health_needs_no_key(api: Server) -> None:
    """It says which version is read."""
    assert api.get("/health", key=None) == {"status": "ok", "model_version": api.version}


def test_a_campaign_that_is_not_there_is_404(api: Server) -> None:
    """Whatever the id: unknown, empty, too long, unprintable, or the key of a document or of the pointer."""
    ids = ["nobody", "", "x" * 257, "a\x00b", "#current", " topics", "no-such/similar-thing", "\ud7ff\ufffd", "%ff"]
    for campaign_id in ids:
        for below in ("", "/similar", "/recommendations"):
            response = api.request("GET", f"/v1/campaigns/{quote(campaign_id, safe='')}{below}", KEYS["client-0"])
            assert response.status_code == 404, campaign_id
            assert response.json()["type"] in (
                "urn:topic-model:problem:unknown-campaign",
                "urn:topic-model:problem:not-found",
            )
