"""The latent space: principal components weighted by powers of their singular values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from topic_model import latent
from topic_model.latent import MIN_CAMPAIGNS, SMOOTHING, fit_latent_space
from topic_model.weighting import TermWeights


def _weights(n: int = 60, n_terms: int = 40, seed: int = 0) -> Any:
    counts = sp.csr_matrix(np.random.RandomState(seed).poisson(0.4, (n, n_terms)).astype(np.float64))
    return TermWeights.of(counts).rows(counts)


def test_cosines_are_those_of_rows_multiplied_by_the_terms_covariance() -> None:
    """With every component kept: the centred rows times C to the power (SMOOTHING - 1) / 2, C their Gram matrix."""
    weights = _weights()
    space = fit_latent_space(weights, 1_000, 0)
    found = space.project(weights)

    centred = weights.toarray() - weights.toarray().mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    power = vectors * np.maximum(values, 0) ** ((SMOOTHING - 1) / 2) @ vectors.T
    smoothed = centred @ power
    smoothed /= np.linalg.norm(smoothed, axis=1, keepdims=True)
    assert found @ found.T == pytest.approx(smoothed @ smoothed.T, abs=1e-3)


def test_terms_in_the_same_company_are_near() -> None:
    """Two campaigns without a common term are near when others use both their terms, and far when none does."""
    rows = [[1, 1, 0, 0, 0, 0, 1], [0, 0, 0, 1, 1, 0, 1]] * 40 + [[1, 0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0]]
    rows += [[0, 0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0, 0]]
    counts = sp.csr_matrix(np.array(rows, dtype=np.float64))
    weights = TermWeights.of(counts).rows(counts)
    found = fit_latent_space(weights, 3, 0).project(weights)
    only_second, only_first, other = found[-3], found[-1], found[-2]
    assert only_second @ only_first > 0.9
    assert only_second @ other < 0


def test_a_projection_depends_on_its_campaign_alone() -> None:
    """Alone and in a batch: the same vector."""
    weights = _weights()
    space = fit_latent_space(weights, 10, 0)
    every = space.project(weights)
    for row in range(0, 60, 7):
        assert space.project(weights[row])[0] == pytest.approx(every[row], abs=1e-6)


def test_equal_inputs_make_equal_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, where a sample is drawn too."""
    monkeypatch.setattr(latent, "FIT_SAMPLE", 50)
    one, two = (fit_latent_space(_weights(), 10, 3) for _ in range(2))
    assert one.vectors.tobytes() == two.vectors.tobytes()
    assert one.offset.tobytes() == two.offset.tobytes()


@pytest.mark.parametrize(
    "weights",
    [
        _weights(MIN_CAMPAIGNS - 1),
        _weights(60, 1),
        sp.csr_matrix(np.tile([0.6, 0.8, 0.0], (50, 1))),
        sp.csr_matrix((50, 4)),
    ],
    ids=["few campaigns", "one term", "all alike", "no terms"],
)
def test_there_is_no_space_where_nothing_sets_campaigns_apart(weights: Any) -> None:
    """No dimensions instead of noise."""
    space = fit_latent_space(weights, 10, 0)
    assert space.num_dimensions == 0
    assert space.project(weights).shape == (weights.shape[0], 0)
