"""``lda-gensim``: Gensim's batch update, by Gensim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gensim.models import LdaModel

from tests.topic_model.algorithms.planted import source_of
from topic_model.algorithms.fit import PassReport, fit, fit_corpus
from topic_model.algorithms.lda_gensim import GensimLdaSettings
from topic_model.corpus import Corpus, Vocabulary
from topic_model.model import TopicModel
from topic_model.settings import TextSettings


def _fit(corpus: Corpus, settings: GensimLdaSettings, **options: Any) -> TopicModel:
    model = fit_corpus(corpus, "lda-gensim", settings, **options)
    assert model is not None
    return model


@pytest.mark.parametrize("start", ["nmf", "random"])
def test_a_pass_is_gensims_batch_update(start: str, corpus: Corpus) -> None:
    """From one start, our second pass and Gensim's own E-step and M-step end at the same lambda."""
    one = GensimLdaSettings(num_topics=4, passes=1, chunksize=1_000, start=start)
    two = one.model_copy(update={"passes": 2})
    first = _fit(corpus, one)
    gensim = LdaModel(
        id2word=dict(enumerate(corpus.vocabulary.terms)),
        num_topics=4,
        alpha=[one.alpha] * 4,
        eta=one.eta,
        dtype=np.float64,
        iterations=one.iterations,
        gamma_threshold=one.gamma_threshold,
    )
    gensim.state.sstats = first.lambda_ - one.eta
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
    settings = GensimLdaSettings(num_topics=4, passes=2, chunksize=chunksize)
    added = (_fit(corpus, settings).lambda_ - settings.eta).sum(axis=0)
    assert added == pytest.approx(np.asarray(corpus.matrix(corpus.training_rows).sum(axis=0)).ravel())


def test_weights_below_one_have_a_start_too() -> None:
    """A logarithm of them would be negative, and a factorisation of that is none."""
    source = source_of(np.random.default_rng(0).integers(0, 3, (30, 8)) * 1e-3)
    vocabulary = Vocabulary.of([f"term{term}" for term in range(8)])
    model = fit(source, vocabulary, TextSettings(), "lda-gensim", GensimLdaSettings(num_topics=3, passes=1))
    assert model is not None and np.isfinite(model.lambda_).all()


def test_passes_improve_a_random_start(corpus: Corpus) -> None:
    """The last held-out bound beats the first."""
    reports: list[PassReport] = []
    _fit(corpus, GensimLdaSettings(num_topics=5, passes=8, start="random"), on_pass=reports.append)
    first, last = reports[0].held_out_bound, reports[-1].held_out_bound
    assert first is not None and last is not None and last > first


def test_a_small_sample_for_the_start_is_enough(corpus: Corpus) -> None:
    """More topics than campaigns in the NMF start's sample still train."""
    model = _fit(corpus, GensimLdaSettings(num_topics=30, passes=1, start_sample=10))
    assert model.num_topics == 30 and np.isfinite(model.lambda_).all()
