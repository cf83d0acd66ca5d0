"""Containers in Docker mode, and the processes that an earlier server left."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_aws.config import LocalAwsError, LocalConfig
from local_aws.docker_mode import DockerRunner
from local_aws.process_identity import kill_left_over, process_identity
from local_aws.runner import Launch, Runner, read_tail
from tests.local_aws.toy_server import TOY, free_port, is_running, wait_for


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error names it and the remedy; nothing is started."""
    runner = Runner(LocalConfig(tmp_path, 1))
    launch = Launch("job", "image", (), tmp_path / "ml", tmp_path / "log", entry_point=("no-such-program",))
    with pytest.raises(LocalAwsError, match="no program 'no-such-program'"):
        runner.start(launch)
    runner.close()


def test_the_end_of_a_log_starts_with_a_whole_line(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 do not break it, and an absent log is empty."""
    log = tmp_path / "log"
    assert read_tail(log, 10) == ""
    log.write_bytes(b"first line\nsecond \xff line\n")
    assert read_tail(log, 18) == "second � line\n"
    assert read_tail(log, 1000).startswith("first")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_the_recorded_process_is_killed() -> None:
    """A process of the same number but another start is let alone; the recorded one is killed."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    identity = process_identity(process.pid)
    assert identity is not None
    assert not kill_left_over(process.pid, identity[:-1] + ("1" if identity[-1] != "1" else "2"))
    assert process.poll() is None
    assert kill_left_over(process.pid, identity)
    assert process.wait(10) == -9
    assert not kill_left_over(process.pid, identity)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_left_of_a_jobs_session_is_killed_after_its_first_process() -> None:
    """A grandchild that outlived the job's own process is found by its session."""
    program = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    child = int(process.stdout.readline())
    identity = process_identity(process.pid)
    process.stdin.close()
    process.wait(10)
    assert kill_left_over(process.pid, identity)
    wait_for(lambda: process_identity(child) is None)


def test_docker_commands_bind_to_loopback_and_carry_the_folders_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is the mapped one, the folder is /opt/ml, and a server's port is published on 127.0.0.1 alone."""
    monkeypatch.setattr("local_aws.docker_mode.shutil.which", lambda _: "/usr/bin/docker")
    docker = DockerRunner(LocalConfig(tmp_path, 4610, "docker", {"uri:1": "local:1"}))
    launch = Launch("job", "uri:1", ("serve",), tmp_path / "ml", tmp_path / "log", {"A": "b"}, port=5123)
    command, name = docker.command(launch)
    assert command[-2:] == ["local:1", "serve"]
    assert f"{tmp_path / 'ml'}:/opt/ml" in command and docker.label in command and name in command
    assert command[command.index("--publish") + 1] == "127.0.0.1:5123:8080"
    assert "A=b" in command


class TestDocker:
    """In real containers: the toy runs in the project's image, or in the one that TOPIC_MODEL_IMAGE names."""

    pytestmark = pytest.mark.docker

    @pytest.fixture
    def runner(self, tmp_path: Path) -> Iterator[Runner]:
        """A runner in Docker mode."""
        image = os.environ.get("TOPIC_MODEL_IMAGE", "topic-model:local")
        runner = Runner(LocalConfig(tmp_path / "root", 4610, "docker", {"toy": image}))
        yield runner
        runner.close()

    def launch(self, tmp_path: Path, *arguments: str, port: int | None = None) -> Launch:
        """The toy container, its program in the job's folder."""
        ml = tmp_path / "ml"
        (ml / "code").mkdir(parents=True, exist_ok=True)
        (ml / "code" / "toy.py").write_text(TOY.read_text().replace('("127.0.0.1", port)', '("0.0.0.0", port)'))
        entry = ("python", "/opt/ml/code/toy.py")
        return Launch("toy", "toy", arguments, ml, tmp_path / "log", entry_point=entry, port=port)

    def test_a_container_reads_and_writes_the_jobs_folder(self, runner: Runner, tmp_path: Path) -> None:
        """The exit code and the log are the container's, and what it wrote is on this machine."""
        (tmp_path / "ml/input/config").mkdir(parents=True)
        (tmp_path / "ml/input/config/hyperparameters.json").write_text('{"fail": "no", "code": "5"}')
        container = runner.start(self.launch(tmp_path, "train"))
        assert container.wait(120) == 5
        assert (tmp_path / "ml/output/failure").read_text() == "no"

    def test_a_server_answers_on_its_loopback_port_and_is_stopped(self, runner: Runner, tmp_path: Path) -> None:
        """SIGTERM ends it; the container is removed."""
        port = free_port()
        container = runner.start(self.launch(tmp_path, "serve", port=port))

        def healthy() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        wait_for(healthy)
        assert container.stop(30) == 0
        assert container.docker_name is not None
        listed = subprocess.run(["docker", "ps", "-a", "--format", "{{.Names}}"], capture_output=True, check=True)
        assert container.docker_name not in listed.stdout.decode()

    def test_a_container_left_over_is_removed_at_the_next_start(self, runner: Runner, tmp_path: Path) -> None:
        """By its label, and only those of the same folder."""
        container = runner.start(self.launch(tmp_path, "serve", port=free_port()))
        wait_for(lambda: "serving" in container.log_path.read_text())
        Runner(LocalConfig(tmp_path / "other", 4610, "docker")).close()
        assert container.poll() is None
        Runner(LocalConfig(tmp_path / "root", 4610, "docker")).close()
        wait_for(lambda: container.poll() is not None)
        assert not is_running(container.pid)
