"""Training: Gensim's batch update, resumable to the bit, and refused where it cannot be right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim.models import LdaModel

from topic_model.corpus import Corpus
from topic_model.errors import CheckpointError, CorpusError
from topic_model.lda import CHECKPOINT_NAME, PassReport, fit_lda, resolve_num_topics, training_identity
from topic_model.model import TopicModel
from topic_model.settings import LdaSettings

SETTINGS = LdaSettings(num_topics=4, passes=4, chunksize=20)


def _fit(corpus: Corpus, settings: LdaSettings = SETTINGS, **options: Any) -> TopicModel:
    model = fit_lda(corpus, settings, **options)
    assert model is not None
    return model


def _stop_at_call(number: int) -> Callable[[], bool]:
    calls: Iterator[int] = iter(range(1, 10_000))
    return lambda: next(calls) >= number


@pytest.fixture(scope="module")
def whole(corpus: Corpus) -> TopicModel:
    """The model of an uninterrupted run."""
    return _fit(corpus)


def test_a_pass_is_gensims_batch_update(corpus: Corpus) -> None:
    """From one start, our second pass and Gensim's own E-step and M-step end at the same lambda."""
    one = LdaSettings(num_topics=4, passes=1, chunksize=1_000)
    two = one.model_copy(update={"passes": 2})
    start = _fit(corpus, one)
    gensim = LdaModel(
        id2word=dict(enumerate(corpus.vocabulary.terms)),
        num_topics=4,
        alpha=[one.alpha] * 4,
        eta=one.eta,
        dtype=np.float64,
        iterations=one.iterations,
        gamma_threshold=one.gamma_threshold,
    )
    gensim.state.sstats = start.lambda_ - one.eta
    gensim.sync_state()
    # The second pass's draws of gamma: with more themes than topics an E-step ends where its start leads.
    gensim.random_state = np.random.RandomState(one.seed + 2)
    bows = list(corpus.bows(corpus.training_rows))
    gensim.state.numdocs = len(bows)
    # Gensim's batch mode: one E-step over everything, blended into the old state with weight 1, then the M-step.
    state = type(gensim.state)(gensim.eta, gensim.state.sstats.shape, dtype=np.float64)
    gensim.do_estep(bows, state)
    gensim.do_mstep(1.0, state)
    assert _fit(corpus, two).lambda_ == pytest.approx(gensim.state.get_lambda(), rel=1e-9)


@pytest.mark.parametrize("chunksize", [1, 7, 1_000])
def test_every_word_of_every_chunk_counts_once(chunksize: int, corpus: Corpus) -> None:
    """What a pass adds to the prior is, term by term, the words of all training campaigns."""
    settings = LdaSettings(num_topics=4, passes=2, chunksize=chunksize)
    added = (_fit(corpus, settings).lambda_ - settings.eta).sum(axis=0)
    assert added == pytest.approx(np.asarray(corpus.matrix(corpus.training_rows).sum(axis=0)).ravel())


def test_training_is_deterministic(corpus: Corpus, whole: TopicModel) -> None:
    """Two runs end at the same bits."""
    assert np.array_equal(_fit(corpus).lambda_, whole.lambda_)


@pytest.mark.parametrize("start", ["nmf", "random"])
def test_another_seed_is_another_model(start: str, corpus: Corpus) -> None:
    """The seed reaches the training."""
    models = [_fit(corpus, LdaSettings(num_topics=4, passes=1, start=start, seed=seed)) for seed in (1, 2)]
    assert not np.array_equal(models[0].lambda_, models[1].lambda_)


@pytest.mark.parametrize("start", ["nmf", "random"])
def test_resuming_after_each_pass_gives_the_same_model(start: str, corpus: Corpus, tmp_path: Path) -> None:
    """Stopped behind pass 1, 2, 3 and the last, a run goes on to the bits of an uninterrupted one."""
    settings = SETTINGS.model_copy(update={"start": start})
    expected = _fit(corpus, settings)
    for stop_after in range(1, 5):
        passes: list[int] = []
        folder = tmp_path / str(stop_after)
        fit_lda(
            corpus,
            settings,
            checkpoints=folder,
            on_pass=lambda report, passes=passes: passes.append(report.number),
            should_stop=lambda passes=passes, n=stop_after: len(passes) >= n,
        )
        assert passes == list(range(1, stop_after + 1))
        assert np.array_equal(_fit(corpus, settings, checkpoints=folder).lambda_, expected.lambda_)


@pytest.mark.parametrize("call", [1, 2, 4, 7, 11])
def test_stopping_in_a_pass_loses_that_pass_alone(call: int, corpus: Corpus, whole: TopicModel, tmp_path: Path) -> None:
    """Stopped before any chunk, a run returns no model; the next one ends at the same bits."""
    assert fit_lda(corpus, SETTINGS, checkpoints=tmp_path, should_stop=_stop_at_call(call)) is None
    assert np.array_equal(_fit(corpus, checkpoints=tmp_path).lambda_, whole.lambda_)


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


def test_reports_are_finite_and_training_improves(corpus: Corpus) -> None:
    """Bounds a word are finite and negative, and the last held-out bound beats the first from a random start."""
    reports: list[PassReport] = []
    _fit(corpus, LdaSettings(num_topics=5, passes=8, start="random"), on_pass=reports.append)
    held_out = [report.held_out_bound for report in reports]
    assert all(bound is not None and -20 < bound < 0 for bound in held_out)
    assert all(np.isfinite(report.train_bound) and report.seconds >= 0 for report in reports)
    assert held_out[-1] > held_out[0]  # type: ignore[operator]


