"""The whole way: exports in, by the real workflow on a real local AWS, similar campaigns and keywords out."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_aws import lifecycle
from local_aws.config import LocalConfig
from tests.local_aws.conftest import free_port
from tests.small_disk import fill, small_disk

CAMPAIGNS = 200


class Session:
    """A folder in which a user works: a sample, a local AWS on a free port, and runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "aws"
        self.runs = folder / "runs"

    def command(self, *arguments: str, timeout: int = 300) -> subprocess.CompletedProcess[str]:
        """``topic-model`` with these arguments, to its end."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """``topic-model`` with these arguments, begun."""
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "topic_model_cli.main", *arguments],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, name: str, *more: str) -> list[str]:
        """The arguments of a run of the sample."""
        return ["run", "--input", "sample/exports", "--root", "aws", "--runs", "runs", "--name", name, *more]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session with a sample and a local AWS that is up."""
    session = Session(tmp_path_factory.mktemp("end-to-end"))
    session.command("sample", "--out", "sample", "--campaigns", str(CAMPAIGNS))
    try:
        lifecycle.up(session.root, free_port())
        yield session
    finally:
        lifecycle.down(session.root)


@pytest.fixture(scope="module")
def finished(session: Session) -> subprocess.CompletedProcess[str]:
    """What the first run said."""
    done = session.command(*session.run("first"))
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def _wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read the command's output up to the line that holds the text."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"{text!r} was never said: {said}")


def _jobs_at_work(config: LocalConfig) -> list[str]:
    sagemaker = config.client("sagemaker")
    listed = [
        *sagemaker.list_processing_jobs(StatusEquals="InProgress")["ProcessingJobSummaries"],
        *sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"],
        *sagemaker.list_transform_jobs(StatusEquals="InProgress")["TransformJobSummaries"],
    ]
    return [next(value for key, value in job.items() if key.endswith("JobName")) for job in listed]


def _until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def test_a_run_shows_every_state_on_plain_lines(finished: subprocess.CompletedProcess[str]) -> None:
    """Where output is no terminal: a line a state with its time, and no control character."""
    lines = finished.stdout.splitlines()
    for state in ("ValidateRequest", "PrepareChannel [google_ads]", "Train", "BuildNeighbours", "SmokeTest", "Notify"):
        assert any(line.startswith("ok ") and state in line and " s" in line for line in lines), finished.stdout
    assert all(character.isprintable() or character == "\n" for character in finished.stdout)


def test_a_run_leaves_its_results(session: Session, finished: subprocess.CompletedProcess[str]) -> None:
    """Everything that the report and later questions need is in the run's folder, and none of it is empty."""
    del finished
    folder = session.runs / "first"
    expected = [
        "report.html",
        "execution.json",
        "definition.json",
        "settings.json",
        "retrieval.json",
        "evaluation/evaluation.json",
        "lookups/manifest.json",
        "prepared/google_ads/quality.json",
        "prepared/microsoft_ads/quality.json",
    ]
    assert [name for name in expected if not (folder / name).stat().st_size] == []
    execution = json.loads((folder / "execution.json").read_text())
    assert execution["status"] == "SUCCEEDED"
    assert execution["events"][-1]["type"] == "ExecutionSucceeded"


def test_neighbours_are_better_than_chance_by_far(session: Session, finished: subprocess.CompletedProcess[str]) -> None:
    """Most neighbours are of the campaign's own vertical, which no part of the workflow was told."""
    del finished
    measured = json.loads((session.runs / "first" / "retrieval.json").read_text())
    assert measured["queries"] == CAMPAIGNS
    assert measured["precision_at_5"] > 0.4 > 5 * measured["chance"]
    assert not any(
        "vertical" in key["Key"] or "ground_truth" in key["Key"]
        for page in lifecycle.connect(session.root)
        .client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket="topic-model-local-123456789012")
        for key in page["Contents"]
    )


