"""Time and memory from Prepare to BuildNeighbours as campaigns grow: ``python -m benchmarks.growth [N ...]``.

Every step runs as its container does, in a process of its own with the container contract; scoring goes through the
serving container's batch mode in 6 MB payloads, two at a time. Peak memory is the kernel's figure for the process.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PAYLOAD_BYTES = 6 * 10**6
TERMS_PER_CAMPAIGN = 100


@dataclass(frozen=True)
class Step:
    """One step's wall-clock seconds and peak resident memory in MiB (of its largest process)."""

    name: str
    seconds: float
    peak_mib: float


def main() -> None:
    """Print one table row a size, and the ratios of neighbouring sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    totals = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="topic-model-growth-") as work:
            exports = make_exports(Path(work), size, arguments.seed)
            steps = run_steps(Path(work), exports)
        totals.append(sum(step.seconds for step in steps))
        print(f"{size:>9,} campaigns: {totals[-1]:8.1f} s, peak {max(step.peak_mib for step in steps):,.0f} MiB")
        for step in steps:
            print(f"          {step.name:<18}{step.seconds:8.1f} s {step.peak_mib:8,.0f} MiB", flush=True)
    for previous, (size, total) in enumerate(zip(arguments.sizes[1:], totals[1:], strict=True)):
        data = size / arguments.sizes[previous]
        print(f"{data:g} times the data took {total / totals[previous]:.2f} times the time")


def make_exports(work: Path, size: int, seed: int) -> Path:
    """Generated exports of ``size`` campaigns of some 100 terms."""
    from topic_model.sample import generate_sample

    generate_sample(work / "sample", campaigns=size, seed=seed, format="jsonl", terms_per_campaign=TERMS_PER_CAMPAIGN)
    return work / "sample" / "exports"


def run_steps(work: Path, exports: Path) -> list[Step]:
    """All steps over the channels' folders."""
    steps: list[Step] = []
    prepared, scoring = work / "prepared", work / "scoring"
    for channel in sorted(path for path in exports.iterdir() if path.is_dir()):
        job = _job(work, {"exports": channel})
        steps.append(_run(f"prepare {channel.name}", job, ["process", "prepare", "--channel", channel.name]))
        _move(job / "processing/output/prepared", prepared / channel.name)
        _move(job / "processing/output/scoring", scoring / channel.name)
    job = _job(work, {"prepared": prepared})
    steps.append(_run("build-corpus", job, ["process", "build-corpus"]))
    corpus = job / "processing/output/corpus"

    training = _job(work, {})
    (training / "input/data").mkdir(parents=True)
    (training / "input/data/corpus").symlink_to(corpus)
    steps.append(_run("train", training, ["train"]))
    archive = work / "model"
    archive.mkdir()
    subprocess.run(["tar", "-czf", archive / "model.tar.gz", "-C", training / "model", "."], check=True)

    job = _job(work, {"model": archive, "corpus": corpus})
    steps.append(_run("evaluate", job, ["process", "evaluate"]))
    fingerprints = work / "fingerprints"
    fingerprints.mkdir()
    steps.append(_score(work, training / "model", scoring, fingerprints))
    job = _job(work, {"model": archive, "prepared": prepared, "fingerprints": fingerprints})
    steps.append(_run("build-neighbours", job, ["process", "build-neighbours"]))
    return steps


def _job(work: Path, inputs: dict[str, Path]) -> Path:
    job = Path(tempfile.mkdtemp(prefix="job-", dir=work))
    (job / "processing/input").mkdir(parents=True)
    for name, folder in inputs.items():
        (job / "processing/input" / name).symlink_to(folder)
    return job


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)


def _start(job: Path, arguments: list[str], **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "containers", *arguments],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job), **environment},
        stdout=subprocess.DEVNULL,
    )


def _wait(name: str, process: subprocess.Popen[bytes], began: float) -> Step:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, -signal.SIGTERM):
        sys.exit(f"{name} failed with exit code {process.returncode}")
    return Step(name, time.monotonic() - began, usage.ru_maxrss / 1024)


def _run(name: str, job: Path, arguments: list[str]) -> Step:
    began = time.monotonic()
    return _wait(name, _start(job, arguments), began)


def _score(work: Path, model: Path, scoring: Path, out: Path) -> Step:
    """Batch transform in small: the serving container in batch mode, payloads of whole lines, two at a time."""
    began = time.monotonic()
    job = _job(work, {})
    (job / "model").symlink_to(model)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = _start(job, ["serve"], SAGEMAKER_BIND_TO_PORT=str(port), SAGEMAKER_BATCH="true")
    _wait_for_ping(server, port)

    def post(numbered: tuple[int, bytes]) -> None:
        number, payload = numbered
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        connection.request("POST", "/invocations", payload, {"Content-Type": "application/jsonlines"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"scoring answered {response.status}: {response.read()[:300]!r}")
        (out / f"{number:06d}.out").write_bytes(response.read())
        connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(post, enumerate(_payloads(scoring))))
    server.send_signal(signal.SIGTERM)
    return _wait("score", server, began)


def _wait_for_ping(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"the serving container ended with exit code {server.returncode}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("the serving container did not answer a ping within a minute")


def _payloads(scoring: Path) -> list[bytes]:
    payloads: list[bytes] = []
    lines: list[bytes] = []
    size = 0
    for path in sorted(scoring.rglob("*.jsonl")):
        for line in path.open("rb"):
            if size + len(line) > PAYLOAD_BYTES:
                payloads.append(b"".join(lines))
                lines, size = [], 0
            lines.append(line)
            size += len(line)
    return [*payloads, b"".join(lines)] if lines else payloads


if __name__ == "__main__":
    main()
