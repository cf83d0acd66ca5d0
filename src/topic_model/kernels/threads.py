"""Work split over threads: kernels release the interpreter's lock, and each part writes rows of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from topic_model.arrays import IntArray

Split = Callable[..., None]
"""``split(kernel, indptr, *arguments)``: calls ``kernel(start, stop, *arguments)`` for parts that cover all rows."""


@contextmanager
def splitting(threads: int) -> Iterator[Split]:
    """Calls of kernels in so many threads, each on consecutive rows with about as many entries as the other parts."""
    with ThreadPoolExecutor(threads) if threads > 1 else _Alone() as pool:

        def split(kernel: Callable[..., object], indptr: IntArray, *arguments: object) -> None:
            bounds = part_bounds(indptr, threads)
            parts = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
            # list(): waits, and raises what a part raised.
            list(pool.map(lambda part: kernel(*part, *arguments), [part for part in parts if part[0] < part[1]]))

        yield split


def part_bounds(indptr: IntArray, parts: int) -> IntArray:
    """Row numbers of shape (parts + 1,) that split compressed sparse rows into parts of about equal work.

    A row counts as an entry too, so that empty rows are split as well.
    """
    work = indptr + np.arange(len(indptr))
    inner = np.searchsorted(work, work[-1] * np.arange(1, parts) // parts)
    return np.concatenate(([0], inner, [len(indptr) - 1])).astype(np.int64)


class _Alone:
    """A pool of the calling thread."""

    map = staticmethod(map)

    def __enter__(self) -> _Alone:
        return self

    def __exit__(self, *_: object) -> None:
        pass
