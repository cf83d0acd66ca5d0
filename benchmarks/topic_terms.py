"""By which terms a topic is told: ``python -m benchmarks.topic_terms BBC.tsv.gz``.

The default trainer on BBC News by the BERTopic paper's protocol (``benchmarks/engine/bertopic.py``: its fifteen
trainings, NPMI, diversity), with the ten terms of each topic chosen in several ways from the same models.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from gensim.corpora import Dictionary
from threadpoolctl import threadpool_limits

from benchmarks.engine.bertopic import NUMBERS_OF_TOPICS, SEEDS, TOP_WORDS, diversity, mean_npmi
from benchmarks.engine.corpora import read_bbc
from benchmarks.engine.verdicts import table
from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.fit import fit
from topic_model.bags import BagsInMemory
from topic_model.describe import SHARE_POWER, with_topic_terms
from topic_model.settings import TextSettings
from topic_model.vocabulary import Vocabulary
from topic_model.weighting import TermWeights, tf_idf

RELEVANCE = 0.6
"""The weight that Sievert and Shirley 2014, "LDAvis", found readers to prefer."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bbc", type=Path, help="BBC News as OCTIS has it: text, split, label, .tsv.gz")
    texts, _ = read_bbc(parser.parse_args().bbc)
    dictionary = Dictionary(texts)
    terms = tuple(dictionary[number] for number in range(len(dictionary)))
    bows = [dictionary.doc2bow(text) for text in texts]
    indptr = np.cumsum([0, *map(len, bows)])
    ids = np.array([term for bow in bows for term, _ in bow])
    source = BagsInMemory.of(indptr, ids, np.array([count for bow in bows for _, count in bow]), len(terms))
    found: dict[str, list[tuple[float, float]]] = {}
    with threadpool_limits(1):
        for number in NUMBERS_OF_TOPICS:
            for seed in SEEDS:
                for name, ranked in ways(source, terms, number, seed):
                    topics = [[terms[term] for term in row[:TOP_WORDS]] for row in ranked]
                    found.setdefault(name, []).append((mean_npmi(topics, texts), diversity(topics)))
    rows = [(name, *(f"{fmean(values):.3f}" for values in zip(*runs, strict=True))) for name, runs in found.items()]
    print(table(("a topic's terms", "NPMI", "diversity"), rows))


def ways(source: BagsInMemory, terms: tuple[str, ...], num_topics: int, seed: int) -> Iterator[tuple[str, Any]]:
    """Term ids of shape (K, n), a topic's best first, by each way."""
    settings = algorithm(DEFAULT_ALGORITHM).settings_class(num_topics=num_topics, seed=seed)
    model = fit(source, Vocabulary.of(terms), TextSettings(), DEFAULT_ALGORITHM, settings)
    assert model is not None  # noqa: S101 - nothing asks it to stop
    yield "the most probable", best(model.beta)
    bags = source.sample(source.n_campaigns, seed)
    counts = bags.matrix(source.n_terms)
    frequencies = np.asarray(counts.sum(axis=0)).ravel() / counts.sum()
    logs = np.log(np.maximum(model.beta, 1e-30))
    yield f"relevance, {RELEVANCE:g}", best(logs - (1 - RELEVANCE) * np.log(frequencies))
    theta = model.infer_theta(bags.indptr, bags.indices, bags.counts)
    bm25, damped = TermWeights.of(counts).rows(counts), tf_idf(counts)
    for power in (1, 2, 3, 4):
        default = " (default)" if power == SHARE_POWER else ""
        yield f"BM25 rows by share to the power {power}{default}", best((bm25.T @ theta**power).T)
    yield "TF-IDF rows by share to the power 2", best((damped.T @ theta**2).T)
    yield "what the product tells", with_topic_terms(model, source, seed).topic_term_ids


def best(scores: Any) -> Any:
    """The order of each row's terms, ties by term id."""
    return np.argsort(-np.asarray(scores), axis=1, kind="stable")[:, :TOP_WORDS]


if __name__ == "__main__":
    main()
