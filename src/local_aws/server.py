"""The local AWS's server process: ``python -m local_aws.server --root DIR --port N --mode process|docker``.

One process, one port, loopback only. It starts moto with what ``local_aws`` adds, brings back the state of the folder,
serves until SIGTERM or SIGINT, and then stops what runs in it. ``local_aws.lifecycle`` starts and stops it.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import gc
import importlib
import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from local_aws.config import DEFAULT_PORT, DEFAULT_ROOT, LocalAwsError, LocalConfig, Mode, root_option

LOG = logging.getLogger(__name__)

HEALTH_PATH = "/_local_aws/health"
MARKER = "local-aws.json"  # says that a folder is ours, so that a reset may delete it
FORMAT = 1

_PLUGS = (
    "iam_enforcement",
    "iam_managed_policies",
    "event_rules",
    "replayed_ids",
    "s3_access_logs",
    "s3_store",
    "cloudwatch",
    "stepfunctions",
    "sagemaker_jobs",
    "sagemaker_endpoints",
    "sagemaker_packages",
    "lambdas",
    "apigateway",
    "codepipeline",
    "cloudformation",
)
_M_MMAP_THRESHOLD = -3  # malloc.h
# Seconds a thread computes before it lets another in. A request waits for its turn a dozen times, whenever it has read
# or written; with Python's 5 ms, one thread that publishes or captures would make each of them 60 ms slower.
_SWITCH_SECONDS = 0.0005
_YOUNG_OBJECTS = 5_000  # between two looks for garbage among them; a request leaves hundreds
_LONG_COLLECTION_SECONDS = 0.1
_HOSTS = frozenset({"127.0.0.1", "localhost", "host.docker.internal"})


def claim_folder(root: Path) -> IO[str]:
    """Make ``root`` a state folder and lock it for this process; the lock ends with the process.

    Raises:
        LocalAwsError: the folder holds something else, is of another format, or another server uses it.
    """
    marker = root / MARKER
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not marker.exists() or not marker.stat().st_size:  # an empty one is what a full disk once left of it
            ours = ("server", "up.lock", MARKER)
            strangers = sorted(path.name for path in root.iterdir() if not path.name.startswith(ours))
            if strangers:
                raise LocalAwsError(
                    f"{root} holds {strangers[0]!r} and is no state folder of the local AWS; choose an empty one"
                )
            write_atomically(marker, json.dumps({"format": FORMAT}))
        root.chmod(0o700)  # exports, keys and logs are for whoever started it
        found = read_json(marker).get("format")
        if found != FORMAT:
            raise LocalAwsError(
                f"{marker} has format {found!r}, this version reads {FORMAT}; "
                f"run 'topic-model local reset{root_option(root)}'"
            )
        lock = (root / "server.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise LocalAwsError(f"{root} cannot hold the local AWS's state: {error}; choose another folder") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise LocalAwsError(
            f"another local AWS serves {root}; stop it with 'topic-model local down{root_option(root)}'"
        ) from error
    return lock


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where the file is absent or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's text; a reader sees the old or the new one, never a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def serve(config: LocalConfig) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        LocalAwsError: the folder, its state, or the port cannot be used.
    """
    from local_aws.http_server import listen, serve_on
    from local_aws.iam_administrator import new_credentials

    lock = claim_folder(config.root)
    listener = listen(config.port)
    sys.setswitchinterval(_SWITCH_SECONDS)
    _log_to(config.root / "server.log")
    _give_back_large_buffers()
    _configure_moto(config)
    if config.enforce_iam:
        config = replace(config, credentials=new_credentials("ASIA"))
    plugs = _plugs()
    for plug in plugs:
        plug.install(config)
    identity = {
        "pid": os.getpid(),
        "port": config.port,
        "mode": config.mode,
        "images": dict(config.images),
        "enforce_iam": config.enforce_iam,
        "started": time.time(),
        "token": secrets.token_hex(16),
    }
    app, state = _assemble(config, identity)
    server = serve_on(listener, app)
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        thread.start()
        for plug in plugs:
            if restore := getattr(plug, "restore", None):
                restore(config)
        _collect_without_pauses()
        write_atomically(config.root / "server.json", json.dumps(identity))
        identity["ready"] = True
        LOG.info("the local AWS serves %s on %s", config.root, config.endpoint_url)
        while not stop.wait(1.0):
            pass  # a bounded wait, so that signals are handled between waits
    finally:
        LOG.info("stopping")
        for plug in sorted(plugs, key=_stops_at):
            if shutdown := getattr(plug, "shutdown", None):
                _quietly(shutdown)
        server.shutdown()
        state.close()
        (config.root / "server.json").unlink(missing_ok=True)
        server.server_close()
        listener.close()
        lock.close()  # last: it says that port and folder are free


def _configure_moto(config: LocalConfig) -> None:
    os.environ.update(MOTO_PORT=str(config.port), MOTO_DISABLE_GLOBAL_CORS="true", MOTO_EVENTS_INVOKE_HTTP="false")
    from moto.core.config import default_user_config

    default_user_config["stepfunctions"]["execute_state_machine"] = True


