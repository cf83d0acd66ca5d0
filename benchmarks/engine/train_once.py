"""One training in a process of its own: ``python -m benchmarks.engine.train_once CORPUS TRAINER SEED OUT``.

Before the clock starts, the trainer trains five topics on 200 campaigns: imports are done then, compiled kernels are
loaded and threads are up, for every trainer alike. The parent measures the whole process, with all that.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.engine.corpora import read_engine_corpus
from benchmarks.engine.trainers import trainers

WARM_UP_CAMPAIGNS, WARM_UP_TOPICS = 200, 5


def main() -> None:
    """Write the topics to OUT, and print seconds and peak memory as one JSON line."""
    corpus_path, name, seed, out = sys.argv[1:]
    corpus = read_engine_corpus(Path(corpus_path))
    trainer = trainers()[name]
    counts = corpus.training
    trainer(counts[:WARM_UP_CAMPAIGNS], corpus.terms, WARM_UP_TOPICS, 0)()
    train = trainer(counts, corpus.terms, corpus.num_topics, int(seed))
    began, cpu_began = time.perf_counter(), _cpu_seconds()
    topics = train()
    seconds, cpu_seconds = time.perf_counter() - began, _cpu_seconds() - cpu_began
    with Path(out).open("wb") as stream:
        np.save(stream, topics().astype(np.float32))
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": _peak_mib()}))


def _cpu_seconds() -> float:
    """User and system seconds of this process and the children it waited for."""
    return sum(os.times()[:4])


def _peak_mib() -> float:
    """Peak resident memory of this program; ``ru_maxrss`` would count what the parent had when it started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
