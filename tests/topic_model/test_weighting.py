"""TF-IDF weights against scikit-learn's own, BM25 against its formula."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfTransformer

from topic_model.weighting import TermWeights, inverse_document_frequency, tf_idf


def _counts() -> sp.csr_matrix:
    random = np.random.RandomState(0)
    return sp.csr_matrix(random.poisson(0.4, (50, 30)).astype(np.float64))


def test_weights_are_scikit_learns_sublinear_tf_idf() -> None:
    """The same weights as TfidfTransformer(sublinear_tf=True)."""
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(_counts())
    assert np.allclose(tf_idf(_counts()).toarray(), expected.toarray())


def test_a_given_idf_weighs_a_fresh_row_as_the_index_does() -> None:
    """One row with the index's idf is that row of the index, not a row of a corpus of one."""
    counts = _counts()
    idf = inverse_document_frequency(counts)
    assert np.allclose(tf_idf(counts[7], idf).toarray(), tf_idf(counts)[7].toarray())


def test_counts_stay_as_they_were() -> None:
    """The weighting works on a copy."""
    counts = _counts()
    before = counts.toarray()
    tf_idf(counts)
    assert np.array_equal(counts.toarray(), before)


def test_an_empty_row_stays_empty() -> None:
    """A campaign without known terms has no weight, and no NaN."""
    counts = sp.csr_matrix(np.array([[0.0, 0.0], [1.0, 2.0]]))
    assert tf_idf(counts).toarray()[0].tolist() == [0.0, 0.0]


def test_bm25_is_its_formula() -> None:
    """Count by count in plain Python, k1 = 1.2 and b = 0.75, rows normalised."""
    counts = _counts()
    dense = counts.toarray()
    n_campaigns, n_terms = dense.shape
    average = dense.sum() / n_campaigns
    expected = np.zeros_like(dense)
    for row in range(n_campaigns):
        for term in range(n_terms):
            count, frequency = dense[row, term], (dense[:, term] > 0).sum()
            idf = np.log(1 + (n_campaigns - frequency + 0.5) / (frequency + 0.5))
            expected[row, term] = idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * dense[row].sum() / average))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(TermWeights.of(counts).rows(counts).toarray(), expected)


def test_fitted_weights_weigh_a_fresh_row_as_the_index_does() -> None:
    """A row's weights are those of the set they were fitted to, not of a set of one; an empty one stays empty."""
    counts = _counts()
    weights = TermWeights.of(counts)
    assert np.allclose(weights.rows(counts[7]).toarray(), weights.rows(counts)[7].toarray())
    assert weights.rows(sp.csr_matrix((1, 30))).nnz == 0
