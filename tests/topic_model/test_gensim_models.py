"""Models go to Gensim and come from it; Gensim's own tools work on ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim.corpora import Dictionary
from gensim.models import CoherenceModel, LdaModel, LsiModel

from topic_model.artifact import read_artifact, read_model, write_model
from topic_model.corpus import Corpus
from topic_model.errors import ArtifactError
from topic_model.model import TopicModel
from topic_model.settings import TextSettings

from .conftest import THEMES

DRAWN = np.random.default_rng(5)
TEXTS = [list(DRAWN.choice(words.split(), 8)) for words in THEMES.values() for _ in range(30)]


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    """Of the themes' texts."""
    return Dictionary(TEXTS)


@pytest.fixture(scope="module")
def stock(dictionary: Dictionary) -> LdaModel:
    """Gensim's own model, with its defaults."""
    bows = [dictionary.doc2bow(text) for text in TEXTS]
    return LdaModel(bows, num_topics=5, id2word=dictionary, passes=5, random_state=1)


def trained(dictionary: Dictionary, **options: Any) -> LdaModel:
    """A stock model of fewer passes with other priors."""
    return LdaModel([dictionary.doc2bow(text) for text in TEXTS], 5, dictionary, random_state=1, **options)


# To Gensim


def test_gensim_infers_what_we_infer(model: TopicModel, corpus: Corpus) -> None:
    """``get_document_topics`` of our model, iterated until it stays, gives our fingerprints."""
    gensim = model.to_gensim()
    gensim.iterations, gensim.gamma_threshold = 5_000, 1e-9
    for bow in corpus.bows(np.flatnonzero(np.diff(corpus.indptr))[:10]):
        topics = dict(gensim.get_document_topics(bow, minimum_probability=0))
        ours = model.infer_bow(*np.array(bow).T)
        assert np.abs(ours - [topics[topic] for topic in range(5)]).max() < 1e-4


def test_gensim_answers_alike_when_asked_twice(model: TopicModel) -> None:
    """Its random start is seeded: two models of ours answer the same."""
    first, second = (model.to_gensim().get_document_topics([(0, 2), (3, 1)]) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("measure", ["c_v", "u_mass", "c_npmi"])
def test_gensims_coherence_model_measures_our_topics(model: TopicModel, corpus: Corpus, measure: str) -> None:
    """With the model's own dictionary, and the campaigns as texts and as bags."""
    gensim = model.to_gensim()
    bows = list(corpus.bows(np.flatnonzero(np.diff(corpus.indptr))))
    texts = [[gensim.id2word[term_id] for term_id, _ in bow] for bow in bows]
    coherence = CoherenceModel(
        gensim, texts=texts, corpus=bows, dictionary=gensim.id2word, coherence=measure, topn=5, processes=1
    )
    assert np.isfinite(coherence.get_coherence())


def test_pyldavis_draws_our_topics(model: TopicModel) -> None:
    """Its page has every term of the model, and every topic."""
    pyldavis = pytest.importorskip("pyLDAvis.gensim_models", reason="pyLDAvis is an extra: peers")
    gensim = model.to_gensim()
    bows = [bow for text in TEXTS if (bow := gensim.id2word.doc2bow(text))]
    prepared = pyldavis.prepare(gensim, bows, gensim.id2word, n_jobs=1)
    assert len(prepared.topic_coordinates) == 5
    assert set(prepared.topic_info["Term"]) <= set(model.vocabulary.terms)


# From Gensim


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": "asymmetric", "eta": "auto"},
        {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5], "eta": 0.3},
        {"eta": "matrix", "dtype": np.float64},
    ],
)
def test_fingerprints_of_a_stock_model_are_gensims(dictionary: Dictionary, options: dict[str, Any]) -> None:
    """At convergence, to 1e-4, whatever the priors: one, one a topic or a term, or one of each."""
    if options.get("eta") == "matrix":
        options = options | {"eta": np.random.default_rng(2).uniform(0.01, 0.5, (5, len(dictionary)))}
    gensim = trained(dictionary, passes=3, **options)
    model = TopicModel.from_gensim(gensim)
    gensim.iterations, gensim.gamma_threshold = 2_000, 1e-7
    bows = [dictionary.doc2bow(text) for text in TEXTS[::7]]
    gamma, _ = gensim.inference(bows)
    expected = gamma / gamma.sum(axis=1, keepdims=True)
    ours = np.stack([model.infer_bow(*np.array(bow).T) for bow in bows])
    assert np.abs(ours - expected).max() < 1e-4
    assert np.allclose(model.beta, gensim.get_topics(), rtol=1e-5)


