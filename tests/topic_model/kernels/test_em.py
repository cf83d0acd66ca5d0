"""The variational pass against NumPy, Gensim and itself in other numbers of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import psi

from tests.topic_model.algorithms.planted import planted_source, source_of
from topic_model.bags import Bags
from topic_model.kernels.em import chunk_mixtures, expected_topics, statistics_of_chunk, transpose
from topic_model.kernels.threads import part_bounds, splitting

ETA, ALPHA = 0.05, 0.05


def statistics(bags: Bags, sstats: Any, iterations: int, threads: int = 1, threshold: float = 0.0) -> Any:
    """The kernel's statistics of one chunk."""
    alpha = np.full(sstats.shape[1], ALPHA, np.float32)
    totals = np.zeros(sstats.shape)
    with splitting(threads) as split:
        topics = expected_topics(sstats.astype(np.float32), ETA, split)
        statistics_of_chunk(bags, topics, alpha, iterations, threshold, totals, split)
    return totals * topics


def statistics_by_numpy(bags: Bags, sstats: Any, iterations: int) -> Any:
    """Equations 5 and 6 of Hoffman et al. 2010 as they stand, in float64."""
    lambda_ = sstats + ETA
    topics = np.exp(psi(lambda_) - psi(lambda_.sum(axis=0)))
    totals = np.zeros(sstats.shape)
    for start, stop in zip(bags.indptr[:-1], bags.indptr[1:], strict=True):
        ids, counts = bags.indices[start:stop], bags.counts[start:stop].astype(np.float64)
        mixture = np.ones(sstats.shape[1])
        for _ in range(iterations):
            gamma = ALPHA + mixture * ((counts / (topics[ids] @ mixture)) @ topics[ids])
            mixture = np.exp(psi(gamma))
        totals[ids] += np.outer(counts / (topics[ids] @ mixture), mixture) * topics[ids]
    return totals


def random_statistics(n_terms: int, num_topics: int) -> Any:
    return np.random.default_rng(5).gamma(0.5, 20.0, (n_terms, num_topics))


@pytest.mark.parametrize("iterations", [1, 3, 60])
def test_a_pass_is_that_of_the_equations(iterations: int) -> None:
    """The float32 statistics are those of a slow float64 pass, to 1e-4 of a term's weight."""
    bags, sstats = planted_source(80).bags, random_statistics(60, 7)
    expected = statistics_by_numpy(bags, sstats, iterations)
    found = statistics(bags, sstats, iterations)
    assert np.abs(found - expected).max() < 1e-4 * expected.sum(axis=1).max()


def test_a_settled_pass_is_gensims() -> None:
    """From the same topics and iterated until nothing changes, the statistics are Gensim's."""
    from gensim.models import LdaModel

    bags, sstats = planted_source(60).bags, random_statistics(60, 5)
    model = LdaModel(
        num_topics=5, id2word={term: str(term) for term in range(60)}, alpha=[ALPHA] * 5, eta=ETA, iterations=2_000,
        gamma_threshold=1e-9, random_state=1, dtype=np.float64,
    )  # fmt: skip
    model.state.sstats = sstats.T.copy()
    model.sync_state()
    bows = [[(term, float(count)) for term, count in bow] for bow in bags.bows()]
    _, expected = model.inference(bows, collect_sstats=True)
    found = statistics(bags, sstats, 2_000)
    assert np.abs(found.T - expected).max() < 1e-3 * expected.sum(axis=0).max()


def test_the_number_of_threads_changes_no_bit() -> None:
    """One thread, two, five, and more threads than campaigns: equal arrays."""
    bags, sstats = planted_source(50).bags, random_statistics(60, 6)
    one = statistics(bags, sstats, 4)
    for threads in (2, 5, 64):
        assert np.array_equal(one, statistics(bags, sstats, 4, threads))


@pytest.mark.parametrize("count", [1e9, 1.0, 1e-6])
def test_every_word_goes_to_some_topic(count: float) -> None:
    """Counts of 10⁹, of one and far below: finite statistics that add up to the counts."""
    counts = np.full((4, 10), count)
    counts[1, :5] = 1.0
    found = statistics(source_of(counts).bags, random_statistics(10, 3), 3)
    assert np.isfinite(found).all()
    assert np.allclose(found.sum(axis=1), counts.sum(axis=0), rtol=1e-5)


def test_the_smallest_priors_make_no_subnormal_number_and_no_nan() -> None:
    """alpha and eta of 1e-4, whose exponentials are far below what float32 holds."""
    bags = planted_source(40).bags
    sstats = np.zeros((60, 9), np.float32)
    sstats[:, 0] = 50.0
    alpha = np.full(9, 1e-4, np.float32)
    with splitting(1) as split:
        topics = expected_topics(sstats, 1e-4, split)
        mixtures, scales = chunk_mixtures(bags, topics, alpha, 20, 0.0, split)
    smallest = np.finfo(np.float32).tiny
    for array in (topics, mixtures, scales):
        assert np.isfinite(array).all()
        assert (array >= smallest).all()


def test_transposed_entries_are_scipys() -> None:
    """Entries by term, and within a term by campaign."""
    source = planted_source(30)
    bags = source.bags
    by_term = np.zeros(source.n_terms + 1, np.int64)
    entries, campaigns = np.empty(len(bags.indices), np.int64), np.empty(len(bags.indices), np.int32)
    transpose(bags.indptr, bags.indices, by_term, entries, campaigns)
    expected = bags.matrix(source.n_terms).tocsc()
    assert np.array_equal(by_term, expected.indptr)
    assert np.array_equal(campaigns, expected.indices)
    assert np.array_equal(bags.counts[entries], expected.data)


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_parts_cover_all_rows_once(parts: int) -> None:
    """Bounds ascend from the first row to the last, with empty rows and one that outweighs all."""
    bounds = part_bounds(np.array([0, 0, 1_000, 1_001, 1_001, 1_002]), parts)
    assert bounds[0] == 0
    assert bounds[-1] == 5
    assert len(bounds) == parts + 1
    assert (np.diff(bounds) >= 0).all()
