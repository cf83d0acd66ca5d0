"""The map: a place in the unit square for each campaign, near for the like, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from topic_model import projection
from topic_model.arrays import Float32Array
from topic_model.projection import project


def _theta(n: int, seed: int = 0) -> Float32Array:
    return np.random.RandomState(seed).dirichlet(np.full(6, 0.2), n).astype(np.float32)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 6, 7])
def test_few_campaigns_have_places(n: int) -> None:
    """However few: finite places in the unit square, no two alike."""
    positions = project(_theta(n), seed=1)
    assert positions.shape == (n, 2)
    assert np.isfinite(positions).all() and (positions >= 0).all() and (positions <= 1).all()
    assert len(np.unique(positions, axis=0)) == n


def test_near_campaigns_are_near_on_the_map() -> None:
    """The map keeps neighbourhoods: trustworthiness of 0.9 or more."""
    theta = _theta(150)
    positions = project(theta, seed=1)
    assert positions.min(axis=0) == pytest.approx([0, 0]) and positions.max(axis=0) == pytest.approx([1, 1])
    assert trustworthiness(np.sqrt(theta), positions, n_neighbors=8) > 0.9


def test_the_map_is_deterministic() -> None:
    """The same seed gives the same places, another seed others."""
    theta = _theta(40)
    assert np.array_equal(project(theta, seed=1), project(theta, seed=1))
    assert not np.array_equal(project(theta, seed=1), project(theta, seed=2))


def test_campaigns_beyond_the_sample_stand_by_their_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What t-SNE does not see still has a finite place, and neighbourhoods hold."""
    monkeypatch.setattr(projection, "SAMPLE", 60)
    theta = _theta(200)
    positions = project(theta, seed=1)
    assert np.isfinite(positions).all()
    assert trustworthiness(np.sqrt(theta), positions, n_neighbors=10) > 0.85


@pytest.mark.parametrize("n", [5, 50])
def test_identical_campaigns_have_finite_places(n: int) -> None:
    """All at one point is no reason for NaN."""
    positions = project(np.tile(np.array([0.5, 0.5], dtype=np.float32), (n, 1)), seed=1)
    assert np.isfinite(positions).all() and (positions >= 0).all() and (positions <= 1).all()
