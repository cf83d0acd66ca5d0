"""Folders as runs leave them, small and made up, for the tests of what reads them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

DEFINITION: dict[str, Any] = {
    "StartAt": "Prepare",
    "States": {
        "Prepare": {
            "Type": "Map",
            "ItemProcessor": {"StartAt": "PrepareChannel", "States": {"PrepareChannel": {"Type": "Task", "End": True}}},
            "Next": "Settings",
        },
        "Settings": {"Type": "Pass", "Next": "Tune?"},
        "Tune?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.settings.tune", "BooleanEquals": True, "Next": "Tune"}],
            "Default": "Train",
        },
        "Tune": {"Type": "Task", "Next": "Train", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Told"}]},
        "Train": {"Type": "Task", "Next": "Look", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Told"}]},
        "Look": {"Type": "Task", "Next": "Ready?", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Told"}]},
        "Ready?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.status", "StringEquals": "InService", "Next": "Done"}],
            "Default": "Wait",
        },
        "Wait": {"Type": "Wait", "Seconds": 2, "Next": "Look"},
        "Told": {"Type": "Pass", "Next": "NotifyFailure"},
        "NotifyFailure": {"Type": "Task", "Next": "Failed"},
        "Failed": {"Type": "Fail"},
        "Done": {"Type": "Succeed"},
    },
}


class History:
    """Writes the events of an execution, as GetExecutionHistory returns them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.now = datetime.datetime(2026, 11, 21, 8, 30, tzinfo=datetime.UTC)

    def add(self, kind: str, before: int | None = None, **details: Any) -> int:
        """One event; its number, which later events name as the one before them."""
        number = len(self.events) + 1
        previous = number - 1 if before is None else before
        self.events.append({"timestamp": self.now, "type": kind, "id": number, "previousEventId": previous, **details})
        return number

    def state(self, name: str, kind: str, seconds: float = 0.0, *, error: str | None = None, **given: Any) -> None:
        """One state from entry to exit; ``parameters`` and ``input`` as the history shows them."""
        before = given.get("before")
        details = {"name": name, "input": json.dumps(given.get("input", {}))}
        self.add(f"{kind}StateEntered", before, stateEnteredEventDetails=details)
        if kind == "Task":
            service = "sns" if name == "NotifyFailure" else "sagemaker"
            parameters = json.dumps(given.get("parameters", {}))
            self.add("TaskScheduled", taskScheduledEventDetails={"resourceType": service, "parameters": parameters})
        self.now += datetime.timedelta(seconds=seconds)
        if error:
            cause = json.dumps({"FailureReason": given["cause"]})
            self.add("TaskFailed", taskFailedEventDetails={"error": error, "cause": cause})
        if kind != "Fail":
            self.add(f"{kind}StateExited", stateExitedEventDetails={"name": name})

    def execution(self, name: str, status: str) -> dict[str, Any]:
        """The content of ``execution.json`` when the execution has ended."""
        end = {"SUCCEEDED": "ExecutionSucceeded", "FAILED": "ExecutionFailed"}[status]
        self.add(end)
        record = {
            "name": name,
            "status": status,
            "startDate": self.events[0]["timestamp"],
            "stopDate": self.now,
            "events": self.events,
        }
        return json.loads(json.dumps(record, default=lambda moment: moment.isoformat()))  # type: ignore[no-any-return]


def _begin(history: History) -> None:
    history.add("ExecutionStarted")
    history.add("MapStateEntered", stateEnteredEventDetails={"name": "Prepare", "input": "{}"})
    started = history.add("MapStateStarted")
    for index, channel in enumerate(("google_ads", "microsoft_ads")):
        iteration = history.add("MapIterationStarted", started, mapIterationStartedEventDetails={"index": index})
        history.state(
            "PrepareChannel",
            "Task",
            2.0,
            before=iteration,
            input={"channel": {"name": channel}},
            parameters={"ProcessingJobName": f"job-prepare-{index}"},
        )
    history.add("MapStateExited", started, stateExitedEventDetails={"name": "Prepare"})
    history.state("Settings", "Pass")
    history.state("Tune?", "Choice")


def good_history() -> History:
    """A run that trains without tuning and looks twice for its endpoint."""
    history = History()
    _begin(history)
    history.state("Train", "Task", 5.0, parameters={"TrainingJobName": "job-train-1"})
    for look in range(2):
        history.state("Look", "Task", 0.1, parameters={"Payload": {"endpoint": "the-endpoint"}})
        history.state("Ready?", "Choice")
        if look == 0:
            history.state("Wait", "Wait", 2.0)
    history.state("Done", "Succeed")
    return history


