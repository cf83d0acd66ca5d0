"""``serve``: the endpoint and the batch transform, over one read-only model shared by forked workers."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Sequence

import uvicorn
from starlette.applications import Starlette

from containers.confidence import ConfidenceMetric
from containers.endpoint import Limits, build_app
from containers.scorer import load_scorer
from containers.workers import supervise
from topic_model.errors import SettingsError

# Longer than any client keeps an idle connection: one that the server closes first may just be asked again.
KEEP_ALIVE_SECONDS = 75
BACKLOG = 2_048  # connections that wait to be accepted
GRACE_SECONDS = 20  # SageMaker kills 30 s after SIGTERM
# Seconds a thread computes before it lets another in; Python's 5 ms would be added to every turn beside a long record.
SWITCH_SECONDS = 0.0005


def serve(arguments: Sequence[str]) -> int:
    """Load the model once, then answer with forked workers that share it, until SIGTERM."""
    if arguments:
        raise SettingsError(f"serve takes no arguments, got {list(arguments)}")
    limits = Limits(workers=_workers(), queue=_whole_number("TOPIC_MODEL_QUEUE", Limits().queue, 10_000))
    scorer = load_scorer()
    scorer.warm_up()
    app = build_app(scorer, limits, ConfidenceMetric(scorer.version))
    listener = _listener()
    give_up_root()
    # What is there now stays: the collector need not look at it again, nor write to memory that workers share.
    gc.collect()
    gc.freeze()
    if limits.workers == 1:
        _run_worker(app, listener)
        return 0
    return supervise(lambda: _run_worker(app, listener), limits.workers)


def _workers() -> int:
    """Processes that answer; forking shares the model's memory, which macOS does not do safely."""
    if sys.platform != "linux":
        return 1
    return _whole_number("TOPIC_MODEL_WORKERS", max(1, len(os.sched_getaffinity(0))), 64)


def _whole_number(name: str, otherwise: int, most: int) -> int:
    given = os.environ.get(name, "")
    if given and not (given.isdecimal() and 1 <= int(given) <= most):
        raise SettingsError(f"{name} is {given!r}; expected a whole number from 1 to {most}")
    return int(given) if given else otherwise


def give_up_root() -> None:
    """Become the unprivileged user that the image names, where the container was started as root.

    Raises:
        SettingsError: there is no such user.
    """
    name = os.environ.get("TOPIC_MODEL_SERVE_USER")
    if not name or os.geteuid() != 0:
        return
    import pwd  # not on Windows, where there is no root either

    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise SettingsError(f"TOPIC_MODEL_SERVE_USER is {name!r}; expected a user of the image, or nothing") from error
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def _listener() -> socket.socket:
    """Port 8080 on all interfaces in a container; on a laptop the given port, on loopback only."""
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT") or "8080"
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise SettingsError(f"SAGEMAKER_BIND_TO_PORT is {port!r}; expected a port from 1 to 65535")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets this only on sockets that name their protocol; without it an answer waits 40 ms to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    local = "SAGEMAKER_BASE_DIR" in os.environ
    address = ("127.0.0.1" if local else "0.0.0.0", int(port))  # noqa: S104 - the platform's contract
    try:
        listener.bind(address)
    except OSError as error:
        raise SettingsError(f"port {address[1]} cannot be listened on ({error.strerror}); free it") from error
    listener.listen(BACKLOG)
    return listener


def _run_worker(app: Starlette, listener: socket.socket) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    config = uvicorn.Config(
        app,
        loop="asyncio",
        # How many connections a worker accepts in a row: one, for the others are to have their share.
        backlog=1,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
    _Worker(config).run(sockets=[listener])


class _Worker(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)  # which asyncio has set to the number above, too
