"""The loop around every algorithm: resumable to the bit, refused by name, stopped at once, reported."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.topic_model.algorithms.counting import PLACE, ShuffleSettings
from topic_model.algorithms import ALGORITHMS, DEFAULT_ALGORITHM, algorithm, checkpoint
from topic_model.algorithms import fit as fitting
from topic_model.algorithms.base import AlgorithmSettings, Posterior, resolve_num_topics
from topic_model.algorithms.checkpoint import CHECKPOINT_NAME
from topic_model.algorithms.fit import PassReport, fit, fit_corpus
from topic_model.corpus import Corpus
from topic_model.errors import CheckpointError, CorpusError, DamagedCheckpointError, SettingsError, TrainingError
from topic_model.model import TopicModel

SHUFFLE = ShuffleSettings(num_topics=4, threads=1)
SMALL = {
    "lda": {"num_topics": 4, "passes": 4},
    "nmf": {"num_topics": 4, "passes": 3},
    "lda-gensim": {"num_topics": 4, "passes": 4, "chunksize": 20},
    "lda-gibbs": {"num_topics": 4, "passes": 5},
    "lda-sklearn": {"num_topics": 4, "passes": 3, "batch_size": 20},
    "shuffle": {"num_topics": 4, "passes": 4, "chunk": 20, "threads": 1},
}
PLACES = {"lda-sklearn": "docs.examples.lda_sklearn:SklearnLda", "shuffle": PLACE}
NAMES = sorted({*ALGORITHMS, *PLACES})


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's algorithm and the documentation's by their names, and a checkpoint behind every pass."""
    for name, place in PLACES.items():
        monkeypatch.setitem(ALGORITHMS, name, place)
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 0)


def _settings(name: str, **changed: Any) -> AlgorithmSettings:
    found: AlgorithmSettings = algorithm(name).settings_class(**{**SMALL.get(name, {"num_topics": 4}), **changed})
    return found


def _fit(corpus: Corpus, name: str = "shuffle", settings: AlgorithmSettings = SHUFFLE, **options: Any) -> TopicModel:
    model = fit_corpus(corpus, name, settings, **options)
    assert model is not None
    return model


def _stop_at_call(number: int) -> Callable[[], bool]:
    calls: Iterator[int] = iter(range(1, 100_000))
    return lambda: next(calls) >= number


@pytest.mark.parametrize("name", NAMES)
def test_training_is_deterministic(name: str, corpus: Corpus) -> None:
    """Two runs of any algorithm end at the same bits."""
    settings = _settings(name)
    first, second = (_fit(corpus, name, settings) for _ in range(2))
    assert np.array_equal(first.lambda_, second.lambda_)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_is_another_model(name: str, corpus: Corpus) -> None:
    """The seed reaches the training of any algorithm."""
    start = {"start": "random"} if "start" in algorithm(name).settings_class.model_fields else {}
    models = [_fit(corpus, name, _settings(name, seed=seed, **start)) for seed in (1, 2)]
    assert not np.array_equal(models[0].lambda_, models[1].lambda_)


@pytest.mark.parametrize("name", NAMES)
def test_resuming_after_each_pass_gives_the_same_model(name: str, corpus: Corpus, tmp_path: Path) -> None:
    """Stopped behind any pass, a run of any algorithm goes on to the bits of an uninterrupted one."""
    settings = _settings(name)
    expected = _fit(corpus, name, settings)
    for stop_after in range(1, algorithm(name).num_passes(settings)):
        passes: list[int] = []
        folder = tmp_path / str(stop_after)
        stopped = fit_corpus(
            corpus,
            name,
            settings,
            checkpoints=folder,
            on_pass=lambda report, passes=passes: passes.append(report.number),
            should_stop=lambda passes=passes, n=stop_after: len(passes) >= n,
        )
        assert stopped is None
        assert passes == list(range(1, stop_after + 1))
        assert np.array_equal(_fit(corpus, name, settings, checkpoints=folder).lambda_, expected.lambda_)


@pytest.mark.parametrize("name", ["lda-gensim", "shuffle"])
@pytest.mark.parametrize("call", [1, 2, 4, 7, 11])
def test_stopping_in_a_pass_loses_that_pass_alone(name: str, call: int, corpus: Corpus, tmp_path: Path) -> None:
    """Stopped before any chunk, a run returns no model; the next one ends at the same bits."""
    settings = _settings(name)
    expected = _fit(corpus, name, settings)
    assert fit_corpus(corpus, name, settings, checkpoints=tmp_path, should_stop=_stop_at_call(call)) is None
    assert np.array_equal(_fit(corpus, name, settings, checkpoints=tmp_path).lambda_, expected.lambda_)


