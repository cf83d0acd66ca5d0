"""Seconds from a fresh interpreter's start to its first fingerprint: ``python -m benchmarks.startup [--image NAME]``.

A process reads an artifact of 100 topics by 20,000 terms, checks its hashes, tokenizes one campaign and infers its
fingerprint; the clock starts where the kernel started the process. Without ``--image`` it runs in this environment;
with it, in a container that has no network, a read-only root and a user without a home. Prints median and slowest of
the repeats, the first of which warms the disk's cache and does not count, and exits non-zero where the median is over
3 s or a process had to compile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from topic_model.artifact import write_model
from topic_model.model import TopicModel
from topic_model.settings import TextSettings
from topic_model.vocabulary import Vocabulary

K, TERMS = 100, 20_000
MAX_SECONDS = 3.0
CODE = """
import json, os, pathlib, sys, time
from topic_model.artifact import read_artifact, read_model
from topic_model.campaigns import Campaign, Keyword
from topic_model.text import Tokenizer
model = read_model(read_artifact(pathlib.Path(sys.argv[1])))
campaign = Campaign("1", keywords=(Keyword("term123 term7"), Keyword("term77 shoes")))
theta = model.infer(Tokenizer(model.text_settings).campaign_terms(campaign))
ticks = int(pathlib.Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
from topic_model.kernels import inference
print(json.dumps({"seconds": seconds, "compiled": sum(inference.infer._cache_misses.values()), "sum": theta.sum()}))
"""


def main() -> int:
    """Run the repeats; the exit code says whether the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="measure in this container image")
    parser.add_argument("--repeats", type=int, default=5, help="runs that count")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="topic-model-startup-") as work:
        Path(work).chmod(0o755)  # the container's user reads it
        artifact = Path(work) / "model"
        write_model(random_model(), artifact, about={"algorithm": "lda"})
        found = [run(artifact, options.image) for _ in range(options.repeats + 1)][1:]
    seconds = [one["seconds"] for one in found]
    compiled = sum(one["compiled"] for one in found)
    where = options.image or sys.prefix
    print(f"{where}; K = {K}, {TERMS} terms; {time.strftime('%Y-%m-%d')}")
    print(
        f"first fingerprint after {statistics.median(seconds):.2f} s (median of {len(seconds)}; slowest "
        f"{max(seconds):.2f} s; required {MAX_SECONDS:.0f} s); processes that compiled: {compiled:.0f}"
    )
    return 0 if statistics.median(seconds) <= MAX_SECONDS and not compiled else 1


def random_model() -> TopicModel:
    """Topics as large as a large account's."""
    lambda_ = np.random.default_rng(0).gamma(0.1, 10.0, (K, TERMS)) + 0.05
    vocabulary = Vocabulary.of([f"term{number}" for number in range(TERMS)])
    return TopicModel(vocabulary, lambda_, np.full(K, 0.05), 0.05, TextSettings())


def run(artifact: Path, image: str | None) -> dict[str, float]:
    """What one fresh process found."""
    command = [sys.executable, "-c", CODE, str(artifact)]
    if image:
        command = ["docker", "run", "--rm", "--network", "none", "--read-only", "--user", "12345:12345"]
        command += ["--volume", f"{artifact}:/model:ro", "--entrypoint", "python", image, "-c", CODE, "/model"]
    answered = subprocess.run(command, capture_output=True, text=True, check=False)
    if answered.returncode:
        raise SystemExit(f"the process failed: {answered.stderr.strip()[-1000:]}")
    measured: dict[str, float] = json.loads(answered.stdout)
    return measured


if __name__ == "__main__":
    sys.exit(main())
