"""The factorisation: its weights, its error, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.topic_model.algorithms.planted import planted_source
from topic_model.algorithms.base import Scratch
from topic_model.algorithms.nmf import Nmf, NmfSettings
from topic_model.algorithms.nmf_start import factorise, idf_of, tf_idf_rows, transposed
from topic_model.weighting import tf_idf


def test_weights_are_the_librarys() -> None:
    """TF-IDF rows without scikit-learn are those of topic_model.weighting."""
    source = planted_source(50)
    counts = source.bags.matrix(source.n_terms)
    frequency = np.bincount(source.bags.indices, minlength=source.n_terms)
    rows = tf_idf_rows(source.bags, idf_of(frequency, source.n_campaigns))
    assert np.allclose(rows.counts, tf_idf(counts).data, rtol=1e-5)


def test_the_transpose_is_scipys() -> None:
    """Columns as rows."""
    source = planted_source(50)
    expected = source.bags.matrix(source.n_terms).T.tocsr()
    found = transposed(source.bags, source.n_terms)
    assert (found.matrix(50) != expected).nnz == 0


def test_the_factorisation_is_as_near_as_scikit_learns() -> None:
    """The Frobenius error is within one per cent of scikit-learn's converged one."""
    from sklearn.decomposition import NMF

    source = planted_source(120)
    weights = tf_idf(source.bags.matrix(source.n_terms))
    rows = tf_idf_rows(
        source.bags, idf_of(np.bincount(source.bags.indices, minlength=source.n_terms), source.n_campaigns)
    )
    left, right = factorise(rows, source.n_terms, 5, 60, np.random.default_rng(0), threads=2)
    assert left.min() >= 0
    assert right.min() >= 0
    error = np.linalg.norm(weights.toarray() - left @ right.T)
    expected = NMF(5, init="nndsvda", max_iter=1_000, tol=1e-6).fit(weights).reconstruction_err_
    assert error < 1.01 * expected


def test_passes_bring_the_parts_nearer(tmp_path: Path) -> None:
    """From one alternation on a small sample, passes over the corpus lower its error."""
    source = planted_source(200)
    settings = NmfSettings(num_topics=5, start_sample=20, start_iterations=1)
    weights = tf_idf(source.bags.matrix(source.n_terms)).toarray()
    algorithm = Nmf()
    state = algorithm.start(source, settings, 5)
    errors = []
    for number in range(1, 5):
        basis = state["parts"].astype(np.float64)
        errors.append(_error(weights, basis))
        after = algorithm.run_pass(source, settings, state, number, lambda: False, Scratch(tmp_path, tmp_path))
        assert after is not None
        state = after
    assert errors == sorted(errors, reverse=True)


def _error(weights: np.ndarray, parts: np.ndarray) -> float:
    from scipy.optimize import nnls

    return float(np.sqrt(sum(nnls(parts, row)[1] ** 2 for row in weights)))
