"""Requests at a fixed rate over kept connections, and how long each took from when it was due.

The load is open: a request is sent when it is due, whatever became of those before it. One that has to wait for a free
connection, because those before it are slow, has waited: its time counts from when it was due and not from when it was
sent (no coordinated omission). :func:`one_after_another` is the closed load, which finds how much a server can do.

The generator is one event loop in the benchmark's process; what it measures runs in others.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np

NO_ANSWER = 0
ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request: method, path with query, and a JSON body or none."""

    method: str
    path: str
    body: bytes = b""


@dataclass
class Load:
    """What came of some requests: milliseconds each, and how many had which status (0: no answer).

    ``by_status`` has the milliseconds of each status; ``late`` how many milliseconds after it was due the generator
    came to each request: where that is much, the generator is what is slow.
    """

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    by_status: dict[int, list[float]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def percentile(self, percent: float, status: int | None = None) -> float:
        """Milliseconds, of all requests or those with a status; NaN where there are none."""
        found = self.milliseconds if status is None else self.by_status.get(status, [])
        return float(np.percentile(found, percent)) if found else float("nan")

    @property
    def failed(self) -> int:
        """Requests that had no answer, or another than 200."""
        return sum(count for status, count in self.statuses.items() if status != 200)

    def add(self, status: int, milliseconds: float) -> None:
        """Count one request."""
        self.milliseconds.append(milliseconds)
        self.statuses[status] += 1
        self.by_status.setdefault(status, []).append(milliseconds)


def at_rate(
    url: str, calls: Sequence[Call], *, rate: float, seconds: float, headers: dict[str, str], connections: int = 32
) -> Load:
    """Send calls in turn, ``rate`` a second for some seconds."""
    return asyncio.run(_at_rate(_Pool(url, headers, connections), calls, rate, seconds))


def one_after_another(
    url: str, calls: Sequence[Call], *, requests: int, headers: dict[str, str], connections: int = 8
) -> Load:
    """Send calls in turn, as fast as they are answered; each connection has one on its way."""
    return asyncio.run(_one_after_another(_Pool(url, headers, connections), calls, requests, connections))


def together(*loads: Callable[[], Coroutine[Any, Any, Load]]) -> list[Load]:
    """Several loads at the same time, as of :func:`rate_of`."""

    async def all_of_them() -> list[Load]:
        return list(await asyncio.gather(*(load() for load in loads)))

    return asyncio.run(all_of_them())


def rate_of(
    url: str, calls: Sequence[Call], *, rate: float, seconds: float, connections: int
) -> Callable[[], Coroutine[Any, Any, Load]]:
    """:func:`at_rate` for :func:`together`."""
    return lambda: _at_rate(_Pool(url, {}, connections), calls, rate, seconds)


async def _at_rate(pool: _Pool, calls: Sequence[Call], rate: float, seconds: float) -> Load:
    load = Load()
    loop = asyncio.get_running_loop()
    began = loop.time() + 0.1
    asked: set[asyncio.Task[None]] = set()

    async def send(number: int, due: float) -> None:
        load.late.append((loop.time() - due) * 1_000)
        status = await pool.ask(calls[number % len(calls)])
        load.add(status, (loop.time() - due) * 1_000)

    for number in range(round(rate * seconds)):
        due = began + number / rate
        if (early := due - loop.time()) > 0:
            await asyncio.sleep(early)
        elif number % 64 == 0:
            await asyncio.sleep(0)  # behind: answers are read all the same
        task = asyncio.create_task(send(number, due))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)
    load.seconds = loop.time() - began
    pool.close()
    return load


async def _one_after_another(pool: _Pool, calls: Sequence[Call], requests: int, connections: int) -> Load:
    load = Load()
    loop = asyncio.get_running_loop()
    numbers = iter(range(requests))
    began = loop.time()

    async def send_on() -> None:
        for number in numbers:
            sent = loop.time()
            status = await pool.ask(calls[number % len(calls)])
            load.add(status, (loop.time() - sent) * 1_000)

    await asyncio.gather(*(send_on() for _ in range(connections)))
    load.seconds = loop.time() - began
    pool.close()
    return load


class _Pool:
    """Kept connections; who finds none free waits for one."""

    def __init__(self, url: str, headers: dict[str, str], connections: int) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None  # noqa: S101 - the benchmark's own URL
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._free: asyncio.Queue[_Connection] = asyncio.Queue()
        for _ in range(connections):
            self._free.put_nowait(_Connection(parts.hostname, parts.port, head))

    async def ask(self, call: Call) -> int:
        """The status of one answer; 0 where there is none."""
        connection = await self._free.get()
        try:
            return await connection.ask(call)
        finally:
            self._free.put_nowait(connection)

    def close(self) -> None:
        """Close all that are free."""
        while not self._free.empty():
            self._free.get_nowait().close()


class _Connection:
    """One kept HTTP/1.1 connection, made anew when it fails."""

    def __init__(self, host: str, port: int, head: str) -> None:
        self._host, self._port, self._head = host, port, head
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, call: Call) -> int:
        """The status of one answer, which is read whole; 0 where there is none."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(call)
        except (OSError, EOFError, StopIteration, TimeoutError):
            self.close()
            return NO_ANSWER

    async def _ask(self, call: Call) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        kind = f"content-type: application/json\r\ncontent-length: {len(call.body)}\r\n" if call.body else ""
        head = f"{call.method} {call.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{self._head}{kind}\r\n"
        writer.write(head.encode() + call.body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(length)
        if b"\r\nconnection: close" in answer:
            self.close()
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def cpu_during(cpu_seconds: Callable[[], float], work: Callable[[], Load]) -> tuple[Load, float]:
    """What came of the load, and the CPU milliseconds a request that a process spent meanwhile."""
    before = cpu_seconds()
    load = work()
    time.sleep(0.2)  # what the last answers leave to be done
    return load, (cpu_seconds() - before) * 1_000 / max(1, len(load.milliseconds))
