"""Start, stop, look at and delete a local AWS: what ``topic-model local up|down|status|reset`` calls."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws.config import DEFAULT_PORT, LocalAwsError, LocalConfig, Mode, root_option
from local_aws.iam_administrator import administrator_credentials
from local_aws.server import HEALTH_PATH, MARKER, read_json

START_SECONDS = 60.0
STOP_SECONDS = 20.0
_PROBE_BYTES = 1 << 20  # a start writes less than this


@dataclass(frozen=True)
class LocalStatus:
    """What ``topic-model local status`` shows; lists are empty where the server does not run."""

    running: bool
    root: Path
    port: int | None
    mode: Mode | None
    endpoints: tuple[tuple[str, str], ...]
    """Name and status of each."""
    executions: tuple[tuple[str, str], ...]
    """Name and status of each, the newest first."""
    disk_bytes: int


def up(
    root: Path,
    port: int | None = None,
    *,
    mode: Mode = "process",
    images: Mapping[str, str] | None = None,
    enforce_iam: bool = False,
) -> LocalConfig:
    """The running local AWS of ``root``, started in the background if need be; returns when it answers.

    ``port`` None means the port it runs on, else the default one.

    Raises:
        LocalAwsError: the port is taken, the folder is not ours, its disk is full, or it runs with other settings.
    """
    return up_or_running(root, port, mode=mode, images=images, enforce_iam=enforce_iam)[0]


def up_or_running(
    root: Path,
    port: int | None = None,
    *,
    mode: Mode = "process",
    images: Mapping[str, str] | None = None,
    enforce_iam: bool = False,
) -> tuple[LocalConfig, bool]:
    """As :func:`up`, and whether this call started it; one that is interrupted leaves no server that it began.

    Raises:
        LocalAwsError: as :func:`up`.
    """
    root = root.absolute()
    wanted = LocalConfig(
        root, DEFAULT_PORT if port is None else port, mode, dict(images or {}), enforce_iam=enforce_iam
    )
    with _starting(root):
        running = _running(root)
        if running is not None:
            _check_same(running, wanted, any_port=port is None)
            return running, False
        _start(wanted)
    running = _running(root)
    if running is None:
        raise LocalAwsError(f"the local AWS ended at once; see {root / 'server.log'}")
    return running, True


def down(root: Path) -> bool:
    """Stop the server of ``root`` and all it runs; False where none ran.

    Raises:
        LocalAwsError: it does not end within 20 seconds.
    """
    root = root.absolute()
    identity = _identity(root)
    if identity is None:
        (root / "server.json").unlink(missing_ok=True)
        return False
    pid = int(identity["pid"])
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not _folder_in_use(root):
            return True
        time.sleep(0.02)
    raise LocalAwsError(f"the local AWS (process {pid}) does not stop; end it with 'kill -9 {pid}'")


def status(root: Path) -> LocalStatus:
    """What runs in ``root`` and how much disk it uses."""
    root = root.absolute()
    running = _running(root)
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if root.is_dir() else 0
    if running is None:
        return LocalStatus(False, root, None, None, (), (), size)
    endpoints = running.client("sagemaker").list_endpoints()["Endpoints"]
    return LocalStatus(
        running=True,
        root=root,
        port=running.port,
        mode=running.mode,
        endpoints=tuple((endpoint["EndpointName"], endpoint["EndpointStatus"]) for endpoint in endpoints),
        executions=tuple(_executions(running)),
        disk_bytes=size,
    )


def reset(root: Path) -> None:
    """Stop the server of ``root`` and delete the folder's state.

    Raises:
        LocalAwsError: the folder is not a local AWS's.
    """
    root = root.absolute()
    if not root.exists():
        return
    if not (root / MARKER).is_file():
        raise LocalAwsError(f"{root} is no state folder of the local AWS (it has no {MARKER}); nothing was deleted")
    down(root)
    if _folder_in_use(root):
        raise LocalAwsError(f"a local AWS that does not answer uses {root}; end its process and try again")
    shutil.rmtree(root)


def connect(root: Path) -> LocalConfig:
    """The running local AWS of ``root``.

    Raises:
        LocalAwsError: it does not run.
    """
    running = _running(root.absolute())
    if running is None:
        raise LocalAwsError(f"no local AWS runs for {root}; start it with 'topic-model local up{root_option(root)}'")
    return running


def _identity(root: Path) -> dict[str, Any] | None:
    """What the server of ``root`` says of itself, or None: a stale file's token is no running server's."""
    written = read_json(root / "server.json")
    if not written:
        return None
    answered = _health(int(written.get("port", 0)))
    return answered if answered is not None and answered.get("token") == written.get("token") else None


def _running(root: Path) -> LocalConfig | None:
    identity = _identity(root)
    if identity is None or not identity.get("ready"):
        return None
    enforced = bool(identity.get("enforce_iam"))
    return LocalConfig(
        root,
        identity["port"],
        identity["mode"],
        identity["images"],
        enforce_iam=enforced,
        credentials=administrator_credentials(root) if enforced else None,
    )


def _health(port: int) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", HEALTH_PATH)
        answer = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None


@contextlib.contextmanager
def _starting(root: Path) -> Iterator[None]:
    """Hold the folder's start lock, so that two starts at once make one server."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (root / "up.lock").open("a", encoding="utf-8")
    except OSError as error:
        raise LocalAwsError(f"{root} cannot hold the local AWS's state: {error}; choose another folder") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(config: LocalConfig) -> None:
    command = [sys.executable, "-m", "local_aws.server", "--root", str(config.root), "--port", str(config.port)]
    command += ["--mode", config.mode]
    for uri, tag in config.images.items():
        command += ["--image", f"{uri}={tag}"]
    if config.enforce_iam:
        command.append("--enforce-iam")
    log = config.root / "server.log"
    if log.exists():
        log.replace(config.root / "server.log.1")
    # AWS settings of the user's must not reach a server that stands for AWS.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    said = config.root / "server.stderr"
    process = None
    try:
        with _interrupts_deferred(), said.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C in the terminal is not for the server
                env=environment,
            )
        _wait_until_it_answers(config.root, process, said)
    except BaseException:  # an interrupt among them: a server that nobody waits for is nobody's
        if process is not None:
            _end(process)
        raise


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """While this lasts a signal waits: one that came inside ``Popen`` would leave a process that nobody has hold of."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heeded = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in heeded:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


def _wait_until_it_answers(root: Path, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if _running(root) is not None:
            return
        if process.poll() is not None:
            raise LocalAwsError(_why_it_ended(process.returncode, said))
        time.sleep(0.05)
    raise LocalAwsError(f"the local AWS did not answer within {START_SECONDS:.0f} s; see {root / 'server.log'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _why_it_ended(code: int, said: Path) -> str:
    text = said.read_text(encoding="utf-8", errors="replace").strip()
    if code == 2 and text:
        return text  # the server's own message for the user
    try:  # a server that cannot write cannot write why it ended either
        with tempfile.TemporaryFile(dir=said.parent) as probe:
            probe.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return (
            f"the local AWS ended with exit code {code}, and the disk that holds {said.parent} cannot be written: "
            f"{error.strerror}; free some space, then start it again"
        )
    return f"the local AWS ended with exit code {code}; see {said} and server.log beside it"


def _check_same(running: LocalConfig, wanted: LocalConfig, *, any_port: bool) -> None:
    differences = []
    if not any_port and running.port != wanted.port:
        differences.append(f"port {running.port}, not {wanted.port}")
    if running.mode != wanted.mode:
        differences.append(f"mode {running.mode}, not {wanted.mode}")
    if dict(running.images) != dict(wanted.images):
        differences.append("other images")
    if wanted.enforce_iam and not running.enforce_iam:
        differences.append("IAM not enforced")
    if differences:
        raise LocalAwsError(
            f"the local AWS of {running.root} runs with {'; '.join(differences)}; "
            f"stop it first with 'topic-model local down{root_option(running.root)}'"
        )


def _folder_in_use(root: Path) -> bool:
    try:
        with (root / "server.lock").open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _executions(config: LocalConfig) -> Iterator[tuple[str, str]]:
    states = config.client("stepfunctions")
    found = []
    for page in states.get_paginator("list_state_machines").paginate():
        for machine in page["stateMachines"]:
            for executions in states.get_paginator("list_executions").paginate(
                stateMachineArn=machine["stateMachineArn"]
            ):
                found += executions["executions"]
    for execution in sorted(found, key=lambda item: item["startDate"], reverse=True):
        yield execution["name"], execution["status"]
