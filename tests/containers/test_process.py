"""Processing jobs: each step's outputs by the contract, and refusals that name what to mend."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from tests.containers.conftest import Job, Run
from tests.topic_model.conftest import PREPARED_SCHEMA, score
from topic_model.artifact import read_artifact, read_model, unpack
from topic_model.corpus import read_corpus


@pytest.fixture(scope="module")
def fingerprints(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the batch transform makes of the scoring records."""
    artifact = read_artifact(run.model)
    out = tmp_path_factory.mktemp("scored") / "fingerprints"
    return score(read_model(artifact), artifact.model_version, run.scoring, out)


def test_prepare_writes_the_contracts_files(run: Run) -> None:
    """The channel's three files and its scoring records, the Parquet columns by name and type."""
    for channel in ("google_ads", "microsoft_ads"):
        names = {path.name for path in (run.prepared / channel).iterdir()}
        assert names == {"campaigns.parquet", "quality.json", "rejected.jsonl"}
        found = pq.read_schema(run.prepared / channel / "campaigns.parquet")
        assert found.names == PREPARED_SCHEMA.names and found.types == PREPARED_SCHEMA.types
        lines = (run.scoring / channel / "campaigns.jsonl").read_bytes().splitlines()
        assert len(lines) == 30


def test_build_corpus_writes_a_corpus(run: Run) -> None:
    """All campaigns of both channels, a tenth held out."""
    corpus = read_corpus(run.corpus)
    assert len(corpus) == 60
    assert corpus.n_held_out == 6


def test_evaluate_writes_the_verdict(run: Run, job: Job) -> None:
    """As a real process: evaluation.json with verdict, metrics and the model's version; a gate off by null."""
    job.inputs(model=run.model_archive.parent, corpus=run.corpus)
    done = job.run("process", "evaluate", "--min-c-npmi", "null", "--min-topic-diversity", "0.99")
    assert done.returncode == 0, done.stderr
    document = orjson.loads((job.output("evaluation") / "evaluation.json").read_bytes())
    assert document["gates"]["min_c_npmi"] is None
    assert document["model_version"] == read_artifact(run.model).model_version
    assert document["accepted"] is (not document["failed_gates"])


