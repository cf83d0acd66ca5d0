"""What the compiled trainers promise together: planted topics found, equal bytes, resuming, odd corpora."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.topic_model.algorithms.planted import planted_source, planted_topics, source_of
from topic_model.algorithms import algorithm
from topic_model.algorithms.fit import fit
from topic_model.bags import BagsInMemory
from topic_model.corpus import Vocabulary
from topic_model.errors import CorpusError
from topic_model.model import TopicModel
from topic_model.settings import TextSettings

COMPILED = ("lda", "lda-gibbs", "nmf")


def trained(name: str, source: BagsInMemory, checkpoints: Path | None = None, should_stop: Any = None, **settings: Any):
    """A model of a source by an algorithm."""
    return fit(
        source,
        Vocabulary.of([f"term{term}" for term in range(source.n_terms)]),
        TextSettings(),
        name,
        algorithm(name).settings_class(**{"seed": 3, "passes": 6, "threads": 1, **settings}),
        checkpoints=checkpoints,
        should_stop=should_stop or (lambda: False),
    )


def stop_at_question(number: int) -> Callable[[], bool]:
    asked = count(1)
    return lambda: next(asked) >= number


def bytes_of(model: TopicModel) -> bytes:
    return model.lambda_.tobytes() + model.alpha.tobytes()


@pytest.mark.parametrize("name", COMPILED)
def test_planted_topics_are_found(name: str) -> None:
    """Each topic that the corpus was drawn from is near one of the model's, and no two share one."""
    expected = planted_topics(4, 60)
    found = trained(name, planted_source(), num_topics=4).beta
    norms = np.linalg.norm(expected, axis=1)[:, None] * np.linalg.norm(found, axis=1)
    cosines = expected @ found.T / norms
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2, 3]
    assert cosines.max(axis=1).min() > 0.95


@pytest.mark.parametrize("name", COMPILED)
def test_one_seed_gives_one_model_with_any_number_of_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice alone, with three threads, and in chunks read one after the other: the same bytes; another seed differs."""
    monkeypatch.setattr(f"topic_model.algorithms.{name.replace('-', '_')}.CHUNK_SIZE", 64)
    source = planted_source()
    model = bytes_of(trained(name, source, num_topics=6))
    assert bytes_of(trained(name, source, num_topics=6)) == model
    assert bytes_of(trained(name, source, num_topics=6, threads=3)) == model
    assert bytes_of(trained(name, source, num_topics=6, seed=4)) != model


@pytest.mark.parametrize("name", COMPILED)
def test_a_training_stopped_anywhere_goes_on_to_the_same_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at its fourth question whether to stop, again and again, between passes and in the middle of them."""
    monkeypatch.setattr(f"topic_model.algorithms.{name.replace('-', '_')}.CHUNK_SIZE", 128)
    source = planted_source()
    whole = trained(name, source, num_topics=5)
    model, attempts = None, 0
    while model is None:
        attempts += 1
        model = trained(name, source, tmp_path, stop_at_question(5), num_topics=5)
    assert attempts > 2
    assert bytes_of(model) == bytes_of(whole)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize(
    ("counts", "num_topics"),
    [
        (np.ones((2, 1)), "auto"),
        (np.eye(5) + np.eye(5, k=1), 5),
        (np.ones((30, 8)), 8),
        (np.full((6, 4), 1e9), 3),
        (np.full((6, 4), 1e-6), 3),
        (np.where(np.arange(9) == 0, 1e12, np.random.default_rng(0).integers(0, 2, (400, 9))), 6),
        (np.concatenate((np.ones((20, 1)), np.random.default_rng(0).integers(0, 2, (20, 9))), axis=1), 6),
    ],
    ids=[
        "one term",
        "topics as many as campaigns",
        "equal campaigns",
        "counts of 1e9",
        "tiny weights",
        "a term in all with the largest counts",
        "a term in all",
    ],
)
def test_odd_corpora_train(name: str, counts: Any, num_topics: int | str) -> None:
    """A posterior all the same: finite, positive, of the right shape."""
    model = trained(name, source_of(counts), num_topics=num_topics)
    assert model.lambda_.shape[1] == counts.shape[1]
    assert np.isfinite(model.lambda_).all()
    assert (model.lambda_ > 0).all()
    assert np.allclose(model.beta.sum(axis=1), 1)
    assert np.allclose(model.infer_bow(np.array([0]), np.array([1])).sum(), 1)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize(
    ("counts", "num_topics", "said"),
    [
        (np.ones((1, 5)), "auto", "1 campaigns"),
        (np.ones((3, 9)), 4, "num_topics is 4, but the corpus has 3 training campaigns"),
        (np.ones((9, 3)), 4, "9 training campaigns and 3 terms; expected 2 to 3"),
    ],
)
def test_what_cannot_be_trained_is_refused(name: str, counts: Any, num_topics: int | str, said: str) -> None:
    """One campaign, more topics than campaigns, more topics than terms."""
    with pytest.raises(CorpusError, match=said):
        trained(name, source_of(counts), num_topics=num_topics)