def _give_back_large_buffers() -> None:
    """Have glibc return request bodies to the system when they are freed, and not keep them for later."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _collect_without_pauses() -> None:
    """Keep the garbage collector from what stays: looking at all that moto holds stops every request for that long.

    What is there now stays. So does, by and large, what a collection found that took long: the hundred thousand rows of
    a table, say. The next one looks at what came after it alone.
    """
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    gc.collect()
    gc.freeze()
    began = 0.0

    def watch(phase: str, about: Mapping[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        elif about["generation"] == 2 and time.perf_counter() - began > _LONG_COLLECTION_SECONDS:
            gc.freeze()

    gc.callbacks.append(watch)


def _plugs() -> list[ModuleType]:
    return [importlib.import_module(f"local_aws.{name}") for name in _PLUGS]


def _stops_at(plug: ModuleType) -> int:
    """Executions end first, so that they are aborted and do not fail with their jobs; what the rest stands on, last."""
    name = plug.__name__.rpartition(".")[2]
    return -1 if name == "stepfunctions" else len(_PLUGS) - _PLUGS.index(name)


def _assemble(config: LocalConfig, identity: dict[str, Any]) -> tuple[Any, Any]:
    """The WSGI application with the folder's state brought back, and the journal."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    from local_aws import apigateway, endpoint_invocations, iam_enforcement, replayed_ids, s3_requests, s3_store
    from local_aws.cloudformation_operations import unfinished
    from local_aws.journal import Journal, Journalled

    moto_app = apigateway.control_plane(DomainDispatcherApplication(create_backend_app))
    moto_app = replayed_ids.control_plane(moto_app)
    moto_app = endpoint_invocations.wrap(s3_requests.wrap(moto_app))
    journal = Journal(config.root / "journal.jsonl")
    journal.drop(unfinished(config.root))
    journal.replay(moto_app, services={"s3"})
    s3_store.load()
    journal.replay(moto_app, services=None)
    journal.compact()
    app = apigateway.front(replayed_ids.front(Journalled(moto_app, journal)))
    app = iam_enforcement.wrap(app, is_open=apigateway.is_for_a_stage)
    return _with_control_routes(app, identity), journal


def _with_control_routes(app: Any, identity: Mapping[str, Any]) -> Any:
    """Answer the health route, and refuse what no client of the local AWS sends."""

    def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        host = environ.get("HTTP_HOST", "").rsplit(":", 1)[0].lower()
        if not host:
            return _answer(start_response, "400 Bad Request", {"message": "expected a Host header, as HTTP/1.1 has it"})
        if host not in _HOSTS and not host.endswith(".localhost"):
            # A web page that resolves its own name to loopback must not reach the server.
            return _answer(start_response, "403 Forbidden", {"message": f"unknown host {host!r}"})
        if path == HEALTH_PATH:
            return _answer(start_response, "200 OK", dict(identity))
        if path.startswith("/moto-api"):
            return _answer(start_response, "403 Forbidden", {"message": "use 'topic-model local reset'"})
        return app(environ, start_response)

    return wsgi


def _answer(start_response: Any, status: str, body: Mapping[str, Any]) -> list[bytes]:
    payload = json.dumps(body).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(payload)))])
    return [payload]


def _quietly(action: Any) -> None:
    try:
        action()
    except Exception:
        LOG.exception("error while stopping")


def _log_to(path: Path) -> None:
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for chatty in ("botocore", "boto3", "urllib3", "werkzeug", "moto", "local_aws.http_server"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It writes the whole state, several kilobytes, for every error that the definition catches.
    logging.getLogger("moto.stepfunctions.parser.asl.component.eval_component").setLevel(logging.CRITICAL)


def parse_images(pairs: Sequence[str]) -> dict[str, str]:
    """``URI=TAG`` pairs as a mapping.

    Raises:
        LocalAwsError: a pair lacks a part.
    """
    images = {}
    for pair in pairs:
        uri, equals, tag = pair.partition("=")
        if not (uri and equals and tag):
            raise LocalAwsError(f"image is {pair!r}; expected <image URI>=<local tag>")
        images[uri] = tag
    return images


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit code, 2 for a mistake that the message explains."""
    parser = argparse.ArgumentParser(prog="python -m local_aws.server", description=__doc__)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="state folder (default: %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="loopback port (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1 and nothing else")
    parser.add_argument("--mode", choices=("process", "docker"), default="process", help="how jobs run")
    parser.add_argument("--image", action="append", default=[], metavar="URI=TAG", help="docker mode: a local image")
    parser.add_argument("--enforce-iam", action="store_true", help="check every request against IAM policies")
    options = parser.parse_args(arguments)
    mode: Mode = options.mode
    try:
        if options.host != "127.0.0.1":
            raise LocalAwsError(f"host is {options.host!r}; the local AWS binds to 127.0.0.1 only")
        images = parse_images(options.image)
        serve(LocalConfig(options.root.absolute(), options.port, mode, images, enforce_iam=options.enforce_iam))
    except LocalAwsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
