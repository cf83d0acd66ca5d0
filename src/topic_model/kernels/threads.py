"""Work split over threads: kernels release the interpreter's lock, and each part writes rows of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext

import numpy as np

from topic_model.arrays import IntArray

Split = Callable[..., None]
"""``split(kernel, indptr, *arguments)``: calls ``kernel(start, stop, *arguments)`` for parts that cover all rows."""


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def splitting(threads: int) -> Iterator[Split]:
    """Calls of kernels in so many threads, each on consecutive rows with about as many entries as the other parts.

    The calling thread takes a part itself: parts take a millisecond or so, and where all threads had to be woken for
    them, Linux put them on the core of the one that woke them, one behind the other.
    """
    with ThreadPoolExecutor(threads - 1) if threads > 1 else nullcontext() as pool:

        def split(kernel: Callable[..., object], indptr: IntArray, *arguments: object) -> None:
            bounds = part_bounds(indptr, threads)
            pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
            *others, own = [part for part in pairs if part[0] < part[1]] or [(0, 0)]
            running = [pool.submit(kernel, *part, *arguments) for part in others] if pool else []
            try:
                kernel(*own, *arguments)
            finally:
                wait(running)  # else a part would still write when the caller has gone on
            for part in running:
                part.result()

        yield split


def part_bounds(indptr: IntArray, parts: int) -> IntArray:
    """Row numbers of shape (parts + 1,) that split compressed sparse rows into parts of about equal work.

    A row counts as an entry too, so that empty rows are split as well.
    """
    work = indptr + np.arange(len(indptr))
    inner = np.searchsorted(work, work[-1] * np.arange(1, parts) // parts)
    return np.concatenate(([0], inner, [len(indptr) - 1])).astype(np.int64)