def failed_history() -> History:
    """A run whose training fails and is told of."""
    history = History()
    _begin(history)
    history.state("Train", "Task", 1.5, error="TrainingFailed", cause="unknown hyperparameter 'num_topic'")
    history.state("Told", "Pass")
    history.state("NotifyFailure", "Task", 0.1)
    history.state("Failed", "Fail")
    return history


def lookup_row(number: int, campaigns: int, clusters: int, name: str | None = None) -> dict[str, Any]:
    """One row as ``lookups/rows-*.jsonl`` holds it."""
    topic = {"topic": number % 3, "share": 0.61, "terms": ["camera", "lens", "tripod"]}
    similar = [
        {
            "campaign_id": f"c{(number + step) % campaigns}",
            "name": f"Campaign {(number + step) % campaigns}",
            "channel": "google_ads",
            "similarity": 0.9 - step / 20,
            "shared_topics": [topic],
            "shared_terms": ["camera bag", "zoom lens"],
        }
        for step in range(1, min(11, campaigns))
    ]
    evidence = {"campaigns": 4, "similarity": 0.7, "clicks": 12, "conversions": None, "cost": 3.5}
    return {
        "campaign_id": f"c{number}",
        "client_id": "client",
        "channel": "google_ads" if number % 2 else "microsoft_ads",
        "name": name or f"Campaign {number}",
        "model_version": "0123456789ab",
        "cluster": number % clusters,
        "cluster_label": f"label {number % clusters}",
        "topics": [topic],
        "similar": similar,
        "recommendations": [
            {"keyword": f"used keyword {step} of {number}", "score": 0.5, **evidence} for step in range(8)
        ],
    }


def write_run(
    folder: Path, *, campaigns: int = 12, clusters: int = 4, names: dict[int, str] | None = None, failed: bool = False
) -> Path:
    """A run's folder with everything in it, or with what a run has that failed in training."""
    (folder / "lookups").mkdir(parents=True)
    (folder / "evaluation").mkdir()
    execution = (
        failed_history().execution("the-run", "FAILED") if failed else good_history().execution("the-run", "SUCCEEDED")
    )
    _write(folder / "execution.json", execution)
    _write(folder / "definition.json", DEFINITION)
    for channel, rejected in (("google_ads", 2), ("microsoft_ads", 0)):
        prepared = folder / "prepared" / channel
        prepared.mkdir(parents=True)
        counts = {"files": 1, "lines": 90, "rejected_lines": rejected, "campaigns": campaigns // 2, "seconds": 0.4}
        _write(prepared / "quality.json", {"channel": channel, **counts})
        lines = [
            {"file": "a.csv", "line": 7 + n, "reason": "no campaign", "campaign_id": None} for n in range(rejected)
        ]
        (prepared / "rejected.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if failed:
        return folder
    rows = [lookup_row(number, campaigns, clusters, (names or {}).get(number)) for number in range(campaigns)]
    (folder / "lookups" / "rows-00000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _write(
        folder / "lookups" / "map.json",
        {
            "campaign_id": [row["campaign_id"] for row in rows],
            "x": [(number % 40) / 40 for number in range(campaigns)],
            "y": [number / campaigns for number in range(campaigns)],
            "cluster": [row["cluster"] for row in rows],
        },
    )
    sizes = [sum(row["cluster"] == cluster for row in rows) for cluster in range(clusters)]
    labels = [{"cluster": n, "label": f"label {n}", "terms": ["a"], "campaigns": size} for n, size in enumerate(sizes)]
    _write(folder / "lookups" / "clusters.json", labels)
    terms = [{"term": term, "probability": share} for term, share in (("camera", 0.2), ("lens", 0.1))]
    _write(folder / "lookups" / "topics.json", [{"topic": n, "share": 0.33, "terms": terms} for n in range(3)])
    (folder / "lookups" / "unscored.jsonl").write_text('{"campaign_id": "lost", "reason": "no known terms"}\n')
    _write(
        folder / "evaluation" / "evaluation.json",
        {
            "accepted": False,
            "failed_gates": ["min_topic_diversity"],
            "skipped_gates": ["max_perplexity_ratio"],
            "metrics": {"c_npmi": 0.123, "topic_diversity": 0.25, "perplexity_ratio": None, "coverage": 1.0},
            "gates": {
                "min_c_npmi": -0.5,
                "min_topic_diversity": 0.3,
                "max_perplexity_ratio": 1.0,
                "min_coverage": None,
            },
            "model_version": "ffffffffffff",
        },
    )
    _write(
        folder / "retrieval.json",
        {"k": 5, "queries": 12, "verticals": 3, "precision_at_5": 0.9, "tfidf_precision_at_5": 0.7, "chance": 0.3},
    )
    return folder


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document))
