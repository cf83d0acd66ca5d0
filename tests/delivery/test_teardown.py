"""Which environments the teardown removes; that it removes them is shown by whole deliveries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from delivery.functions import teardown

ID = "0a1b2c3d-0000-4000-8000-000000000001"
TEMPLATE = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'


@pytest.fixture
def formation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "t")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield boto3.client("cloudformation")


def found(given: dict[str, Any]) -> list[str]:
    environments = teardown.handler({"step": "find", "input": given}, None)["environments"]
    return [environment["execution"] for environment in environments]


def test_a_delivery_is_named_by_its_id() -> None:
    """Whether or not it came to make an environment."""
    assert found({"execution": ID}) == [ID]


@pytest.mark.parametrize("given", [{"execution": "production"}, {"execution": ""}, {}, {"older_than_hours": 0}])
def test_what_names_no_delivery_is_refused(given: dict[str, Any]) -> None:
    """Nothing that could be another stack's name gets through."""
    with pytest.raises(teardown.TeardownError, match="expected"):
        found(given)


def test_what_nobody_removed_is_found_by_its_age(formation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments of deliveries alone: neither production, nor a stack that a person made, nor a young one."""
    for name in (f"topic-model-t-{ID}", "topic-model-production", "topic-model-t-mine", f"topic-model-acceptance-{ID}"):
        formation.create_stack(StackName=name, TemplateBody=TEMPLATE)
    assert found({"older_than_hours": 12}) == []

    later = SimpleNamespace(now=lambda tz: dt.datetime.now(tz) + dt.timedelta(hours=13))
    monkeypatch.setattr(teardown, "dt", SimpleNamespace(datetime=later, UTC=dt.UTC, timedelta=dt.timedelta))
    assert found({"older_than_hours": 12}) == [ID]


def test_an_environment_that_was_never_made_is_gone(formation: Any) -> None:
    """A delivery whose build failed has none, and the rule asks for its teardown all the same."""
    answer = teardown.handler({"step": "remove", "environment": {"execution": ID}}, None)
    assert answer == {"execution": ID, "gone": True, "left": []}
