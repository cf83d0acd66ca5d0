"""Requests at a fixed rate over kept connections, and how long each took from when it was due.

A request that has to wait for a free connection, because those before it are slow, has waited: its time counts from
when it was due and not from when it was sent (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np


@dataclass(frozen=True, slots=True)
class Call:
    """One request: method, path with query, and a JSON body or none."""

    method: str
    path: str
    body: bytes = b""


@dataclass
class Load:
    """What came of some requests: milliseconds each, and how many had which status (0: no answer)."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def percentile(self, percent: float) -> float:
        """Milliseconds."""
        return float(np.percentile(self.milliseconds, percent))


def at_rate(
    url: str, calls: Sequence[Call], *, rate: float, seconds: float, headers: dict[str, str], connections: int = 32
) -> Load:
    """Send calls in turn, ``rate`` a second for some seconds."""
    return asyncio.run(_at_rate(url, calls, rate, seconds, headers, connections))


async def _at_rate(
    url: str, calls: Sequence[Call], rate: float, seconds: float, headers: dict[str, str], connections: int
) -> Load:
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None  # noqa: S101 - the benchmark's own URL
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    pool: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(connections):
        pool.put_nowait(_Connection(parts.hostname, parts.port, head))
    load = Load()
    loop = asyncio.get_running_loop()
    began = loop.time() + 0.1

    async def send(number: int) -> None:
        due = began + number / rate
        await asyncio.sleep(due - loop.time())
        connection = await pool.get()
        status = await connection.ask(calls[number % len(calls)])
        load.milliseconds.append((loop.time() - due) * 1_000)
        load.statuses[status] += 1
        pool.put_nowait(connection)

    await asyncio.gather(*(send(number) for number in range(int(rate * seconds))))
    while not pool.empty():
        pool.get_nowait().close()
    return load


class _Connection:
    """One kept HTTP/1.1 connection, made anew when it fails."""

    def __init__(self, host: str, port: int, head: str) -> None:
        self._host, self._port, self._head = host, port, head
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, call: Call) -> int:
        """The status of one answer, which is read whole; 0 where there is none."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            kind = f"content-type: application/json\r\ncontent-length: {len(call.body)}\r\n" if call.body else ""
            writer.write(
                f"{call.method} {call.path} HTTP/1.1\r\nhost: x\r\n{self._head}{kind}\r\n".encode() + call.body
            )
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            return int(answer.split(b" ", 2)[1])
        except (OSError, EOFError, StopIteration):
            self.close()
            return 0

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
