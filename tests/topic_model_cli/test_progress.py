"""What a run shows as it goes, from histories that a real interpreter wrote."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from local_aws.config import LocalConfig
from tests.local_aws.conftest import running
from topic_model_cli.execution import execution_arn, follow, new_events, start, stop
from topic_model_cli.history import StateHistory, StateRun
from topic_model_cli.progress import Progress, settled_line

ROLE = "arn:aws:iam::123456789012:role/any"
NOW = datetime.datetime(2026, 6, 1, 12, 0, 10, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A local AWS whose interpreter really executes."""
    with running(tmp_path_factory.mktemp("progress") / "aws") as config:
        yield config


def _machine(aws: LocalConfig, name: str, definition: dict[str, Any]) -> str:
    states = aws.client("stepfunctions")
    return str(
        states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"]
    )


def _run(aws: LocalConfig, name: str, definition: dict[str, Any], given: Any) -> tuple[dict[str, Any], StateHistory]:
    machine = _machine(aws, name, definition)
    history = StateHistory(definition)
    return follow(aws, start(aws, machine, "one", given), history, lambda: None), history


MISSING_TABLE = {
    "Type": "Task",
    "Resource": "arn:aws:states:::aws-sdk:dynamodb:describeTable",
    "Parameters": {"TableName": "nowhere"},
}
CHANNELS = {
    "StartAt": "Prepare",
    "States": {
        "Prepare": {
            "Type": "Map",
            "ItemsPath": "$.channels",
            "ItemSelector": {"channel": {"name.$": "$$.Map.Item.Value"}},
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "PrepareChannel",
                "States": {
                    "PrepareChannel": {
                        "Type": "Task",
                        "Resource": "arn:aws:states:::aws-sdk:dynamodb:listTables",
                        "Parameters": {},
                        "End": True,
                    }
                },
            },
            "ResultPath": None,
            "Next": "After",
        },
        "After": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:listTables",
            "Parameters": {},
            "End": True,
        },
    },
}


def test_map_iterations_are_told_apart_by_their_channel(aws: LocalConfig) -> None:
    """Each channel has a line of its own, and what follows the Map has none of their channels."""
    described, history = _run(aws, "channels", CHANNELS, {"channels": ["google", "bing"]})

    assert described["status"] == "SUCCEEDED"
    labels = [run.label for run in history.newly_settled()]
    assert sorted(labels) == ["After", "Prepare", "PrepareChannel [bing]", "PrepareChannel [google]"]
    assert labels[-1] == "After"


def test_a_history_fed_in_any_portions_says_the_same(aws: LocalConfig) -> None:
    """Events one at a time, or all at once and twice: the same states."""
    machine = _machine(aws, "portions", CHANNELS)
    arn = start(aws, machine, "one", {"channels": ["google", "bing"]})
    whole = StateHistory(CHANNELS)
    follow(aws, arn, whole, lambda: None)
    events = new_events(aws, arn, 0)

    single = StateHistory(CHANNELS)
    for event in events:
        single.feed([event])
    twice = StateHistory(CHANNELS)
    twice.feed(events)
    twice.feed(events)

    assert single.runs == twice.runs == whole.runs


def test_only_new_events_are_fetched(aws: LocalConfig) -> None:
    """After the n-th event come the later ones, oldest first, none twice."""
    machine = _machine(aws, "new-events", CHANNELS)
    arn = start(aws, machine, "one", {"channels": ["google"]})
    follow(aws, arn, StateHistory(CHANNELS), lambda: None)
    every = [event["id"] for event in new_events(aws, arn, 0)]

    assert every == sorted(set(every))
    assert [event["id"] for event in new_events(aws, arn, 3)] == [number for number in every if number > 3]


def test_the_failing_state_is_found_behind_its_catch(aws: LocalConfig) -> None:
    """A state whose Catch leads to Fail is the one that failed, with its own error."""
    definition = {
        "StartAt": "Look",
        "States": {
            "Look": {**MISSING_TABLE, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Told"}], "End": True},
            "Told": {"Type": "Pass", "Next": "Failed"},
            "Failed": {"Type": "Fail", "Error": "Other", "Cause": "told"},
        },
    }
    described, history = _run(aws, "failing", definition, {})

    assert described["status"] == "FAILED"
    failed = history.failed()
    assert failed is not None
    assert failed.name == "Look"
    assert failed.error is not None
    assert "ResourceNotFound" in failed.error
    assert failed.outcome == "failed"


def test_a_failure_that_the_workflow_expects_is_no_failure(aws: LocalConfig) -> None:
    """A state that came after a handled error shows that the error did not end the execution."""
    definition = {
        "StartAt": "Look",
        "States": {
            "Look": {**MISSING_TABLE, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Make"}], "End": True},
            "Make": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:dynamodb:listTables",
                "Parameters": {},
                "Next": "Verdict",
            },
            "Verdict": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.nothing", "IsPresent": True, "Next": "Done"}],
                "Default": "Rejected",
            },
            "Rejected": {"Type": "Fail", "Error": "Rejected", "Cause": "not good enough"},
            "Done": {"Type": "Succeed"},
        },
    }
    _, history = _run(aws, "expected", definition, {})

    assert next(run for run in history.runs if run.name == "Look").outcome == "failed"  # the execution failed after all
    assert history.failed() is None
    last = history.last_at_work()
    assert last is not None
    assert last.name == "Make"


