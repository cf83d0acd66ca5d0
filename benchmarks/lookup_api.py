"""The lookup API under load on this machine: ``python -m benchmarks.lookup_api [--root DIR] [--campaigns N]``.

The API runs as ``topic-model api`` over a local AWS with a finished run (of ``--root``, or one that is made here of a
sample), and this process sends requests at a fixed rate. For each kind of request it prints percentiles of the time
from when a request was due, how many failed, the API's own CPU time a request, and how often the same server can
answer ``/health``, as a measure of the machine at that moment.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.http_load import Call, at_rate, cpu_during

COMMAND = [sys.executable, "-m", "topic_model_cli.main"]


@dataclass(frozen=True)
class Api:
    """A running lookup API: its address, a key that sees all campaigns, and its process."""

    url: str
    key: str
    pid: int

    def get(self, path: str) -> Any:
        """The answer to a GET."""
        request = urllib.request.Request(f"{self.url}{path}", headers={"x-api-key": self.key})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - loopback
            return json.load(response)

    def cpu_seconds(self) -> float:
        """CPU time that the process has used (Linux)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Resident memory of the process (Linux)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Print a line a kind of request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="a local AWS that is up, with a finished run")
    parser.add_argument("--campaigns", type=int, default=2_000, help="of the sample, where there is no --root")
    parser.add_argument("--port", type=int, default=4_621)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="topic-model-lookup-api-") as work:
        root = options.root or _run_sample(Path(work), options.campaigns)
        try:
            with _served(root, options.port) as api:
                _measure(api, options.seconds)
        finally:
            if options.root is None:
                subprocess.run([*COMMAND, "local", "down", "--root", str(root)], check=False)


def _measure(api: Api, seconds: float) -> None:
    first = api.get("/v1/campaigns")
    pages = range(1, min(first["pages"], 50) + 1)
    ids = [one["campaign_id"] for page in pages for one in api.get(f"/v1/campaigns?page={page}")["campaigns"]]
    # Reading these here would put them into the API's cache: what is to be met cold stays unread.
    fresh = [api.get(f"/v1/campaigns/{quote(one, safe='')}")["keywords"] for one in ids[:100]]
    known = [Call("GET", f"/v1/campaigns/{quote(one, safe='')}/similar?explain=true") for one in ids]
    asked = [Call("POST", "/v1/similar", json.dumps({"keywords": keywords}).encode()) for keywords in fresh]
    words = sorted({word for keywords in fresh for keyword in keywords for word in keyword.split()})
    found = [Call("GET", f"/v1/campaigns?query={quote(word)}") for word in words]
    kinds: list[tuple[str, list[Call], float, float]] = [
        ("health", [Call("GET", "/health")], 300, 4),
        ("known, first time", known[100:], 100, min(seconds, len(known[100:]) / 100)),
        ("known", known, 300, seconds),
        ("search", found, 100, seconds / 2),
        ("fresh", asked, 100, seconds),
        ("health", [Call("GET", "/health")], 300, 4),
    ]
    print(f"{len(ids):,} campaigns; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'request':<18} {'a second':>8} {'p50':>7} {'p95':>7} {'p99':>7} {'failed':>7} {'CPU':>8} {'memory':>8}")
    for kind, calls, rate, duration in kinds:
        ask = partial(at_rate, api.url, calls, rate=rate, seconds=duration, headers={"x-api-key": api.key})
        load, cpu = cpu_during(api.cpu_seconds, ask)
        failed = sum(count for status, count in load.statuses.items() if status != 200)
        times = " ".join(f"{load.percentile(percent):>7.1f}" for percent in (50, 95, 99))
        print(f"{kind:<18} {rate:>8.0f} {times} {failed:>7} {cpu:>6.2f}ms {api.megabytes():>6.0f}MB", flush=True)


def _run_sample(work: Path, campaigns: int) -> Path:
    root = work / "aws"
    subprocess.run([*COMMAND, "sample", "--out", str(work / "sample"), "--campaigns", str(campaigns)], check=True)
    subprocess.run(
        [
            *(*COMMAND, "run", "--root", str(root), "--input", str(work / "sample" / "exports")),
            *("--runs", str(work / "runs"), "--port", str(_free_port())),
        ],
        check=True,
    )
    return root


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _served(root: Path, port: int) -> Iterator[Api]:
    process = subprocess.Popen(
        [*COMMAND, "api", "--root", str(root), "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        key = next(match[1] for line in process.stdout if (match := re.search(r"key for all campaigns: (\S+)", line)))
        api = Api(f"http://127.0.0.1:{port}", key, process.pid)
        deadline = time.monotonic() + 30
        while True:
            try:
                api.get("/health")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield api
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    main()
