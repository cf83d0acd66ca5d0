"""Folding-in, compiled; apart from the rest, so that what is compiled changes seldom."""

from __future__ import annotations

import numpy as np
from numba import float64, int32, int64

from topic_model.kernels.jit import array, kernel


@kernel(
    int64(
        array(int64, 1),
        array(int32, 1),
        array(float64, 1),
        array(float64, 2),
        float64,
        int64,
        float64,
        array(float64, 2, writable=True),
    ),
    fastmath={"reassoc", "contract", "nsz"},
    nogil=True,
)
def em_fold_in(indptr, indices, counts, beta, alpha, iterations, tolerance, theta):  # type: ignore[no-untyped-def]
    """See ``protocol.fold_in``; ``beta`` has shape (n_terms, K), ``theta`` of shape (n, K) receives the result."""
    num_topics = beta.shape[1]
    gains = np.empty(num_topics)
    total = 0
    for d in range(len(indptr) - 1):
        mixture = theta[d]
        words = 0.0
        for entry in range(indptr[d], indptr[d + 1]):
            words += counts[entry]
        mixture[:] = 1.0 / num_topics
        for _ in range(iterations):
            total += 1
            gains[:] = 0.0
            for entry in range(indptr[d], indptr[d + 1]):
                row = beta[indices[entry]]
                probability = 0.0
                for k in range(num_topics):
                    probability += mixture[k] * row[k]
                scale = counts[entry] / probability
                for k in range(num_topics):
                    gains[k] += scale * row[k]
            change = 0.0
            for k in range(num_topics):
                updated = (alpha + mixture[k] * gains[k]) / (num_topics * alpha + words)
                change += abs(updated - mixture[k])
                mixture[k] = updated
            if change < tolerance:
                break
    return total
