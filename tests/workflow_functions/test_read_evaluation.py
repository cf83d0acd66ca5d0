"""ReadEvaluation against a real S3 interface."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workflow_functions.conftest import BUCKET, Cloud
from workflow_functions.errors import EvaluationError
from workflow_functions.read_evaluation import handler

REPORT = {
    "accepted": False,
    "failed_gates": ["min_c_npmi"],
    "metrics": {"c_npmi": -0.61, "topic_diversity": 0.8},
    "gates": {"min_c_npmi": -0.5},
    "model_version": "0123456789ab",
}


def read(cloud: Cloud, report: Any) -> dict[str, Any]:
    body = report if isinstance(report, str) else json.dumps(report)
    return handler({"evaluation": cloud.put("runs/r/evaluation/evaluation.json", body)}, None)


def test_a_rejection_says_which_gate_and_figure(cloud: Cloud) -> None:
    """The summary of a rejection is what a person needs: the metric, its figure and the gate."""
    answer = read(cloud, REPORT)
    assert answer["accepted"] is False
    assert answer["summary"] == "c_npmi is -0.61, at least -0.5 is asked for"
    assert answer["model_version"] == "0123456789ab"


def test_an_acceptance(cloud: Cloud) -> None:
    """A model that failed no gate is accepted."""
    assert read(cloud, {**REPORT, "accepted": True, "failed_gates": []})["accepted"] is True


@pytest.mark.parametrize(
    "report",
    [
        "not json",
        "[]",
        "null",
        {**REPORT, "accepted": "yes"},
        {**REPORT, "accepted": True},
        {key: value for key, value in REPORT.items() if key != "model_version"},
    ],
)
def test_a_report_that_does_not_decide_is_an_error(cloud: Cloud, report: Any) -> None:
    """No model is accepted by a report that is malformed or contradicts itself."""
    with pytest.raises(EvaluationError):
        read(cloud, report)


def test_a_missing_report_is_an_error(cloud: Cloud) -> None:
    """The error names where the report should be."""
    with pytest.raises(EvaluationError, match=r"runs/none/evaluation\.json"):
        handler({"evaluation": f"s3://{BUCKET}/runs/none/evaluation.json"}, None)
