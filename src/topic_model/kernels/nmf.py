"""Non-negative factorisation of sparse rows: products with a dense factor, and coordinate descent on the other one.

Hierarchical alternating least squares (Cichocki and Phan 2009, "Fast local algorithms for large scale nonnegative
matrix and tensor factorizations"). Rows are independent of each other in both, so any split over threads gives the
same bits.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, void

from topic_model.kernels.jit import FAST_MATH, array, kernel

#: Weights below are zero: far above the subnormal numbers.
SMALLEST = float32(1e-9)


@kernel(
    void(
        int64,
        int64,
        array(int64, 1),
        array(int32, 1),
        array(float32, 1),
        array(float32, 2),
        array(float32, 2, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def sparse_product(start, stop, indptr, indices, weights, factor, product):  # type: ignore[no-untyped-def]
    """Rows ``start`` to ``stop`` of a compressed-sparse-row matrix times ``factor`` (n_columns, K)."""
    for d in range(start, stop):
        row = product[d]
        for k in range(len(row)):
            row[k] = float32(0)
        for entry in range(indptr[d], indptr[d + 1]):
            weight = weights[entry]
            other = factor[indices[entry]]
            for k in range(len(row)):
                row[k] += weight * other[k]


@kernel(
    void(int64, int64, array(float32, 2), array(float32, 2), int64, array(float32, 2, writable=True)),
    fastmath=FAST_MATH,
    nogil=True,
)
def coordinate_descent(start, stop, products, gram, sweeps, factor):  # type: ignore[no-untyped-def]
    """Non-negative least squares for rows ``start`` to ``stop`` of ``factor`` (n, K), by sweeps over the coordinates.

    ``products`` is X H of shape (n, K) and ``gram`` H'H of shape (K, K), H being the other factor. The residual is
    kept up to date, so a coordinate that stays zero, as most do, costs nothing.
    """
    num_parts = factor.shape[1]
    residual = np.empty(num_parts, np.float32)
    for d in range(start, stop):
        row = factor[d]
        for k in range(num_parts):
            residual[k] = products[d, k]
        for k in range(num_parts):
            value = row[k]
            if value != float32(0):
                for other in range(num_parts):
                    residual[other] -= value * gram[k, other]
        for _ in range(sweeps):
            for k in range(num_parts):
                if gram[k, k] <= SMALLEST * SMALLEST:
                    continue  # an empty part
                value = row[k]
                updated = value + residual[k] / gram[k, k]
                if updated < SMALLEST:
                    updated = float32(0)
                if updated != value:
                    row[k] = updated
                    value = updated - value
                    for other in range(num_parts):
                        residual[other] -= value * gram[k, other]
