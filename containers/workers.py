"""Forked workers: they share what was loaded before the fork, and one that dies is replaced."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

RESTART_SECONDS = 0.5  # before a dead worker is replaced: one that dies at once must not fork without end
_LOGGER = logging.getLogger(__name__)


def supervise(work: Callable[[], None], number: int) -> int:
    """Keep ``number`` workers at work; SIGTERM or SIGINT ends them all, and the exit code is then 0."""
    # Blocked, and taken one at a time: none gets lost before a wait, or in a worker that does not listen for it yet.
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    workers = {_start_worker(work) for _ in range(number)}
    stopping = False
    while workers:
        if signal.sigwait(awaited) != signal.SIGCHLD:
            stopping = True
            for worker in workers:
                os.kill(worker, signal.SIGTERM)
            continue
        for worker in [worker for worker in workers if os.waitpid(worker, os.WNOHANG)[0]]:
            workers.discard(worker)
            if not stopping:
                _LOGGER.error("worker %d ended; starting another", worker)
                time.sleep(RESTART_SECONDS)
                workers.add(_start_worker(work))
    return 0


def _start_worker(work: Callable[[], None]) -> int:
    parent = os.getpid()
    worker = os.fork()
    if worker:
        return worker
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _die_with_parent()
        if os.getppid() == parent:
            work()
    finally:
        os._exit(1)  # told to stop, it ends by that signal; whatever else brings it here is a failure


def _die_with_parent() -> None:
    """Ask Linux to end this worker when its parent is killed, so that none is left behind."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
