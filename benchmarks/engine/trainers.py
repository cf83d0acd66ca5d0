"""Trainers under one interface: the project's registered algorithms and their peers.

A trainer is given bags of words, and hands back what is timed: a function that trains and hands back a function for the
topics. So what is timed is training alone: conversion into a library's own format comes before, reading the topics
after.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from topic_model.arrays import FloatArray

if TYPE_CHECKING:
    from topic_model.model import TopicModel

THREADS = 2
GENSIM_PASSES = 5
TOMOTOPY_ITERATIONS = 100

Topics = Callable[[], FloatArray]
"""Topic-word probabilities of shape (K, n_terms); rows sum to 1."""
Training = Callable[[], Topics]


def ours(algorithm_name: str, counts: Any, terms: tuple[str, ...], num_topics: int, seed: int) -> Training:
    """A registered algorithm with its defaults, given K, the seed and the number of threads only."""
    fit_model = _fitting(algorithm_name, counts, terms, num_topics, seed)

    def train() -> Topics:
        model = fit_model()
        return lambda: model.beta

    return train


def described(algorithm_name: str, counts: Any, terms: tuple[str, ...], num_topics: int, seed: int) -> Any:
    """Term ids of shape (K, 20) by which the product tells the topics of :func:`ours`: what a user reads."""
    from topic_model.bags import BagsInMemory
    from topic_model.describe import with_topic_terms

    model = _fitting(algorithm_name, counts, terms, num_topics, seed)()
    source = BagsInMemory.of(counts.indptr, counts.indices, counts.data, len(terms))
    return with_topic_terms(model, source, seed).topic_term_ids


def _fitting(
    algorithm_name: str, counts: Any, terms: tuple[str, ...], num_topics: int, seed: int
) -> Callable[[], TopicModel]:
    from topic_model.algorithms import algorithm
    from topic_model.algorithms.fit import fit
    from topic_model.bags import BagsInMemory
    from topic_model.corpus import Vocabulary
    from topic_model.settings import TextSettings

    source = BagsInMemory.of(counts.indptr, counts.indices, counts.data, len(terms))
    vocabulary = Vocabulary.of(terms)
    settings_class = algorithm(algorithm_name).settings_class
    values: dict[str, Any] = {"num_topics": num_topics, "seed": seed}
    if "threads" in settings_class.model_fields:
        values["threads"] = THREADS
    settings = settings_class(**values)

    def fit_model() -> TopicModel:
        model = fit(source, vocabulary, TextSettings(), algorithm_name, settings)
        if model is None:
            raise RuntimeError("training stopped without being asked to")
        return model

    return fit_model


def gensim(counts: Any, terms: tuple[str, ...], num_topics: int, seed: int, *, multicore: bool = False) -> Training:
    """Stock ``LdaModel`` or ``LdaMulticore``, five passes, all else at Gensim's defaults."""
    from gensim.models import LdaModel, LdaMulticore

    bows = [
        list(zip(counts.indices[start:stop].tolist(), counts.data[start:stop].astype(int).tolist(), strict=True))
        for start, stop in itertools.pairwise(counts.indptr)
    ]
    id2word = dict(enumerate(terms))
    kind = partial(LdaMulticore, workers=THREADS) if multicore else LdaModel

    def train() -> Topics:
        model = kind(bows, id2word=id2word, num_topics=num_topics, passes=GENSIM_PASSES, random_state=seed)
        return lambda: np.asarray(model.get_topics(), dtype=np.float64)

    return train


def tomotopy(counts: Any, terms: tuple[str, ...], num_topics: int, seed: int) -> Training:
    """tomotopy's collapsed Gibbs sampler with two workers; campaigns are added before the clock starts."""
    import tomotopy  # type: ignore[import-untyped]

    model = tomotopy.LDAModel(k=num_topics, seed=seed)
    names = np.array([str(term) for term in range(len(terms))])
    for start, stop in itertools.pairwise(counts.indptr):
        model.add_doc(np.repeat(names[counts.indices[start:stop]], counts.data[start:stop].astype(int)).tolist())

    def topics() -> FloatArray:
        beta = np.zeros((num_topics, len(terms)))
        beta[:, [int(name) for name in model.used_vocabs]] = [model.get_topic_word_dist(k) for k in range(num_topics)]
        return np.asarray(beta / beta.sum(axis=1, keepdims=True), dtype=np.float64)

    def train() -> Topics:
        model.train(TOMOTOPY_ITERATIONS, workers=THREADS)
        return topics

    return train


def sklearn_nmf(counts: Any, terms: tuple[str, ...], num_topics: int, seed: int) -> Training:  # noqa: ARG001
    """scikit-learn's NMF of TF-IDF rows at its defaults; a topic is a component, normalised."""
    from sklearn.decomposition import NMF
    from sklearn.feature_extraction.text import TfidfTransformer

    factors = NMF(num_topics, random_state=seed)

    def train() -> Topics:
        factors.fit(TfidfTransformer().fit_transform(counts))
        return lambda: np.asarray(_normalised(factors.components_), dtype=np.float64)

    return train


def sklearn_lda(counts: Any, terms: tuple[str, ...], num_topics: int, seed: int) -> Training:  # noqa: ARG001
    """scikit-learn's batch variational Bayes at its defaults, with two jobs."""
    from sklearn.decomposition import LatentDirichletAllocation

    model = LatentDirichletAllocation(num_topics, random_state=seed, n_jobs=THREADS)

    def train() -> Topics:
        model.fit(counts)
        return lambda: np.asarray(_normalised(model.components_), dtype=np.float64)

    return train


def _normalised(topics: Any) -> Any:
    totals = topics.sum(axis=1, keepdims=True)
    return np.where(totals > 0, topics / np.where(totals > 0, totals, 1), 1 / topics.shape[1])


GENSIM, TOMOTOPY, OURS = "gensim LdaModel", "tomotopy", "lda"
PEERS: dict[str, Callable[..., Training]] = {
    GENSIM: gensim,
    "gensim LdaMulticore": partial(gensim, multicore=True),
    TOMOTOPY: tomotopy,
    "scikit-learn NMF": sklearn_nmf,
    "scikit-learn LDA": sklearn_lda,
}
OPTIONAL = ("gensim LdaMulticore", "scikit-learn LDA", "lda-gensim")
"""Measured only when asked for by name: they are slow and no bar is against them."""


def trainers() -> dict[str, Callable[..., Training]]:
    """All by name: the peers, then the registered algorithms."""
    from topic_model.algorithms import ALGORITHMS

    return {**PEERS, **{name: partial(ours, name) for name in ALGORITHMS}}
