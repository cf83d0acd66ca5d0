"""The engine benchmark's yardsticks, against their formulas written out and against Gensim."""

from __future__ import annotations

from itertools import combinations
from math import log
from typing import Any

import numpy as np
import pytest
from gensim.corpora import Dictionary
from gensim.models import CoherenceModel
from scipy import sparse

from benchmarks.engine.corpora import EngineCorpus, trimmed
from benchmarks.engine.protocol import (
    SMOOTHING,
    c_npmi,
    diversity,
    evaluate_topics,
    fold_in,
    halved,
    log_likelihood,
    precision_at,
    smooth,
    top_terms,
)

NUM_TOPICS, N_TERMS = 3, 30


@pytest.fixture
def counts() -> Any:
    """Counts of 40 campaigns of some fifteen terms each."""
    random = np.random.RandomState(1)
    return sparse.csr_matrix((random.poisson(0.8, (40, N_TERMS))).astype(np.float64))


@pytest.fixture
def beta() -> Any:
    """Topics without a zero."""
    return np.random.RandomState(2).dirichlet(np.full(N_TERMS, 0.3), NUM_TOPICS) * 0.99 + 0.01 / N_TERMS


def test_folding_in_is_its_formula(counts: Any, beta: Any) -> None:
    """Fingerprints equal those of plain loops over words and topics."""
    alpha = 0.2
    found = fold_in(beta, counts, alpha)
    for campaign in range(5):
        words = [(term, count) for term, count in enumerate(counts[campaign].toarray()[0]) if count]
        total = sum(count for _, count in words)
        theta = [1 / NUM_TOPICS] * NUM_TOPICS
        for _ in range(200):
            gains = [0.0] * NUM_TOPICS
            for term, count in words:
                shares = [theta[k] * beta[k, term] for k in range(NUM_TOPICS)]
                for k in range(NUM_TOPICS):
                    gains[k] += count * shares[k] / sum(shares)
            theta = [(alpha + gain) / (NUM_TOPICS * alpha + total) for gain in gains]
        assert found[campaign] == pytest.approx(theta, abs=1e-3)
    assert found.sum(axis=1) == pytest.approx(np.ones(40))


def test_log_likelihood_is_its_formula(counts: Any, beta: Any) -> None:
    """The mean over words of the logarithm of the mixture."""
    theta = np.random.RandomState(3).dirichlet(np.ones(NUM_TOPICS), 40)
    total = words = 0.0
    for campaign, row in enumerate(counts.toarray()):
        for term, count in enumerate(row):
            total += count * log(sum(theta[campaign, k] * beta[k, term] for k in range(NUM_TOPICS)))
            words += count
    assert log_likelihood(beta, theta, counts) == pytest.approx(total / words)


def test_true_topics_predict_better_than_others(beta: Any) -> None:
    """Words drawn from topics are likelier under them than under topics whose terms were shuffled."""
    random = np.random.RandomState(4)
    theta = random.dirichlet(np.full(NUM_TOPICS, 0.2), 200)
    drawn = sparse.csr_matrix(np.array([random.multinomial(40, mixture @ beta) for mixture in theta], dtype=np.float64))
    first, second = halved(drawn)

    def judged(topics: Any) -> float:
        return log_likelihood(topics, fold_in(topics, first), second)

    assert judged(beta) > judged(beta[:, random.permutation(N_TERMS)]) + 0.1


def test_halves_add_up(counts: Any) -> None:
    """Each campaign's words are in one half or the other, as many in both but for the odd one."""
    first, second = halved(counts)
    whole = np.asarray(counts.sum(axis=1)).ravel()

    assert (first + second != counts[whole >= 2]).nnz == 0
    differences = np.asarray(first.sum(axis=1) - second.sum(axis=1)).ravel()
    assert differences.tolist() == (whole[whole >= 2] % 2).tolist()