def test_the_endpoint_answers_for_known_and_fresh_campaigns(
    session: Session, finished: subprocess.CompletedProcess[str]
) -> None:
    """The questions that the run itself proposes are answered with neighbours and recommendations."""
    proposed = [
        line.split("topic-model ", 1)[1] for line in finished.stdout.splitlines() if "topic-model similar" in line
    ]
    assert len(proposed) == 2
    for line in proposed:
        done = session.command(*shlex.split(line), "--json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["similar"]
        assert answer["recommendations"]
        assert sum(answer["fingerprint"]) == pytest.approx(1, abs=1e-3)


def test_an_unknown_campaign_is_told_its_nearest(session: Session, finished: subprocess.CompletedProcess[str]) -> None:
    """A typo in an id shows the ids that come near."""
    del finished
    row = json.loads((session.runs / "first" / "lookups" / "rows-00000.jsonl").read_text().splitlines()[0])

    done = session.command("similar", "--root", "aws", "--campaign", row["campaign_id"] + "x")

    assert done.returncode == 1
    assert row["campaign_id"] in done.stderr


def test_a_name_is_used_once(session: Session, finished: subprocess.CompletedProcess[str]) -> None:
    """Even where the folder of results went, the name of an execution is taken."""
    del finished
    done = session.command(*session.run("first", "--runs", "elsewhere"))

    assert done.returncode == 1
    assert "a run named 'first' exists already" in done.stderr


@pytest.mark.slow
def test_a_failed_run_says_why_and_still_reports(session: Session, finished: subprocess.CompletedProcess[str]) -> None:
    """The state, the job's own message, its log; a report; exit code 1; the endpoint serves on."""
    (session.folder / "hard.yaml").write_text("corpus:\n  min_df: 100000\nworkflow:\n  job_retries: 0\n")

    done = session.command(*session.run("hard", "--settings", "hard.yaml"))

    assert done.returncode == 1
    assert "in state BuildCorpus" in done.stderr
    assert "lower min_df" in done.stderr
    assert "Traceback" not in done.stderr
    log = next(line.split("its log: ", 1)[1] for line in done.stderr.splitlines() if "its log: " in line)
    assert "lower min_df" in Path(log).read_text()
    assert "BuildCorpus" in (session.runs / "hard" / "report.html").read_text()
    assert session.command("similar", "--root", "aws", "--keywords", "engagement ring, running shoes").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_job(session: Session, number: signal.Signals) -> None:
    """Ctrl-C, or a termination, stops the execution and its jobs, says so, and leaves the local AWS up that was up."""
    name = f"interrupted-{number.name.lower()}"
    (session.folder / "long.yaml").write_text(
        "algorithm:\n  hyperparameters:\n    passes: 500\n    gamma_threshold: 1.0e-9\n"
    )
    with session.start(*session.run(name, "--settings", "long.yaml")) as process:
        _wait_for(process, "BuildCorpus")
        process.send_signal(number)
        out, err = process.communicate(timeout=120)

    assert process.returncode == 130, out + err
    assert "stopped" in out
    assert "stays up" in out
    config = lifecycle.connect(session.root)
    assert _jobs_at_work(config) == []
    arn = f"arn:aws:states:us-east-1:123456789012:execution:topic-model-local-training:{name}"
    assert config.client("stepfunctions").describe_execution(executionArn=arn)["status"] == "ABORTED"


@pytest.mark.slow
def test_an_interrupted_run_takes_its_own_local_aws_down(session: Session, tmp_path: Path) -> None:
    """A local AWS that the run started goes down with it; brought up again, it knows of the stopped execution."""
    root = tmp_path / "own"
    more = ["--root", str(root), "--port", str(free_port())]
    with session.start(*session.run("own-server", *more)) as process:
        _wait_for(process, "ValidateRequest")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)

    assert process.returncode == 130, out + err
    assert "which this run had started" in out
    assert not lifecycle.status(root).running
    try:
        lifecycle.up(root, free_port())
        assert dict(lifecycle.status(root).executions)["own-server"] == "ABORTED"
    finally:
        lifecycle.down(root)


@pytest.mark.slow
def test_results_that_find_no_space_leave_no_folder(session: Session, tmp_path: Path) -> None:
    """The run is told to have succeeded, where its results are, and how to go on; its folder is not there."""
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        fill(disk)
        done = session.command(*session.run("homeless", "--runs", str(disk)))
        left = [path.name for path in disk.iterdir() if path.name != "server-filler"]

    assert done.returncode == 1
    assert "run homeless succeeded" in done.stderr
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert left == []


@pytest.mark.slow
def test_a_server_killed_during_a_run_is_told_and_comes_back(
    session: Session, finished: subprocess.CompletedProcess[str]
) -> None:
    """The command says how to go on; brought up again, the local AWS has its data and its endpoint serves."""
    del finished
    server = json.loads((session.root / "server.json").read_text())
    with session.start(*session.run("lost")) as process:
        _wait_for(process, "ValidateRequest")
        os.kill(server["pid"], signal.SIGKILL)
        out, err = process.communicate(timeout=120)

    assert process.returncode == 1, out
    assert "stopped answering" in err
    assert "topic-model local up" in err
    assert "Traceback" not in err

    config = lifecycle.up(session.root, free_port())
    sagemaker = config.client("sagemaker")

    def serves() -> bool:
        return sagemaker.describe_endpoint(EndpointName="topic-model-local")["EndpointStatus"] == "InService"

    assert _until(serves)
    assert session.command("similar", "--root", "aws", "--keywords", "engagement ring, running shoes").returncode == 0
    assert session.command(*session.run("after-the-loss")).returncode == 0


@pytest.mark.docker
def test_the_same_run_in_containers(tmp_path: Path) -> None:
    """In docker mode the same workflow runs in the real image, and the endpoint in a container answers."""
    image = os.environ.get("TOPIC_MODEL_TEST_IMAGE", "topic-model:local")
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"no image {image}: make images")
    session = Session(tmp_path)
    session.command("sample", "--out", "sample", "--campaigns", str(CAMPAIGNS))
    up = ["local", "up", "--root", "aws", "--mode", "docker", "--image", image, "--port", str(free_port())]
    try:
        started = session.command(*up)
        assert started.returncode == 0, started.stderr
        done = session.command(*session.run("contained"), timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        asked = session.command("similar", "--root", "aws", "--keywords", "engagement ring, running shoes")
        assert asked.returncode == 0, asked.stderr
    finally:
        lifecycle.down(session.root)
