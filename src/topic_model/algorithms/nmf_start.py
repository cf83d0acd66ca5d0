"""Topics to start from: a non-negative factorisation of the TF-IDF rows of a sample of campaigns.

From a random start, variational Bayes and Gibbs sampling settle in a poor optimum on short text; from this one, a few
passes lead further than hundreds from noise (docs/decisions/0010-engine.md). The factorisation starts from a randomised
singular value decomposition (Halko et al. 2011, "Finding structure with randomness") by the NNDSVDa rule (Boutsidis and
Gallopoulos 2008), and goes on by coordinate descent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from topic_model.arrays import Float32Array, FloatArray
from topic_model.bags import Bags, BagSource, pointers

OVERSAMPLING = 8
POWER_ITERATIONS = 2
FLOOR = 1e-3
"""Of a topic's mean weight: what every term gets, so that no topic rules a term out."""


def start_statistics(
    source: BagSource, num_topics: int, *, sample: int, iterations: int, seed: int, threads: int
) -> Float32Array:
    """Sufficient statistics of shape (n_terms, K) to start from; they add up to the source's words."""
    from threadpoolctl import threadpool_limits

    campaigns = source.sample(max(sample, num_topics), seed)
    random = np.random.default_rng(seed)
    # One thread: the dense products are small, and their result must not depend on the number of cores.
    with threadpool_limits(1):
        topics = _topics(campaigns, source.n_terms, num_topics, iterations, random, threads)
    topics += FLOOR * topics.mean(axis=0)
    topics *= source.n_words / num_topics / topics.sum(axis=0)
    return topics.astype(np.float32)


def random_statistics(source: BagSource, num_topics: int, seed: int) -> Float32Array:
    """Gensim's start, for comparison: statistics of shape (n_terms, K) near 1, drawn from Gamma(100, 1/100)."""
    drawn = np.random.default_rng(seed).gamma(100.0, 0.01, (source.n_terms, num_topics))
    return drawn.astype(np.float32)


def _topics(
    campaigns: Bags, n_terms: int, num_topics: int, iterations: int, random: np.random.Generator, threads: int
) -> FloatArray:
    """Weights of shape (n_terms, K), each column with a positive sum."""
    frequency = np.bincount(campaigns.indices, minlength=n_terms)
    # A term of one campaign says nothing about topics; in a small sample there may be no other.
    used = np.flatnonzero(frequency >= 2) if (frequency >= 2).sum() >= num_topics else np.flatnonzero(frequency)
    weights = tf_idf_rows(campaigns, idf_of(frequency, len(campaigns)))
    chosen = _columns(weights, used, n_terms)
    num_parts = min(num_topics, len(chosen), len(used))
    _, parts = factorise(chosen, len(used), num_parts, iterations, random, threads)
    topics = np.zeros((n_terms, num_topics))
    topics[used, :num_parts] = parts
    # A part that nothing is left for, and a topic beyond the rank, begin as one campaign each.
    for empty in np.flatnonzero(topics.sum(axis=0) <= 0):
        row = weights.rows(random.integers(0, len(weights), 1))
        topics[row.indices, empty] = row.counts
    return topics


def idf_of(frequency: Any, n_campaigns: int) -> Float32Array:
    """Smoothed inverse document frequency, the formula of :mod:`topic_model.weighting`."""
    return np.asarray(np.log((1 + n_campaigns) / (1 + frequency)) + 1, dtype=np.float32)


def tf_idf_rows(campaigns: Bags, idf: Float32Array) -> Bags:
    """Rows of unit length with weights (1 + ln count) idf, as :func:`topic_model.weighting.tf_idf` has them.

    Counts below 1, which a weighting may give, stay as they are: their logarithm would make them negative.
    """
    damped = np.where(campaigns.counts > 1, 1 + np.log(np.maximum(campaigns.counts, 1)), campaigns.counts)
    weights = damped * idf[campaigns.indices]
    lengths = np.sqrt(np.add.reduceat(weights.astype(np.float64) ** 2, campaigns.indptr[:-1]))
    weights /= np.repeat(lengths, np.diff(campaigns.indptr))
    return Bags(campaigns.indptr, campaigns.indices, weights.astype(np.float32))


