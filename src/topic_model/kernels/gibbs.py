"""Collapsed Gibbs sampling for LDA (Griffiths and Steyvers 2004, "Finding scientific topics", equation 5), compiled.

A bag's entry is split into units, one a word up to :data:`MAX_UNITS` and of equal weight beyond, so that a count of 10⁹
costs no more than one of 16. Each unit has a topic. Campaigns are sampled a block at a time against the corpus's counts
at the block's beginning (their own unit taken out, their own campaign's counts up to date), and the block's changes are
then applied in order: nothing depends on which thread sampled what. Random numbers come from the campaign's place in
the corpus and the sweep.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int32, int64, uint16, uint64, void

from topic_model.kernels.jit import FAST_MATH, array, kernel

MAX_UNITS = 16


@kernel(inline="always")
def num_units(count):  # type: ignore[no-untyped-def]
    """Units that an entry of this count has."""
    return min(max(int64(np.ceil(count)), int64(1)), int64(MAX_UNITS))


@kernel(inline="always")
def _seeded(seed, campaign):  # type: ignore[no-untyped-def]
    """A generator's state for a campaign: splitmix64 (Steele et al. 2014) of its place."""
    x = seed + (uint64(campaign) + uint64(1)) * uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> uint64(27))) * uint64(0x94D049BB133111EB)
    return (x ^ (x >> uint64(31))) | uint64(1)


@kernel(inline="always")
def _next(state):  # type: ignore[no-untyped-def]
    """Marsaglia's xorshift64."""
    state ^= state << uint64(13)
    state ^= state >> uint64(7)
    state ^= state << uint64(17)
    return state


@kernel(fastmath=FAST_MATH)
def _drawn(shares, total, state):  # type: ignore[no-untyped-def]
    """The topic at which the running sum of ``shares`` passes a uniform part of ``total``; by blocks of sixteen."""
    goal = float32(float64(state >> uint64(40)) * (1.0 / 16777216.0)) * total
    passed = float32(0)
    k = 0
    while k + 16 <= len(shares):
        block = float32(0)
        for inner in range(16):
            block += shares[k + inner]
        if passed + block > goal:
            break
        passed += block
        k += 16
    while k < len(shares) - 1:
        passed += shares[k]
        if passed > goal:
            break
        k += 1
    return k


@kernel(void(array(int64, 1), array(float32, 1), array(int64, 1, writable=True)), nogil=True)
def unit_pointers(indptr, counts, pointers):  # type: ignore[no-untyped-def]
    """Where each campaign's units begin, of shape (n + 1,)."""
    pointers[0] = 0
    for d in range(len(indptr) - 1):
        units = int64(0)
        for entry in range(indptr[d], indptr[d + 1]):
            units += num_units(counts[entry])
        pointers[d + 1] = pointers[d] + units


