"""What the default trainer's start and settings were chosen by: ``python -m benchmarks.training``.

For each corpus of :mod:`benchmarks.engine` it prints a row a change of ``lda``'s defaults: processor seconds (user and
system, all threads; beside other programs they are steadier than the clock's), and quality by that benchmark's
protocol; means over the seeds. Below, where the seconds of a training with the defaults go, on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.engine.corpora import EngineCorpus, engine_corpus
from benchmarks.engine.protocol import evaluate_topics
from benchmarks.engine.verdicts import table
from topic_model.algorithms.fit import fit
from topic_model.algorithms.lda import LdaSettings
from topic_model.bags import BagsInMemory
from topic_model.corpus import Vocabulary
from topic_model.model import TopicModel
from topic_model.settings import TextSettings

CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"start": "random"},
    {"start": "random", "passes": 30, "iterations": 10},
    {"start_iterations": 10},
    {"start_iterations": 100},
    {"start_sample": 1_000},
    {"start_sample": 8_000},
    {"passes": 1},
    {"passes": 3},
    {"passes": 20},
    {"iterations": 2},
    {"iterations": 10},
    {"iterations": 50},
    {"alpha": 0.5},
    {"eta": 0.01},
    {"eta": 0.5},
)
MEASURES = ("log_likelihood", "c_npmi", "diversity", "precision_at_10")
KERNELS = {"nmf": ("sparse_product", "coordinate_descent"), "em": ("e_step", "transpose", "add_statistics")}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/bench-engine"), help="folder of corpora")
    parser.add_argument("--corpora", nargs="+", default=["generated-10000"], metavar="NAME")
    parser.add_argument("--bbc", type=Path, metavar="FILE", help="as benchmarks.engine has it")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 21])
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.corpora:
        corpus, _ = engine_corpus(name, arguments.work, arguments.bbc)
        _train(corpus, 0)  # loads the kernels
        rows = [_row(corpus, change, arguments.seeds) for change in CHANGES]
        print(f"\n{name}, K = {corpus.num_topics}\n")
        print(table(("lda with", "processor s", *MEASURES), rows))
        print(
            "\nprocessor seconds on one thread: " + ", ".join(f"{part} {spent:.2f}" for part, spent in _spent(corpus))
        )


def _row(corpus: EngineCorpus, change: dict[str, Any], seeds: list[int]) -> tuple[str, ...]:
    figures = []
    for seed in seeds:
        began = time.process_time()
        model = _train(corpus, seed, **change)
        seconds = time.process_time() - began
        measured = evaluate_topics(model.beta, corpus)
        figures.append([seconds, *(measured[name] for name in MEASURES)])
    mean = np.mean(figures, axis=0)
    return (
        ", ".join(f"{name} {value}" for name, value in change.items()) or "the defaults",
        f"{mean[0]:.2f}",
        *(f"{value:.3f}" for value in mean[1:]),
    )


def _train(corpus: EngineCorpus, seed: int, threads: int = 2, **change: Any) -> TopicModel:
    counts = corpus.training
    source = BagsInMemory.of(counts.indptr, counts.indices, counts.data, len(corpus.terms))
    settings = LdaSettings(num_topics=corpus.num_topics, seed=seed, threads=threads, **change)
    model = fit(source, Vocabulary.of(corpus.terms), TextSettings(), "lda", settings)
    if model is None:
        raise RuntimeError("training stopped without being asked to")
    return model


def _spent(corpus: EngineCorpus) -> list[tuple[str, float]]:
    """The parts of a training, the most expensive first."""
    from topic_model import kernels

    spent: Counter[str] = Counter()

    def timed(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            began = time.process_time()
            result = kernel(*arguments)
            spent[name] += time.process_time() - began  # type: ignore[assignment]
            return result

        return run

    patches = [
        mock.patch.object(getattr(kernels, module), name, timed(name, getattr(getattr(kernels, module), name)))
        for module, names in KERNELS.items()
        for name in names
    ]
    for patch in patches:
        patch.start()
    try:
        began = time.process_time()
        _train(corpus, 0, threads=1)
        rest = time.process_time() - began - sum(spent.values())
    finally:
        for patch in patches:
            patch.stop()
    return [*spent.most_common(), ("the rest", rest)]


if __name__ == "__main__":
    main()
