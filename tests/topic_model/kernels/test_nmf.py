"""Coordinate descent against SciPy's non-negative least squares."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from topic_model.kernels.nmf import coordinate_descent


def test_many_sweeps_end_in_the_least_squares_solution() -> None:
    """Each row's weights are those of an exact solver."""
    random = np.random.default_rng(0)
    parts, rows = random.random((30, 6)).astype(np.float32), random.random((12, 30)).astype(np.float32)
    weights = np.zeros((12, 6), np.float32)
    coordinate_descent(0, 12, rows @ parts, parts.T @ parts, 2_000, weights)
    expected = np.array([nnls(parts.astype(np.float64), row)[0] for row in rows])
    assert np.abs(weights - expected).max() < 1e-4


def test_an_empty_part_stays_empty() -> None:
    """A part without weight divides nothing by zero."""
    gram = np.diag(np.array([1.0, 0.0], np.float32))
    weights = np.zeros((1, 2), np.float32)
    coordinate_descent(0, 1, np.array([[0.5, 0.5]], np.float32), gram, 3, weights)
    assert weights.tolist() == [[0.5, 0.0]]
