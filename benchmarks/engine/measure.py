"""Measuring: a training a process, its topics judged by the protocol, a JSON line each, nothing measured twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine.corpora import EngineCorpus
from benchmarks.engine.protocol import evaluate_topics, tfidf_precision
from benchmarks.engine.trainers import THREADS

TFIDF = "TF-IDF cosine"
ROOT = Path(__file__).parents[2]
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Result:
    """One training: seconds of training alone, of the whole process, peak resident memory, and the yardsticks.

    ``load`` is the machine's load average of the minute before: above the threads of the training before, the clock
    tells of other processes, too.
    """

    corpus: str
    corpus_hash: str
    num_topics: int
    trainer: str
    seed: int
    commit: str
    run: str
    load: float
    seconds: float
    cpu_seconds: float
    process_seconds: float
    peak_mib: float
    log_likelihood: float
    c_npmi: float
    diversity: float
    precision_at_10: float


class Results:
    """The results of a work folder; the last line of a corpus, trainer and seed counts."""

    def __init__(self, work: Path) -> None:
        self._path = work / "results.jsonl"
        self._found: dict[tuple[str, str, int], Result] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                values = json.loads(line)
                if (
                    values.keys() == Result.__annotations__.keys()
                ):  # else an earlier benchmark's, which measured otherwise
                    self._keep(Result(**values))

    def _keep(self, result: Result) -> None:
        self._found[result.corpus_hash, result.trainer, result.seed] = result

    def get(self, corpus: EngineCorpus, trainer: str, seed: int) -> Result | None:
        """What was measured, or None."""
        return self._found.get((corpus.content_hash, trainer, seed))

    def add(self, result: Result) -> None:
        """Keep a result, on disk at once."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(result)) + "\n")
        self._keep(result)


def measure(corpus: EngineCorpus, path: Path, trainer: str, seed: int, run: str) -> Result:
    """Train once in a fresh process of two threads, and judge its topics.

    Raises:
        RuntimeError: the training failed; its own message was printed.
    """
    with tempfile.TemporaryDirectory(prefix="topic-model-engine-") as scratch:
        topics = Path(scratch) / "beta.npy"
        command = [sys.executable, "-m", "benchmarks.engine.train_once", str(path), trainer, str(seed), str(topics)]
        printed = Path(scratch) / "printed"
        load = os.getloadavg()[0]
        began = time.perf_counter()
        with printed.open("wb") as stream:
            environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(THREADS))}
            done = subprocess.run(command, check=False, cwd=ROOT, env=environment, stdout=stream)
        process_seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{trainer} on {corpus.name} with seed {seed} ended with exit code {done.returncode}")
        timed: dict[str, float] = json.loads(printed.read_text(encoding="utf-8").splitlines()[-1])
        beta = np.load(topics, allow_pickle=False)
    return Result(
        corpus.name,
        corpus.content_hash,
        corpus.num_topics,
        trainer,
        seed,
        commit(),
        run,
        load,
        timed["seconds"],
        timed["cpu_seconds"],
        process_seconds,
        timed["peak_mib"],
        **evaluate_topics(beta, corpus),
    )


def measure_all(
    corpora: Sequence[tuple[EngineCorpus, Path]],
    trainers: Sequence[str],
    seeds: Sequence[int],
    results: Results,
    *,
    again: bool = False,
) -> None:
    """Measure what is missing, one training at a time; seed by seed, so that a noisy minute meets all trainers."""
    run = datetime.now(UTC).isoformat(timespec="seconds")
    for corpus, path in corpora:
        for seed in seeds:
            for trainer in trainers:
                if again or results.get(corpus, trainer, seed) is None:
                    result = measure(corpus, path, trainer, seed, run)
                    results.add(result)
                    print(
                        f"{corpus.name} {trainer}, seed {seed}: {result.seconds:.2f} s, log-likelihood "
                        f"{result.log_likelihood:.3f}, c_npmi {result.c_npmi:.3f}, precision@10 "
                        f"{result.precision_at_10:.3f}",
                        file=sys.stderr,
                        flush=True,
                    )


def tfidf(corpus: EngineCorpus, work: Path) -> float:
    """Precision@10 of TF-IDF cosine, measured once a corpus."""
    path = work / "corpora" / f"tfidf-{corpus.content_hash}.json"
    if not path.exists():
        path.write_text(json.dumps(tfidf_precision(corpus)), encoding="utf-8")
    return float(json.loads(path.read_text(encoding="utf-8")))


@cache
def commit() -> str:
    """The commit that is measured, with a ``+`` where the library differs from it; ``unknown`` without Git."""

    def git(*arguments: str) -> Any:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "src/topic_model", "benchmarks/engine")
        return str(git("rev-parse", "--short", "HEAD")) + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
