"""The functions and the states that call them: what a state passes and reads is what its function takes and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from pipelines.render import RENDERED_PATH
from pipelines.states import expressions
from tests.workflow_functions import test_publish_lookups, test_read_evaluation, test_smoke_test, test_validate_request
from tests.workflow_functions.conftest import BUCKET, TABLE, Cloud
from workflow_functions import publish_lookups, read_evaluation, smoke_test, validate_request

States = dict[str, Any]


@pytest.fixture(scope="module")
def states() -> States:
    found: States = json.loads(RENDERED_PATH.read_text(encoding="utf-8"))["States"]
    return found


def event_of(state: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The event that a state sends, with the values that an execution would have for its keys."""
    payload = state["Parameters"]["Payload"]
    return {name: values.get(name, payload.get(key)) for key in payload for name in [key.removesuffix(".$")]}


def unanswered(state: Mapping[str, Any], answer: Any) -> Iterator[str]:
    """The paths of a state's ResultSelector that the function's answer does not have."""
    for path in expressions(state["ResultSelector"]):
        value: Any = {"Payload": answer}
        for step in path.removeprefix("$.").split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            yield path


def test_validate_request_answers_its_state(cloud: Cloud, states: States) -> None:
    """The plan has every name and URI that the workflow reads of it, and so has each channel."""
    cloud.put("exports/google/a.csv", test_validate_request.GOOGLE)
    values = {"request": {"exports": f"s3://{BUCKET}/exports"}, "execution": "run-1"}
    values |= {"bucket": BUCKET, "endpoint": test_validate_request.ENDPOINT}
    plan = validate_request.handler(event_of(states["ValidateRequest"], values), None)
    assert list(unanswered(states["ValidateRequest"], plan)) == []
    read = {path.rpartition(".")[2] for path in expressions(states["Prepare"]["ItemSelector"]["channel"])}
    assert read <= set(plan["channels"][0])
    assert len(json.dumps(plan)) < 4_096


def test_read_evaluation_answers_its_state(cloud: Cloud, states: States) -> None:
    """The verdict has what Accept? and Rejected read."""
    uri = cloud.put("e/evaluation.json", json.dumps(test_read_evaluation.REPORT))
    answer = read_evaluation.handler(event_of(states["ReadEvaluation"], {"evaluation": uri}), None)
    assert list(unanswered(states["ReadEvaluation"], answer)) == []


def test_publish_lookups_answers_its_state(cloud: Cloud, states: States) -> None:
    """Checking answers what Deploy and SmokeTest read and writes nothing; publishing answers what Notify reads."""
    lookups = test_publish_lookups.write_lookups(cloud, "0123456789ab")
    for state, published in (("CheckLookups", False), ("PublishLookups", True)):
        event = event_of(states[state], {"lookups": lookups, "table": TABLE, "publish": "always"})
        assert list(unanswered(states[state], publish_lookups.handler(event, None))) == []
        assert bool(cloud.items()) is published


def test_smoke_test_answers_its_state(cloud: Cloud, states: States) -> None:
    """The smoke test takes what its state sends."""
    test_smoke_test.known(cloud, google=["a"])
    test_smoke_test.scored(cloud, "a")
    test_smoke_test.serve(cloud, test_smoke_test.answer())
    answer = smoke_test.handler(event_of(states["SmokeTest"], test_smoke_test.EVENT), None)
    assert list(unanswered(states["SmokeTest"], answer)) == []
