"""The serving container under load, beside MLflow's scoring server and BentoML with the same model.

``python -m benchmarks.serving [--model FOLDER | --campaigns 100000] [--rate 300] [--requests 100000] [--no-peers]``

Requests are campaigns that the model does not know, as analysts ask about them. This process sends them, the servers
are others on the same machine. Percentiles are of the time from when a request was due. Prints Markdown: the servers
side by side, then ours at five times the requests a second that it holds, and its memory over many requests.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from benchmarks.http_load import Call, Load, at_rate, one_after_another, rate_of, together
from benchmarks.processes import cpu_seconds, megabytes
from benchmarks.serving_model import NEAREST, fresh_records, lookup_model
from benchmarks.serving_servers import NotInstalledError, Running, Server, bentoml, mlflow, ours, running

FRESH, FRESH_SEED = 2_000, 99
LOW_RATE = 100.0
CLOSED = 8
"""Connections of the load that finds how much a server holds."""
OVERLOAD = 5
OVERLOAD_CONNECTIONS = 512
MEMORY_PARTS = 10
WARM_UP_REQUESTS = 600


@dataclass(frozen=True)
class Measured:
    """A server's figures; ``held`` is the closed load."""

    name: str
    start_seconds: float
    low: Load
    rated: Load
    held: Load
    cpu_milliseconds: float
    megabytes: float

    @property
    def a_second(self) -> float:
        """Requests that it answers a second, at most."""
        return self.held.statuses[200] / self.held.seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a lookup model's artifact folder; else one is made and kept")
    parser.add_argument("--campaigns", type=int, default=100_000, help="of the model that is made")
    parser.add_argument("--topics", type=int, default=100, help="of the model that is made")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rate", type=float, default=300, help="requests a second")
    parser.add_argument("--seconds", type=float, default=15, help="at each rate")
    parser.add_argument("--requests", type=int, default=100_000, help="over which memory is measured")
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    model = (options.model or lookup_model(options.campaigns, options.topics)).resolve()
    bench = Benchmark(model, options.workers, options.rate, options.seconds, fresh_records(FRESH, FRESH_SEED))
    bench.describe()
    with tempfile.TemporaryDirectory(prefix="topic-model-bench-serving-") as work:
        bench.run(Path(work), options.requests, peers=not options.no_peers)


