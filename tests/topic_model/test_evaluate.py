"""Quality measures against their formulas, Gensim's coherence, and gates that pass, fail and skip."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from gensim.corpora import Dictionary
from gensim.models import CoherenceModel

from topic_model.corpus import Corpus, Vocabulary
from topic_model.evaluate import (
    c_npmi,
    completion_perplexity,
    evaluate,
    top_term_ids,
    topic_diversity,
    write_evaluation,
)
from topic_model.model import TopicModel
from topic_model.settings import EvaluationSettings, TextSettings

OFF = EvaluationSettings(min_c_npmi=None, min_topic_diversity=None, max_perplexity_ratio=None, min_coverage=None)


def _model(corpus: Corpus, lambda_: Any) -> TopicModel:
    weights = np.asarray(lambda_, dtype=np.float64)
    return TopicModel(corpus.vocabulary, weights, np.full(len(weights), 0.5), 0.1, TextSettings())


def _uniform(corpus: Corpus, num_topics: int = 3) -> TopicModel:
    return _model(corpus, np.ones((num_topics, len(corpus.vocabulary))))


def _texts(corpus: Corpus) -> list[list[str]]:
    return [[corpus.vocabulary.terms[term] for term, _ in bow] for bow in corpus.bows(np.arange(len(corpus)))]


def test_coherence_is_its_formula(model: TopicModel, corpus: Corpus) -> None:
    """Counted in plain Python: the mean over pairs of log(p12 / p1 p2) / -log p12, -1 where they never meet."""
    texts = [set(text) for text in _texts(corpus)]

    def share(*terms: str) -> float:
        return sum(all(term in text for term in terms) for text in texts) / len(texts)

    expected = []
    for topic in range(model.num_topics):
        terms = [term for term, _ in model.top_terms(topic, 10)]
        pairs = [
            log(share(a, b) / (share(a) * share(b))) / -log(share(a, b)) if share(a, b) else -1.0
            for a, b in combinations(terms, 2)
        ]
        expected.append(sum(pairs) / len(pairs))
    assert c_npmi(model, corpus) == pytest.approx(expected)


def test_coherence_is_gensims(corpus_of: Callable[..., Corpus]) -> None:
    """CoherenceModel 'c_npmi' with whole campaigns as windows says the same, where every pair meets somewhere."""
    random = np.random.RandomState(0)
    words = [f"t{number:02d}" for number in range(12)]
    corpus = corpus_of(*[{word: 1 for word in words if random.rand() < 0.6} for _ in range(200)], max_df=1)
    model = _model(corpus, random.rand(4, 12))
    texts = _texts(corpus)
    gensim = CoherenceModel(
        topics=[[term for term, _ in model.top_terms(topic, 10)] for topic in range(4)],
        texts=texts,
        dictionary=Dictionary(texts),
        coherence="c_npmi",
        window_size=100,
        processes=1,
    )
    assert c_npmi(model, corpus) == pytest.approx(gensim.get_coherence_per_topic(), abs=1e-6)


def test_terms_that_always_and_never_meet_are_the_ends_of_the_scale(corpus_of: Callable[..., Corpus]) -> None:
    """1 for a pair that is always together, -1 for one that never is."""
    together = corpus_of({"a": 1, "b": 1}, {"a": 1, "b": 1})
    assert c_npmi(_uniform(together, 2), together).tolist() == [1.0, 1.0]
    apart = corpus_of({"c": 1}, {"d": 1})
    assert c_npmi(_uniform(apart, 2), apart).tolist() == [-1.0, -1.0]


def test_diversity_counts_distinct_terms(corpus_of: Callable[..., Corpus]) -> None:
    """The same ten terms in both topics are half as diverse as twenty terms."""
    terms = {f"t{number:02d}": 1 for number in range(20)}
    corpus = corpus_of(terms, terms, max_df=1)
    first, second = np.ones(20), np.ones(20)
    first[:10], second[10:] = 5, 5
    assert topic_diversity(_model(corpus, [first, second])) == 1
    assert topic_diversity(_model(corpus, [first, first])) == 0.5


def test_a_uniform_model_is_as_perplexed_as_its_vocabulary_is_large(corpus: Corpus) -> None:
    """Where every term is equally likely, perplexity is the number of terms."""
    perplexity, _, scored = completion_perplexity(_uniform(corpus), corpus)
    assert perplexity == pytest.approx(len(corpus.vocabulary))
    assert scored == len(corpus.held_out_rows)


def test_a_trained_model_explains_more_than_word_frequencies(model: TopicModel, corpus: Corpus) -> None:
    """On clear themes the topics beat the unigram model by far on words that neither saw."""
    perplexity, unigram, _ = completion_perplexity(model, corpus)
    assert perplexity < 0.5 * unigram


def test_unigram_perplexity_is_its_formula(model: TopicModel, corpus: Corpus) -> None:
    """Word frequencies of the training campaigns, one added, scored on every other term of the held-out ones."""
    counts = dict.fromkeys(range(len(corpus.vocabulary)), 1)
    for bow in corpus.bows(corpus.training_rows):
        for term, count in bow:
            counts[term] += count
    total = sum(counts.values())
    unseen = [pair for bow in corpus.bows(corpus.held_out_rows) for pair in bow[1::2]]
    mean = sum(count * log(counts[term] / total) for term, count in unseen) / sum(count for _, count in unseen)
    assert completion_perplexity(model, corpus)[1] == pytest.approx(np.exp(-mean))


def test_the_document_has_the_contracts_fields(model: TopicModel, corpus: Corpus, tmp_path: Path) -> None:
    """ARCHITECTURE.md's fields, with the figures of the functions above; it is written as JSON."""
    document = evaluate(model, corpus, EvaluationSettings(), "abc")
    write_evaluation(document, tmp_path)
    assert orjson.loads((tmp_path / "evaluation.json").read_bytes()) == document
    assert set(document) >= {"accepted", "failed_gates", "metrics", "gates", "model_version"}
    metrics = document["metrics"]
    assert set(metrics) == {
        "c_npmi",
        "topic_diversity",
        "perplexity",
        "unigram_perplexity",
        "perplexity_ratio",
        "coverage",
        "num_topics",
        "n_terms",
        "n_campaigns",
        "held_out_campaigns",
    }
    assert metrics["coverage"] == pytest.approx(80 / 81, abs=1e-6)  # one campaign of 81 has no terms
    assert metrics["perplexity_ratio"] == pytest.approx(metrics["perplexity"] / metrics["unigram_perplexity"], rel=1e-4)


