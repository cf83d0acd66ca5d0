"""What is wrong with a run's input is said before anything starts."""

from __future__ import annotations

import datetime
import errno
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from local_aws.config import LocalConfig
from tests.topic_model_cli.conftest import Command
from tests.topic_model_cli.run_folders import DEFINITION, failed_history, write_run
from topic_model_cli import failure
from topic_model_cli.errors import InputPathError, explain_error
from topic_model_cli.exports_upload import find_exports, find_ground_truth, upload_exports
from topic_model_cli.failure import Failure, explain_failure, plain_cause
from topic_model_cli.history import Job, StateHistory
from topic_model_cli.left_out import say_left_out
from topic_model_cli.measure import verticals_of
from topic_model_cli.results import download_results, write_json
from topic_model_cli.summary import summary_from_folder

RECORD = '{"campaign_id": "a", "keywords": ["tea"], "vertical": "drinks"}\n'


def _write(path: Path, text: str = RECORD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_folder_of_folders_has_a_channel_a_folder(tmp_path: Path) -> None:
    """Subfolders are channels, files beside them are of channel default, and hidden and marker files are left out."""
    _write(tmp_path / "google" / "2026" / "june.csv")
    _write(tmp_path / "bing" / "all.jsonl.gz")
    _write(tmp_path / "loose.jsonl")
    _write(tmp_path / "bing" / "_SUCCESS")
    _write(tmp_path / ".git" / "config")

    channels = find_exports(tmp_path).channels

    assert {channel: sorted(files) for channel, files in channels.items()} == {
        "google": ["2026/june.csv"],
        "bing": ["all.jsonl.gz"],
        "default": ["loose.jsonl"],
    }


def test_a_file_is_the_default_channel(tmp_path: Path) -> None:
    """One file is an input of its own."""
    file = _write(tmp_path / "campaigns.jsonl")

    assert find_exports(file).channels == {"default": {"campaigns.jsonl": file}}


def test_the_samples_own_folder_is_taken_for_its_exports(tmp_path: Path) -> None:
    """The ground truth is found and is never among the exports."""
    _write(tmp_path / "exports" / "google" / "a.csv")
    truth = _write(tmp_path / "ground_truth.jsonl")

    for given in (tmp_path, tmp_path / "exports"):
        assert find_exports(given).files == [tmp_path / "exports" / "google" / "a.csv"]
        assert find_ground_truth(given) == truth


@pytest.mark.parametrize("name", ["-leading", "semi;colon", "x" * 64])
def test_a_folder_that_cannot_be_a_channel_is_refused(tmp_path: Path, name: str) -> None:
    """The message names the folder."""
    _write(tmp_path / name / "a.csv")

    with pytest.raises(InputPathError, match="cannot be a channel"):
        find_exports(tmp_path)


def test_uploaded_exports_are_the_files_byte_by_byte(moto_aws: LocalConfig, tmp_path: Path) -> None:
    """Each file stands under its channel, as it was."""
    _write(tmp_path / "in" / "google" / "a.csv", "x,y\n")
    s3 = moto_aws.client("s3")
    s3.create_bucket(Bucket="any")

    uri = upload_exports(moto_aws, "any", "exports/one", find_exports(tmp_path / "in"))

    assert uri == "s3://any/exports/one/"
    assert s3.get_object(Bucket="any", Key="exports/one/google/a.csv")["Body"].read() == b"x,y\n"


def test_results_stay_within_the_runs_folder(moto_aws: LocalConfig, tmp_path: Path) -> None:
    """What the report needs is fetched, the rest is not, and a key with '..' cannot leave the folder."""
    s3 = moto_aws.client("s3")
    s3.create_bucket(Bucket="any")
    keys = [
        "evaluation/evaluation.json",
        "lookups/rows-00000.jsonl",
        "lookups/../../../stolen.json",
        "prepared/google/quality.json",
        "prepared/google/campaigns.parquet",
        "corpus/counts.npy",
    ]
    for key in keys:
        s3.put_object(Bucket="any", Key=f"runs/one/{key}", Body=b"{}")

    folder = tmp_path / "deep" / "er" / "one"
    download_results(moto_aws, "any", "one", folder)

    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == [
        "deep/er/one/evaluation/evaluation.json",
        "deep/er/one/lookups/rows-00000.jsonl",
        "deep/er/one/prepared/google/quality.json",
    ]


def test_records_that_carry_a_vertical_are_ground_truth(tmp_path: Path) -> None:
    """Without a file of its own, the ground truth comes from the records; a malformed export is passed over."""
    _write(tmp_path / "in" / "good.jsonl")
    _write(tmp_path / "in" / "bad.jsonl", "nonsense\n")

    assert verticals_of(None, find_exports(tmp_path / "in")) == {"a": "drinks"}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What cannot be written as JSON leaves the file that was there."""
    write_json(tmp_path / "a.json", {"x": 1})

    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})

    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ("plain words", "plain words"),
        (json.dumps({"TrainingJobName": "x", "FailureReason": "AlgorithmError: too few"}), "AlgorithmError: too few"),
        (json.dumps({"errorMessage": "no such folder", "errorType": "RequestError"}), "no such folder"),
        (json.dumps({"Cause": json.dumps({"FailureReason": "deep"})}), "deep"),
        (json.dumps({"other": 1}), '{"other": 1}'),
        ("", ""),
    ],
)
def test_a_cause_is_told_in_plain_words(cause: str, expected: str) -> None:
    """However deep in JSON the sentence lies, it comes out; what has none stays as it is."""
    assert plain_cause(cause) == expected


def test_a_full_disk_is_told_with_its_remedy() -> None:
    """ENOSPC is a message and no traceback."""
    message = explain_error(OSError(errno.ENOSPC, "No space left on device", "/some/file"))

    assert message is not None
    assert "disk is full" in message
    assert "/some/file" in message


def test_a_defect_is_no_message() -> None:
    """What is not the user's mistake keeps its traceback."""
    assert explain_error(AssertionError("broken")) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "nowhere"], "there is no nowhere"),
        (["--input", "empty"], "empty holds no files"),
        (["--input", "a.jsonl", "--name", "no/slash"], "--name is 'no/slash'"),
        (["--input", "a.jsonl", "--name", "taken"], "exists already"),
        (["--input", "a.jsonl", "--settings", "typo.yaml"], "did you mean 'min_df'"),
        (["--input", "a.jsonl", "--settings", "none.yaml"], "no settings file none.yaml"),
        (["--input", "a.jsonl", "--ground-truth", "none.jsonl"], "none.jsonl"),
        (["--input", "a.jsonl", "--no-publish"], "--no-publish is for --no-deploy"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    command: Command, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Exit code 1, one message on stderr, no traceback, no server and no folder left behind."""
    _write(tmp_path / "a.jsonl")
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    _write(tmp_path / "typo.yaml", "corpus:\n  min_dff: 2\n")

    done = command("run", *arguments)

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / ".local-aws").exists()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["taken"]


def test_what_was_left_out_is_told_with_where_it_is_listed(tmp_path: Path) -> None:
    """A line for the channel that lost something, none for the other."""
    folder = write_run(tmp_path / "run")
    out = io.StringIO()
    say_left_out(folder, summary_from_folder(folder), Console(file=out, width=40))
    listed = folder / "prepared" / "google_ads" / "rejected.jsonl"
    assert out.getvalue() == f"left out of google_ads: 2 of 90 lines rejected; see {listed}\n"


def _failed_in_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: list[str]) -> Failure:
    """A failed training job's failure, with the given last lines of its log."""
    record = failed_history().execution("the-run", "FAILED")
    events = [{**event, "timestamp": datetime.datetime.fromisoformat(event["timestamp"])} for event in record["events"]]
    history = StateHistory(DEFINITION)
    history.feed(events)
    for run in history.runs:
        if run.name == "Train":
            run.job = Job("training", "job-train-1")
    monkeypatch.setattr(failure, "job_log", lambda *_: ("group/stream", log))
    return explain_failure(LocalConfig(root=tmp_path, port=1), record, history)


def test_a_jobs_error_is_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A log that holds the cause alone is not shown again; one that says more is shown whole."""
    cause = "unknown hyperparameter 'num_topic'"
    alone = _failed_in_a_job(monkeypatch, tmp_path, [cause])
    assert str(alone).count(cause) == 1
    assert "its log: group/stream" in str(alone)
    assert _failed_in_a_job(monkeypatch, tmp_path, ["pass=1", cause]).log_lines == ("pass=1", cause)
