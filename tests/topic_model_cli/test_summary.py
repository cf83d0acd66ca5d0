"""Reading a run's folder, and the table that is printed from it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.topic_model_cli.run_folders import write_run
from topic_model_cli.summary import ChannelQuality, RunFolderError, render_table, summary_from_folder


def test_states_come_with_their_times_and_jobs(tmp_path: Path) -> None:
    """Each state has its outcome, its seconds from the run's start, its job; a Map's state comes once a channel."""
    summary = summary_from_folder(write_run(tmp_path / "run"))
    states = {state.label: state for state in summary.states}
    assert (states["Train"].offset, states["Train"].seconds, states["Train"].job) == (4.0, 5.0, "job-train-1")
    assert states["PrepareChannel · microsoft_ads"].outcome == "succeeded"
    assert states["Look"].visits == 2
    assert summary.seconds == pytest.approx(11.2)
    assert summary.endpoint == "the-endpoint"


def test_failure_is_read_from_the_history(tmp_path: Path) -> None:
    """Without failure.json the state, the error and the plain cause come from the events."""
    failure = summary_from_folder(write_run(tmp_path / "run", failed=True)).failure
    assert failure is not None
    assert (failure.state, failure.error) == ("Train", "TrainingFailed")
    assert failure.cause == "unknown hyperparameter 'num_topic'"


def test_failure_file_goes_before_the_history(tmp_path: Path) -> None:
    """What the command line found out, log included, is taken as it stands."""
    folder = write_run(tmp_path / "run", failed=True)
    told = {"state": "Train", "error": "E", "cause": "why", "log_lines": ["last words"], "log_place": "group/stream"}
    (folder / "failure.json").write_text(json.dumps(told))
    failure = summary_from_folder(folder).failure
    assert failure is not None
    assert (failure.cause, failure.log_lines, failure.log_place) == ("why", ("last words",), "group/stream")


def test_only_campaigns_of_the_map_are_kept(tmp_path: Path) -> None:
    """A run of many campaigns is counted whole, but only the map's are held in memory."""
    folder = write_run(tmp_path / "run", campaigns=30)
    plan = json.loads((folder / "lookups" / "map.json").read_text())
    (folder / "lookups" / "map.json").write_text(json.dumps({name: column[:10] for name, column in plan.items()}))
    summary = summary_from_folder(folder)
    assert (len(summary.lookups), summary.num_lookups) == (10, 30)


def test_rejections_are_counted_by_reason(tmp_path: Path) -> None:
    """The channel's rejections are counted and the first of them kept."""
    google = summary_from_folder(write_run(tmp_path / "run")).channels[0]
    assert (google.channel, google.reasons, len(google.rejected)) == ("google_ads", {"no campaign": 2}, 2)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """The message names the file that is missing."""
    with pytest.raises(RunFolderError, match=r"execution\.json"):
        summary_from_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lookups/map.json", "{"),
        ("lookups/map.json", '{"campaign_id": ["a"], "x": [], "y": [], "cluster": []}'),
        ("lookups/topics.json", '{"topic": 1}'),
        ("lookups/rows-00000.jsonl", '{"campaign_id": "c1"}\n'),
        ("lookups/rows-00000.jsonl", "nonsense\n"),
        ("evaluation/evaluation.json", '{"accepted": true}'),
        ("execution.json", '{"name": "x"}'),
    ],
)
def test_a_damaged_file_is_an_error_and_no_traceback(tmp_path: Path, name: str, content: str) -> None:
    """Truncated JSON, columns of unequal length, missing fields: an error of the family a user can read."""
    folder = write_run(tmp_path / "run")
    (folder / name).write_text(content)
    with pytest.raises(RunFolderError, match="run"):
        summary_from_folder(folder)


def test_examples_are_one_of_each_of_the_largest_clusters(tmp_path: Path) -> None:
    """Examples come from different clusters, the same at every call."""
    summary = summary_from_folder(write_run(tmp_path / "run", campaigns=13, clusters=4))
    examples = summary.examples(3)
    assert len({example.cluster for example in examples}) == 3
    assert examples == summary.examples(3)
    assert len(summary.examples(99)) == 4


def _printed(folder: Path, *, terminal: bool) -> str:
    stream = io.StringIO()
    render_table(summary_from_folder(folder), Console(file=stream, force_terminal=terminal, width=120))
    return stream.getvalue()


def test_table_is_plain_where_nobody_watches(tmp_path: Path) -> None:
    """Not a terminal: no control characters and no frames, whatever a campaign's name holds, and every part there."""
    hostile = {number: f"evil \x1b[31m[bold]name {number}" for number in range(12)}
    text = _printed(write_run(tmp_path / "run", names=hostile), terminal=False)
    assert "\x1b" not in text
    assert "│" not in text
    assert "[bold]name" in text
    assert "camera bag, zoom lens" in text
    assert "used keyword 0 of" in text


def test_table_on_a_terminal_has_its_three_columns(tmp_path: Path) -> None:
    """A terminal gets a table of campaigns, similar campaigns with shared terms, and keywords."""
    text = _printed(write_run(tmp_path / "run"), terminal=True)
    for told in ("recommended keywords", "camera bag", "4 campaigns"):
        assert told in text


def test_table_of_a_failed_run_is_empty(tmp_path: Path) -> None:
    """There is nothing to show, and nothing is made up."""
    assert _printed(write_run(tmp_path / "run", failed=True), terminal=False) == ""


def test_what_was_left_out_is_told_in_words() -> None:
    """Lines, campaigns and texts with their numbers; nothing where everything was taken."""
    counts = {"lines": 1200, "campaigns": 90, "rejected_lines": 0, "texts_cut": 0, "texts_over_cap": 0}
    assert ChannelQuality("google_ads", counts).left_out() == ""
    counts |= {"rejected_lines": 7, "campaigns_without_terms": 3}
    told = ChannelQuality("google_ads", counts | {"texts_over_cap": 11, "campaigns_over_cap": 2, "texts_cut": 5})
    assert told.left_out() == (
        "7 of 1,200 lines rejected; 3 of 90 campaigns without terms; 11 texts beyond max_texts, of 2 campaigns; "
        "5 texts cut at max_text_length"
    )