def test_an_error_that_the_workflow_goes_on_from_is_told_as_handled(aws: LocalConfig) -> None:
    """On the way to success an error with a path of its own is no failure, and the line does not read like one."""
    definition = {
        "StartAt": "Look",
        "States": {
            "Look": {**MISSING_TABLE, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Done"}], "End": True},
            "Done": {"Type": "Succeed"},
        },
    }
    described, history = _run(aws, "caught", definition, {})

    assert described["status"] == "SUCCEEDED"
    (look,) = history.newly_settled()
    assert look.outcome == "handled"
    line = settled_line(look, NOW, "")
    assert line.startswith("handled  Look")
    assert f"the definition has a path for {look.error}" in line


def test_a_loop_is_one_line_from_its_first_entry_to_its_last_exit(aws: LocalConfig) -> None:
    """Polling three times is one state with three visits, told once the loop is left."""
    definition = {
        "StartAt": "Count",
        "States": {
            "Count": {"Type": "Pass", "Result": 0, "ResultPath": "$.polls", "Next": "Poll"},
            "Poll": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:dynamodb:listTables",
                "Parameters": {},
                "ResultPath": None,
                "Next": "Enough?",
            },
            "Enough?": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.polls", "NumericGreaterThanEquals": 2, "Next": "Done"}],
                "Default": "More",
            },
            "More": {"Type": "Pass", "Parameters": {"polls.$": "States.MathAdd($.polls, 1)"}, "Next": "Poll"},
            "Done": {"Type": "Succeed"},
        },
    }
    _, history = _run(aws, "loop", definition, {})

    settled = history.newly_settled()
    assert [(run.name, run.visits) for run in settled] == [("Poll", 3)]
    assert history.newly_settled() == []


def test_stopping_ends_the_execution(aws: LocalConfig) -> None:
    """After stop the execution is aborted and nothing of it runs."""
    definition = {"StartAt": "Long", "States": {"Long": {"Type": "Wait", "Seconds": 600, "End": True}}}
    machine = _machine(aws, "stopped", definition)
    arn = start(aws, machine, "one", {})

    assert stop(aws, arn, "a test") == []
    assert aws.client("stepfunctions").describe_execution(executionArn=arn)["status"] == "ABORTED"
    assert arn == execution_arn(machine, "one")


def test_what_is_not_a_terminal_gets_plain_lines(aws: LocalConfig) -> None:
    """No control character but the line feed, a line a state, with its seconds."""
    machine = _machine(aws, "plain", CHANNELS)
    history = StateHistory(CHANNELS)
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=False))
    with progress.shown():
        follow(aws, start(aws, machine, "one", {"channels": ["google"]}), history, lambda: progress.update(history, {}))

    text = out.getvalue()
    assert all(character.isprintable() or character == "\n" for character in text)
    lines = text.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("ok ") and line.endswith(" s") for line in lines)


def test_a_terminal_ends_with_the_same_lines(aws: LocalConfig) -> None:
    """The live display leaves the finished states behind and nothing of its own."""
    machine = _machine(aws, "live", CHANNELS)
    history = StateHistory(CHANNELS)
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=True, width=100))
    with progress.shown():
        follow(aws, start(aws, machine, "one", {"channels": ["google"]}), history, lambda: progress.update(history, {}))

    assert "\x1b[" in out.getvalue()
    for name in ("PrepareChannel [google]", "Prepare ", "After"):
        assert name in out.getvalue()


def test_a_log_line_cannot_steer_the_terminal() -> None:
    """Escape sequences in what a job logs come out as spaces."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=False)
    run = StateRun("Train", "Task", None, None, NOW - datetime.timedelta(seconds=10), NOW, outcome="succeeded")

    Progress(console)._say(settled_line(run, NOW, "pass=1 \x1b[2J\x07[bold]x"))

    assert "\x1b" not in out.getvalue()
    assert "[bold]x" in out.getvalue()


def test_a_settled_line_tells_attempts_and_errors() -> None:
    """A retried state says how often it was tried, a failed one why."""
    entered = NOW - datetime.timedelta(seconds=2.5)
    run = StateRun("Train", "Task", None, None, entered, NOW, attempts=3, error="States.TaskFailed", outcome="failed")

    line = settled_line(run, NOW, "")

    assert line.startswith("failed")
    assert "2.5 s" in line
    assert "3 attempts" in line
    assert "States.TaskFailed" in line
