"""Starting, finding, stopping and deleting a local AWS."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local_aws import lifecycle
from local_aws.config import LocalAwsError, LocalConfig
from tests.local_aws.conftest import free_port, server_pid, start
from tests.small_disk import fill, small_disk


def test_up_again_is_the_same_server(shared_aws: LocalConfig) -> None:
    """A second `up`, with the port or without, returns the server that runs; `connect` finds it too."""
    pid = server_pid(shared_aws)
    assert lifecycle.up(shared_aws.root).port == shared_aws.port
    assert lifecycle.up(shared_aws.root, shared_aws.port) == shared_aws
    assert lifecycle.connect(shared_aws.root) == shared_aws
    assert server_pid(shared_aws) == pid


def test_up_with_other_settings_is_refused(shared_aws: LocalConfig) -> None:
    """A running server of another mode or port is named, with the remedy."""
    with pytest.raises(LocalAwsError, match=r"mode process, not docker.*local down"):
        lifecycle.up(shared_aws.root, mode="docker")
    with pytest.raises(LocalAwsError, match=rf"port {shared_aws.port}, not 4611"):
        lifecycle.up(shared_aws.root, 4611)


def test_two_ups_at_once_make_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two concurrent starts of a folder, with the same port, return the same server."""
    # Once and here: two threads that each set and restore a variable may restore what the other set.
    monkeypatch.setenv("LOCAL_AWS_WORKER", "off")
    port = free_port()
    barrier = threading.Barrier(2)

    def up() -> tuple[LocalConfig, int]:
        barrier.wait()
        config = lifecycle.up(tmp_path / "aws", port)
        return config, server_pid(config)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(up), pool.submit(up)
        try:
            assert first.result() == second.result()
        finally:
            lifecycle.down(tmp_path / "aws")


def test_a_port_in_use_is_named_with_the_remedy(tmp_path: Path) -> None:
    """A port that another program has is an error that names it and --port, at once."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LocalAwsError, match=rf"port {port} is in use by another program; .*--port"):
            start(tmp_path / "aws", port=port)
    assert not lifecycle.status(tmp_path / "aws").running


def test_a_killed_server_is_not_taken_for_a_running_one(local_aws: LocalConfig) -> None:
    """After ``kill -9`` the stale file is recognised, even where its process number is another process's now."""
    os.kill(server_pid(local_aws), signal.SIGKILL)
    stale = json.loads((local_aws.root / "server.json").read_text())
    (local_aws.root / "server.json").write_text(json.dumps({**stale, "pid": os.getpid()}))
    assert not lifecycle.status(local_aws.root).running
    with pytest.raises(LocalAwsError, match=r"no local AWS runs for .*topic-model local up"):
        lifecycle.connect(local_aws.root)
    assert lifecycle.down(local_aws.root) is False  # and this process was not killed
    assert start(local_aws.root).client("s3").list_buckets()["Buckets"] == []


def test_down_stops_the_process_and_frees_port_and_folder(tmp_path: Path) -> None:
    """After `down` a new server takes the same folder and port at once."""
    port = free_port()
    for _ in range(2):
        start(tmp_path / "aws", port=port)
        assert lifecycle.down(tmp_path / "aws") is True
    assert lifecycle.down(tmp_path / "aws") is False


def test_status_shows_executions_and_disk(shared_aws: LocalConfig) -> None:
    """Status lists executions, the newest first, endpoints, and the folder's size in bytes."""
    states, s3 = shared_aws.client("stepfunctions"), shared_aws.client("s3")
    machine = states.create_state_machine(
        name="shown",
        definition=json.dumps({"StartAt": "w", "States": {"w": {"Type": "Wait", "Seconds": 60, "End": True}}}),
        roleArn="arn:aws:iam::123456789012:role/r",
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine, name="first")["executionArn"]
    s3.create_bucket(Bucket="sized")
    s3.put_object(Bucket="sized", Key="k", Body=bytes(100_000))
    shown = lifecycle.status(shared_aws.root)
    assert (shown.running, shown.port, shown.mode, shown.endpoints) == (True, shared_aws.port, "process", ())
    assert shown.executions == (("first", "RUNNING"),)
    assert shown.disk_bytes > 100_000
    states.stop_execution(executionArn=execution)
    assert lifecycle.status(shared_aws.root).executions == (("first", "ABORTED"),)