@pytest.mark.parametrize(("gate", "bound"), [("min_c_npmi", 1.0), ("min_topic_diversity", 1.0), ("min_coverage", 1.0)])
def test_a_gate_that_is_not_met_rejects_by_name(gate: str, bound: float, corpus: Corpus) -> None:
    """Only the gate that is on and missed is named."""
    document = evaluate(_uniform(corpus), corpus, OFF.model_copy(update={gate: bound}), "abc")
    assert (document["accepted"], document["failed_gates"]) == (False, [gate])


def test_gates_that_are_off_accept_anything(corpus: Corpus) -> None:
    """Null is off."""
    document = evaluate(_uniform(corpus), corpus, OFF, "abc")
    assert (document["accepted"], document["failed_gates"]) == (True, [])


def test_a_bound_that_is_just_met_is_met(model: TopicModel, corpus: Corpus) -> None:
    """A gate's bound itself is allowed."""
    metrics = evaluate(model, corpus, OFF, "abc")["metrics"]
    gates = OFF.model_copy(update={"min_c_npmi": metrics["c_npmi"], "min_coverage": metrics["coverage"]})
    assert evaluate(model, corpus, gates, "abc")["accepted"]


def test_few_held_out_campaigns_skip_the_perplexity_gate(model: TopicModel, corpus: Corpus) -> None:
    """A ratio over 8 campaigns is noise: the gate is named as skipped, and does not reject."""
    document = evaluate(model, corpus, OFF.model_copy(update={"max_perplexity_ratio": 1e-9}), "abc")
    assert document["accepted"] and document["skipped_gates"] == ["max_perplexity_ratio"]


def test_enough_held_out_campaigns_are_gated(corpus_of: Callable[..., Corpus]) -> None:
    """With 60 held out the gate decides."""
    random = np.random.RandomState(0)
    bags = [{f"t{number}": 1 for number in random.choice(30, 8, replace=False)} for _ in range(120)]
    corpus = corpus_of(*bags, held_out_share=0.5)
    gates = OFF.model_copy(update={"max_perplexity_ratio": 0.5})
    assert evaluate(_uniform(corpus), corpus, gates, "abc")["failed_gates"] == ["max_perplexity_ratio"]


def test_nothing_held_out_has_no_perplexity(corpus_of: Callable[..., Corpus]) -> None:
    """Absence is null, not NaN or 0."""
    corpus = corpus_of({"a": 1, "b": 1}, {"b": 1, "c": 2})
    metrics = evaluate(_uniform(corpus), corpus, EvaluationSettings(), "abc")["metrics"]
    assert metrics["perplexity"] is metrics["unigram_perplexity"] is metrics["perplexity_ratio"] is None
    assert metrics["held_out_campaigns"] == 0


def test_a_vocabulary_of_one_term_has_no_coherence(corpus_of: Callable[..., Corpus]) -> None:
    """No pair, no coherence: null, and no gate fails for it."""
    corpus = corpus_of({"only": 1}, {"only": 2}, max_df=1)
    document = evaluate(_uniform(corpus, 2), corpus, OFF.model_copy(update={"min_c_npmi": 0.9}), "abc")
    assert document["metrics"]["c_npmi"] is None
    assert document["accepted"]


def test_top_terms_of_a_small_vocabulary_are_all_of_it() -> None:
    """Fewer than ten terms: fewer columns."""
    model = TopicModel(Vocabulary.of(["a", "b"]), np.array([[1.0, 2.0]]), np.ones(1), 0.1, TextSettings())
    assert top_term_ids(model).tolist() == [[1, 0]]
