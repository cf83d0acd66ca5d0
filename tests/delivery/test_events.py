"""EventBridge's rules as deliveries meet them: patterns, and what a target is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from topic_model_cli.deliver_teardown import matches, transformed
from topic_model_cli.packaged_template import read_template

EVENT = {
    "source": "aws.codepipeline",
    "detail-type": "CodePipeline Pipeline Execution State Change",
    "detail": {"pipeline": "topic-model", "execution-id": "1", "state": "FAILED"},
}


@pytest.mark.parametrize(
    ("pattern", "does"),
    [
        ({"source": ["aws.codepipeline"]}, True),
        ({"source": ["aws.states"]}, False),
        ({"detail": {"state": ["FAILED", "STOPPED"]}}, True),
        ({"detail": {"state": ["SUCCEEDED"]}}, False),
        ({"detail": {"stage": ["Test"]}}, False),
        ({"region": ["us-east-1"]}, False),
        (None, False),
    ],
)
def test_a_pattern_matches_by_its_values(pattern: Any, does: bool) -> None:
    """Each field that it names must have one of them; a schedule has no pattern."""
    assert matches(pattern, EVENT) is does


@pytest.mark.parametrize("state", ["CANCELED", "FAILED", "STOPPED", "SUPERSEDED"])
def test_however_a_delivery_ends_without_success_its_environment_goes(state: str) -> None:
    """The rule of the template takes each such state, and gives the teardown the delivery's id."""
    rule = read_template(Path("delivery/pipeline.yaml"))["Resources"]["RemoveWhatFailed"]["Properties"]
    pattern = rule["EventPattern"]
    pattern["detail"]["pipeline"] = ["topic-model"]
    assert matches(pattern, {**EVENT, "detail": {**EVENT["detail"], "state": state}})
    given = transformed(rule["Targets"][0]["InputTransformer"], EVENT)
    assert json.loads(given) == {"execution": "1"}