def test_the_bound_is_gensims(corpus: Corpus) -> None:
    """The campaigns' part of Gensim's own bound, a word: the same figure by Gensim's formula."""
    reports: list[PassReport] = []
    settings = LdaSettings(num_topics=4, passes=1, iterations=2_000, gamma_threshold=1e-8)
    model = _fit(corpus, settings, on_pass=reports.append)
    gensim = model.to_gensim()
    gensim.iterations, gensim.gamma_threshold = 2_000, 1e-8
    bows = list(corpus.bows(corpus.held_out_rows))
    words = sum(count for bow in bows for _, count in bow)
    # Gensim adds the topics' part, which the bound of no campaign leaves alone.
    expected = (gensim.bound(bows) - gensim.bound([])) / words
    assert reports[-1].held_out_bound == pytest.approx(expected, abs=2e-3)


def test_without_held_out_campaigns_there_is_no_held_out_bound(corpus_of: Callable[..., Corpus]) -> None:
    """Absence is not a number."""
    reports: list[PassReport] = []
    corpus = corpus_of({"a": 1, "b": 2}, {"b": 1, "c": 1}, {"a": 1, "c": 3})
    _fit(corpus, LdaSettings(num_topics=2, passes=1), on_pass=reports.append)
    assert reports[0].held_out_bound is None


def test_a_checkpoint_of_other_settings_or_corpus_is_refused(
    corpus: Corpus, corpus_of: Callable[..., Corpus], tmp_path: Path
) -> None:
    """Resuming it would train a model that nobody asked for."""
    _fit(corpus, checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match="another corpus or other hyperparameters"):
        fit_lda(corpus, SETTINGS.model_copy(update={"alpha": 0.3}), checkpoints=tmp_path)
    other = corpus_of(*({f"t{number}": 1, f"t{number + 1}": 1} for number in range(9)))
    with pytest.raises(CheckpointError, match="another corpus or other hyperparameters"):
        fit_lda(other, SETTINGS, checkpoints=tmp_path)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_checkpoint_is_refused(damage: str, corpus: Corpus, tmp_path: Path) -> None:
    """Cut, changed, emptied or replaced: an error that says what to delete."""
    _fit(corpus, checkpoints=tmp_path)
    path = tmp_path / CHECKPOINT_NAME
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"cut": content[: len(content) // 2], "flip": content, "empty": b"", "text": b"hello"}[damage]
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="delete the checkpoint folder"):
        fit_lda(corpus, SETTINGS, checkpoints=tmp_path)


def test_only_a_whole_checkpoint_is_left(corpus: Corpus, tmp_path: Path) -> None:
    """No temporary file stays beside the checkpoint."""
    _fit(corpus, checkpoints=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]


def test_more_topics_than_campaigns_names_both(corpus_of: Callable[..., Corpus]) -> None:
    """The message has the topics asked for and the campaigns there are."""
    corpus = corpus_of({"a": 1}, {"a": 1, "b": 1}, {"b": 1})
    with pytest.raises(CorpusError, match="num_topics is 50, but the corpus has 3 training campaigns"):
        fit_lda(corpus, LdaSettings(num_topics=50))


def test_one_topic_is_refused(corpus: Corpus) -> None:
    """With one topic every campaign has the same fingerprint."""
    with pytest.raises(CorpusError, match="num_topics is 1"):
        fit_lda(corpus, LdaSettings(num_topics=1))


@pytest.mark.parametrize(
    ("campaigns", "expected"), [(2, 2), (3, 2), (4, 3), (25, 10), (400, 40), (2_500, 100), (100_000, 100)]
)
def test_auto_is_twice_the_root_within_bounds(campaigns: int, expected: int) -> None:
    """2 sqrt(n), at least 2, fewer than the campaigns, at most 100."""
    assert resolve_num_topics(LdaSettings(num_topics="auto"), campaigns) == expected


@pytest.mark.parametrize("start", ["nmf", "random"])
@pytest.mark.parametrize(
    "bags",
    [
        [{"a": 1}] * 3,
        [{"a": 1, "b": 1}] * 30,
        [{"a": 1}, {"b": 1}],
        [{f"t{number}": 1} for number in range(12)],
    ],
    ids=["one term", "all the same", "two campaigns", "nothing in common"],
)
def test_degenerate_corpora_train(start: str, bags: list[dict[str, int]], corpus_of: Callable[..., Corpus]) -> None:
    """Odd corpora give a model of finite parameters and fingerprints, not an exception or NaN."""
    corpus = corpus_of(*bags, max_df=1)
    model = _fit(corpus, LdaSettings(passes=2, start=start))
    assert np.isfinite(model.lambda_).all() and (model.lambda_ > 0).all()
    assert model.infer(bags[0]).sum() == pytest.approx(1)


def test_a_small_sample_for_the_start_is_enough(corpus: Corpus) -> None:
    """More topics than campaigns in the NMF start's sample still train."""
    model = _fit(corpus, LdaSettings(num_topics=30, passes=1, start_sample=10))
    assert model.num_topics == 30 and np.isfinite(model.lambda_).all()


def test_an_identity_is_that_of_corpus_and_settings(corpus: Corpus) -> None:
    """Equal settings, equal identity; any other seed, another one."""
    assert training_identity(corpus, SETTINGS) == training_identity(corpus, SETTINGS.model_copy())
    assert training_identity(corpus, SETTINGS) != training_identity(corpus, SETTINGS.model_copy(update={"seed": 1}))