def test_there_and_back_is_the_same_model(model: TopicModel) -> None:
    """What goes to Gensim comes back with the same terms, priors, topics and fingerprints."""
    back = TopicModel.from_gensim(model.to_gensim(), model.text_settings)
    assert back.vocabulary == model.vocabulary
    assert np.allclose(back.lambda_, model.lambda_, rtol=1e-12)
    assert np.array_equal(back.alpha, model.alpha) and back.eta == model.eta
    assert np.allclose(back.infer({"espresso": 1}), model.infer({"espresso": 1}), atol=1e-9)


def test_a_stock_model_becomes_an_artifact(stock: LdaModel, tmp_path: Path) -> None:
    """It is written, read and infers as any model of ours; the text settings are those given."""
    settings = TextSettings(keep_numbers=True)
    model = TopicModel.from_gensim(stock, settings)
    write_model(model, tmp_path, about={"algorithm": "lda-gensim"})
    read = read_model(read_artifact(tmp_path))
    assert read.text_settings == settings
    assert np.array_equal(read.infer({"espresso": 1}), model.infer({"espresso": 1}))


def test_id2word_may_be_a_plain_mapping(stock: LdaModel, dictionary: Dictionary) -> None:
    """As it is where a model was made without Gensim's Dictionary."""
    plain = trained(dictionary)
    plain.id2word = {term_id: dictionary[term_id] for term_id in reversed(range(len(dictionary)))}
    assert TopicModel.from_gensim(plain).vocabulary == TopicModel.from_gensim(stock).vocabulary


def test_a_model_without_words_is_refused(dictionary: Dictionary) -> None:
    """Without id2word there is nothing that a campaign's text could be compared with."""
    with pytest.raises(ArtifactError, match="was trained without id2word"):
        TopicModel.from_gensim(LdaModel([dictionary.doc2bow(text) for text in TEXTS], 5))


def test_what_is_no_lda_model_is_refused(dictionary: Dictionary) -> None:
    """Gensim's other models have no posterior that fingerprints could be inferred from; nor has a file's name."""
    other: Any
    for other, kind in ((LsiModel(id2word=dictionary), "gensim.models.lsimodel.LsiModel"), ("a.lda", "builtins.str")):
        with pytest.raises(ArtifactError, match=f"the model is {kind}; expected a gensim.models.LdaModel"):
            TopicModel.from_gensim(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({3: None}, "has no word for id 3; expected a word for each of the ids 0 to 58: call Dictionary.compactify"),
        ({1000: "beyond"}, "has a word for id 1000"),
        ({3: ""}, "has '' for id 3; expected a word"),
        ({3: 7}, "has 7 for id 3; expected a word"),
        ({3: "espresso"}, "cannot be used: the vocabulary names 1 terms twice"),
    ],
)
def test_ids_and_words_must_fit(dictionary: Dictionary, change: dict[int, Any], message: str) -> None:
    """Gaps, ids beyond the topics, words that are none and words named twice: each is named."""
    gensim = trained(dictionary)
    words = {term_id: dictionary[term_id] for term_id in range(len(dictionary))} | change
    gensim.id2word = {term_id: word for term_id, word in words.items() if word is not None}
    with pytest.raises(ArtifactError, match=message.replace("58", str(len(dictionary) - 1))):
        TopicModel.from_gensim(gensim)


def test_parameters_must_be_those_of_a_posterior(dictionary: Dictionary) -> None:
    """A lambda with NaN, as a training on nothing leaves it, is refused by name."""
    gensim = trained(dictionary)
    gensim.state.sstats[0, 0] = np.nan
    with pytest.raises(ArtifactError, match="lambda of the Gensim model goes from nan to nan; expected values above 0"):
        TopicModel.from_gensim(gensim)
