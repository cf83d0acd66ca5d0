"""``topic-model local-mode``: mistakes named before anything starts, and (marked docker) the whole comparison."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.build import DEFAULT_TAG
from tests.local_aws.conftest import free_port
from topic_model_cli.local_mode_docker import LocalModeError, check_docker, remove_folder
from topic_model_cli.local_mode_results import Results, differences

IMAGE = os.environ.get("TOPIC_MODEL_IMAGE", DEFAULT_TAG)
CAMPAIGNS = 150
DOCKER = """#!/bin/sh
case "$1 $2" in
  "info --format") echo 20.10;;
  "image inspect") {image};;
  "compose version") {compose};;
esac
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports of a small sample."""
    folder = tmp_path_factory.mktemp("local-mode") / "sample"
    done = topic_model("sample", "--out", str(folder), "--campaigns", str(CAMPAIGNS))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH; the tests put a docker into it that answers what they need."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    (folder / "sh").symlink_to("/bin/sh")
    return folder


def topic_model(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``topic-model`` with these arguments, to its end."""
    command = [sys.executable, "-m", "topic_model_cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def install_docker(
    programs: Path, *, image: str = "exit 0", compose: str = "echo Docker Compose version v2.29.1"
) -> None:
    """A docker command whose daemon answers."""
    program = programs / "docker"
    program.write_text(DOCKER.format(image=image, compose=compose))
    program.chmod(0o755)


def refused(sample: Path, *arguments: str) -> str:
    """What the command says, which fails without a traceback."""
    done = topic_model("local-mode", "--input", str(sample), *arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


class TestMistakes:
    """Each is named with its remedy before a container starts."""

    def test_without_docker(self, programs: Path) -> None:
        """No docker on PATH."""
        with pytest.raises(LocalModeError, match="no program 'docker'"):
            check_docker("mine:1", 8080)

    def test_a_daemon_that_does_not_answer(self, programs: Path) -> None:
        """Installed, not started."""
        (programs / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
        (programs / "docker").chmod(0o755)
        with pytest.raises(LocalModeError, match=r"does not answer \(Cannot connect to the Docker daemon\); start"):
            check_docker("mine:1", 8080)

    def test_without_the_image(self, programs: Path) -> None:
        """Not built yet."""
        install_docker(programs, image="exit 1")
        with pytest.raises(LocalModeError, match="no Docker image 'mine:1'; build it with 'make images'"):
            check_docker("mine:1", 8080)

    @pytest.mark.parametrize(
        ("compose", "found"), [("exit 1", "found none"), ("echo version v5.0.1", "'version v5.0.1'")]
    )
    def test_without_a_compose_that_the_sdk_takes(self, compose: str, found: str, programs: Path) -> None:
        """None at all, or a plugin of another version than the SDK knows."""
        install_docker(programs, compose=compose)
        with pytest.raises(LocalModeError, match=f"{found}.*apt-get install docker-compose"):
            check_docker("mine:1", 8080)

    def test_a_port_in_use(self, programs: Path) -> None:
        """The containers' port is looked at before minutes of work."""
        install_docker(programs)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(LocalModeError, match=f"port {port}, where local mode serves, is not free.*--port"):
                check_docker("mine:1", port)

    def test_the_command_says_them_without_a_traceback(self, programs: Path, tmp_path: Path) -> None:
        """One line and exit code 1, and no log that would hold nothing."""
        (tmp_path / "a.jsonl").write_text('{"campaign_id": "1", "keywords": ["shoes"]}\n')
        assert "no program 'docker'" in refused(tmp_path / "a.jsonl", "--log", str(tmp_path / "log"))
        assert not (tmp_path / "log").exists()


def test_differences_name_the_files() -> None:
    """A file that is another or missing on one side, by its part."""
    one = Results({"model": {"a": "1", "b": "2"}, "corpus": {"c": "3"}}, {})
    other = Results({"model": {"a": "1", "b": "x", "d": "4"}, "corpus": {"c": "3"}}, {})
    assert differences(one, other) == {"model": ["b", "d"]}


@pytest.fixture
def compose() -> None:
    """Skips where the machine has no Compose that the SDK takes."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True, check=False)
    if "v2" not in plugin.stdout and shutil.which("docker-compose") is None:
        pytest.skip("no Docker Compose on this machine")


@pytest.fixture
def clean() -> Iterator[None]:
    """Fails where a test leaves a container, network or folder of local mode."""

    def left() -> tuple[set[str], set[str], set[Path]]:
        def names(*command: str) -> set[str]:
            return set(subprocess.run(["docker", *command], capture_output=True, text=True, check=True).stdout.split())

        folders = set(Path(tempfile.gettempdir()).glob("topic-model-local-mode-*"))
        return names("ps", "-aq", "--filter", "label=topic-model.local-mode"), names("network", "ls", "-q"), folders

    before = left()
    yield
    assert left() == before


@pytest.mark.docker
@pytest.mark.usefixtures("compose", "clean")
def test_local_mode_makes_what_process_mode_makes(sample: Path, tmp_path: Path) -> None:
    """Processing, training, transform and endpoint: the same bytes, said so part by part."""
    log = tmp_path / "log"
    done = topic_model(
        "local-mode", "--input", str(sample), "--image", IMAGE, "--port", str(free_port()), "--log", str(log)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit for bit" in done.stdout.splitlines()[-1]
    same = [line.split("  ")[0] for line in done.stdout.splitlines() if line.startswith("same")]
    assert len(same) == 8
    assert f"the first of {CAMPAIGNS}" in done.stdout
    assert "Traceback" not in done.stderr
    assert "model_version=" in log.read_text()  # what the containers said


@pytest.mark.docker
@pytest.mark.usefixtures("compose", "clean")
def test_a_job_that_fails_is_named_with_its_own_words(tmp_path: Path, sample: Path) -> None:
    """Here in process mode, which comes first; nothing stays, and there is no traceback."""
    settings = tmp_path / "hard.yaml"
    settings.write_text("corpus:\n  min_df: 100000\nworkflow:\n  job_retries: 0\n")
    arguments = ["--image", IMAGE, "--port", str(free_port()), "--log", str(tmp_path / "log")]
    said = refused(sample, "--settings", str(settings), *arguments)
    assert "process mode fails already" in said
    assert "lower min_df" in said


@pytest.mark.docker
@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="root takes on another user's ids")
def test_what_containers_wrote_as_root_is_removed_by_any_user() -> None:
    """A user who may call Docker but not delete root's files leaves none behind."""
    folder = Path(tempfile.mkdtemp(prefix="topic-model-tests-"))  # where other users get to, unlike pytest's folders
    program = "import pathlib; p = pathlib.Path('/w/a/b'); p.mkdir(parents=True); (p / 'c').write_text('root')"
    run = ["docker", "run", "--rm", "--volume", f"{folder}:/w", "--entrypoint", "python", IMAGE, "-c", program]
    try:
        subprocess.run(run, check=True)
        assert (folder / "a/b/c").stat().st_uid == 0
        os.chown(folder, 12345, 12345)
        child = os.fork()  # not a program of its own: the interpreter may be root's alone
        if child == 0:
            try:
                os.setgroups([Path("/var/run/docker.sock").stat().st_gid])
                os.setgid(12345)
                os.setuid(12345)
                remove_folder(folder, IMAGE)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert not folder.exists()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