class Benchmark:
    """One run over one model."""

    def __init__(self, model: Path, workers: int, rate: float, seconds: float, records: Sequence[bytes]) -> None:
        self._model, self._workers, self._records = model, workers, records
        self._rate, self._seconds = rate, seconds

    def describe(self) -> None:
        """What is measured, where and when."""
        campaigns, topics = np.load(self._model / "index" / "theta.npy", mmap_mode="r").shape
        manifest = orjson.loads((self._model / "manifest.json").read_bytes())
        texts = [record["keywords"] + record["search_terms"] for record in map(orjson.loads, self._records)]
        words = [sum(len(text.split()) for text in own) for own in texts]
        print(
            f"Model {manifest['model_version']} ({campaigns:,} campaigns, K = {topics}); requests with a median of "
            f"{np.median(list(map(len, texts))):.0f} keywords and search terms, {np.median(words):.0f} words, for the "
            f"{NEAREST} nearest; {self._workers} workers and the load on {os.cpu_count()} cores, load average before "
            f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}; {time.strftime('%Y-%m-%d')}\n",
            flush=True,
        )

    def run(self, work: Path, requests: int, *, peers: bool) -> None:
        """Our server with all phases, then the peers, then the tables."""
        (work / "model").symlink_to(self._model)
        told: list[str] = []

        def more(server: Running, calls: Sequence[Call], measured: Measured) -> None:
            told.extend(self._overload(server, calls, measured))
            told.extend(self._memory(server, calls, requests))

        rows = [self._measure(work, ours, more)]
        if peers:
            for start in (lambda port: mlflow(port, self._workers), bentoml):
                try:
                    rows.append(self._measure(work, start))
                except NotInstalledError as error:
                    told.append(f"\n{error}")
        print("\n".join([*self._compared(rows), *told]))

    def _measure(
        self,
        work: Path,
        start: Callable[[int], Server],
        more: Callable[[Running, Sequence[Call], Measured], None] | None = None,
    ) -> Measured:
        port = _free_port()
        server = start(port)
        calls = server.calls(self._records)
        with running(server, work, port, self._workers, work / "log.txt") as found:
            one_after_another(found.url, calls, requests=WARM_UP_REQUESTS, headers={}, connections=CLOSED)
            low = at_rate(found.url, calls, rate=LOW_RATE, seconds=self._seconds / 2, headers={})
            rated = at_rate(found.url, calls, rate=self._rate, seconds=self._seconds, headers={})
            before = cpu_seconds(found.pid)
            held = one_after_another(found.url, calls, requests=2_000, headers={}, connections=CLOSED)
            cpu = (cpu_seconds(found.pid) - before) * 1_000 / len(held.milliseconds)
            measured = Measured(server.name, found.start_seconds, low, rated, held, cpu, megabytes(found.pid))
            if more:
                more(found, calls, measured)
        return measured

    def _overload(self, server: Running, calls: Sequence[Call], measured: Measured) -> list[str]:
        rate, seconds = OVERLOAD * measured.a_second, min(self._seconds, 8.0)
        load, pings = together(
            rate_of(server.url, calls, rate=rate, seconds=seconds, connections=OVERLOAD_CONNECTIONS),
            rate_of(server.url, [Call("GET", "/ping")], rate=10, seconds=seconds, connections=4),
        )
        usual = min(self._rate, measured.a_second / 2)
        after = at_rate(server.url, calls, rate=usual, seconds=5, headers={})
        other = sum(load.statuses.values()) - load.statuses[200] - load.statuses[503]
        return [
            f"\nAt {rate:,.0f} requests a second, {OVERLOAD} times what it holds, for {seconds:.0f} s:\n",
            "| | a second | failed | p50 | p99 |",
            "| --- | --- | --- | --- | --- |",
            _line("answered", load, 200),
            _line("refused (503)", load, 503),
            _line("/ping meanwhile", pings),
            _line(f"right after, {usual:.0f}/s", after),
            f"\nNeither answered nor refused: {other}. The generator was {_late(load):.0f} ms behind (p99).",
        ]

    def _memory(self, server: Running, calls: Sequence[Call], requests: int) -> list[str]:
        sizes, answered, began = [], 0, time.monotonic()
        for _ in range(MEMORY_PARTS):
            load = one_after_another(
                server.url, calls, requests=requests // MEMORY_PARTS, headers={}, connections=2 * CLOSED
            )
            answered += load.statuses[200]
            sizes.append(megabytes(server.pid, "Pss_Anon"))
        seconds = time.monotonic() - began
        shown = ", ".join(f"{size:,.0f}" for size in sizes)
        return [
            f"\n{answered:,} answers, {answered / seconds:,.0f} a second. Memory but for mapped files, in MB after "
            f"each tenth: {shown}; {sizes[-1] - sizes[0]:+.1f} MB from the first to the last."
        ]

    def _compared(self, rows: Sequence[Measured]) -> list[str]:
        first = rows[0]

        def line(name: str, shown: Callable[[Measured], str]) -> str:
            return f"| {name} | " + " | ".join(map(shown, rows)) + " |"

        def times(name: str, value: Callable[[Measured], float], digits: int = 1) -> str:
            cells = [f"{value(first):,.{digits}f}"]
            for row in rows[1:]:
                cells.append(f"{value(row):,.{digits}f} ({_ratio(value(row) / value(first))}×)")
            return f"| {name} | " + " | ".join(cells) + " |"

        return [
            "| | " + " | ".join(row.name for row in rows) + " |",
            "| --- |" + " --- |" * len(rows),
            times(f"p50 at {LOW_RATE:.0f}/s, ms", lambda row: row.low.percentile(50)),
            times(f"p99 at {LOW_RATE:.0f}/s, ms", lambda row: row.low.percentile(99)),
            times(f"p50 at {self._rate:.0f}/s, ms", lambda row: row.rated.percentile(50)),
            times(f"p99 at {self._rate:.0f}/s, ms", lambda row: row.rated.percentile(99)),
            line(f"failed at {self._rate:.0f}/s", lambda row: f"{row.rated.failed} of {len(row.rated.milliseconds):,}"),
            times("requests a second, at most", lambda row: row.a_second, 0),
            times("CPU a request, ms", lambda row: row.cpu_milliseconds),
            times("memory, MB", lambda row: row.megabytes, 0),
            times("ready after, s", lambda row: row.start_seconds),
            f"\nThe generator was at most {max(_late(row.rated) for row in rows):.1f} ms late (p99).",
        ]


def _line(name: str, load: Load, status: int | None = None) -> str:
    """A row of what came of a load, or of its requests with one status."""
    number = len(load.milliseconds) if status is None else load.statuses[status]
    failed = load.failed if status is None else 0
    times = " | ".join(f"{load.percentile(percent, status):,.1f} ms" for percent in (50, 99))
    return f"| {name} | {number / load.seconds:,.0f} | {failed} | {times} |"


def _ratio(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"


def _late(load: Load) -> float:
    late = sorted(load.late)
    return late[int(0.99 * (len(late) - 1))]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
