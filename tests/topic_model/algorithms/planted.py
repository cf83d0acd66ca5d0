"""Corpora drawn from known topics, for tests of trainers."""

from __future__ import annotations

from typing import Any

import numpy as np

from topic_model.bags import BagsInMemory


def planted_topics(num_topics: int, n_terms: int) -> Any:
    """Topics of shape (num_topics, n_terms): each likes terms of its own ten times as much as the others."""
    topics = np.ones((num_topics, n_terms))
    for topic, own in enumerate(np.array_split(np.arange(n_terms), num_topics)):
        topics[topic, own] = 30.0
    return topics / topics.sum(axis=1, keepdims=True)


def planted_source(
    n_campaigns: int = 300, num_topics: int = 4, n_terms: int = 60, words: int = 40, seed: int = 0
) -> BagsInMemory:
    """Campaigns of mostly one topic each."""
    random = np.random.default_rng(seed)
    topics = planted_topics(num_topics, n_terms)
    mixtures = random.dirichlet(np.full(num_topics, 0.1), n_campaigns)
    counts = np.array([random.multinomial(words, mixture @ topics) for mixture in mixtures])
    return source_of(counts)


def source_of(counts: Any) -> BagsInMemory:
    """A source of counts of shape (n, n_terms)."""
    rows, terms = np.nonzero(counts)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(counts)))))
    return BagsInMemory.of(indptr, terms, np.asarray(counts)[rows, terms], np.asarray(counts).shape[1])
