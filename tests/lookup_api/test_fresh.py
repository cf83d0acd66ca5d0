"""Fresh campaigns: what the endpoint answers, and what its refusals and silence become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from lookup_api.endpoint import EndpointAnswer, _problem
from tests.lookup_api.conftest import KEYS, Server


def test_a_fresh_campaign_is_answered_by_the_model_that_serves(api: Server) -> None:
    """Its theme's campaigns, with version and variant; unknown terms are named; the negative is not recommended."""
    record = {"keywords": ["espresso grinder", {"text": "latte zzzz", "clicks": 3}], "negative_keywords": ["kettle"]}
    answer = api.post("/v1/similar", {**record, "k": 4}).json()
    assert (answer["model_version"], answer["variant"]) == (api.version, "champion")
    assert len(answer["similar"]) == 4
    assert {one["shared_terms"] != [] for one in answer["similar"]} == {True}
    assert answer["unknown_terms"] == ["zzzz"]
    assert answer["recommendations"] and not any("kettle" in one["keyword"] for one in answer["recommendations"])
    assert "fingerprint" not in answer
    assert answer["confidence"] == {"known_terms_share": 0.75, "nearest": answer["similar"][0]["similarity"]}
    assert answer["low_confidence"] is False


def test_options_are_obeyed(api: Server) -> None:
    """k, num_recommendations and min_similarity bound the lists."""
    record = {"keywords": ["espresso grinder", "latte"]}
    every = api.post("/v1/similar", {**record, "k": 100}).json()["similar"]
    least = every[5]["similarity"]
    narrow = api.post("/v1/similar", {**record, "k": 100, "min_similarity": least, "num_recommendations": 2}).json()
    assert narrow["similar"] == [one for one in every if one["similarity"] >= least]
    assert len(narrow["recommendations"]) <= 2


def test_a_new_state_of_a_known_campaign_is_not_its_own_neighbour(api: Server) -> None:
    """With the known campaign's id it is left out, without it is the nearest."""
    keywords = api.rows()["coffee-0001"]["keywords"]
    assert api.post("/v1/similar", {"keywords": keywords}).json()["similar"][0]["campaign_id"] == "coffee-0001"
    known = api.post("/v1/similar", {"keywords": keywords, "campaign_id": "coffee-0001"}).json()
    assert "coffee-0001" not in [one["campaign_id"] for one in known["similar"]]


@pytest.mark.parametrize("keywords", [[], ["zzzz qqqq"], ["2025"], ["\x00"], ["靴"]])
def test_without_known_terms_the_terms_are_listed(keywords: list[str], api: Server) -> None:
    """422, with the terms that the model does not know."""
    for key in KEYS.values():
        response = api.post("/v1/similar", {"keywords": keywords}, key)
        assert response.status_code == 422
        problem = response.json()
        assert problem["type"] == "urn:topic-model:problem:no-known-terms"
        assert problem["unknown_terms"] == (["zzzz", "qqqq"] if keywords == ["zzzz qqqq"] else problem["unknown_terms"])
        assert ("give keywords" in problem["detail"]) is not bool(problem["unknown_terms"])


def _error(code: str, **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "told"}, **more}, "InvokeEndpoint")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (_error("ThrottlingException"), 503, "2"),
        (_error("ServiceUnavailable"), 503, "2"),
        (_error("InternalFailure"), 503, "2"),
        (_error("ModelNotReadyException"), 503, "2"),
        (_error("ValidationError"), 503, "30"),
        (_error("ModelError", OriginalStatusCode=503, OriginalMessage="busy"), 503, "2"),
        (_error("ModelError", OriginalStatusCode=429), 503, "2"),
        (_error("ModelError", OriginalStatusCode=500, OriginalMessage="x"), 502, "2"),
        (_error("ModelError"), 502, "2"),
        (_error("ModelError", OriginalStatusCode=400, OriginalMessage='{"error": {"message": "bad k"}}'), 400, None),
        (_error("ModelError", OriginalStatusCode=400, OriginalMessage="no json"), 502, "2"),
        (_error("ModelError", OriginalStatusCode=413), 413, None),
        (
            _error(
                "ModelError",
                OriginalStatusCode=422,
                OriginalMessage='{"error": {"code": "no_known_terms", "message": "m", "unknown_terms": ["a"]}}',
            ),
            422,
            None,
        ),
    ],
)
def test_what_the_endpoint_refuses_has_its_status(error: ClientError, status: int, retry: str | None) -> None:
    """Busy and absent are 503 with when to try again; the container's own refusals are the caller's to mend."""
    problem = _problem(error)
    assert (problem.status, problem.headers.get("Retry-After")) == (status, retry)


def test_an_endpoint_that_is_not_there_is_503(api: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no model is deployed yet, who asks is told to come back."""
    monkeypatch.setattr("lookup_api.endpoint.Endpoint._invoke", _asks("nowhere"))
    response = api.post("/v1/similar", {"keywords": ["latte"]})
    assert (response.status_code, response.headers["retry-after"]) == (503, "30")


def test_an_endpoint_that_does_not_answer_is_503(api: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out is no defect of the application."""

    def invoke(*_: Any) -> Any:
        raise ReadTimeoutError(endpoint_url="https://runtime.sagemaker")

    monkeypatch.setattr("lookup_api.endpoint.Endpoint._invoke", invoke)
    response = api.post("/v1/similar", {"keywords": ["latte"]})
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize(
    ("answer", "status"), [(b"[1]", 502), (b"oops", 502), (b"", 502), (b'{"model_version": "a", "topics": []}', 503)]
)
def test_an_endpoint_that_answers_otherwise_is_no_defect(
    answer: bytes, status: int, api: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No JSON, no object, or a trained model without campaigns: 502 or 503, whoever's fault it is."""

    def invoke(self: Any, body: bytes) -> Any:
        document = json.loads(answer)
        if not isinstance(document, dict):
            raise TypeError("no object")
        return EndpointAnswer(document, None)

    monkeypatch.setattr("lookup_api.endpoint.Endpoint._invoke", invoke)
    assert api.post("/v1/similar", {"keywords": ["latte"]}).status_code == status


def test_a_container_that_does_not_keep_to_a_client_tells_nothing(api: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that does not say that it is of one client is passed on to an administrator and to no client."""
    from lookup_api.endpoint import Endpoint

    invoke = Endpoint._invoke
    monkeypatch.setattr(
        Endpoint, "_invoke", lambda self, body: invoke(self, body.replace(b"only_client", b"x_ignored"))
    )
    assert api.post("/v1/similar", {"keywords": ["latte"]}, KEYS["client-0"]).status_code == 503
    assert api.post("/v1/similar", {"keywords": ["latte"]}).status_code == 200


def _asks(name: str) -> Any:
    from lookup_api.endpoint import Endpoint

    invoke = Endpoint._invoke

    def other(self: Endpoint, body: bytes) -> Any:
        return invoke(Endpoint(self._calls, name), body)

    return other