def _columns(rows: Bags, used: Any, n_terms: int) -> Bags:
    """The rows with the terms in use only, renumbered; rows may become empty."""
    new_ids = np.full(n_terms, -1, dtype=np.int32)
    new_ids[used] = np.arange(len(used), dtype=np.int32)
    ids = new_ids[rows.indices]
    kept = ids >= 0
    before = np.concatenate(([0], np.cumsum(kept)))
    return Bags(pointers(np.diff(before[rows.indptr])), ids[kept], rows.counts[kept])


def factorise(
    rows: Bags, n_terms: int, num_parts: int, iterations: int, random: np.random.Generator, threads: int
) -> tuple[Float32Array, Float32Array]:
    """Factors W of shape (n, num_parts) and H of shape (n_terms, num_parts), not negative, with W H' near the rows."""
    from topic_model.kernels.nmf import coordinate_descent, sparse_product
    from topic_model.kernels.threads import splitting

    columns = transposed(rows, n_terms)
    with splitting(threads) as split:

        def product(of: Bags, factor: Any) -> Float32Array:
            out = np.empty((len(of), factor.shape[1]), np.float32)
            split(sparse_product, of.indptr, of.indptr, of.indices, of.counts, np.ascontiguousarray(factor), out)
            return out

        left, right = _nndsvd(rows, columns, num_parts, random, product)
        for _ in range(iterations):
            split(coordinate_descent, rows.indptr, product(rows, right), right.T @ right, 1, left)
            split(coordinate_descent, columns.indptr, product(columns, left), left.T @ left, 1, right)
    return left, right


def transposed(rows: Bags, n_columns: int) -> Bags:
    """The same entries by column."""
    from topic_model.kernels.em import transpose

    indptr = np.zeros(n_columns + 1, np.int64)
    entries, campaigns = np.empty(len(rows.indices), np.int64), np.empty(len(rows.indices), np.int32)
    transpose(rows.indptr, rows.indices, indptr, entries, campaigns)
    return Bags(indptr, campaigns, rows.counts[entries])


def _nndsvd(
    rows: Bags, columns: Bags, num_parts: int, random: np.random.Generator, product: Any
) -> tuple[Float32Array, Float32Array]:
    """The non-negative part of each singular pair that weighs more; zeros become a tenth of the mean weight."""
    width = min(num_parts + OVERSAMPLING, len(rows), len(columns))
    basis = _orthonormal(product(rows, random.standard_normal((len(columns), width), dtype=np.float32)))
    for _ in range(POWER_ITERATIONS):
        basis = _orthonormal(product(rows, product(columns, basis)))
    projected = product(columns, basis)  # (n_terms, width): the transposed rows in the basis
    squares, rotation = np.linalg.eigh(projected.T.astype(np.float64) @ projected)
    order = np.argsort(-squares)[:num_parts]
    values = np.sqrt(np.maximum(squares[order], 1e-12))
    left_vectors = basis @ rotation[:, order]
    right_vectors = projected @ rotation[:, order] / values
    left = np.empty((len(rows), num_parts))
    right = np.empty((len(columns), num_parts))
    for part in range(num_parts):
        signs = []
        for sign in (1.0, -1.0):
            one = np.maximum(sign * left_vectors[:, part], 0)
            two = np.maximum(sign * right_vectors[:, part], 0)
            signs.append((np.linalg.norm(one) * np.linalg.norm(two), one, two))
        weight, one, two = max(signs, key=lambda found: found[0])
        scale = np.sqrt(values[part] * weight)
        left[:, part] = scale * one / max(np.linalg.norm(one), 1e-12)
        right[:, part] = scale * two / max(np.linalg.norm(two), 1e-12)
    floor = 0.1 * rows.n_words / max(len(rows) * len(columns), 1)
    left[left < 1e-7] = floor
    right[right < 1e-7] = floor
    return np.ascontiguousarray(left, np.float32), np.ascontiguousarray(right, np.float32)


def _orthonormal(vectors: Float32Array) -> Float32Array:
    """An orthonormal basis of the columns' span, by Cholesky: several times faster than Householder's, and as good
    here, where the basis only has to point the right way."""
    gram = vectors.T.astype(np.float64) @ vectors
    gram[np.diag_indices(len(gram))] += 1e-7 * max(np.trace(gram) / len(gram), 1e-30)
    return np.ascontiguousarray(vectors @ np.linalg.inv(np.linalg.cholesky(gram)).T, np.float32)