def test_passes_between_checkpoints_are_kept_on_a_stop(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints have a least distance in time, but a run that is asked to stop writes what it has."""
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 1_000)
    passes: list[int] = []
    stopped = fit_corpus(
        corpus,
        "shuffle",
        SHUFFLE,
        checkpoints=tmp_path,
        on_pass=lambda report: passes.append(report.number),
        should_stop=lambda: len(passes) >= 3,
    )
    assert stopped is None and passes == [1, 2, 3]
    again: list[int] = []
    model = _fit(corpus, checkpoints=tmp_path, on_pass=lambda report: again.append(report.number))
    assert again == [4]
    assert np.array_equal(model.lambda_, _fit(corpus).lambda_)


def test_a_kill_between_checkpoints_repeats_passes_only(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes without a checkpoint use scratch folders of their own: the checkpoint's stays whole."""
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 1_000)

    class Killed(BaseException):
        pass

    def kill_behind_the_third(report: PassReport) -> None:
        if report.number == 3:
            raise Killed

    with pytest.raises(Killed):
        fit_corpus(corpus, "shuffle", SHUFFLE, checkpoints=tmp_path, on_pass=kill_behind_the_third)
    again: list[int] = []
    model = _fit(corpus, checkpoints=tmp_path, on_pass=lambda report: again.append(report.number))
    assert again == [2, 3, 4]
    assert np.array_equal(model.lambda_, _fit(corpus).lambda_)


def test_a_finished_checkpoint_needs_no_pass_and_tells_the_last(corpus: Corpus, tmp_path: Path) -> None:
    """A run resumed behind its last pass reports that pass again, so that its metrics are in the log."""
    first: list[PassReport] = []
    again: list[PassReport] = []
    _fit(corpus, checkpoints=tmp_path, on_pass=first.append)
    _fit(corpus, checkpoints=tmp_path, on_pass=again.append)
    assert [report.number for report in first] == [1, 2, 3, 4]
    assert [(r.number, r.train_bound, r.held_out_bound) for r in again] == [
        (4, first[-1].train_bound, first[-1].held_out_bound)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithms_reports_are_bounds(name: str, corpus: Corpus) -> None:
    """Bounds a word are finite and negative, and the last pass has both."""
    reports: list[PassReport] = []
    _fit(corpus, name, _settings(name), on_pass=reports.append)
    assert reports[-1].train_bound is not None and reports[-1].held_out_bound is not None
    bounds = [bound for r in reports for bound in (r.train_bound, r.held_out_bound) if bound is not None]
    assert all(-20 < bound < 0 for bound in bounds)
    assert all(report.seconds >= 0 for report in reports)


def test_a_long_training_measures_some_passes(corpus: Corpus) -> None:
    """All passes are told; of 60, every third is measured, and the first and the last."""
    reports: list[PassReport] = []
    _fit(corpus, "shuffle", _settings("shuffle", passes=61), on_pass=reports.append)
    assert [report.number for report in reports] == list(range(1, 62))
    measured = [report.number for report in reports if report.train_bound is not None]
    assert measured == [1, *range(3, 61, 3), 61]


def test_without_held_out_campaigns_there_is_no_held_out_bound(corpus_of: Callable[..., Corpus]) -> None:
    """Absence is not a number."""
    reports: list[PassReport] = []
    corpus = corpus_of({"a": 1, "b": 2}, {"b": 1, "c": 1}, {"a": 1, "c": 3})
    _fit(corpus, "shuffle", _settings("shuffle", num_topics=2), on_pass=reports.append)
    assert reports[0].held_out_bound is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"flavour": "salty"}, r"other settings \(flavour sweet, expected salty\); use another"),
        ({"passes": 9, "seed": 1}, r"other settings \(passes 4, expected 9; seed 20260601, expected 1\)"),
        ({"threads": 2}, r"other settings \(threads 1, expected 2\)"),
    ],
)
def test_a_checkpoint_of_other_settings_says_which(
    change: dict[str, Any], told: str, corpus: Corpus, tmp_path: Path
) -> None:
    """Resuming it would train a model that nobody asked for."""
    _fit(corpus, checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match=told):
        fit_corpus(corpus, "shuffle", SHUFFLE.model_copy(update=change), checkpoints=tmp_path)


