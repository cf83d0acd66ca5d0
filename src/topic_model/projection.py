"""A two-dimensional map of campaigns: near campaigns near each other; far distances mean nothing."""

from __future__ import annotations

import numpy as np

from topic_model.arrays import Float32Array, FloatArray

SAMPLE = 2_000
MAX_POINTS = 5_000


def project(theta: Float32Array, seed: int) -> FloatArray:
    """Positions of shape (n, 2) in [0, 1], by t-SNE on the square roots of fingerprints.

    t-SNE sees a seeded sample of 2,000 at most (its time is what bounds it); the rest stand at the mean of their three
    nearest sampled campaigns.
    """
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    roots = np.sqrt(theta)
    n = len(roots)
    if n < 5:
        return np.column_stack([(np.arange(n) + 0.5) / max(n, 1), np.full(n, 0.5)])
    sample = np.sort(np.random.RandomState(seed).permutation(n)[:SAMPLE])
    # init by random: PCA of few topics can give a constant column, which scikit-learn divides by.
    spreading = TSNE(
        perplexity=min(30.0, (len(sample) - 1) / 3), init="random", max_iter=500, random_state=seed, n_jobs=1
    )
    # Its steps are too short to share: threads that wait for each other took five times the time on a busy machine.
    with threadpool_limits(1):
        spread = spreading.fit_transform(roots[sample])
    positions = np.empty((n, 2))
    positions[sample] = spread
    rest = np.setdiff1d(np.arange(n), sample)
    if len(rest):
        _, nearest = NearestNeighbors(n_neighbors=3).fit(roots[sample]).kneighbors(roots[rest])
        positions[rest] = spread[nearest].mean(axis=1)
    low, high = positions.min(axis=0), positions.max(axis=0)
    return np.asarray((positions - low) / np.maximum(high - low, 1e-9), dtype=np.float64)