@kernel(
    void(
        int64,
        int64,
        array(int64, 1),
        array(int32, 1),
        array(float32, 1),
        array(int64, 1),
        array(float32, 2),
        array(float32, 2),
        int64,
        uint64,
        array(uint16, 1, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def first_draw(start, stop, indptr, indices, counts, pointers, topics, mixtures, place, seed, drawn):  # type: ignore[no-untyped-def]
    """A topic for each unit of campaigns ``start`` to ``stop`` of a chunk, from given topics and mixtures.

    Args:
        start: the first campaign.
        stop: one behind the last.
        indptr: shape (n + 1,).
        indices: term ids of all entries.
        counts: of all entries.
        pointers: from :func:`unit_pointers`.
        topics: shape (n_terms, K), each term's row up to a factor.
        mixtures: shape (n, K), each campaign's row up to a factor.
        place: of the chunk's first campaign in the corpus.
        seed: of this sweep.
        drawn: receives a topic a unit.
    """
    shares = np.empty(topics.shape[1], np.float32)
    for d in range(start, stop):
        state = _seeded(seed, place + d)
        unit = pointers[d]
        mixture = mixtures[d]
        for entry in range(indptr[d], indptr[d + 1]):
            row = topics[indices[entry]]
            total = float32(0)
            for k in range(len(shares)):
                shares[k] = mixture[k] * row[k]
                total += shares[k]
            for _ in range(num_units(counts[entry])):
                state = _next(state)
                drawn[unit] = _drawn(shares, total, state)
                unit += 1


@kernel(
    void(
        int64,
        int64,
        int64,
        array(int64, 1),
        array(int32, 1),
        array(float32, 1),
        array(int64, 1),
        array(float64, 2),
        array(float64, 1),
        float32,
        float32,
        int64,
        uint64,
        array(uint16, 1),
        array(uint16, 1, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def sample(  # type: ignore[no-untyped-def]
    start, stop, first, indptr, indices, counts, pointers, of_terms, of_topics, alpha, eta, place, seed, before, after
):
    """New topics for the units of campaigns ``first + start`` to ``first + stop`` of a chunk.

    Args:
        start: the first campaign, from ``first``.
        stop: one behind the last, from ``first``.
        first: of the block.
        indptr: shape (n + 1,).
        indices: term ids of all entries.
        counts: of all entries.
        pointers: from :func:`unit_pointers`.
        of_terms: the corpus's weight of each topic in each term, of shape (n_terms, K).
        of_topics: and in all terms, of shape (K,).
        alpha: the prior of the mixtures.
        eta: the prior of the terms.
        place: of the chunk's first campaign in the corpus.
        seed: of this sweep.
        before: a topic a unit.
        after: receives a topic a unit.
    """
    n_terms, num_topics = of_terms.shape
    prior = float32(n_terms) * eta
    shares, chances = np.empty(num_topics, np.float32), np.empty(num_topics, np.float32)
    own, inverse = np.empty(num_topics, np.float32), np.empty(num_topics, np.float32)
    for k in range(num_topics):
        inverse[k] = float32(1) / (float32(of_topics[k]) + prior)
    for d in range(first + start, first + stop):
        state = _seeded(seed, place + d)
        own[:] = alpha
        unit = pointers[d]
        for entry in range(indptr[d], indptr[d + 1]):
            units = num_units(counts[entry])
            weight = counts[entry] / float32(units)
            for _ in range(units):
                own[before[unit]] += weight
                unit += 1
        unit = pointers[d]
        for entry in range(indptr[d], indptr[d + 1]):
            row = of_terms[indices[entry]]
            units = num_units(counts[entry])
            weight = counts[entry] / float32(units)
            for k in range(num_topics):
                chances[k] = (float32(row[k]) + eta) * inverse[k]
            for _ in range(units):
                old = before[unit]
                own[old] = max(own[old] - weight, alpha)
                chance = chances[old]
                rest = max(float32(of_topics[old]) - weight, float32(0)) + prior
                chances[old] = (max(float32(row[old]) - weight, float32(0)) + eta) / rest
                total = float32(0)
                for k in range(num_topics):
                    shares[k] = own[k] * chances[k]
                    total += shares[k]
                chances[old] = chance
                state = _next(state)
                new = _drawn(shares, total, state)
                own[new] += weight
                after[unit] = new
                unit += 1


@kernel(
    void(
        int64,
        int64,
        array(int64, 1),
        array(int32, 1),
        array(float32, 1),
        array(int64, 1),
        array(uint16, 1),
        float64,
        array(float64, 2, writable=True),
        array(float64, 1, writable=True),
    ),
    nogil=True,
)
def add_units(start, stop, indptr, indices, counts, pointers, topics, sign, of_terms, of_topics):  # type: ignore[no-untyped-def]
    """Add campaigns' units, or with a ``sign`` of -1 take them out of, the corpus's weights."""
    for d in range(start, stop):
        unit = pointers[d]
        for entry in range(indptr[d], indptr[d + 1]):
            units = num_units(counts[entry])
            weight = sign * float64(counts[entry]) / float64(units)
            row = of_terms[indices[entry]]
            for _ in range(units):
                row[topics[unit]] += weight
                of_topics[topics[unit]] += weight
                unit += 1
