"""Inverted lists against all pairs: recall@10 and time, ``python -m benchmarks.neighbours [N ...]``.

Two kinds of campaigns: the generated sample with the fingerprints of a model trained on it (a campaign is about one
thing or two), and fingerprints drawn at random over a hundred topics (a campaign is about fifteen), the hardest case
that there is for lists, whose nearest neighbours are hardly nearer than others. Recall counts a neighbour as found when
it is as similar as the tenth of all pairs; loss is what the neighbours' mean similarity falls short of. Where lists do
not suit an index, all pairs are compared, and there is nothing to tell of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from topic_model.algorithms.fit import fit_corpus
from topic_model.corpus import Corpus, build_corpus
from topic_model.inverted_lists import build_inverted_lists
from topic_model.latent import LatentSpace, fit_latent_space
from topic_model.neighbours import CampaignIndex, Neighbours
from topic_model.prepare import prepare_channel
from topic_model.sample import generate_sample
from topic_model.settings import CorpusSettings, NeighbourSettings, PrepareSettings, TextSettings
from topic_model.weighting import TermWeights

NUMBER = 10


def main() -> None:
    """Print a line a size and kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 20_000])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{'campaigns':>9} {'kind':<7} {'recall@10':>9} {'loss':>7} {'all pairs':>10} {'lists':>10} {'searched':>10}")
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="topic-model-neighbours-") as work:
            _compare("sample", sample_index(Path(work), size, arguments.seed))
        _compare("drawn", drawn_index(size, arguments.seed))


def _compare(kind: str, indexed: tuple[CampaignIndex, LatentSpace]) -> None:
    index, space = indexed
    started = time.perf_counter()
    exact = index.all_nearest(NUMBER)
    exact_seconds = time.perf_counter() - started
    started = time.perf_counter()
    lists = build_inverted_lists(index, space, [])
    build_seconds = time.perf_counter() - started
    if lists is None:
        print(
            f"{len(index):>9,} {kind:<7} {'no lists':>9} {'':>7} {exact_seconds:>9.1f}s {build_seconds:>9.1f}s",
            flush=True,
        )
        return
    started = time.perf_counter()
    found = replace(index, lists=lists).all_nearest(NUMBER)
    seconds = time.perf_counter() - started
    print(
        f"{len(index):>9,} {kind:<7} {recall(found, exact):>9.4f} {_loss(found, exact):>7.4f} {exact_seconds:>9.1f}s "
        f"{build_seconds:>9.1f}s {seconds:>9.1f}s",
        flush=True,
    )


def recall(found: Neighbours, exact: Neighbours) -> float:
    """Share of the exact neighbours' places that the found ones fill with campaigns as similar as the last of them."""
    filled = places = 0
    for near, best in zip(found.similarities, exact.similarities, strict=True):
        if len(best):
            filled += int((near >= best[-1] - 2e-6).sum())
            places += len(best)
    return filled / places


def _loss(found: Neighbours, exact: Neighbours) -> float:
    return float(np.concatenate(exact.similarities).mean() - np.concatenate(found.similarities).mean())


def sample_index(work: Path, size: int, seed: int) -> tuple[CampaignIndex, LatentSpace]:
    """The index of a sample of ``size`` campaigns, by a model trained on it, and its latent space."""
    exports = generate_sample(work / "sample", campaigns=size, seed=seed, format="jsonl").exports
    for channel in sorted(path for path in exports.iterdir() if path.is_dir()):
        prepare_channel(
            channel,
            work / "prepared" / channel.name,
            work / "scoring" / channel.name,
            channel=channel.name,
            settings=PrepareSettings(),
            text=TextSettings(),
        )
    build_corpus(work / "prepared", work / "corpus", CorpusSettings())
    corpus = Corpus.load(work / "corpus")
    model = fit_corpus(corpus)
    assert model is not None  # noqa: S101 - nothing asks it to stop
    counts = corpus.matrix(np.flatnonzero(np.diff(corpus.indptr)))
    theta = model.infer_theta(counts.indptr, counts.indices, counts.data)
    return _index(theta, counts)


def drawn_index(
    size: int, seed: int, *, num_topics: int = 100, n_terms: int = 10_000
) -> tuple[CampaignIndex, LatentSpace]:
    """An index of campaigns of some fifteen topics each, drawn by LDA's own story, with sixty words each."""
    random = np.random.RandomState(seed)
    theta = random.dirichlet(np.full(num_topics, 0.15), size)
    beta = random.dirichlet(np.full(n_terms, 0.05), num_topics)
    counts = sp.vstack(
        [sp.csr_matrix(random.multinomial(60, weights / weights.sum()).astype(np.float64)) for weights in theta @ beta]
    ).tocsr()
    return _index(theta, counts)


def _index(theta: Any, counts: Any) -> tuple[CampaignIndex, LatentSpace]:
    settings = NeighbourSettings()
    weights = TermWeights.of(counts).rows(counts).astype(np.float32)
    space = fit_latent_space(weights, settings.latent_dimensions, settings.seed)
    return CampaignIndex(theta.astype(np.float32), weights, space.project(weights), settings), space


if __name__ == "__main__":
    main()
