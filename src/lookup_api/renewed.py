"""A value that is read from AWS again and again, and that outlives a silence of what it is read from.

For ``seconds`` a value is believed. After half of that it is read again beside the requests, so that under steady
traffic none of them waits. Where reading fails, or takes longer than :data:`PATIENCE_SECONDS`, the last value is served
on until it is :data:`STALE_SECONDS` old; then whoever asks waits, and is told what is wrong. So it is before the first
reading has ended; who can do without the value waits for :data:`NEEDED_SECONDS`, and no longer than the reading fails.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from lookup_api.calls import AwsCalls, silent_table

PATIENCE_SECONDS = 0.25
"""That a request waits for a newer value where there is a last one."""
NEEDED_SECONDS = 5.0
"""That a request waits where there is no last value that may be served, before it does without."""
STALE_SECONDS = 300.0
"""For which the last value is served while nothing newer can be read."""
SILENCE_SECONDS = 5.0
"""After a failure in which nothing is read again, unless somebody cannot do without."""
_ABANDONED_SECONDS = 15.0  # more than a call may take: it was cut off, as by a Lambda that was frozen in between
_Value = TypeVar("_Value")


class Renewed(Generic[_Value]):
    """The last value that ``read`` answered; ``read`` runs in a thread, once for all who ask meanwhile."""

    def __init__(
        self,
        calls: AwsCalls,
        read: Callable[[], _Value],
        seconds: float,
        *,
        stale_seconds: float = STALE_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._calls, self._read, self._seconds = calls, read, seconds
        self._stale_seconds, self._patience = stale_seconds, patience_seconds
        self._known: tuple[float, _Value] | None = None
        self._reading: Future[None] | None = None
        self._reading_since = self._failed_at = -math.inf

    async def value(self) -> _Value:
        """The value.

        Raises:
            Problem: 503, where none is known that is young enough, and none can be read.
        """
        known = self._known
        if known is None or _since(known[0]) >= max(self._seconds, self._stale_seconds):
            try:
                await self._calls.outcome(self._begun)
            except (ClientError, BotoCoreError) as error:
                raise silent_table() from error
        else:
            await self._renew_in_time()
        assert self._known is not None  # noqa: S101 - a reading has ended without an error
        return self._known[1]

    def begin(self) -> None:
        """Read now, so that the first who asks finds the value, or the reading under way."""
        self._begun()

    async def value_or(self, default: _Value) -> _Value:
        """The value, or a default where none is known that is young enough and reading fails or takes seconds."""
        await self._renew_in_time()
        known = self._known
        return known[1] if known and _since(known[0]) < self._stale_seconds else default

    def believe(self, value: _Value) -> None:
        """Take a value as if it had just been read."""
        self._known = (time.time(), value)

    async def _renew_in_time(self) -> None:
        """Read again where it is time to, and wait for it where it is overdue: briefly if there is a value to serve."""
        age = math.inf if self._known is None else _since(self._known[0])
        if age < self._seconds / 2 or _since(self._failed_at) < SILENCE_SECONDS:
            return
        reading = self._begun()
        patience = self._patience if age < self._stale_seconds else NEEDED_SECONDS
        left = self._reading_since + patience - time.time()
        if age < self._seconds or left <= 0:
            return
        waiting = asyncio.wrap_future(reading)
        waiting.add_done_callback(_looked_at)
        await asyncio.wait([waiting], timeout=left)

    def _begun(self) -> Future[None]:
        """The reading that is under way, or a new one."""
        reading = self._reading
        if reading is None or reading.done() or _since(self._reading_since) > _ABANDONED_SECONDS:
            self._reading_since = time.time()
            reading = self._reading = self._calls.begin(self._renew)
        return reading

    def _renew(self) -> None:
        """For a thread."""
        began = time.time()
        try:
            value = self._read()
        except Exception:
            self._failed_at = time.time()
            raise
        known = self._known
        # One that was overtaken says nothing new.
        if known is None or known[0] <= began or known[0] > time.time():
            self._known = (began, value)


def _since(moment: float) -> float:
    """Seconds since a moment; absolute, because a clock that was set back must not keep a value for hours.

    By the wall clock: the monotonic one stands still while a Lambda is frozen.
    """
    return abs(time.time() - moment)


def _looked_at(waiting: asyncio.Future[None]) -> None:
    """Errors are logged where they happen; asyncio need not say that nobody looked at one."""
    if not waiting.cancelled():
        waiting.exception()
