"""Quality of a topic model, and the gates it must pass.

- ``c_npmi``: mean over topics of the mean normalised pointwise mutual information of the pairs of its ten most probable
  terms, over the corpus's campaigns as windows (Lau et al. 2014, "Machine Reading Tea Leaves"); -1 to 1, a pair that
  never meets counts -1.
- ``topic_diversity``: share of distinct terms among the ten most probable of all topics (Dieng et al. 2020).
- ``perplexity``: exp(-mean log p(w)) over held-out words, natural logarithm, by document completion (Wallach et al.
  2009): a held-out campaign's fingerprint is inferred from every other term of it, and scores the remaining ones.
- ``unigram_perplexity``: the same words under the training corpus's word frequencies, smoothed by one; the ratio of the
  two says what the topics explain and, unlike perplexity, compares over vocabularies.
- ``coverage``: share of campaigns with a known term.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from topic_model.arrays import write_json
from topic_model.corpus import AnyCorpus
from topic_model.model import TopicModel
from topic_model.settings import EvaluationSettings

TOP_TERMS = 10
# Held-out campaigns that perplexity is measured on; of more, a seeded sample, whose error is far below a gate's steps.
MAX_HELD_OUT = 5_000
SAMPLE_SEED = 20_260_601
# Campaigns in memory at a time.
CHUNK_SIZE = 10_000
# With fewer held-out campaigns a ratio of perplexities is noise, and a gate on noise would reject at random.
MIN_HELD_OUT_FOR_GATE = 50


def top_term_ids(model: TopicModel) -> Any:
    """Ids of the ten most probable terms, of shape (K, 10), or fewer columns with a smaller vocabulary."""
    return np.argsort(-model.beta, axis=1, kind="stable")[:, :TOP_TERMS]


def c_npmi(model: TopicModel, corpus: AnyCorpus) -> Any:
    """Coherence of each topic, of shape (K,), see the module's formula; NaN where the vocabulary has no two terms."""
    top = top_term_ids(model)
    if top.shape[1] < 2:
        return np.full(model.num_topics, np.nan)
    distinct, places = np.unique(top, return_inverse=True)
    places = places.reshape(top.shape)
    first, second = (places[:, column] for column in np.triu_indices(top.shape[1], k=1))
    alone, together = np.zeros(len(distinct)), np.zeros(first.shape)
    for bags in corpus.all_bags.chunks(CHUNK_SIZE):
        presence = bags.matrix(len(model.vocabulary))[:, distinct]
        presence.data[:] = 1
        alone += presence.sum(axis=0).A1
        together += np.asarray((presence.T @ presence)[first.ravel(), second.ravel()]).reshape(first.shape)
    alone, together = alone / len(corpus), together / len(corpus)
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(together / (alone[first] * alone[second]))
        npmi = np.where(together > 0, np.where(together < 1, pmi / -np.log(together), 1.0), -1.0)
    return npmi.mean(axis=1)


def topic_diversity(model: TopicModel) -> float:
    """Share of distinct terms among the topics' ten most probable, in (0, 1]."""
    top = top_term_ids(model)
    return float(len(np.unique(top)) / top.size)


def completion_perplexity(model: TopicModel, corpus: AnyCorpus) -> tuple[float, float, int]:
    """Perplexity and unigram perplexity by document completion, and how many campaigns could be scored."""
    unigram = np.ones(len(model.vocabulary))
    for bags in corpus.training_bags.chunks(CHUNK_SIZE):
        unigram += np.bincount(bags.indices, bags.counts, minlength=len(unigram))
    unigram = unigram / unigram.sum()
    log_topics = log_unigram = words = 0.0
    scored = 0
    held_out = corpus.held_out_bags.sample(MAX_HELD_OUT, SAMPLE_SEED)
    for start, stop in pairwise(held_out.indptr.tolist()):
        ids, counts = held_out.indices[start:stop].astype(np.int64), held_out.counts[start:stop].astype(np.int64)
        if len(ids) < 2:
            continue
        theta = model.infer_bow(ids[::2], counts[::2])
        unseen, weight = ids[1::2], counts[1::2]
        log_topics += float(weight @ np.log(theta @ model.beta[:, unseen]))
        log_unigram += float(weight @ np.log(unigram[unseen]))
        words += float(weight.sum())
        scored += 1
    if not words:
        return float("nan"), float("nan"), 0
    return float(np.exp(-log_topics / words)), float(np.exp(-log_unigram / words)), scored


def evaluate(model: TopicModel, corpus: AnyCorpus, gates: EvaluationSettings, model_version: str) -> dict[str, Any]:
    """The evaluation document: metrics, gates and the verdict. A metric that cannot be measured is null."""
    perplexity, unigram, scored = completion_perplexity(model, corpus)
    measured = {
        "c_npmi": float(c_npmi(model, corpus).mean()),
        "topic_diversity": topic_diversity(model),
        "perplexity": perplexity if scored else None,
        "unigram_perplexity": unigram if scored else None,
        "perplexity_ratio": perplexity / unigram if scored else None,
        "coverage": corpus.all_bags.n_campaigns / len(corpus),
    }
    metrics = {name: None if value is None or np.isnan(value) else round(value, 6) for name, value in measured.items()}
    checks = {
        "min_c_npmi": (gates.min_c_npmi, metrics["c_npmi"], 1),
        "min_topic_diversity": (gates.min_topic_diversity, metrics["topic_diversity"], 1),
        "max_perplexity_ratio": (gates.max_perplexity_ratio, metrics["perplexity_ratio"], -1),
        "min_coverage": (gates.min_coverage, metrics["coverage"], 1),
    }
    skipped = [] if scored >= MIN_HELD_OUT_FOR_GATE else ["max_perplexity_ratio"]
    if len(model.vocabulary) < TOP_TERMS * model.num_topics:  # so few terms cannot fill the topics without repeating
        skipped.append("min_topic_diversity")
    failed = [
        name
        for name, (bound, value, sign) in checks.items()
        if name not in skipped and bound is not None and value is not None and sign * (value - bound) < 0
    ]
    return {
        "accepted": not failed,
        "failed_gates": failed,
        "skipped_gates": skipped,
        "metrics": {
            **metrics,
            "num_topics": model.num_topics,
            "n_terms": len(model.vocabulary),
            "n_campaigns": len(corpus),
            "held_out_campaigns": scored,
        },
        "gates": gates.model_dump(),
        "model_version": model_version,
        "corpus_hash": corpus.content_hash,
    }


def write_evaluation(document: dict[str, Any], out: Path) -> None:
    """Write ``evaluation.json``."""
    write_json(out / "evaluation.json", document)