def test_a_checkpoint_of_another_corpus_says_so(
    corpus: Corpus, corpus_of: Callable[..., Corpus], tmp_path: Path
) -> None:
    """The message has both corpora's hashes and nothing of the settings."""
    _fit(corpus, checkpoints=tmp_path)
    other = corpus_of(*({f"t{number}": 1, f"t{number + 1}": 1} for number in range(9)))
    with pytest.raises(CheckpointError) as caught:
        fit_corpus(other, "shuffle", SHUFFLE, checkpoints=tmp_path)
    message = str(caught.value)
    assert f"another corpus ({corpus.content_hash[:12]}, expected {other.content_hash[:12]})" in message
    assert "settings" not in message and "algorithm" not in message


def test_a_checkpoint_of_another_algorithm_and_corpus_says_both(
    corpus: Corpus, corpus_of: Callable[..., Corpus], tmp_path: Path
) -> None:
    """All that differs is told at once."""
    _fit(corpus, checkpoints=tmp_path)
    other = corpus_of(*({f"t{number}": 1, f"t{number + 1}": 1} for number in range(9)))
    told = r"another algorithm \('shuffle', expected 'lda-gensim'\) and another corpus"
    with pytest.raises(CheckpointError, match=told):
        fit_corpus(other, "lda-gensim", _settings("lda-gensim"), checkpoints=tmp_path)


def test_threads_that_change_nothing_do_not_refuse_a_checkpoint(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An algorithm may promise one result for any number of threads; then a smaller machine resumes its training."""
    monkeypatch.setattr("tests.topic_model.algorithms.counting.Shuffle.depends_on_threads", False)
    whole = _fit(corpus, checkpoints=tmp_path)
    again = _fit(corpus, settings=SHUFFLE.model_copy(update={"threads": 2}), checkpoints=tmp_path)
    assert np.array_equal(whole.lambda_, again.lambda_)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_checkpoint_is_refused(damage: str, corpus: Corpus, tmp_path: Path) -> None:
    """Cut, changed, emptied or replaced: an error that says what to delete."""
    _fit(corpus, checkpoints=tmp_path)
    path = tmp_path / CHECKPOINT_NAME
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"cut": content[: len(content) // 2], "flip": content, "empty": b"", "text": b"hello"}[damage]
    path.write_bytes(damaged)
    with pytest.raises(DamagedCheckpointError, match="delete the checkpoint folder"):
        _fit(corpus, checkpoints=tmp_path)


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damaged_scratch_is_refused(damage: str, corpus: Corpus, tmp_path: Path) -> None:
    """A checkpoint whose words' topics are not all there would end in another model."""
    passes: list[int] = []
    options: dict[str, Any] = {"checkpoints": tmp_path, "on_pass": lambda report: passes.append(report.number)}
    assert fit_corpus(corpus, "shuffle", SHUFFLE, should_stop=lambda: len(passes) >= 2, **options) is None
    path = next(tmp_path.rglob("1.npy"))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DamagedCheckpointError, match="scratch files"):
        _fit(corpus, checkpoints=tmp_path)


