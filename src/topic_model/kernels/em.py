"""A pass of batch variational Bayes for LDA, compiled: equations 5 and 6 of Hoffman et al. 2010.

A chunk of campaigns is worked on twice. :func:`e_step` goes campaign by campaign and finds each one's topics;
:func:`add_statistics` then goes term by term, through the same entries transposed, and adds up what the terms get. So
no two threads ever add to one place, every sum has one order, and the result is the same bits with any number of
threads. A campaign's rows of exp(E[log beta]) are gathered once and stay in the first-level cache over its iterations.

Everything a campaign needs is relative: each term's row of exp(E[log beta]) is divided by its largest entry, and
exp(E[log theta]) by about its largest. Both are cut off from below, far above the subnormal numbers, in which stock
Gensim spends most of its time.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int32, int64, void
from scipy.special import psi

from topic_model.arrays import Float32Array, FloatArray
from topic_model.bags import Bags
from topic_model.kernels.jit import FAST_MATH, array, kernel
from topic_model.kernels.special import LOWEST_EXPONENT, exp_of, exp_psi_parts
from topic_model.kernels.threads import Split

#: What a topic has of a term at least, of what the term's strongest topic has.
SMALLEST = float32(1e-12)


@kernel(fastmath=FAST_MATH)
def _mixture(gamma, exponents, mixture):  # type: ignore[no-untyped-def]
    """exp(psi(gamma)) over about its largest."""
    largest = float32(-1e30)
    for k in range(len(gamma)):
        mixture[k], exponents[k] = exp_psi_parts(gamma[k])
        largest = max(largest, exponents[k])
    for k in range(len(gamma)):
        mixture[k] *= exp_of(max(exponents[k] - largest, LOWEST_EXPONENT))


@kernel(fastmath=FAST_MATH)
def _gather(topics, indices, first, length, rows):  # type: ignore[no-untyped-def]
    """A campaign's rows of the topics, one behind the other."""
    for j in range(length):
        row = topics[indices[first + j]]
        for k in range(topics.shape[1]):
            rows[j, k] = row[k]


@kernel(fastmath=FAST_MATH)
def _gains(counts, first, rows, length, mixture, gains):  # type: ignore[no-untyped-def]
    """sum_w n_w beta_kw / (sum_j mixture_j beta_jw): what each topic gains a share of its mixture."""
    for k in range(len(gains)):
        gains[k] = float32(0)
    for j in range(length):
        total = float32(0)
        for k in range(len(gains)):
            total += mixture[k] * rows[j, k]
        scale = counts[first + j] / total
        for k in range(len(gains)):
            gains[k] += scale * rows[j, k]


