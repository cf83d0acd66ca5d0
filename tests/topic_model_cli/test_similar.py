"""Questions to the endpoint that cannot be answered; those that can are in the end-to-end test."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from local_aws.config import LocalConfig
from tests.local_aws.conftest import running
from topic_model_cli.errors import QuestionError
from topic_model_cli.similar import MAX_KEYWORDS, _phrases, _why_refused, ask, find_campaign


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A local AWS on which nothing was ever run."""
    with running(tmp_path_factory.mktemp("similar") / "aws") as config:
        yield config


def test_without_an_endpoint_the_answer_is_to_run_first(aws: LocalConfig) -> None:
    """The message says which command makes one."""
    with pytest.raises(QuestionError, match="topic-model run"):
        ask(aws, {"campaign_id": "x", "keywords": ["tea"]})


def test_without_a_run_no_campaign_is_known(aws: LocalConfig) -> None:
    """The message says which command makes one."""
    with pytest.raises(QuestionError, match="topic-model run"):
        find_campaign(aws, "anything")


def test_keywords_are_split_at_commas_and_trimmed() -> None:
    """Empty ones are dropped; commas and line feeds divide."""
    assert _phrases(" running shoes,, trail\nshoes ,") == ["running shoes", "trail", "shoes"]


@pytest.mark.parametrize("keywords", ["", " , ", ",".join(["tea"] * (MAX_KEYWORDS + 1))])
def test_no_keywords_or_too_many_are_refused(keywords: str) -> None:
    """Before anything is asked."""
    with pytest.raises(QuestionError, match="--keywords"):
        _phrases(keywords)


def test_unknown_terms_are_told_as_such() -> None:
    """A container's 422, as InvokeEndpoint hands it over, becomes a sentence."""
    said = json.dumps({"error": {"code": "no_known_terms", "message": "none of ['zzqq'] is known"}})
    response = {"Error": {"Code": "ModelError", "Message": "…"}, "OriginalStatusCode": 422, "OriginalMessage": said}

    assert "none of ['zzqq'] is known" in _why_refused(response)


def test_a_failing_container_is_quoted() -> None:
    """What is no answer of ours is shown as it came."""
    assert "out of memory" in _why_refused({"Error": {"Code": "ModelError"}, "OriginalMessage": "out of memory"})
