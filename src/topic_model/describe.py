"""What a topic is about: the terms that weigh most in the campaigns that are about it.

A topic's most probable terms say how its campaigns are written, "best", "online", "buy" among them. Its campaigns' BM25
rows say what sets them apart, and their mean, each campaign weighing by the square of the topic's share in it, is what
a reader takes the topic for: the idea of BERTopic's class-based TF-IDF (Grootendorst 2022), with memberships that are
not all or nothing. Measured in docs/decisions/0012-topic-terms.md.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topic_model.bags import BagSource
from topic_model.model import TopicModel
from topic_model.weighting import TermWeights

NUM_TERMS = 20
SHARE_POWER = 2
"""A campaign that is half about a topic counts a quarter."""
SAMPLE = 20_000
"""Campaigns that are looked at, at most: more change hardly a term, and a million would take as long as training."""


def with_topic_terms(model: TopicModel, source: BagSource, seed: int) -> TopicModel:
    """The same model with its topics' terms, told from a seeded sample of the campaigns it was trained on."""
    bags = source.sample(SAMPLE, seed)
    theta = model.infer_theta(bags.indptr, bags.indices, bags.counts)
    counts = bags.matrix(source.n_terms)
    weights = TermWeights.of(counts).rows(counts)
    scores = np.asarray(weights.T @ theta**SHARE_POWER)
    order = np.argsort(-scores.T, axis=1, kind="stable")[:, :NUM_TERMS]
    return replace(model, topic_term_ids=np.ascontiguousarray(order, dtype=np.int64))
