"""The compiled E-steps: Gensim's own step from the same start, the plain iteration's fixed point, and bad input."""

from __future__ import annotations

import multiprocessing
from itertools import pairwise

import numpy as np
import pytest
from gensim.models import LdaModel
from scipy.special import psi

from topic_model import bags as bags_module
from topic_model.arrays import FloatArray, IntArray
from topic_model.errors import CorpusError
from topic_model.kernels.em import expected_topics, statistics_of_chunk
from topic_model.kernels.inference import ROWS_AT_A_TIME, SMALLEST, Inference, scaled_topics
from topic_model.kernels.threads import splitting

ETA = 0.05
Bags = tuple[IntArray, IntArray, FloatArray]


def random_bags(rows: int, n_terms: int, seed: int, longest: int = 30) -> Bags:
    """Bags of words as compressed sparse rows."""
    draw = np.random.default_rng(seed)
    bags = [np.sort(draw.choice(n_terms, draw.integers(1, longest), replace=False)) for _ in range(rows)]
    indptr = np.cumsum([0, *map(len, bags)])
    return indptr, np.concatenate(bags), draw.integers(1, 9, indptr[-1]).astype(float)


def random_lambda(num_topics: int, n_terms: int, seed: int, eta: float = ETA) -> FloatArray:
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


class Ones:
    """In the place of Gensim's random start: ours."""

    def gamma(self, _shape: float, _scale: float, size: tuple[int, int]) -> FloatArray:
        return np.ones(size)


def gensim_of(lambda_: FloatArray, alpha: FloatArray, iterations: int, threshold: float) -> LdaModel:
    """Gensim's model of these topics, whose E-step starts as ours does."""
    num_topics, n_terms = lambda_.shape
    gensim = LdaModel(
        num_topics=num_topics, id2word=dict(enumerate(map(str, range(n_terms)))), alpha=alpha, eta=ETA,
        iterations=iterations, gamma_threshold=threshold, random_state=1, dtype=np.float64,
    )  # fmt: skip
    gensim.state.sstats = lambda_ - ETA
    gensim.sync_state()
    gensim.random_state = Ones()
    return gensim


def as_bows(bags: Bags) -> list[list[tuple[int, float]]]:
    """The bags as Gensim takes them."""
    indptr, ids, counts = bags
    return [
        list(zip(ids[start:stop].tolist(), counts[start:stop].tolist(), strict=True))
        for start, stop in pairwise(indptr)
    ]


@pytest.mark.parametrize("iterations", [1, 7, 40])
def test_the_step_of_training_is_gensims(iterations: int) -> None:
    """From the same start and after as many iterations, the statistics are Gensim's, to 1e-4 of a term's."""
    lambda_, alpha = random_lambda(12, 80, seed=4), np.linspace(0.05, 0.3, 12)
    indptr, ids, counts = random_bags(40, 80, seed=3)
    _, expected = gensim_of(lambda_, alpha, iterations, 0.0).inference(as_bows((indptr, ids, counts)), True)
    bags = bags_module.Bags(indptr, ids.astype(np.int32), counts.astype(np.float32))
    totals = np.zeros((80, 12))
    with splitting(1) as split:
        topics = expected_topics(np.ascontiguousarray(lambda_.T - ETA, dtype=np.float32), ETA, split)
        statistics_of_chunk(bags, topics, alpha.astype(np.float32), iterations, 0.0, totals, split)
    assert np.abs((totals * topics).T - expected).max() < 1e-4 * expected.sum(axis=0).max()


@pytest.mark.parametrize("alpha", [0.01, 0.1, 1.0])
def test_fingerprints_are_gensims_at_convergence(alpha: float) -> None:
    """From the same start, to 1e-4."""
    lambda_, priors = random_lambda(30, 150, seed=4), np.linspace(alpha / 2, alpha * 2, 30)
    bags = random_bags(40, 150, seed=3)
    gamma, _ = gensim_of(lambda_, priors, 5_000, 1e-9).inference(as_bows(bags))
    theta = Inference(lambda_, priors).theta(*bags)
    assert np.abs(theta - gamma / gamma.sum(axis=1, keepdims=True)).max() < 1e-4


def test_topics_are_exp_of_psi_over_each_terms_largest() -> None:
    """The series that the kernel takes for psi and exp agree with SciPy's, from priors of 1e-6 to counts of 1e9."""
    lambda_ = np.exp(np.random.default_rng(0).uniform(np.log(1e-6), np.log(1e9), (7, 9_000)))
    logs = (psi(lambda_) - psi(lambda_.sum(axis=1, keepdims=True))).T
    expected = np.exp(logs - logs.max(axis=1, keepdims=True))
    topics = scaled_topics(lambda_)
    large = expected > SMALLEST
    assert np.abs(topics[large] / expected[large] - 1).max() < 1e-6
    assert (topics[~large] <= 1.01 * SMALLEST).all() and (topics > 0).all()


