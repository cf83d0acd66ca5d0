"""Docker mode: nothing outlives the server, files are the user's, and results are those of process mode."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import topic_model as topic_model_package
from local_aws import lifecycle
from local_aws.config import LocalAwsError, LocalConfig
from local_aws.docker_mode import DockerRunner
from local_aws.runner import Launch, Runner
from tests.local_aws.conftest import free_port, running, server_pid, start
from tests.local_aws.toy_server import IMAGE as URI
from tests.local_aws.toy_server import finished, log_text, processing_request, put, wait_for

TAG = os.environ.get("TOPIC_MODEL_IMAGE", "topic-model:local")
IMAGES = {URI: TAG}

# Runs until it is told to stop, and says when it listens.
PATIENT = """
import pathlib, signal, sys, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("listening", flush=True)
while not stop.wait(0.1): pass
pathlib.Path("/opt/ml/output/stopped").write_text("in order")
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("listening", flush=True)
time.sleep(600)
"""


def containers(root: Path) -> list[str]:
    """The containers, running or not, of the local AWS of a folder."""
    label = f"label=topic-model.local-aws={root.resolve()}"
    listed = subprocess.run(["docker", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def begin(config: LocalConfig, name: str, program: str = PATIENT) -> None:
    """A processing job in the image's Python that runs on; returns once it does."""
    s3 = config.client("s3")
    if not s3.list_buckets()["Buckets"]:
        s3.create_bucket(Bucket="data")
        put(config, "data", in__a=b"hello")
    specification = {"ImageUri": URI, "ContainerEntrypoint": ["python", "-c", program]}
    config.client("sagemaker").create_processing_job(**processing_request(name, AppSpecification=specification))
    wait_for(lambda: "listening" in log_text(config, "/aws/sagemaker/ProcessingJobs", f"{name}/"))


class TestCommand:
    """What docker is asked for, without asking it."""

    @pytest.fixture
    def docker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerRunner:
        """A runner on a machine where the docker command does nothing."""
        program = tmp_path / "docker"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return DockerRunner(LocalConfig(tmp_path / "root", 4610, "docker", IMAGES))

    def launch(self, tmp_path: Path) -> Launch:
        """A training job's container."""
        return Launch("job", URI, ("train",), tmp_path / "ml", tmp_path / "log")

    @pytest.mark.skipif(sys.platform != "linux", reason="Docker Desktop maps owners by itself")
    @pytest.mark.parametrize("user", [0, 1234])
    def test_files_are_the_users(
        self, docker: DockerRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int
    ) -> None:
        """A user's containers run under the user's own ids; root's as SageMaker's do, as root."""
        monkeypatch.setattr(os, "getuid", lambda: user)
        monkeypatch.setattr(os, "getgid", lambda: 99)
        command, _ = docker.command(self.launch(tmp_path))
        assert ("--user" in command) == bool(user)
        if user:
            assert command[command.index("--user") + 1] == "1234:99"

    def test_servers_of_one_folder_tell_their_containers_apart(self, docker: DockerRunner, tmp_path: Path) -> None:
        """What clears up after a killed server must not touch the containers of the next one."""
        other = DockerRunner(LocalConfig(tmp_path / "root", 4610, "docker", IMAGES))
        labels = [
            {value for value in runner.command(self.launch(tmp_path))[0] if value.startswith("topic-model.")}
            for runner in (docker, other)
        ]
        assert all(len(of_one) == 2 for of_one in labels)
        assert len(labels[0] & labels[1]) == 1

    def test_a_daemon_that_does_not_answer_is_named(self, docker: DockerRunner) -> None:
        """Before any job is taken."""
        with pytest.raises(LocalAwsError, match="Docker does not answer"):
            docker.check_images()


