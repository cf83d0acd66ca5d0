"""TF-IDF weights of terms, for the NMF start, term overlap and cluster labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from topic_model.arrays import FloatArray


def inverse_document_frequency(counts: Any) -> FloatArray:
    """Smoothed idf of shape (n_terms,): ln((1 + n) / (1 + df)) + 1, scikit-learn's formula."""
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.asarray(np.log((1 + counts.shape[0]) / (1 + frequency)) + 1, dtype=np.float64)


def tf_idf(counts: Any, idf: FloatArray | None = None) -> Any:
    """Rows of unit Euclidean length with weights (1 + ln count) * idf; empty rows stay empty.

    Counts are damped by the logarithm: a search term that a hundred people typed does not make a campaign a hundred
    times more about it.
    """
    weights = counts.astype(np.float64, copy=True)
    weights.data = 1 + np.log(weights.data)
    weights.data *= (inverse_document_frequency(counts) if idf is None else idf)[weights.indices]
    return normalize(weights, copy=False)
