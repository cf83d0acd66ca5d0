"""The default trainer's promises of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import gammaln, psi

from tests.topic_model.algorithms.planted import planted_source
from topic_model.algorithms.base import Scratch
from topic_model.algorithms.lda import Lda, LdaSettings
from topic_model.bags import BagsInMemory


def states(source: BagsInMemory, settings: LdaSettings, passes: int, tmp_path: Any) -> list[Any]:
    """The start's statistics and those behind each pass."""
    algorithm = Lda()
    found = [algorithm.start(source, settings, int(settings.num_topics))]
    for number in range(1, passes + 1):
        scratch = Scratch(tmp_path / "before", tmp_path / "after")
        state = algorithm.run_pass(source, settings, found[-1], number, lambda: False, scratch)
        assert state is not None
        found.append(state)
    return found


def bound(source: BagsInMemory, lambda_: Any, alpha: float, eta: float) -> float:
    """The whole variational bound at the best gamma, by NumPy: Hoffman et al. 2010, equation 4 in full."""
    num_topics, n_terms = lambda_.shape
    e_log_beta = psi(lambda_) - psi(lambda_.sum(axis=1, keepdims=True))
    total = float(((eta - lambda_) * e_log_beta + gammaln(lambda_) - gammaln(eta)).sum())
    total += float((gammaln(n_terms * eta) - gammaln(lambda_.sum(axis=1))).sum())
    for bow in source.bags.bows():
        ids, counts = np.array(bow).T
        topics = np.exp(e_log_beta[:, ids.astype(int)])
        gamma = np.ones(num_topics)
        for _ in range(500):
            mixture = np.exp(psi(gamma))
            gamma = alpha + mixture * (topics @ (counts / (mixture @ topics)))
        e_log_theta = psi(gamma) - psi(gamma.sum())
        total += float(counts @ np.log(np.exp(e_log_theta) @ topics))
        total += float(((alpha - gamma) * e_log_theta + gammaln(gamma) - gammaln(alpha)).sum())
        total += float(gammaln(num_topics * alpha) - gammaln(gamma.sum()))
    return total


@pytest.mark.parametrize("start", ["nmf", "random"])
def test_the_bound_never_falls(start: str, tmp_path: Any) -> None:
    """With campaigns iterated until they settle, each pass raises the variational bound, from either start."""
    source = planted_source(60)
    settings = LdaSettings(num_topics=5, start=start, iterations=500, gamma_threshold=1e-6, alpha=0.5, eta=0.5)
    bounds = [
        bound(source, state["sstats"].T.astype(np.float64) + settings.eta, settings.alpha, settings.eta)
        for state in states(source, settings, 6, tmp_path)[1:]
    ]
    assert np.diff(bounds).min() > -1e-5 * abs(bounds[-1])
    assert bounds[-1] > bounds[0]


def test_chunks_change_no_more_than_rounding(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A corpus read in chunks of seven has the statistics of one read whole, to float32's precision."""
    source = planted_source(100)
    settings = LdaSettings(num_topics=5)
    whole = states(source, settings, 3, tmp_path)[-1]["sstats"]
    monkeypatch.setattr("topic_model.algorithms.lda.CHUNK_SIZE", 7)
    chunked = states(source, settings, 3, tmp_path)[-1]["sstats"]
    assert np.abs(whole - chunked).max() < 1e-4 * whole.max()


def test_every_word_is_in_the_statistics(tmp_path: Any) -> None:
    """The statistics of a pass add up to the corpus's words, term by term."""
    source = planted_source(100)
    sstats = states(source, LdaSettings(num_topics=5), 1, tmp_path)[-1]["sstats"]
    assert np.allclose(sstats.sum(axis=1), source.bags.matrix(source.n_terms).sum(axis=0), rtol=1e-4)


def test_the_start_is_near_the_topics_before_any_pass(tmp_path: Any) -> None:
    """Tf-idf weights and their factorisation: the start's topics have the corpus's words as their total."""
    source = planted_source(100)
    sstats = states(source, LdaSettings(num_topics=4), 0, tmp_path)[0]["sstats"]
    assert sstats.min() > 0
    assert np.isclose(sstats.sum(), source.n_words, rtol=1e-3)
