"""The latent space: where campaigns are near each other whose terms occur with the same other terms.

Two campaigns about travel may share no term at all; but their terms stand beside the same terms elsewhere. Principal
components of the weighted rows say so, as latent semantic analysis does (Deerwester et al. 1990), with one difference:
a component counts by its singular value to the power :data:`SMOOTHING` instead of being cut off, which is the rows
multiplied that often by the terms' co-occurrence. No number of dimensions has to be guessed. Measured in
docs/decisions/0006-similarity.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from topic_model.arrays import Float32Array

SMOOTHING = 3
"""1 is the rows themselves, 2 one step of co-occurrence; above 4 what sets close campaigns apart is lost."""

MIN_CAMPAIGNS = 30
"""Below, terms occur together by chance, and there is no latent space."""

FIT_SAMPLE = 10_000
"""Campaigns that the components are fitted to at most; all others are projected."""

_SMALLEST_SHARE = 1e-3  # of the first singular value: its cube is far below what float32 resolves


@dataclass(frozen=True)
class LatentSpace:
    """``vectors`` of shape (n_terms, n_dimensions), a row a term; ``offset`` of shape (n_dimensions,)."""

    vectors: Float32Array
    offset: Float32Array

    @property
    def num_dimensions(self) -> int:
        """0 where the campaigns were too few, or all alike."""
        return int(self.vectors.shape[1])

    def project(self, weights: Any) -> Float32Array:
        """Unit vectors of shape (n_campaigns, n_dimensions) of weighted rows; zeros where nothing sets one apart."""
        positions = np.asarray(weights @ self.vectors, dtype=np.float32) - self.offset
        lengths = np.linalg.norm(positions, axis=1, keepdims=True)
        units: Float32Array = np.divide(positions, lengths, out=np.zeros_like(positions), where=lengths > 1e-9)
        return units

    def project_one(self, ids: npt.NDArray[np.integer[Any]], weights: npt.NDArray[np.floating[Any]]) -> Float32Array:
        """:meth:`project` of one campaign's terms, of shape (n_dimensions,)."""
        # A product with a sparse row would copy the vectors of all terms, to have them in the type of the weights.
        position = np.asarray(weights, dtype=np.float32) @ self.vectors[ids] - self.offset
        length = np.linalg.norm(position)
        return position / length if length > 1e-9 else np.zeros_like(position)


def fit_latent_space(weights: Any, num_dimensions: int, seed: int) -> LatentSpace:
    """The space of a CSR matrix of weighted rows, of at most ``num_dimensions``."""
    n_campaigns, n_terms = weights.shape
    rank = min(num_dimensions, min(n_campaigns, FIT_SAMPLE, n_terms) - 1)
    if n_campaigns < MIN_CAMPAIGNS or rank < 1:
        return _nowhere(n_terms)
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    sample = weights
    if n_campaigns > FIT_SAMPLE:
        chosen = np.random.RandomState(seed).choice(n_campaigns, FIT_SAMPLE, replace=False)
        sample = weights[np.sort(chosen)]
    sample = sample.astype(np.float64)
    if abs(sample - sample[[0] * sample.shape[0]]).max() < 1e-9:
        return _nowhere(n_terms)  # all alike: nothing to decompose
    # Arpack and one thread: the same components on every machine and for any number of cores.
    with threadpool_limits(1):
        components = PCA(rank, svd_solver="arpack", random_state=seed).fit(sample)
    shares = components.singular_values_ / components.singular_values_[0]
    kept = shares > _SMALLEST_SHARE
    vectors = components.components_[kept].T * shares[kept] ** (SMOOTHING - 1)
    # A row a term in memory too: it is rows that are fetched.
    return LatentSpace(
        np.ascontiguousarray(vectors, dtype=np.float32), np.asarray(components.mean_ @ vectors, dtype=np.float32)
    )


def _nowhere(n_terms: int) -> LatentSpace:
    return LatentSpace(np.zeros((n_terms, 0), dtype=np.float32), np.zeros(0, dtype=np.float32))
