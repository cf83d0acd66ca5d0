"""What the workflow costs over its jobs' own work: ``python -m benchmarks.workflow [--campaigns N]``.

The sample goes through ``topic-model run`` on a local AWS of its own, twice: the first run starts the server and
creates the endpoint, the second is timed. Beside each state stands its job's own work: the same container command on
the same exports, as a plain process with all its imports and nothing around it.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.growth import run_steps
from topic_model.sample import generate_sample
from topic_model_cli.summary import summary_from_folder

STEP_OF_STATE = {
    "BuildCorpus": "build-corpus",
    "Train": "train",
    "Evaluate": "evaluate",
    "ScoreCampaigns": "score",
    "BuildNeighbours": "build-neighbours",
}
# A Map, which is its iterations, and the deployment, whose bakes are settings.
WAITING = {"Prepare", "Deploy"}


def main() -> None:
    """Print one line a state: its seconds, its job's own work, and the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=2_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="topic-model-workflow-") as name:
        work = Path(name)
        generate_sample(work / "sample", campaigns=arguments.campaigns)
        exports = work / "sample" / "exports"
        try:
            first = _run(work, exports, "first")
            second = _run(work, exports, "second")
        finally:
            subprocess.run([*_command("local", "down"), "--root", work / "aws"], check=False, capture_output=True)
        own = {step.name: step.seconds for step in run_steps(work, exports)}
        _print(work / "runs" / "second", own)
    print(f"{arguments.campaigns:,} campaigns, Python {platform.python_version()}, {platform.machine()}")
    print(f"topic-model run: {first:.1f} s the first time, with the server's start; {second:.1f} s the second")


def _print(folder: Path, own: dict[str, float]) -> None:
    worst = 0.0
    print(f"{'state':<36}{'seconds':>8}{'own work':>10}{'over':>8}")
    for state in summary_from_folder(folder).states:
        step = f"prepare {state.channel}" if state.name == "PrepareChannel" else STEP_OF_STATE.get(state.name, "")
        work = own.get(step, 0.0)
        if state.name not in WAITING:
            worst = max(worst, state.seconds - work)
        print(f"{state.name:<36}{state.seconds:>8.2f}{work:>10.2f}{state.seconds - work:>8.2f}")
    print(f"at most {worst:.2f} s a state over the job's own work")


def _run(work: Path, exports: Path, name: str) -> float:
    began = time.monotonic()
    command = _command("run", "--input", str(exports), "--name", name)
    command += ["--root", str(work / "aws"), "--runs", str(work / "runs"), "--port", str(_port(work))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.monotonic() - began


def _port(work: Path) -> int:
    known = work / "aws" / "server.json"
    if known.exists():
        return int(json.loads(known.read_text())["port"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "topic_model_cli.main", *arguments]


if __name__ == "__main__":
    main()
