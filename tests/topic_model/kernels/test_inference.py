"""The compiled E-step: Gensim's own step from the same start, the plain iteration's fixed point, and bad input."""

from __future__ import annotations

import multiprocessing
from itertools import pairwise

import numpy as np
import pytest
from gensim.models import LdaModel
from scipy.special import psi

from topic_model.arrays import FloatArray, IntArray
from topic_model.errors import CorpusError
from topic_model.kernels.inference import ROWS_AT_A_TIME, Inference, e_step, scaled_topics

Bags = tuple[IntArray, IntArray, FloatArray]


def random_bags(rows: int, n_terms: int, seed: int, longest: int = 30) -> Bags:
    """Bags of words as compressed sparse rows."""
    draw = np.random.default_rng(seed)
    bags = [np.sort(draw.choice(n_terms, draw.integers(1, longest), replace=False)) for _ in range(rows)]
    indptr = np.cumsum([0, *map(len, bags)])
    return indptr, np.concatenate(bags), draw.integers(1, 9, indptr[-1]).astype(float)


def random_lambda(num_topics: int, n_terms: int, seed: int, eta: float = 0.05) -> FloatArray:
    """Topics that each have a few terms of their own, as trained ones do."""
    draw = np.random.default_rng(seed)
    return eta + draw.gamma(0.05, 200.0, (num_topics, n_terms))


def plain_fingerprints(lambda_: FloatArray, alpha: FloatArray, bags: Bags, iterations: int = 2_000) -> FloatArray:
    """Equation 5 of Hoffman et al. 2010, word for word, for so many iterations."""
    topics = np.exp(psi(lambda_) - psi(lambda_.sum(axis=1, keepdims=True)))
    indptr, ids, counts = bags
    theta = np.empty((len(indptr) - 1, len(alpha)))
    for row, (start, stop) in enumerate(pairwise(indptr)):
        gamma = np.ones(len(alpha))
        for _ in range(iterations):
            phi = np.exp(psi(gamma) - psi(gamma.sum()))[:, None] * topics[:, ids[start:stop]]
            gamma = alpha + (phi / phi.sum(axis=0)) @ counts[start:stop]
        theta[row] = gamma / gamma.sum()
    return theta


@pytest.mark.parametrize(("dtype", "eta", "threshold"), [(np.float64, 0.05, 1e-3), (np.float32, 50.0, 0.0)])
def test_one_step_is_gensims(dtype: type, eta: float, threshold: float) -> None:
    """From the same start, gamma and the sufficient statistics are those of Gensim's own E-step, to 1e-4.

    In float32, its default, Gensim adds 1.2e-7 to a word's probability before it divides by that; so there it is
    compared on topics in which no word's is as small, and over a fixed number of iterations.
    """
    num_topics, n_terms, rows = 12, 80, 40
    indptr, ids, counts = random_bags(rows, n_terms, seed=3)
    bows = [
        list(zip(ids[start:stop].tolist(), counts[start:stop].tolist(), strict=True))
        for start, stop in pairwise(indptr)
    ]
    gensim = LdaModel(
        num_topics=num_topics, id2word=dict(enumerate(map(str, range(n_terms)))), alpha="asymmetric",
        iterations=50, gamma_threshold=threshold, random_state=1, dtype=dtype,
    )  # fmt: skip
    gensim.state.sstats = random_lambda(num_topics, n_terms, seed=4, eta=eta).astype(dtype)
    gensim.sync_state()
    gensim.random_state = np.random.RandomState(5)
    expected_gamma, expected_sstats = gensim.inference(bows, collect_sstats=True)

    gamma = np.random.RandomState(5).gamma(100.0, 0.01, (rows, num_topics)).astype(dtype).astype(np.float64)
    sstats = np.zeros((n_terms, num_topics))
    topics = scaled_topics(gensim.state.get_lambda().astype(np.float64))
    alpha = gensim.alpha.astype(np.float64)
    e_step(indptr, ids.astype(np.int32), counts, topics, alpha, 50, threshold * num_topics, 0.0, 0.0, gamma, sstats)
    assert np.abs(gamma / expected_gamma - 1).max() < 1e-4
    assert np.abs(sstats.T - expected_sstats).max() < 1e-4 * expected_sstats.max()


def test_topics_are_exp_of_psi_over_each_terms_largest() -> None:
    """The series that the kernel takes for psi and exp agree with SciPy's, from priors of 1e-6 to counts of 1e9."""
    lambda_ = np.exp(np.random.default_rng(0).uniform(np.log(1e-6), np.log(1e9), (7, 9_000)))
    logs = (psi(lambda_) - psi(lambda_.sum(axis=1, keepdims=True))).T
    expected = np.exp(logs - logs.max(axis=1, keepdims=True))
    topics = scaled_topics(lambda_)
    large = expected > 1e-30
    assert np.abs(topics[large] / expected[large] - 1).max() < 1e-6
    assert (topics[~large] <= 1.01e-30).all() and (topics > 0).all()


