"""The API as anybody finds it: it is up, it asks for a key, and it says what is wrong."""

from __future__ import annotations

import pytest

from acceptance.api import Api


@pytest.mark.usefixtures("published")
def test_health_is_answered_without_a_key(nobody: Api) -> None:
    """Health names the version that lookups are answered from."""
    answer = nobody.get("health")
    assert answer.status == 200, f"health is {answer.status}: {answer.text[:200]}"
    assert answer.document["status"] == "ok"
    assert answer.document["model_version"]


def test_no_key_is_refused(nobody: Api) -> None:
    """Nothing of a customer is answered without a key."""
    for path in (("v1", "topics"), ("v1", "campaigns", "1"), ("v1", "map")):
        assert nobody.get(*path).status == 403, f"/{'/'.join(path)} is answered without a key"


def test_a_key_that_nobody_made_is_refused(nobody: Api) -> None:
    """A guessed key opens nothing."""
    assert nobody.get("v1", "topics", key="0123456789abcdef0123456789abcdef").status == 403


def test_an_unknown_campaign_is_a_404_that_says_so(published: Api) -> None:
    """The problem document names what is not there."""
    answer = published.get("v1", "campaigns", "no-such-campaign")
    assert (answer.status, answer.code) == (404, "unknown-campaign"), f"{answer.status}: {answer.text[:200]}"


def test_a_body_of_another_shape_is_a_400(published: Api) -> None:
    """A mistake is the caller's, and is told."""
    bodies: list[object] = [{"keywords": "running shoes"}, {"keywords": [], "colour": "red"}, []]
    for body in bodies:
        answer = published.post("v1", "similar", body=body)
        assert answer.status == 400, f"{body} was answered with {answer.status}: {answer.text[:200]}"
        assert answer.document["detail"]


def test_a_number_out_of_range_is_a_400(published: Api) -> None:
    """Limits hold."""
    answer = published.post("v1", "similar", body={"keywords": ["running shoes"], "k": 10_000})
    assert answer.status == 400, f"k 10,000 was answered with {answer.status}"


def test_words_that_the_model_has_never_seen_are_told_apart(published: Api) -> None:
    """No known terms is an answer of its own, and never somebody's neighbours."""
    answer = published.post("v1", "similar", body={"keywords": ["zzqx vfghw", "qqqqjk"]})
    assert (answer.status, answer.code) == (422, "no-known-terms"), f"{answer.status}: {answer.text[:200]}"


def test_topics_have_terms(published: Api) -> None:
    """The model that is published has topics, each with its terms."""
    topics = published.get("v1", "topics").document["topics"]
    assert len(topics) >= 2
    assert all(topic["terms"] for topic in topics)