@kernel(
    void(
        int64,
        int64,
        array(int64, 1),
        array(int32, 1),
        array(float32, 1),
        array(float32, 2),
        array(float32, 1),
        int64,
        float32,
        array(float32, 2, writable=True),
        array(float32, 1, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def e_step(start, stop, indptr, indices, counts, topics, alpha, iterations, threshold, mixtures, scales):  # type: ignore[no-untyped-def]
    """The topics of campaigns ``start`` to ``stop`` of a chunk; each starts from equal shares.

    Args:
        start: the first campaign.
        stop: one behind the last.
        indptr: shape (n + 1,).
        indices: term ids of all entries.
        counts: of all entries, above 0.
        topics: shape (n_terms, K), from :func:`topic_rows`.
        alpha: shape (K,).
        iterations: at most, a campaign.
        threshold: a campaign is done when an iteration changes gamma by no more than this, on average over topics.
        mixtures: shape (n, K); receives exp(E[log theta]) up to a factor a campaign.
        scales: of all entries; receives n_dw / sum_k theta_dk beta_kw in those units.
    """
    num_topics = topics.shape[1]
    longest = 0
    for d in range(start, stop):
        longest = max(longest, indptr[d + 1] - indptr[d])
    rows = np.empty((longest, num_topics), np.float32)
    gains, gamma = np.empty(num_topics, np.float32), np.empty(num_topics, np.float32)
    exponents = np.empty(num_topics, np.float32)
    bound = threshold * float32(num_topics)
    for d in range(start, stop):
        first = indptr[d]
        length = indptr[d + 1] - first
        mixture = mixtures[d]
        _gather(topics, indices, first, length, rows)
        for k in range(num_topics):
            gamma[k] = float32(1)
            mixture[k] = float32(1)
        for _ in range(iterations):
            _gains(counts, first, rows, length, mixture, gains)
            change = float32(0)
            for k in range(num_topics):
                updated = alpha[k] + mixture[k] * gains[k]
                change += abs(updated - gamma[k])
                gamma[k] = updated
            _mixture(gamma, exponents, mixture)
            if change <= bound:
                break
        for j in range(length):
            total = float32(0)
            for k in range(num_topics):
                total += mixture[k] * rows[j, k]
            scales[first + j] = counts[first + j] / total


@kernel(
    void(
        array(int64, 1),
        array(int32, 1),
        array(int64, 1, writable=True),
        array(int64, 1, writable=True),
        array(int32, 1, writable=True),
    ),
    nogil=True,
)
def transpose(indptr, indices, by_term, entries, campaigns):  # type: ignore[no-untyped-def]
    """The entries of a chunk in the order of terms, and within a term of campaigns.

    ``by_term``, of shape (n_terms + 1,) and zero, receives where each term's entries begin; ``entries`` their positions
    in the chunk; ``campaigns`` their rows.
    """
    n_terms = len(by_term) - 1
    for entry in range(len(indices)):
        by_term[indices[entry] + 1] += 1
    for term in range(n_terms):
        by_term[term + 1] += by_term[term]
    for d in range(len(indptr) - 1):
        for entry in range(indptr[d], indptr[d + 1]):
            place = by_term[indices[entry]]
            entries[place] = entry
            campaigns[place] = d
            by_term[indices[entry]] = place + 1
    for term in range(n_terms, 0, -1):
        by_term[term] = by_term[term - 1]
    by_term[0] = 0


@kernel(
    void(
        int64,
        int64,
        array(int64, 1),
        array(int64, 1),
        array(int32, 1),
        array(float32, 1),
        array(float32, 2),
        array(float64, 2, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def add_statistics(start, stop, by_term, entries, campaigns, scales, mixtures, totals):  # type: ignore[no-untyped-def]
    """Add sum_d scale_dw theta_dk of terms ``start`` to ``stop`` to ``totals`` of shape (n_terms, K).

    A chunk's sum is float32, that over chunks float64: a million campaigns lose nothing.
    """
    num_topics = mixtures.shape[1]
    sums = np.empty(num_topics, np.float32)
    for term in range(start, stop):
        if by_term[term] == by_term[term + 1]:
            continue
        for k in range(num_topics):
            sums[k] = float32(0)
        for place in range(by_term[term], by_term[term + 1]):
            scale = scales[entries[place]]
            mixture = mixtures[campaigns[place]]
            for k in range(num_topics):
                sums[k] += scale * mixture[k]
        for k in range(num_topics):
            totals[term, k] += float64(sums[k])


@kernel(
    void(
        int64,
        int64,
        array(float32, 2),
        float32,
        array(float32, 1),
        array(float32, 2, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def topic_rows(start, stop, sstats, eta, log_totals, topics):  # type: ignore[no-untyped-def]
    """exp(E[log beta]) of terms ``start`` to ``stop``, over each term's largest, into ``topics`` (n_terms, K).

    ``log_totals`` is psi of the topics' totals, of shape (K,).
    """
    num_topics = sstats.shape[1]
    exponents = np.empty(num_topics, np.float32)
    for term in range(start, stop):
        row = topics[term]
        highest = float32(-1e30)
        for k in range(num_topics):
            row[k], exponents[k] = exp_psi_parts(sstats[term, k] + eta)
            exponents[k] -= log_totals[k]
            highest = max(highest, exponents[k])
        largest = float32(0)
        for k in range(num_topics):
            row[k] *= exp_of(max(exponents[k] - highest, LOWEST_EXPONENT))
            largest = max(largest, row[k])
        for k in range(num_topics):
            row[k] = max(row[k] / largest, SMALLEST)


def expected_topics(sstats: Float32Array, eta: float, split: Split) -> Float32Array:
    """exp(E[log beta]) of shape (n_terms, K), each term's row over its largest entry.

    Args:
        sstats: shape (n_terms, K); with eta, the topics' Dirichlet parameters.
        eta: prior of the terms.
        split: from :func:`topic_model.kernels.threads.splitting`.
    """
    topics = np.empty_like(sstats)
    log_totals = psi(sstats.sum(axis=0, dtype=np.float64) + eta * len(sstats)).astype(np.float32)
    split(topic_rows, np.arange(len(sstats) + 1), sstats, np.float32(eta), log_totals, topics)
    return topics


def chunk_mixtures(
    chunk: Bags, topics: Float32Array, alpha: Float32Array, iterations: int, threshold: float, split: Split
) -> tuple[Float32Array, Float32Array]:
    """What :func:`e_step` finds of a chunk: exp(E[log theta]) of shape (n, K) up to a factor a campaign, and scales."""
    mixtures = np.empty((len(chunk), topics.shape[1]), np.float32)
    scales = np.empty(len(chunk.indices), np.float32)
    bags = (chunk.indptr, chunk.indices, chunk.counts)
    split(e_step, chunk.indptr, *bags, topics, alpha, iterations, np.float32(threshold), mixtures, scales)
    return mixtures, scales


def statistics_of_chunk(
    chunk: Bags,
    topics: Float32Array,
    alpha: Float32Array,
    iterations: int,
    threshold: float,
    totals: FloatArray,
    split: Split,
) -> None:
    """Add a chunk's statistics to ``totals`` (n_terms, K), to be multiplied by ``topics`` when all chunks are in."""
    mixtures, scales = chunk_mixtures(chunk, topics, alpha, iterations, threshold, split)
    by_term = np.zeros(len(topics) + 1, np.int64)
    entries, campaigns = np.empty(len(chunk.indices), np.int64), np.empty(len(chunk.indices), np.int32)
    transpose(chunk.indptr, chunk.indices, by_term, entries, campaigns)
    split(add_statistics, by_term, by_term, entries, campaigns, scales, mixtures, totals)
