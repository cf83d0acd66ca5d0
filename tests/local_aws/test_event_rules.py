"""EventBridge's patterns, and what targets are told; that they are told is in ``test_iam_enforcement.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_aws.event_patterns import matches, message

EVENT = {"source": "aws.states", "resources": ["arn:1"], "detail": {"status": "FAILED", "job": {"name": "tm-a"}}}


@pytest.mark.parametrize(
    ("pattern", "yes"),
    [
        ({"source": ["aws.states"]}, True),
        ({"source": ["aws.sagemaker"]}, False),
        ({"source": ["aws.states"], "detail": {"status": ["SUCCEEDED", "FAILED"]}}, True),
        ({"detail": {"status": [{"prefix": "FA"}], "job": {"name": [{"suffix": "-a"}]}}}, True),
        ({"detail": {"status": [{"anything-but": ["FAILED"]}]}}, False),
        ({"detail": {"cause": [{"exists": False}]}}, True),
        ({"detail": {"other": {"name": ["tm-a"]}}}, False),
        ({"resources": [{"wildcard": "arn:*"}]}, True),
        ({"$or": [{"source": ["other"]}, {"detail": {"status": ["FAILED"]}}]}, True),
        ({"$or": [{"source": ["other"]}, {"detail": {"status": ["SUCCEEDED"]}}]}, False),
    ],
)
def test_a_pattern_is_about_events_with_one_of_its_values(pattern: Any, yes: bool) -> None:
    """In every field that it names, and in one of the alternatives of $or."""
    assert matches(pattern, EVENT) is yes


def test_a_target_is_told_what_its_settings_make_of_the_event() -> None:
    """The whole event, a part, a constant, or a template with values quoted where it is JSON and plain in a text."""
    paths = {"status": "$.detail.status", "first": "$.resources[0]", "gone": "$.detail.none"}

    def transformed(template: str) -> str:
        return message({"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}}, EVENT)

    assert json.loads(message({}, EVENT)) == EVENT
    assert json.loads(message({"InputPath": "$.detail.job"}, EVENT)) == {"name": "tm-a"}
    assert message({"Input": "constant"}, EVENT) == "constant"
    assert transformed('{"s": <status>, "r": <first>}') == '{"s": "FAILED", "r": "arn:1"}'
    assert transformed('"<first> is <status>, <gone>, <unknown>"') == '"arn:1 is FAILED, , <unknown>"'