def test_build_neighbours_writes_lookups_and_model(run: Run, fingerprints: Path, job: Job) -> None:
    """As a real process: lookup rows for all campaigns and an artifact of their version."""
    job.inputs(model=run.model_archive.parent, prepared=run.prepared, fingerprints=fingerprints)
    done = job.run("process", "build-neighbours", "--num-neighbours", "3")
    assert done.returncode == 0, done.stderr
    manifest = orjson.loads((job.output("lookups") / "manifest.json").read_bytes())
    artifact = unpack(job.output("lookup-model") / "model.tar.gz", job.base / "unpacked")
    assert manifest["rows"] == 60
    assert manifest["model_version"] == artifact.model_version
    first, *_ = (job.output("lookups") / "rows-00000.jsonl").read_bytes().splitlines()
    assert len(orjson.loads(first)["similar"]) == 3
    assert [path.name for path in job.output("lookup-model").iterdir()] == ["model.tar.gz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "unknown processing step None; expected one of prepare, build-corpus, evaluate, build-neighbours"),
        (("tidy",), "unknown processing step 'tidy'"),
        (("prepare",), "argument --channel is missing"),
        (("prepare", "--channel"), "'--channel' is not of the form --name value"),
        (("build-corpus", "--min-fd", "2"), "unknown argument --min-fd"),
        (("build-corpus", "--min-df", "0"), "argument 'min_df' is '0'"),
        (("evaluate", "--min-coverage", "2"), "argument 'min_coverage' is '2'"),
        (("build-neighbours", "--num-neighbours", "many"), "argument 'num_neighbours' is 'many'"),
    ],
)
def test_a_wrong_step_or_argument_is_named(
    arguments: tuple[str, ...], message: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 and the message as FailureReason."""
    assert job.call(monkeypatch, "process", *arguments) == 1
    assert message in job.failure


@pytest.mark.parametrize(
    ("step", "missing"),
    [("prepare", "exports"), ("build-corpus", "prepared"), ("evaluate", "corpus"), ("build-neighbours", "model")],
)
def test_a_missing_input_is_named(step: str, missing: str, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the input and where it is expected."""
    arguments = ("--channel", "google") if step == "prepare" else ()
    assert job.call(monkeypatch, "process", step, *arguments) == 1
    assert f"no input {missing!r}" in job.failure


def test_a_model_of_another_corpus_is_not_evaluated(run: Run, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluating on another split would flatter: the trained campaigns may be its held-out ones."""
    rebuilt = Job(job.base / "rebuilt").inputs(prepared=run.prepared)
    assert rebuilt.call(monkeypatch, "process", "build-corpus", "--seed", "1") == 0
    job.inputs(model=run.model_archive.parent, corpus=rebuilt.output("corpus"))
    assert job.call(monkeypatch, "process", "evaluate") == 1
    assert "trained on another corpus" in job.failure


def test_a_truncated_model_fails_the_job(run: Run, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """model.tar.gz cut on its way."""
    job.inputs(model=run.model_archive.parent, corpus=run.corpus)
    archive = job.base / "processing" / "input" / "model" / "model.tar.gz"
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert job.call(monkeypatch, "process", "evaluate") == 1
    assert "model.tar.gz is truncated or damaged" in job.failure
    assert not job.output("evaluation").exists()


def test_two_models_are_one_too_many(run: Run, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The input holds exactly one model.tar.gz; none or two are refused with their number."""
    job.inputs(model=run.model_archive.parent, corpus=run.corpus)
    folder = job.base / "processing" / "input" / "model"
    shutil.copytree(run.model_archive.parent, folder / "second")
    assert job.call(monkeypatch, "process", "evaluate") == 1
    assert "has 2 files model.tar.gz" in job.failure


def test_a_model_that_is_no_artifact_is_refused(run: Run, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tar of something else has no manifest."""
    job.inputs(model=run.model_archive.parent, corpus=run.corpus)
    (job.base / "note.txt").write_text("hello")
    with tarfile.open(job.base / "processing" / "input" / "model" / "model.tar.gz", "w:gz") as tar:
        tar.add(job.base / "note.txt", "note.txt")
    assert job.call(monkeypatch, "process", "evaluate") == 1
    assert "no manifest.json" in job.failure


def test_fingerprints_of_another_model_fail_the_job(
    run: Run, fingerprints: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of yesterday's model beside today's."""
    job.inputs(model=run.model_archive.parent, prepared=run.prepared, fingerprints=fingerprints)
    path = job.base / "processing" / "input" / "fingerprints" / "google_ads.jsonl.out"
    version = read_artifact(run.model).model_version.encode()
    path.write_bytes(path.read_bytes().replace(version, b"0" * 12))
    assert job.call(monkeypatch, "process", "build-neighbours") == 1
    assert "was scored by model 000000000000" in job.failure
    assert not job.output("lookups").exists()


def test_an_export_folder_without_campaigns_fails_by_name(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty export is an error of the export, not of the code."""
    (job.base / "processing" / "input" / "exports").mkdir(parents=True)
    assert job.call(monkeypatch, "process", "prepare", "--channel", "google") == 1
    assert job.failure.startswith("ExportError: ")


def test_a_stopped_processing_job_ends_at_once(job: Job, tmp_path: Path) -> None:
    """SIGTERM in the middle of a step: exit code 143, and no output that looks whole."""
    exports = tmp_path / "exports"
    exports.mkdir()
    draw = np.random.RandomState(0)
    with (exports / "campaigns.jsonl").open("wb") as stream:
        for number in range(20_000):
            keywords = [f"word{a} term{b}" for a, b in draw.randint(0, 9_999, (20, 2)).tolist()]
            stream.write(orjson.dumps({"campaign_id": f"c{number}", "keywords": keywords}) + b"\n")
    job.inputs(exports=exports)
    process = job.start("process", "prepare", "--channel", "google")
    prepared = job.output("prepared")
    while process.poll() is None and not prepared.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert not (prepared / "campaigns.parquet").exists()


def test_a_failed_prepare_logs_what_it_rejected(tmp_path: Path) -> None:
    """Outputs of a failed job are not uploaded, so file, line and reason of each rejection stand in its log."""
    exports = tmp_path / "processing/input/exports"
    exports.mkdir(parents=True)
    (exports / "a.jsonl").write_text('{"campaign_id": "c1", "keywords": ["shoe"]}\n{cut\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "containers", "process", "prepare", "--channel", "web"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    rejected = [orjson.loads(line[9:]) for line in done.stdout.splitlines() if line.startswith("rejected ")]
    assert [(entry["file"], entry["line"]) for entry in rejected] == [("a.jsonl", 2)]
    assert "1 of 2 lines" in (tmp_path / "output/failure").read_text(encoding="utf-8")