def test_smoothing_gives_every_term_its_share(counts: Any) -> None:
    """Rows still sum to 1, and a term of probability 0 gets its frequency's share of the smoothing."""
    beta = np.zeros((1, N_TERMS))
    beta[0, 0] = 1
    smoothed = smooth(beta, counts)
    frequency = np.asarray(counts.sum(axis=0)).ravel() + 1

    assert smoothed.sum() == pytest.approx(1)
    assert smoothed[0, 1] == pytest.approx(SMOOTHING * frequency[1] / frequency.sum())


def test_coherence_equals_gensims(beta: Any) -> None:
    """On campaigns as windows; each term meets each other, since Gensim adds a trifle to pairs that never do."""
    random = np.random.RandomState(5)
    counts = sparse.csr_matrix((random.random_sample((300, N_TERMS)) < 0.4).astype(np.float64))
    texts = [[f"t{term:02d}" for term in row.indices] for row in counts]
    topics = [[f"t{term:02d}" for term in row] for row in top_terms(beta)]
    gensim = CoherenceModel(
        topics=topics,
        texts=texts,
        dictionary=Dictionary(texts),
        coherence="c_npmi",
        window_size=N_TERMS,
        topn=10,
        processes=1,
    )
    assert c_npmi(beta, counts) == pytest.approx(gensim.get_coherence(), abs=1e-6)


def test_pairs_that_never_meet_count_minus_one(beta: Any) -> None:
    """Counted in plain Python."""
    counts = sparse.csr_matrix((np.random.RandomState(6).random_sample((25, N_TERMS)) < 0.1).astype(np.float64))
    sets = [set(row.indices.tolist()) for row in counts]

    def share(*terms: int) -> float:
        return sum(set(terms) <= each for each in sets) / len(sets)

    values = [
        log(share(a, b) / (share(a) * share(b))) / -log(share(a, b)) if share(a, b) else -1.0
        for topic in top_terms(beta).tolist()
        for a, b in combinations(topic, 2)
    ]
    assert -1.0 in values
    assert c_npmi(beta, counts) == pytest.approx(sum(values) / len(values))


def test_diversity_is_the_share_of_distinct_top_terms() -> None:
    """Two topics with the same ten terms have half."""
    topic = np.linspace(1, 2, N_TERMS)
    assert diversity(np.array([topic, topic])) == 0.5
    assert diversity(np.array([topic, topic[::-1]])) == 1.0


def test_precision_leaves_the_campaign_itself_out() -> None:
    """Two of the three nearest are of the vertical, itself not counted."""
    vectors = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    verticals = np.array(["a", "a", "a", "b"])
    assert precision_at(3, vectors, verticals) == pytest.approx((2 + 2 + 2 + 0) / 12)
    assert precision_at(3, sparse.csr_matrix(vectors), verticals) == pytest.approx(6 / 12)


def _corpus() -> EngineCorpus:
    random = np.random.RandomState(7)
    counts = sparse.csr_matrix(random.poisson(0.5, (60, N_TERMS)))
    held_out = np.arange(60) % 5 == 0
    names = tuple(f"t{term}" for term in range(N_TERMS + 1))
    only_held_out = sparse.csr_matrix(held_out.astype(np.int64)[:, None])
    return trimmed(
        "toy", 3, names, sparse.hstack([counts, only_held_out]).tocsr(), held_out, np.array(["a", "b", "c"] * 20)
    )


def test_terms_that_training_lacks_are_left_out() -> None:
    """No trainer is asked for a term that only held-out campaigns have."""
    corpus = _corpus()

    assert f"t{N_TERMS}" not in corpus.terms
    assert np.diff(corpus.indptr).min() > 0
    assert np.unique(corpus.training.indices).size == len(corpus.terms)


def test_topics_with_zeros_are_judged(tmp_path: Any) -> None:
    """A factorisation's topics, of one term each, get finite yardsticks, from a corpus that went through its file."""
    from benchmarks.engine.corpora import read_engine_corpus

    corpus = _corpus()
    corpus.write(tmp_path / "toy.npz")
    again = read_engine_corpus(tmp_path / "toy.npz")

    judged = evaluate_topics(np.eye(3, len(corpus.terms)), again)

    assert again.content_hash == corpus.content_hash
    assert all(np.isfinite(value) for value in judged.values())
