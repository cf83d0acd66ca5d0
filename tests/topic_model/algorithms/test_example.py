"""The worked example of docs/algorithms.md: what the page shows, trained with as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import LatentDirichletAllocation

from tests.containers.conftest import Job
from topic_model.algorithms import ALGORITHMS
from topic_model.algorithms.fit import fit_corpus
from topic_model.artifact import read_artifact, read_model
from topic_model.corpus import Corpus

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "algorithms.md").read_text()
EXAMPLE = (ROOT / "docs" / "examples" / "lda_sklearn.py").read_text()
HYPERPARAMETERS = {"algorithm": "lda-sklearn", "num_topics": "5", "passes": "3", "batch_size": "30"}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's own line of the registry."""
    name, place = re.findall(r'^ALGORITHMS\["(.*?)"\] = "(.*?)"$', PAGE, re.MULTILINE)[0]
    monkeypatch.setitem(ALGORITHMS, name, place)


def test_the_page_shows_the_example() -> None:
    """The code on the page is the file that the other tests run."""
    assert f"```python\n{EXAMPLE}```\n" in PAGE


def test_the_page_names_every_algorithm() -> None:
    """The table of which one when has a row for each that is shipped."""
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert set(ALGORITHMS) - {"lda-sklearn"} <= rows


def test_the_example_is_scikit_learns(corpus: Corpus) -> None:
    """One pass ends in the components of scikit-learn's own partial_fit from the same start and draws."""
    from docs.examples.lda_sklearn import SklearnLda, SklearnLdaSettings

    settings = SklearnLdaSettings(num_topics=5, passes=1, batch_size=20)
    model = fit_corpus(corpus, "lda-sklearn", settings)
    start = SklearnLda().start(corpus.training_bags, settings, 5)
    peer = LatentDirichletAllocation(
        5,
        doc_topic_prior=settings.alpha,
        topic_word_prior=settings.eta,
        batch_size=20,
        total_samples=len(corpus.training_rows),
        random_state=1,
    )
    matrix = corpus.matrix(corpus.training_rows)
    peer.partial_fit(matrix[:1])  # sets it up; what it learnt is replaced by the start
    peer.components_ = start["components"].copy()
    peer.exp_dirichlet_component_ = np.exp(_expected_log(peer.components_))
    peer.n_batch_iter_, peer.random_state_ = 1, np.random.RandomState(settings.seed + 1)
    peer.partial_fit(matrix)
    assert model is not None
    assert model.lambda_ == pytest.approx(peer.components_, rel=1e-9)


def test_the_example_trains_in_the_container(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From hyperparameters and a corpus folder to an artifact that is read as any other."""
    corpus.write(tmp_path / "corpus")
    job = Job(tmp_path / "ml").channel(tmp_path / "corpus", HYPERPARAMETERS)
    assert job.call(monkeypatch, "train") == 0
    assert re.findall(r"^pass=(\d)", capsys.readouterr().out, re.MULTILINE) == ["1", "2", "3"]
    artifact = read_artifact(job.base / "model")
    assert artifact.manifest["algorithm"] == "lda-sklearn"
    assert artifact.manifest["settings"]["batch_size"] == 30
    model = read_model(artifact)
    assert model.infer({model.vocabulary.terms[0]: 2}).sum() == pytest.approx(1)


def _expected_log(components: np.ndarray) -> np.ndarray:
    from scipy.special import psi

    return np.asarray(psi(components) - psi(components.sum(axis=1, keepdims=True)))