@pytest.mark.parametrize(("num_topics", "alpha"), [(2, 0.5), (30, 0.05), (30, 1.0), (60, 0.001)])
def test_leaving_topics_out_leads_where_the_plain_iteration_leads(num_topics: int, alpha: float) -> None:
    """Fingerprints are those of equation 5 iterated 2,000 times over all topics, to 1e-4."""
    lambda_ = random_lambda(num_topics, 200, seed=num_topics)
    priors = np.full(num_topics, alpha) * np.linspace(0.5, 1.5, num_topics)
    bags = random_bags(12, 200, seed=8)
    theta = Inference(lambda_, priors).theta(*bags)
    assert np.abs(theta - plain_fingerprints(lambda_, priors, bags)).max() < 1e-4


def test_threads_and_company_change_no_bit() -> None:
    """Rows alone, in one thread and in three: the same fingerprints."""
    inference = Inference(random_lambda(20, 300, seed=1), np.full(20, 0.05))
    indptr, ids, counts = random_bags(3 * ROWS_AT_A_TIME + 5, 300, seed=2)
    together = inference.theta(indptr, ids, counts)
    assert np.array_equal(together, inference.theta(indptr, ids, counts, threads=3))
    for row in (0, 1, ROWS_AT_A_TIME, len(together) - 1):
        start, stop = indptr[row], indptr[row + 1]
        alone = inference.theta(np.array([0, stop - start]), ids[start:stop], counts[start:stop])
        assert np.array_equal(alone[0], together[row])


def test_a_forked_process_infers_after_its_parent_did_in_threads() -> None:
    """Serving forks its workers behind the first inference: none hangs, and all answer alike."""
    inference = Inference(random_lambda(5, 50, seed=1), np.full(5, 0.05))
    bags = random_bags(2 * ROWS_AT_A_TIME, 50, seed=2)
    expected = inference.theta(*bags, threads=2)

    def answer() -> None:
        raise SystemExit(0 if np.array_equal(inference.theta(*bags, threads=2), expected) else 1)

    worker = multiprocessing.get_context("fork").Process(target=answer)
    worker.start()
    worker.join(30)
    assert worker.exitcode == 0


@pytest.mark.parametrize("weight", [1e9, 1e-3, 0.7])
def test_any_positive_weight_is_allowed(weight: float) -> None:
    """Counts of a thousand million and weights below one give the fingerprints of the plain iteration."""
    lambda_, priors = random_lambda(20, 50, seed=1), np.full(20, 0.05)
    inference = Inference(lambda_, priors)
    bags = (np.array([0, 3]), np.array([1, 4, 7]), np.full(3, weight))
    theta = inference.theta(*bags)
    assert (theta > 0).all() and theta.sum() == pytest.approx(1)
    assert np.abs(theta - plain_fingerprints(lambda_, priors, bags)).max() < 1e-4


@pytest.mark.parametrize("weight", [0.0, -1.0, 2e12, float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_none_are_refused(weight: float) -> None:
    """Zero, negative, NaN, infinite and overflowing weights are named with their row and term."""
    inference = Inference(random_lambda(3, 50, seed=1), np.full(3, 0.05))
    with pytest.raises(CorpusError, match=rf"row 1 has the term id 4 with the weight {weight}; expected .* above 0"):
        inference.theta(np.array([0, 1, 3]), np.array([1, 2, 4]), np.array([1.0, 1.0, weight]))


@pytest.mark.parametrize("term_id", [-1, 50, 2**31 - 1, 2**31, 2**33])
def test_ids_out_of_range_are_refused(term_id: int) -> None:
    """No id is looked up outside the topics; the message says the range."""
    inference = Inference(random_lambda(3, 50, seed=1), np.full(3, 0.05))
    with pytest.raises(CorpusError, match=r"from 0 to 49|below 2³¹"):
        inference.theta(np.array([0, 2]), np.array([1, term_id]), np.ones(2))


@pytest.mark.parametrize("indptr", [[0, 3], [0, 0, 2], [0, 2, 1], [-1, 2]])
def test_rows_that_do_not_fit_their_ids_are_refused(indptr: list[int]) -> None:
    """Rows beyond the ids, empty or backwards: an error, and no memory is read that is not theirs."""
    inference = Inference(random_lambda(3, 50, seed=1), np.full(3, 0.05))
    with pytest.raises(CorpusError, match="rows that rise from 0 to the number of ids, none of them empty"):
        inference.theta(np.array(indptr), np.array([1, 2]), np.ones(2))
    with pytest.raises(CorpusError, match="2 term ids and 3 weights"):
        inference.theta(np.array([0, 2]), np.array([1, 2]), np.ones(3))


@pytest.mark.parametrize("entry", [0.0, -1.0, float("nan"), float("inf")])
def test_a_posterior_that_is_none_is_refused(entry: float) -> None:
    """Lambda holds parameters of Dirichlet distributions."""
    lambda_ = random_lambda(3, 50, seed=1)
    lambda_[1, 4] = entry
    with pytest.raises(CorpusError, match=r"lambda has entries from .* expected all above 0 and finite"):
        Inference(lambda_, np.full(3, 0.05))