def test_reset_deletes_state_and_nothing_else(tmp_path: Path) -> None:
    """Reset stops the server and deletes its folder; a folder that is not ours stays, with a clear error."""
    start(tmp_path / "aws")
    lifecycle.reset(tmp_path / "aws")
    assert not (tmp_path / "aws").exists()
    lifecycle.reset(tmp_path / "aws")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(LocalAwsError, match="nothing was deleted"):
        lifecycle.reset(tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.png").exists()


def test_a_strangers_folder_is_refused(tmp_path: Path) -> None:
    """A folder with other things in it does not become a state folder."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LocalAwsError, match=r"holds 'notes\.txt' and is no state folder"):
        start(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """State written by a version with another format is not touched."""
    (tmp_path / "local-aws.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(LocalAwsError, match="format 99, this version reads 1"):
        start(tmp_path)


def test_the_server_binds_to_loopback_only(tmp_path: Path) -> None:
    """Any other host is refused with exit code 2 and one line, no traceback."""
    refused = subprocess.run(
        [sys.executable, "-m", "local_aws.server", "--root", str(tmp_path / "aws"), "--host", "0.0.0.0"],  # noqa: S104
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert refused.stderr == "host is '0.0.0.0'; the local AWS binds to 127.0.0.1 only\n"


def test_the_server_is_not_of_the_terminals_process_group(shared_aws: LocalConfig) -> None:
    """A Ctrl-C in the terminal that started it does not reach it: it has a session of its own."""
    assert os.getsid(server_pid(shared_aws)) != os.getsid(0)


def test_a_full_disk_is_named_and_blocks_nothing(tmp_path: Path) -> None:
    """A start on a full disk says so; with space again the same folder serves."""
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        for folder in (disk, disk / "aws"):  # where the server's own files are the first to be written, and below
            folder.mkdir(exist_ok=True)
            filler = fill(disk)
            with pytest.raises(
                (LocalAwsError, OSError), match=r"(?s)disk.*No space left|No space left.*free some space"
            ):
                start(folder)
            assert not (folder / "local-aws.json").exists()
            filler.unlink()
        start(disk / "aws")
        assert lifecycle.down(disk / "aws") is True


def test_an_empty_marker_does_not_block_a_folder(tmp_path: Path) -> None:
    """What a full disk left of an earlier version's marker is replaced; no 'format None' for ever."""
    (tmp_path / "local-aws.json").touch()
    start(tmp_path)
    assert lifecycle.down(tmp_path) is True
    assert json.loads((tmp_path / "local-aws.json").read_text()) == {"format": 1}


def test_a_hint_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed as it stands, the command of a hint is about the folder in question; the default one needs no option."""
    monkeypatch.chdir(tmp_path)
    for root, hint in [
        (Path(".local-aws"), "'topic-model local up'"),
        (Path("K/my root"), "'topic-model local up --root 'K/my root''"),
        (tmp_path.parent / "other", f"'topic-model local up --root {tmp_path.parent / 'other'}'"),
    ]:
        with pytest.raises(LocalAwsError) as raised:
            lifecycle.connect(root)
        assert hint in str(raised.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_between_fork_and_hold_leaves_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A signal that comes while the process is being made is heeded once we hold it, and the process is ended."""
    made: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        made.append(popen(*arguments, **options))
        signal.raise_signal(number)
        return made[0]

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("local_aws.lifecycle.subprocess.Popen", interrupted)
    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            lifecycle.up(tmp_path / "aws", free_port())
    finally:
        signal.signal(number, before)

    assert made[0].returncode is not None
