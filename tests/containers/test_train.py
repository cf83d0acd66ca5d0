"""Training jobs: metrics for the regexes, refusals in the failure file, and the same model through any interruption."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.jobs import METRICS
from tests.containers.conftest import HYPERPARAMETERS, Job, Run, files
from topic_model.algorithms.checkpoint import CHECKPOINT_NAME
from topic_model.artifact import read_artifact, read_model

LONG = {"algorithm": "lda-gensim", "num_topics": "5", "passes": "60", "chunksize": "30", "start": "random"}


def _interrupt_behind_pass(process: subprocess.Popen[str], number: int, how: signal.Signals) -> str:
    """Send the signal as soon as the pass is told; returns what was printed."""
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith(f"pass={number} "):
            process.send_signal(how)
            break
    out, _ = process.communicate(timeout=60)
    return printed + out


@pytest.fixture(scope="module")
def uninterrupted(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The model files of a long training that nothing disturbed."""
    job = Job(tmp_path_factory.mktemp("uninterrupted")).channel(run.corpus, LONG)
    done = job.run("train")
    assert done.returncode == 0, done.stderr
    return files(job.base / "model")


def test_training_leaves_a_whole_artifact(run: Run) -> None:
    """The model folder is an artifact of the topics asked for, with settings, corpus and metrics in its manifest."""
    artifact = read_artifact(run.model)
    assert read_model(artifact).num_topics == 5
    manifest = artifact.manifest
    assert manifest["corpus_hash"] == orjson.loads((run.corpus / "manifest.json").read_bytes())["corpus_hash"]
    assert manifest["algorithm"] == "lda"
    assert manifest["settings"]["passes"] == 3
    assert set(manifest["metrics"]) >= {"c_npmi", "topic_diversity"}


def test_every_metric_regex_finds_its_metric(run: Run) -> None:
    """The pipeline's own regexes read a number a pass for the bounds, and the final figures once."""
    found = {metric["Name"]: re.findall(metric["Regex"], run.training_output) for metric in METRICS}
    assert len(found["train_bound"]) == 3
    assert len(found["held_out_bound"]) == 4
    assert len(found["c_npmi"]) == len(found["topic_diversity"]) == 1
    assert all(float(value) < 0 for value in found["train_bound"] + found["held_out_bound"])


def test_the_lines_are_the_contracts(run: Run) -> None:
    """A line a pass and a final one, as ARCHITECTURE.md writes them."""
    number = r"-?\d+\.\d+"
    lines = run.training_output.splitlines()
    for position, line in enumerate(lines[:3], start=1):
        pattern = rf"pass={position} seconds={number} train_bound={number} held_out_bound={number}"
        assert re.fullmatch(pattern, line)
    assert re.fullmatch(rf"final c_npmi={number} topic_diversity={number} held_out_bound={number}", lines[3])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_training_ends_in_the_same_model(
    how: signal.Signals, run: Run, job: Job, uninterrupted: dict[str, bytes]
) -> None:
    """Stopped or killed behind pass 5 and run again: the bytes of an uninterrupted run. SIGTERM ends with code 143."""
    job.channel(run.corpus, LONG)
    process = job.start("train")
    printed = _interrupt_behind_pass(process, 5, how)
    assert process.returncode == (143 if how == signal.SIGTERM else -signal.SIGKILL)
    assert "final" not in printed
    assert len(list((job.base / "checkpoints").rglob(CHECKPOINT_NAME))) == 1
    assert not (job.base / "model" / "manifest.json").exists()
    again = job.run("train")
    assert again.returncode == 0, again.stderr
    first = int(re.findall(r"pass=(\d+)", again.stdout)[0])
    # Stopped, every finished pass is kept; killed, those until the last checkpoint, of which there is one a second.
    assert first >= (6 if how == signal.SIGTERM else 2)
    assert files(job.base / "model") == uninterrupted


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"num_topic": "5"}, "unknown hyperparameter 'num_topic'; did you mean 'num_topics'"),
        ({"passes": "many"}, "hyperparameter 'passes' is 'many'"),
        (
            {"num_topics": "5000"},
            "num_topics is 5000, but the corpus has 54 training campaigns and 60 terms; expected 2 to 54",
        ),
        (b"[]", "must be an object of strings"),
    ],
)
def test_wrong_hyperparameters_fail_the_job_by_name(
    hyperparameters: Any, message: str, run: Run, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FailureReason says what to mend; there is no model."""
    assert job.channel(run.corpus, hyperparameters).call(monkeypatch, "train") == 1
    assert message in job.failure
    assert not (job.base / "model").exists()


def test_an_unknown_hyperparameter_fails_the_process(run: Run, job: Job) -> None:
    """The real process too exits with 1, the message on its standard error and no traceback."""
    done = job.channel(run.corpus, {"num_topic": "5"}).run("train")
    assert done.returncode == 1
    assert done.stderr.strip() == job.failure
    assert "Traceback" not in done.stderr


def test_a_missing_channel_is_named(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the channel."""
    assert job.call(monkeypatch, "train") == 1
    assert "no channel 'corpus'" in job.failure


def test_a_damaged_corpus_fails_the_job(run: Run, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus cut on its way is refused before training."""
    job.channel(run.corpus)
    path = job.base / "input" / "data" / "corpus" / "shard-00000.npz"
    path.write_bytes(path.read_bytes()[:-8])
    assert job.call(monkeypatch, "train") == 1
    assert "shard-00000.npz" in job.failure


def test_a_checkpoint_of_other_settings_fails_the_job(run: Run, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that finds another's checkpoint says what differs, and leaves that checkpoint alone."""
    job.channel(run.corpus, {**HYPERPARAMETERS, "passes": "1"})
    assert job.call(monkeypatch, "train") == 0
    before = files(job.base / "checkpoints")
    config = job.base / "input" / "config" / "hyperparameters.json"
    config.write_bytes(orjson.dumps({**HYPERPARAMETERS, "passes": "1", "alpha": "0.3"}))
    assert job.call(monkeypatch, "train") == 1
    assert "belongs to other settings (alpha 0.05, expected 0.3); use another checkpoint folder" in job.failure
    assert files(job.base / "checkpoints") == before


def test_train_takes_no_arguments(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are hyperparameters."""
    assert job.call(monkeypatch, "train", "--passes", "3") == 1
    assert "settings are hyperparameters" in job.failure


def test_a_damaged_checkpoint_costs_time_and_not_the_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The platform would hand the same damaged file to every retry: training says so and starts again."""
    whole = Job(tmp_path / "whole").channel(run.corpus, HYPERPARAMETERS)
    assert whole.call(monkeypatch, "train") == 0
    damaged = Job(tmp_path / "damaged").channel(run.corpus, HYPERPARAMETERS)
    cut = damaged.base / "checkpoints" / CHECKPOINT_NAME
    cut.parent.mkdir(parents=True)
    cut.write_bytes((whole.base / "checkpoints" / CHECKPOINT_NAME).read_bytes()[:1000])
    assert damaged.call(monkeypatch, "train") == 0
    assert "starting again" in capsys.readouterr().out
    assert files(damaged.base / "model") == files(whole.base / "model")