@pytest.mark.docker
class TestContainers:
    """Real containers of a real server."""

    @pytest.fixture
    def aws(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalConfig]:
        """A server in docker mode that gives jobs three seconds to stop."""
        monkeypatch.setenv("LOCAL_AWS_STOP_SECONDS", "3")
        with running(tmp_path / "aws", mode="docker", images=IMAGES) as config:
            yield config

    def test_a_failed_job_says_why(self, aws: LocalConfig) -> None:
        """The image's entry point ran, and what it wrote to output/failure is the reason."""
        aws.client("s3").create_bucket(Bucket="data")
        put(aws, "data", in__a=b"hello")
        aws.client("sagemaker").create_processing_job(**processing_request("mistaken", "no-such-step"))
        shown = finished(aws, "processing", "mistaken")
        assert shown["ProcessingJobStatus"] == "Failed"
        assert "unknown processing step 'no-such-step'" in shown["FailureReason"]
        wait_for(lambda: not containers(aws.root))

    def test_a_stopped_job_gets_sigterm(self, aws: LocalConfig) -> None:
        """Its first process is told, ends in order, and its container is removed."""
        begin(aws, "patient")
        folder = next(aws.root.glob("**/patient/**/output"))
        aws.client("sagemaker").stop_processing_job(ProcessingJobName="patient")
        assert finished(aws, "processing", "patient")["ProcessingJobStatus"] == "Stopped"
        wait_for(lambda: not containers(aws.root))
        assert not folder.exists()  # a job that ended as asked leaves none

    def test_a_job_that_will_not_stop_is_killed(self, aws: LocalConfig) -> None:
        """After the grace, with its container."""
        begin(aws, "deaf", DEAF)
        aws.client("sagemaker").stop_processing_job(ProcessingJobName="deaf")
        assert finished(aws, "processing", "deaf")["ProcessingJobStatus"] == "Stopped"
        wait_for(lambda: not containers(aws.root))

    def test_down_leaves_no_container(self, aws: LocalConfig) -> None:
        """Not even that of a job which ignores SIGTERM; it is gone when the command returns."""
        begin(aws, "deaf", DEAF)
        lifecycle.down(aws.root)
        assert containers(aws.root) == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_a_server_that_is_ended_leaves_no_container(self, aws: LocalConfig, number: signal.Signals) -> None:
        """By Ctrl-C, or killed, so that it cannot clear up itself; no later start is needed."""
        begin(aws, "deaf", DEAF)
        assert containers(aws.root)
        os.kill(server_pid(aws), number)
        wait_for(lambda: not containers(aws.root))

    def test_a_job_of_a_killed_server_has_failed(self, aws: LocalConfig) -> None:
        """The next server of the folder says so, and runs jobs as before."""
        begin(aws, "deaf", DEAF)
        os.kill(server_pid(aws), signal.SIGKILL)
        again = start(aws.root, mode="docker", images=IMAGES)
        shown = again.client("sagemaker").describe_processing_job(ProcessingJobName="deaf")
        assert shown["ProcessingJobStatus"] == "Failed"
        begin(again, "patient")
        again.client("sagemaker").stop_processing_job(ProcessingJobName="patient")
        assert finished(again, "processing", "patient")["ProcessingJobStatus"] == "Stopped"

    def test_an_image_that_is_not_there_stops_the_start(self, tmp_path: Path) -> None:
        """The error names it and how to build it; no server is left."""
        with pytest.raises(LocalAwsError, match=r"no Docker image 'no-such-image:none'.*make images"):
            start(tmp_path / "aws", mode="docker", images={URI: "no-such-image:none"})
        assert not lifecycle.status(tmp_path / "aws").running

    @pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="root takes on another user's ids")
    def test_what_a_container_writes_belongs_to_the_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files and folders below /opt/ml have the ids of the user whose server it is."""
        tmp_path.chmod(0o777)
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        monkeypatch.setattr(os, "getgid", lambda: 12346)
        runner = Runner(LocalConfig(tmp_path / "root", free_port(), "docker", IMAGES))
        ml = tmp_path / "ml"
        ml.mkdir()
        os.chown(ml, 12345, 12346)
        program = "import pathlib; p = pathlib.Path('/opt/ml/a/b'); p.parent.mkdir(); p.write_text('text')"
        launch = Launch("job", URI, (), ml, tmp_path / "log", entry_point=("python", "-c", program))
        assert runner.start(launch).wait(120) == 0, (tmp_path / "log").read_text()
        runner.close()
        assert {(path.stat().st_uid, path.stat().st_gid) for path in (ml / "a", ml / "a/b")} == {(12345, 12346)}


@pytest.mark.docker
def test_both_modes_make_the_same_bytes(tmp_path: Path) -> None:
    """The whole workflow on one sample: equal models, fingerprints and lookups, to the last bit of every figure."""
    assert sources_in_image() == sources_here(), f"{TAG} is of other sources; build it anew with 'make images'"
    exports = topic_model("sample", "--out", str(tmp_path / "sample"), "--campaigns", "150") / "sample/exports"
    made: dict[str, dict[str, bytes]] = {}
    for mode in ("process", "docker"):
        root = tmp_path / mode
        with running(root, mode=mode, images=local_images() if mode == "docker" else {}, worker=True) as config:
            topic_model("run", "--input", str(exports), "--name", "same", "--root", str(root),
                        "--runs", str(tmp_path / f"runs-{mode}"))  # fmt: skip
            made[mode] = objects(config, "runs/same/", ("fingerprints/", "lookups/", "corpus/", "evaluation/"))
            made[mode]["similar"] = answer(config)
        assert mode == "process" or containers(root) == []
    assert any(name.startswith("fingerprints/") for name in made["docker"])
    assert made["docker"].keys() == made["process"].keys()
    assert [name for name, body in made["docker"].items() if made["process"][name] != body] == []


def topic_model(*arguments: str) -> Path:
    """Runs the command; returns the folder that its first path is in."""
    command = [sys.executable, "-m", "topic_model_cli.main", *arguments]
    finished_process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished_process.returncode == 0, finished_process.stdout + finished_process.stderr
    return Path(arguments[2]).parent


def sources_here() -> dict[str, str]:
    """The hash of each module of the library, by its path."""
    folder = Path(topic_model_package.__file__).parent
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.py")
    }


def sources_in_image() -> dict[str, str]:
    """As :func:`sources_here`, of the image under test."""
    code = (
        "import hashlib, json, pathlib; f = pathlib.Path('/opt/topic-model/topic_model'); "
        "print(json.dumps({p.relative_to(f).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() "
        "for p in f.rglob('*.py')}))"
    )
    command = ["docker", "run", "--rm", "--entrypoint", "python", TAG, "-c", code]
    told: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return told


def local_images() -> dict[str, str]:
    """The workflow's image, as its requests name it, to the one under test."""
    from topic_model_cli.local import IMAGE_URI

    return {IMAGE_URI: TAG}


def objects(config: LocalConfig, prefix: str, kinds: tuple[str, ...]) -> dict[str, bytes]:
    """The objects below a prefix whose rest begins with one of the kinds."""
    s3 = config.client("s3")
    bucket = s3.list_buckets()["Buckets"][0]["Name"]
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            name = entry["Key"].removeprefix(prefix)
            if name.startswith(kinds):
                found[name] = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
    return found


def answer(config: LocalConfig) -> bytes:
    """What the endpoint answers for a fresh campaign."""
    endpoint: Any = config.client("sagemaker").list_endpoints()["Endpoints"][0]["EndpointName"]
    body = json.dumps({"campaign_id": "fresh", "keywords": ["running shoes", "car insurance", "wedding dress"]})
    told: bytes = (
        config.client("sagemaker-runtime")
        .invoke_endpoint(EndpointName=endpoint, Body=body, ContentType="application/json")["Body"]
        .read()
    )
    return told
