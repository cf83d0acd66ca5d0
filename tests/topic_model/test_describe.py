"""The terms that say what a topic is about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from topic_model.artifact import TOPIC_TERMS, read_artifact, read_model, write_model
from topic_model.bags import BagsInMemory
from topic_model.describe import with_topic_terms
from topic_model.errors import ArtifactError
from topic_model.model import TopicModel
from topic_model.settings import TextSettings
from topic_model.vocabulary import Vocabulary

TERMS = ("best", "boot", "hike", "trail", "vpn", "wifi")


def _model() -> TopicModel:
    """Two topics; "best" is the most probable term of both."""
    lambda_ = np.array([[60.0, 20.0, 20.0, 15.0, 0.1, 0.1], [60.0, 0.1, 0.1, 0.1, 30.0, 25.0]])
    return TopicModel(Vocabulary.of(TERMS), lambda_, np.full(2, 0.1), 0.1, TextSettings())


def _source() -> BagsInMemory:
    rows = [[3, 1, 1, 0, 0, 0], [3, 1, 0, 1, 0, 0], [3, 0, 1, 1, 0, 0], [3, 0, 0, 0, 1, 1], [3, 0, 0, 0, 2, 1]]
    dense = np.array(rows)
    indptr = np.concatenate(([0], np.cumsum((dense > 0).sum(axis=1))))
    return BagsInMemory.of(indptr, np.nonzero(dense)[1], dense[dense > 0], len(TERMS))


def test_a_term_of_all_topics_says_nothing_of_one() -> None:
    """The most probable term is in every campaign; a topic is told by what its own campaigns have."""
    model = _model()
    assert model.top_terms(0, 1)[0][0] == model.top_terms(1, 1)[0][0] == "best"
    described = with_topic_terms(model, _source(), seed=0)
    assert set(described.topic_terms[0][:3]) == {"boot", "hike", "trail"}
    assert set(described.topic_terms[1][:2]) == {"vpn", "wifi"}


def test_listed_terms_have_their_probabilities() -> None:
    """In the order of what they say, with the probability that the topic gives them."""
    described = with_topic_terms(_model(), _source(), seed=0)
    for term, probability in described.top_terms(1, 2):
        assert probability == pytest.approx(described.beta[1, TERMS.index(term)])


def test_terms_survive_the_artifact(tmp_path: Path) -> None:
    """What was written is read; a model without them has none."""
    described = with_topic_terms(_model(), _source(), seed=0)
    write_model(described, tmp_path / "with", about={})
    assert read_model(read_artifact(tmp_path / "with")).topic_terms == described.topic_terms
    write_model(_model(), tmp_path / "without", about={})
    assert read_model(read_artifact(tmp_path / "without")).topic_term_ids is None


def test_terms_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    """An id that the vocabulary does not have is an error of the artifact, with the remedy."""
    described = with_topic_terms(_model(), _source(), seed=0)
    assert described.topic_term_ids is not None
    described.topic_term_ids[0, 0] = 99
    write_model(described, tmp_path, about={})
    with pytest.raises(ArtifactError, match=rf"{TOPIC_TERMS}.*train the model again"):
        read_model(read_artifact(tmp_path))
