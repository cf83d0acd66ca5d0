"""Training on corpora that are odd or make no sense: the right model, or a message that says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest

from tests.containers.conftest import Job
from topic_model.algorithms import ALGORITHMS
from topic_model.arrays import sha256_of, write_json
from topic_model.artifact import read_artifact, read_model
from topic_model.bags import pointers
from topic_model.corpus import Corpus, Vocabulary
from topic_model.settings import CorpusSettings, TextSettings
from topic_model.shards import Manifest, ShardBags


def _write(folder: Path, bags: Sequence[dict[int, int]], n_terms: int) -> Path:
    """A corpus folder of bags given as term id to count, none held out."""
    vocabulary = Vocabulary.of([f"term{number}" for number in range(n_terms)])
    lengths: npt.NDArray[np.int64] = np.array([len(bag) for bag in bags], dtype=np.int64)
    corpus = Corpus(
        vocabulary,
        pointers(lengths),
        np.array([term for bag in bags for term in bag], dtype=np.int64),
        np.array([count for bag in bags for count in bag.values()], dtype=np.int64),
        tuple(f"c{number}" for number in range(len(bags))),
        np.zeros(len(bags), dtype=bool),
        TextSettings(),
        CorpusSettings(),
    )
    corpus.write(folder)
    return folder


TRAINABLE: dict[str, tuple[list[dict[int, int]], int]] = {
    "one term": ([{0: 1}, {0: 2}, {0: 1}], 1),
    "a term in all": ([{0: 3, number % 5 + 1: 1} for number in range(20)], 6),
    "counts of a thousand million": ([{0: 10**9, 1: 1}, {1: 10**9, 2: 10**9}, {0: 1, 2: 5}], 3),
    "empty campaigns among others": ([{0: 1, 1: 1}, {}, {1: 1, 2: 1}, {}, {0: 1, 2: 2}], 3),
    "a term that nobody has": ([{0: 1, 1: 1}, {1: 1}, {0: 1}], 4),
}


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("corpus", TRAINABLE)
def test_odd_corpora_train(corpus: str, name: str, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any algorithm leaves a whole artifact of finite parameters."""
    bags, n_terms = TRAINABLE[corpus]
    job.channel(_write(tmp_path / "corpus", bags, n_terms), {"algorithm": name})
    assert job.call(monkeypatch, "train") == 0
    model = read_model(read_artifact(job.base / "model"))
    assert np.isfinite(model.lambda_).all() and (model.lambda_ > 0).all()
    assert model.infer({"term0": 1}).sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    ("bags", "n_terms", "num_topics", "told"),
    [
        ([], 2, "auto", "has 0 campaigns with terms to train on; expected at least 2"),
        ([{0: 1, 1: 2}], 2, "auto", "has 1 campaigns with terms to train on; expected at least 2"),
        ([{}, {0: 1}, {}], 2, "auto", "has 1 campaigns with terms to train on"),
        ([{0: 1}, {1: 1}, {2: 1}], 9, "5", "num_topics is 5, but the corpus has 3 training campaigns and 9 terms"),
        ([{0: 1, 1: 1}] * 9, 2, "5", "num_topics is 5, but the corpus has 9 training campaigns and 2 terms"),
        ([{0: 1}] * 9, 1, "2", "num_topics is 2, but the corpus has 9 training campaigns and 1 terms; expected 'auto'"),
        ([{0: 1}, {1: 1}, {2: 1}], 9, "1", "num_topics is 1"),
    ],
)
def test_too_little_to_train_on_is_told(
    bags: list[dict[int, int]],
    n_terms: int,
    num_topics: str,
    told: str,
    name: str,
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same message for any algorithm, and no model."""
    corpus = _write(tmp_path / "corpus", bags, n_terms)
    job.channel(corpus, {"algorithm": name, "num_topics": num_topics})
    assert job.call(monkeypatch, "train") == 1
    assert told in job.failure
    assert not (job.base / "model").exists()


@pytest.mark.parametrize(
    ("bag", "told"),
    [
        ({0: 0, 1: 1}, "campaign 1 has the count 0 of the term id 0; expected a number above 0 and at most"),
        ({0: 1, 1: -4}, "campaign 1 has the count -4 of the term id 1"),
        ({1: 1, 7: 1}, "campaign 1 has the term id 7, but the vocabulary has 3 terms; expected 0 to 2"),
        ({-1: 1, 1: 1}, "campaign 1 has the term id -1"),
        ({2: 1, 0: 1}, "campaign 1 has the term id 0 behind 2; expected ids ascending"),
    ],
)
def test_bags_that_make_no_sense_are_told(
    bag: dict[int, int], told: str, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A corpus folder whose hashes fit, of another program's making: the campaign and the value are named."""
    with monkeypatch.context() as unchecked:
        unchecked.setattr(ShardBags, "check", lambda *_: None)
        corpus = _write(tmp_path / "corpus", [{0: 1, 1: 1}, bag, {1: 1, 2: 1}], 3)
    assert job.channel(corpus, {}).call(monkeypatch, "train") == 1
    assert told in job.failure
    assert not (job.base / "model").exists()


@pytest.mark.parametrize("weight", [float("nan"), 0.5, float("inf")])
def test_weights_that_are_no_counts_are_told(
    weight: float, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN, infinity and fractions cannot be counts: the type is named, since counts are whole numbers."""
    corpus = _write(tmp_path / "corpus", [{0: 1, 1: 1}, {1: 1}, {1: 1, 2: 1}], 3)
    path = corpus / "shard-00000.npz"
    with np.load(path, allow_pickle=False) as shard:
        arrays: dict[str, Any] = dict(shard)
    arrays["counts"] = np.array([1, 1, weight, 1, 1], dtype=np.float32)
    np.savez(path, **arrays)
    document = orjson.loads((corpus / "manifest.json").read_bytes())
    document["shards"][0] |= {"sha256": sha256_of(path), "n_bytes": path.stat().st_size}
    document["manifest_hash"] = Manifest.model_validate(document).own_hash
    write_json(corpus / "manifest.json", document)
    assert job.channel(corpus, {}).call(monkeypatch, "train") == 1
    assert "counts is float32 of shape (5,), expected int32" in job.failure
