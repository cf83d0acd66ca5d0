"""What a run leaves behind when it cannot go on: nothing half-made, no process of its own, and hints that fit."""

from __future__ import annotations

import contextlib
import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_aws.config import LocalConfig
from pipelines.settings import load_settings
from tests.local_aws.conftest import free_port
from tests.local_aws.toy_server import wait_for
from topic_model_cli.errors import RunFailedError, explain_error
from topic_model_cli.exports_upload import find_exports
from topic_model_cli.results import write_json
from topic_model_cli.running import RunPlan, _folder_or_nothing
from workflow_functions import validate_request

RECORD = '{"campaign_id": "a", "keywords": ["tea"]}\n'


def test_a_hint_has_the_root_that_was_given() -> None:
    """A full disk's remedy is about the folder of the command."""
    message = explain_error(OSError(errno.ENOSPC, "No space left on device", "/some/file"), Path("K/root"))

    assert message is not None
    assert "`topic-model local reset --root K/root`" in message


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(errno.ENOSPC, "No space left on device"), RunFailedError), (KeyboardInterrupt(), None)],
)
def test_a_folder_that_cannot_be_finished_is_not_left(
    tmp_path: Path, error: BaseException, raised: type[Exception] | None
) -> None:
    """The name is free again; where the disk is at fault, outcome, results and remedy are told."""
    plan = RunPlan("one", find_exports(_export(tmp_path)), load_settings(), {}, tmp_path / "one", tmp_path, 1, True)

    with (
        pytest.raises(raised or type(error)) as told,
        _folder_or_nothing(plan, LocalConfig(tmp_path, 1), "run one succeeded"),
    ):
        write_json(plan.folder / "execution.json", {})
        raise error

    assert not plan.folder.exists()
    if raised:
        for part in ("run one succeeded", "No space left on device", "/runs/one/", "another --name"):
            assert part in str(told.value)


@pytest.mark.parametrize(("deploy", "publish"), [(True, None), (False, None), (False, True), (False, False)])
def test_the_request_is_one_that_the_workflow_takes(tmp_path: Path, deploy: bool, publish: bool | None) -> None:
    """What the options say is in the execution's input; ValidateRequest decides what they leave open."""
    exports = find_exports(_export(tmp_path))
    plan = RunPlan("one", exports, load_settings(), {}, tmp_path / "one", tmp_path, 1, deploy, publish)

    request = plan.request("s3://bucket/exports/one/")

    assert (request["deploy"], request.get("publish")) == (deploy, publish)
    assert validate_request._checked(request) == request


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [["local", "up"], ["run", "--input", "a.jsonl"]])
def test_an_interrupt_while_the_local_aws_starts_leaves_no_server(
    tmp_path: Path, arguments: list[str], number: signal.Signals
) -> None:
    """Exit code 130, a message, and no process of the folder."""
    _export(tmp_path)
    root = tmp_path / "aws"
    with subprocess.Popen(
        [sys.executable, "-m", "topic_model_cli.main", *arguments, "--root", str(root), "--port", str(free_port())],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(lambda: _servers(root))
        process.send_signal(number)
        out, err = process.communicate(timeout=120)

    assert process.returncode == 130, out + err
    assert "interrupted" in out
    assert "Traceback" not in err
    assert _servers(root) == []


def _servers(root: Path) -> list[str]:
    """The processes whose command line names the folder as a server's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"local_aws.server\0--root\0{root}\0" in path.read_text(errors="replace"):
                found.append(path.parent.name)
    return found


def _export(folder: Path) -> Path:
    path = folder / "a.jsonl"
    path.write_text(RECORD)
    return path
