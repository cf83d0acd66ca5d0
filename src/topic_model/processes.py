"""Work in several processes that share what is in memory: for Python's own work, which threads cannot share."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable

from topic_model.kernels.threads import cores


def number_of_processes() -> int:
    """How many are of use: a core each, and one where forking is not safe."""
    return cores() if sys.platform == "linux" else 1


def in_processes(work: Callable[[int], None], number: int) -> None:
    """``work(0)`` to ``work(number - 1)``, each in a forked process; in this one where it is one.

    What a process leaves must be on disk. One whose parent is killed ends with its work.

    Raises:
        RuntimeError: a process failed; its own traceback is on standard error.
    """
    if number == 1:
        work(0)
        return
    forked = multiprocessing.get_context("fork")
    processes = [forked.Process(target=work, args=(one,)) for one in range(number)]
    with warnings.catch_warnings():
        # Libraries' idle threads are re-made after a fork by their own handlers; Python 3.12 warns of any thread.
        warnings.simplefilter("ignore", DeprecationWarning)
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    if failed := [process.exitcode for process in processes if process.exitcode]:
        raise RuntimeError(f"{len(failed)} of {number} processes failed, with exit code {failed[0]}; see above")