@pytest.mark.parametrize(("num_topics", "alpha"), [(2, 0.5), (30, 0.05), (30, 1.0), (60, 0.001)])
def test_leaving_topics_out_leads_where_the_plain_iteration_leads(num_topics: int, alpha: float) -> None:
    """Fingerprints are those of equation 5 iterated 2,000 times over all topics, to 1e-4."""
    lambda_ = random_lambda(num_topics, 200, seed=num_topics)
    priors = np.full(num_topics, alpha) * np.linspace(0.5, 1.5, num_topics)
    bags = random_bags(12, 200, seed=8)
    gamma = Inference(lambda_, priors).gamma(*bags)
    theta = gamma / gamma.sum(axis=1, keepdims=True)
    assert np.abs(theta - plain_fingerprints(lambda_, priors, bags)).max() < 1e-4


def test_threads_and_company_change_no_bit() -> None:
    """Rows alone, in one thread and in three: the same gamma."""
    inference = Inference(random_lambda(20, 300, seed=1), np.full(20, 0.05))
    indptr, ids, counts = random_bags(3 * ROWS_AT_A_TIME + 5, 300, seed=2)
    together = inference.gamma(indptr, ids, counts)
    assert np.array_equal(together, inference.gamma(indptr, ids, counts, threads=3))
    for row in (0, 1, ROWS_AT_A_TIME, len(together) - 1):
        start, stop = indptr[row], indptr[row + 1]
        alone = inference.gamma(np.array([0, stop - start]), ids[start:stop], counts[start:stop])
        assert np.array_equal(alone[0], together[row])


def test_a_forked_process_infers_after_its_parent_did_in_threads() -> None:
    """Serving forks its workers behind the first inference: none hangs, and all answer alike."""
    inference = Inference(random_lambda(5, 50, seed=1), np.full(5, 0.05))
    bags = random_bags(2 * ROWS_AT_A_TIME, 50, seed=2)
    expected = inference.gamma(*bags, threads=2)

    def answer() -> None:
        raise SystemExit(0 if np.array_equal(inference.gamma(*bags, threads=2), expected) else 1)

    worker = multiprocessing.get_context("fork").Process(target=answer)
    worker.start()
    worker.join(30)
    assert worker.exitcode == 0


@pytest.mark.parametrize("weight", [1e9, 1e-3, 0.7])
def test_any_positive_weight_is_allowed(weight: float) -> None:
    """Counts of a thousand million and weights below one give mixtures, and the words' weight is in gamma."""
    inference = Inference(random_lambda(20, 50, seed=1), np.full(20, 0.05))
    gamma = inference.gamma(np.array([0, 3]), np.array([1, 4, 7]), np.full(3, weight))
    assert np.isfinite(gamma).all() and (gamma > 0).all()
    assert gamma.sum() == pytest.approx(3 * weight + 20 * 0.05, rel=1e-9)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_none_are_refused(weight: float) -> None:
    """Zero, negative, NaN and infinite weights are named with their row and term."""
    inference = Inference(random_lambda(3, 50, seed=1), np.full(3, 0.05))
    with pytest.raises(CorpusError, match=rf"row 1 has the term id 4 with the weight {weight}; expected .* above 0"):
        inference.gamma(np.array([0, 1, 3]), np.array([1, 2, 4]), np.array([1.0, 1.0, weight]))


@pytest.mark.parametrize("term_id", [-1, 50, 2**31 - 1, 2**31, 2**33])
def test_ids_out_of_range_are_refused(term_id: int) -> None:
    """No id is looked up outside the topics; the message says the range."""
    inference = Inference(random_lambda(3, 50, seed=1), np.full(3, 0.05))
    with pytest.raises(CorpusError, match=r"from 0 to 49|below 2³¹"):
        inference.gamma(np.array([0, 2]), np.array([1, term_id]), np.ones(2))


@pytest.mark.parametrize("indptr", [[0, 3], [0, 0, 2], [0, 2, 1], [-1, 2]])
def test_rows_that_do_not_fit_their_ids_are_refused(indptr: list[int]) -> None:
    """Rows beyond the ids, empty or backwards: an error, and no memory is read that is not theirs."""
    inference = Inference(random_lambda(3, 50, seed=1), np.full(3, 0.05))
    with pytest.raises(CorpusError, match="rows that rise from 0 to the number of ids, none of them empty"):
        inference.gamma(np.array(indptr), np.array([1, 2]), np.ones(2))
    with pytest.raises(CorpusError, match="2 term ids and 3 weights"):
        inference.gamma(np.array([0, 2]), np.array([1, 2]), np.ones(3))


@pytest.mark.parametrize("entry", [0.0, -1.0, float("nan"), float("inf")])
def test_a_posterior_that_is_none_is_refused(entry: float) -> None:
    """Lambda holds parameters of Dirichlet distributions."""
    lambda_ = random_lambda(3, 50, seed=1)
    lambda_[1, 4] = entry
    with pytest.raises(CorpusError, match=r"lambda has entries from .* expected all above 0 and finite"):
        Inference(lambda_, np.full(3, 0.05))
