"""Requests take turns: one is worked on at a time, the next ones wait in order, and what is too many is sent away.

A worker is one event loop. Were each request answered as soon as it is read, a hundred that are there at once would be
worked on in a row, and for that long nobody would be told that there are too many, or that the worker is alive. So
the loop looks at its sockets between two turns: a ping waits for one turn, and one request too many is refused at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Turns:
    """The turns of one worker, for at most ``limit`` requests that wait or are worked on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._placed = 0
        self._lock = asyncio.Lock()  # hands over in the order in which it was asked for

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self._placed >= self._limit

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue; ask :attr:`full` before."""
        self._placed += 1
        try:
            yield
        finally:
            self._placed -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The next free turn of a request that has a place; long work takes several, and others come between."""
        await self._lock.acquire()
        try:
            yield
        finally:
            # Not now: first the answer is sent, and then the loop looks at its sockets.
            asyncio.get_running_loop().call_soon(self._lock.release)


class Held:
    """Bytes of bodies that a worker holds for all requests together: at most ``limit``, or one body alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def take(self, size: int, own: int) -> bool:
        """Hold ``size`` more for a request that holds ``own``; False where there is no room for it."""
        if self._held > own and self._held + size > self._limit:
            return False
        self._held += size
        return True

    def release(self, size: int) -> None:
        """Hold so many less."""
        self._held -= size
