"""The sampler against the conditional distribution it samples from."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.topic_model.algorithms.planted import planted_source, source_of
from topic_model.bags import Bags
from topic_model.kernels.gibbs import MAX_UNITS, add_units, sample, unit_pointers

ALPHA, ETA = np.float32(0.3), np.float32(0.1)


def units_of(bags: Bags) -> Any:
    """The kernels' arguments for bags."""
    pointers = np.empty(len(bags) + 1, np.int64)
    unit_pointers(bags.indptr, bags.counts, pointers)
    return (bags.indptr, bags.indices, bags.counts, pointers)


def swept(bags: Bags, before: Any, of_terms: Any, of_topics: Any, seed: int, place: int = 0) -> Any:
    """New topics of all units, sampled as one block."""
    after = np.empty_like(before)
    sample(0, len(bags), 0, *units_of(bags), of_terms, of_topics, ALPHA, ETA, place, np.uint64(seed), before, after)
    return after


def test_topics_are_drawn_from_the_conditional_distribution() -> None:
    """Ten thousand campaigns of two words: each topic as often as equation 5 of Griffiths and Steyvers has it."""
    n, num_topics = 10_000, 20
    counts = np.zeros((n, 3))
    counts[:, [0, 2]] = 1
    bags = source_of(counts).bags
    random = np.random.default_rng(1)
    of_terms = random.gamma(1.0, 100.0, (3, num_topics)) + 2
    of_topics = of_terms.sum(axis=0)
    before = np.tile(np.array([4, 9], np.uint16), n)
    after = swept(bags, before, of_terms, of_topics, seed=3).reshape(n, 2)

    own = np.full(num_topics, float(ALPHA))
    own[9] += 1  # the campaign's other word; the word itself is taken out
    term, topic = of_terms[0].copy(), of_topics.copy()
    term[4] -= 1
    topic[4] -= 1
    expected = own * (term + ETA) / (topic + 3 * ETA)
    expected /= expected.sum()
    found = np.bincount(after[:, 0], minlength=num_topics) / n
    assert np.abs(found - expected).max() < 4 * np.sqrt(expected.max() / n)


def test_counts_are_conserved() -> None:
    """Taking all units out and putting them in with new topics leaves each term's weight as it was."""
    source = planted_source(50)
    bags = source.bags
    units = units_of(bags)
    before = np.random.default_rng(0).integers(0, 5, units[3][-1]).astype(np.uint16)
    of_terms, of_topics = np.zeros((source.n_terms, 5)), np.zeros(5)
    add_units(0, len(bags), *units, before, 1.0, of_terms, of_topics)
    assert np.array_equal(of_terms.sum(axis=1), np.asarray(bags.matrix(source.n_terms).sum(axis=0)).ravel())
    after = swept(bags, before, of_terms, of_topics, seed=1)
    add_units(0, len(bags), *units, before, -1.0, of_terms, of_topics)
    add_units(0, len(bags), *units, after, 1.0, of_terms, of_topics)
    assert (after != before).any()
    assert of_terms.min() >= 0
    assert np.array_equal(of_terms.sum(axis=0), of_topics)
    assert of_topics.sum() == source.n_words


def test_large_counts_are_shared_by_few_units() -> None:
    """A count of 10⁹ has as many units as one of 16, a weight below 1 has one, and nothing is lost."""
    counts = np.array([[1e9, 3.0, 0.25]])
    bags = source_of(counts).bags
    units = units_of(bags)
    assert units[3].tolist() == [0, MAX_UNITS + 3 + 1]
    of_terms, of_topics = np.zeros((3, 2)), np.zeros(2)
    add_units(0, 1, *units, np.zeros(units[3][-1], np.uint16), 1.0, of_terms, of_topics)
    assert of_terms[:, 0].tolist() == [1e9, 3.0, 0.25]


def test_a_campaigns_draws_depend_on_its_place_and_the_seed_alone() -> None:
    """The second half of a chunk sampled as a chunk of its own gets the same topics; another seed gives others."""
    source = planted_source(40)
    bags = source.bags
    units = units_of(bags)
    before = np.random.default_rng(0).integers(0, 5, units[3][-1]).astype(np.uint16)
    of_terms, of_topics = np.zeros((source.n_terms, 5)), np.zeros(5)
    add_units(0, len(bags), *units, before, 1.0, of_terms, of_topics)
    whole = swept(bags, before, of_terms, of_topics, seed=7)
    half = bags.slice(20, 40)
    second = swept(half, before[units[3][20] :].copy(), of_terms, of_topics, seed=7, place=20)
    assert np.array_equal(whole[units[3][20] :], second)
    assert (whole != swept(bags, before, of_terms, of_topics, seed=8)).any()
