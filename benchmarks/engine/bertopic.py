"""BBC News by the protocol of Grootendorst 2022, "BERTopic: Neural topic modeling with a class-based TF-IDF procedure".

All documents as OCTIS preprocessed them, its own tokens; K = 10, 20, 30, 40, 50 with seeds 0, 21, 42; ten words a
topic: the most probable ones, and for ours also those that the product tells a topic by (``topic_model.describe``), as
BERTopic's are its class-based TF-IDF's, not a distribution's. NPMI as OCTIS measures it: Gensim's ``c_npmi`` with its
default window of ten tokens over the corpus itself; diversity: the share of distinct words. Both are means over the
fifteen runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks.engine.corpora import read_bbc
from benchmarks.engine.trainers import OURS, TOMOTOPY, described, ours, trainers
from benchmarks.engine.verdicts import Verdict, above, table

NUMBERS_OF_TOPICS = (10, 20, 30, 40, 50)
SEEDS = (0, 21, 42)
TOP_WORDS = 10
NPMI_BAR, DIVERSITY_BAR = 0.20, 0.80
TOLD = ", told by its topics' terms"
OCTIS_LDA = "gensim LdaModel, as OCTIS trains it"
PAPER = {"LDA": (0.014, 0.577), "NMF": (0.012, 0.549), "BERTopic": (0.167, 0.794)}

Topics = list[list[str]]


def compare(path: Path, names: Sequence[str] | None) -> list[Verdict]:
    """Print the table; the verdicts are on ``lda`` as it is told to users. ``names`` chooses among the trainers."""
    texts, _ = read_bbc(path)
    trained = _trainers(texts)
    if names is not None:
        trained = {name: train for name, train in trained.items() if name.removesuffix(TOLD) in (*names, OCTIS_LDA)}
    rows, verdicts = [], []
    for name, train in trained.items():
        began = time.perf_counter()
        with threadpool_limits(1):  # quality only; matrix products of this size gain nothing from a second thread
            runs = [train(number, seed) for number in NUMBERS_OF_TOPICS for seed in SEEDS]
        seconds = time.perf_counter() - began
        npmi = fmean(mean_npmi(topics, texts) for topics in runs)
        distinct = fmean(diversity(topics) for topics in runs)
        rows.append((name, f"{npmi:.3f}", f"{distinct:.3f}", f"{seconds:.1f}"))
        print(f"{name}: NPMI {npmi:.3f}, diversity {distinct:.3f}", flush=True)
        if name == OURS + TOLD:
            verdicts = [
                above("BBC News by the BERTopic paper's protocol: NPMI", npmi, NPMI_BAR),
                above("BBC News by the BERTopic paper's protocol: diversity", distinct, DIVERSITY_BAR),
            ]
    rows += [(f"{name}, in the paper", f"{npmi:.3f}", f"{other:.3f}", "") for name, (npmi, other) in PAPER.items()]
    print("\n" + table(("trainer", "NPMI", "diversity", "seconds, 15 trainings"), rows))
    return verdicts


def mean_npmi(topics: Topics, texts: list[list[str]]) -> float:
    """Gensim's c_npmi, its default window, over the texts."""
    from gensim.corpora import Dictionary
    from gensim.models import CoherenceModel

    coherence = CoherenceModel(
        topics=topics, texts=texts, dictionary=Dictionary(texts), coherence="c_npmi", topn=TOP_WORDS, processes=1
    )
    return float(coherence.get_coherence())


def diversity(topics: Topics) -> float:
    """Share of distinct words."""
    words = [word for topic in topics for word in topic]
    return len(set(words)) / len(words)


def _trainers(texts: list[list[str]]) -> dict[str, Callable[[int, int], Topics]]:
    from gensim.corpora import Dictionary
    from gensim.models import LdaModel

    from topic_model.algorithms import ALGORITHMS

    dictionary = Dictionary(texts)
    bows = [dictionary.doc2bow(text) for text in texts]
    terms = tuple(dictionary[number] for number in range(len(dictionary)))
    matrix = _matrix(bows, len(terms))

    def octis_lda(num_topics: int, seed: int) -> Topics:
        model = LdaModel(bows, id2word=dictionary, num_topics=num_topics, random_state=seed)
        return _top_words(model.get_topics(), terms)

    def of(train: Callable[..., Any], num_topics: int, seed: int) -> Topics:
        return _top_words(train(matrix, terms, num_topics, seed)()(), terms)

    def told(name: str, num_topics: int, seed: int) -> Topics:
        ids = described(name, matrix, terms, num_topics, seed)
        return [[terms[term] for term in row[:TOP_WORDS]] for row in ids]

    own = [name for name in ALGORITHMS if name != "lda-gensim"]
    return {
        OCTIS_LDA: octis_lda,
        **{name: partial(of, trainers()[name]) for name in (TOMOTOPY, "scikit-learn NMF")},
        **{name: partial(of, partial(ours, name)) for name in own},
        **{name + TOLD: partial(told, name) for name in own},
    }


def _matrix(bows: list[list[tuple[int, int]]], n_terms: int) -> Any:
    rows = np.repeat(np.arange(len(bows)), [len(bow) for bow in bows])
    columns = [term for bow in bows for term, _ in bow]
    counts = [count for bow in bows for _, count in bow]
    return sparse.csr_matrix((np.array(counts, dtype=np.float64), (rows, columns)), shape=(len(bows), n_terms))


def _top_words(beta: Any, terms: Sequence[str]) -> Topics:
    return [[terms[term] for term in np.argsort(-row, kind="stable")[:TOP_WORDS]] for row in beta]