def test_a_checkpoint_of_another_format_is_no_damage(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another release is refused as such, not as a damaged file, which the container would train over."""
    with monkeypatch.context() as release:
        release.setattr(checkpoint, "FORMAT_VERSION", 1)
        _fit(corpus, checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match="has the format version 1; expected 2") as refused:
        fit_corpus(corpus, "shuffle", SHUFFLE, checkpoints=tmp_path)
    assert not isinstance(refused.value, DamagedCheckpointError)


def test_a_file_for_a_checkpoint_folder_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    """The message names it, and the file stays."""
    (tmp_path / "taken").write_text("mine")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(CheckpointError, match=f"the checkpoint folder {folder} cannot be made"):
            fit_corpus(corpus, "shuffle", SHUFFLE, checkpoints=folder)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_finished_training_leaves_the_checkpoint_alone(corpus: Corpus, tmp_path: Path) -> None:
    """No temporary file and no scratch folder stays in the checkpoint folder."""
    _fit(corpus, checkpoints=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]


def test_settings_of_another_algorithm_are_refused(corpus: Corpus) -> None:
    """The message names the settings class that is expected."""
    with pytest.raises(SettingsError, match="'lda-gensim' takes GensimLdaSettings, got ShuffleSettings"):
        fit_corpus(corpus, "lda-gensim", SHUFFLE)


def test_a_vocabulary_of_another_corpus_is_refused(corpus: Corpus, corpus_of: Callable[..., Corpus]) -> None:
    """Bags and vocabulary that do not belong together make no model."""
    other = corpus_of({"a": 1, "b": 1}, {"b": 1})
    with pytest.raises(CorpusError, match=r"bags are of \d+ terms and the vocabulary has 2"):
        fit(corpus.training_bags, other.vocabulary, corpus.text_settings, "shuffle", SHUFFLE)


@pytest.mark.parametrize("name", NAMES)
def test_more_topics_than_campaigns_or_terms_names_both(name: str, corpus_of: Callable[..., Corpus]) -> None:
    """The message has the topics asked for, the campaigns and the terms there are, for any algorithm."""
    corpus = corpus_of({"a": 1}, {"a": 1, "b": 1}, {"b": 1}, {"b": 1, "a": 2})
    told = r"num_topics is {}, but the corpus has 4 training campaigns and 2 terms; expected 2 to 2, or 'auto'"
    for number in (3, 50, 1):
        with pytest.raises(CorpusError, match=told.format(number)):
            fit_corpus(corpus, name, _settings(name, num_topics=number))


@pytest.mark.parametrize(
    ("posterior", "told"),
    [
        (Posterior(np.full((4, 3), 1.0), np.ones(4), 0.1), r"of the shapes \(\(4, 3\), \(4,\)\); expected \(4, "),
        (None, r"shuffle ended in 1 parameters of \d+ that are not finite and above 0"),
    ],
)
def test_what_is_no_posterior_is_refused(
    posterior: Posterior | None, told: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An algorithm's NaN or a wrong shape stops there, and not in somebody's fingerprint."""
    if posterior is None:
        posterior = Posterior(np.ones((4, len(corpus.vocabulary))), np.ones(4), 0.1)
        posterior.lambda_[2, 3] = np.nan
    monkeypatch.setattr("tests.topic_model.algorithms.counting.Shuffle.posterior", lambda *_: posterior)
    with pytest.raises(TrainingError, match=told):
        fit_corpus(corpus, "shuffle", SHUFFLE)


@pytest.mark.parametrize(
    ("campaigns", "terms", "expected"),
    [(2, 9, 2), (3, 9, 2), (4, 9, 3), (25, 99, 10), (25, 7, 7), (400, 99, 40), (2_500, 999, 100), (10**6, 10**5, 100)],
)
def test_auto_is_twice_the_root_within_bounds(campaigns: int, terms: int, expected: int) -> None:
    """2 sqrt(n), at least 2, fewer than the campaigns, no more than the terms, at most 100."""
    assert resolve_num_topics(AlgorithmSettings(num_topics="auto"), campaigns, terms) == expected


@pytest.mark.parametrize("campaigns", [0, 1])
def test_fewer_than_two_campaigns_are_refused(campaigns: int) -> None:
    """One campaign has no topics."""
    with pytest.raises(CorpusError, match=f"has {campaigns} campaigns with terms to train on; expected at least 2"):
        resolve_num_topics(AlgorithmSettings(), campaigns, 10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "bags",
    [
        [{"a": 1}] * 3,
        [{"a": 1, "b": 1}] * 30,
        [{"a": 1}, {"b": 1}],
        [{f"t{number}": 1} for number in range(12)],
        [{"a": 10**9, "b": 1}, {"a": 1, "c": 10**9}, {"b": 3, "c": 1}],
        [{"all": 5, f"t{number % 4}": 1} for number in range(20)],
    ],
    ids=["one term", "all the same", "two campaigns", "nothing in common", "huge counts", "a term in all"],
)
def test_degenerate_corpora_train(name: str, bags: list[dict[str, int]], corpus_of: Callable[..., Corpus]) -> None:
    """Odd corpora give any algorithm a model of finite parameters and fingerprints, not an exception or NaN."""
    corpus = corpus_of(*bags, max_df=1)
    reports: list[PassReport] = []
    model = _fit(corpus, name, algorithm(name).settings_class(), on_pass=reports.append)
    assert np.isfinite(model.lambda_).all() and (model.lambda_ > 0).all()
    assert model.infer(bags[0]).sum() == pytest.approx(1)
    assert reports[-1].train_bound is not None and np.isfinite(reports[-1].train_bound)


def test_the_default_algorithm_is_registered() -> None:
    """Hyperparameters that name none train it."""
    assert DEFAULT_ALGORITHM in ALGORITHMS


def test_kills_at_any_moment_cost_time_alone(corpus: Corpus, tmp_path: Path) -> None:
    """Real SIGKILLs: in passes, in checkpoints, in between; what is resumed ends in an undisturbed run's bits."""
    settings = _settings("shuffle", passes=30)
    delay = random.Random(3)  # noqa: S311 - moments, not secrets
    killed = 0
    for _ in range(20):
        child = os.fork()
        if not child:
            fit_corpus(corpus, "shuffle", settings, checkpoints=tmp_path)
            os._exit(0)
        time.sleep(delay.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
    model = _fit(corpus, settings=settings, checkpoints=tmp_path)
    assert killed
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]
    assert np.array_equal(model.lambda_, _fit(corpus, settings=settings).lambda_)
