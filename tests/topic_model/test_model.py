"""Fingerprints: they sum to 1, depend on the text alone, and are what Gensim infers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gensim.models import LdaModel

from topic_model.corpus import Corpus, Vocabulary
from topic_model.errors import NoKnownTermsError
from topic_model.model import TopicModel
from topic_model.settings import TextSettings


def test_fingerprints_sum_to_one(model: TopicModel, corpus: Corpus) -> None:
    """A fingerprint is a mixture: positive shares that sum to 1."""
    rows = np.flatnonzero(np.diff(corpus.indptr))
    matrix = corpus.matrix(rows)
    theta = model.infer_theta(matrix.indptr, matrix.indices, matrix.data)
    assert theta.shape == (len(rows), 5)
    assert np.allclose(theta.sum(axis=1), 1, atol=1e-12)
    assert (theta > 0).all()


def test_a_campaign_alone_has_the_fingerprint_of_the_batch(model: TopicModel, corpus: Corpus) -> None:
    """Bit for bit: what stands before or beside a campaign does not matter."""
    rows = np.flatnonzero(np.diff(corpus.indptr))[::-1]
    matrix = corpus.matrix(rows)
    batch = model.infer_theta(matrix.indptr, matrix.indices, matrix.data)
    for place, row in enumerate(rows[:20]):
        (bow,) = corpus.bows(np.array([row]))
        terms = {corpus.vocabulary.terms[term]: count for term, count in bow}
        assert np.array_equal(model.infer(terms), batch[place])


def test_the_order_of_terms_does_not_matter(model: TopicModel) -> None:
    """The same terms the other way round: the same bits."""
    terms = {term: place % 3 + 1 for place, term in enumerate(model.vocabulary.terms)}
    assert np.array_equal(model.infer(terms), model.infer(dict(reversed(terms.items()))))


def test_unknown_terms_do_not_count(model: TopicModel) -> None:
    """A word that the model has not seen changes nothing."""
    assert np.array_equal(model.infer({"espresso": 1, "zzzz": 9}), model.infer({"espresso": 1}))


@pytest.mark.parametrize("terms", [{}, {"zzzz": 3, "靴": 1}])
def test_without_known_terms_there_is_no_fingerprint(terms: dict[str, int], model: TopicModel) -> None:
    """The prior is nobody's fingerprint; the message names the terms given."""
    with pytest.raises(NoKnownTermsError, match=", ".join(terms) or "none"):
        model.infer(terms)
    with pytest.raises(NoKnownTermsError):
        model.infer_theta(np.array([0, 1, 1]), np.array([0]), np.array([1]))


def test_inference_agrees_with_gensims(model: TopicModel, corpus: Corpus) -> None:
    """At convergence our fingerprints are those of Gensim's own inference, to a ten-thousandth."""
    gensim = model.to_gensim()
    gensim.iterations, gensim.minimum_probability = 5_000, 0
    gensim.gamma_threshold = 1e-9
    bows = list(corpus.bows(np.flatnonzero(np.diff(corpus.indptr))))
    gamma, _ = gensim.inference(bows)
    expected = gamma / gamma.sum(axis=1, keepdims=True)
    ours = np.stack([model.infer_bow(*np.array(bow).T) for bow in bows])
    assert np.abs(ours - expected).max() < 1e-4


def test_a_theme_is_told_from_its_words(model: TopicModel) -> None:
    """Words of one theme fall on one topic, those of another theme on another."""
    coffee, garden = (
        model.infer(dict.fromkeys(words.split(), 1)) for words in ("espresso grinder roast", "rake soil mower")
    )
    assert coffee.max() > 0.7 and garden.max() > 0.7
    assert coffee.argmax() != garden.argmax()


def test_beta_is_gensims_topics(model: TopicModel) -> None:
    """Topic-word probabilities are what Gensim calls topics."""
    assert np.allclose(model.beta, model.to_gensim().get_topics())


def test_it_is_a_gensim_model(model: TopicModel, tmp_path: Path) -> None:
    """Gensim shows its topics by our terms, saves it, and loads it with the topics it had."""
    gensim = model.to_gensim()
    shown = dict(gensim.show_topics(num_topics=5, num_words=3, formatted=False))
    for topic, terms in shown.items():
        ours = model.top_terms(topic, 3)
        assert [term for term, _ in terms] == [term for term, _ in ours]
        assert np.allclose([p for _, p in terms], [p for _, p in ours])
    gensim.save(str(tmp_path / "lda"))
    assert np.array_equal(LdaModel.load(str(tmp_path / "lda")).get_topics(), gensim.get_topics())


def test_top_terms_are_the_most_probable(model: TopicModel) -> None:
    """Sorted by probability, which are those of beta."""
    terms = model.top_terms(0, len(model.vocabulary))
    assert [probability for _, probability in terms] == sorted(model.beta[0], reverse=True)
    assert all(model.beta[0, model.vocabulary.ids[term]] == probability for term, probability in terms)


def test_topic_terms_set_topics_apart(model: TopicModel) -> None:
    """No term characterises two of the five clear themes."""
    named = [term for terms in model.topic_terms for term in terms]
    assert len(named) == len(set(named)) == 30


def test_one_term_and_two_topics_are_a_model() -> None:
    """The smallest vocabulary works: the fingerprint leans to the topic that has the term more."""
    vocabulary = Vocabulary.of(["only"])
    model = TopicModel(vocabulary, np.array([[9.0], [1.0]]), np.array([0.5, 0.5]), 0.1, TextSettings())
    theta = model.infer({"only": 3})
    assert theta.sum() == pytest.approx(1)
    assert model.topic_terms == [["only"], ["only"]]


def test_a_tiny_prior_and_a_long_text_stay_finite() -> None:
    """Numbers at the ends of what settings allow give a fingerprint, not NaN."""
    vocabulary = Vocabulary.of(["a", "b"])
    lambda_ = np.array([[1e6, 1e-4], [1e-4, 1e6]])
    model = TopicModel(vocabulary, lambda_, np.full(2, 1e-6), 1e-4, TextSettings())
    theta = model.infer({"a": 10_000_000})
    assert theta == pytest.approx([1, 0], abs=1e-6)
