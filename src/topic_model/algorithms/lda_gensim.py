"""``lda-gensim``: Gensim's own variational Bayes in batch mode, for comparison and trust.

Each pass is Gensim's E-step over all campaigns and its M-step. The start is Gensim's random one, or the topics of a
non-negative matrix factorisation of TF-IDF, which on short text leads further in fewer passes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from topic_model.algorithms.base import (
    Algorithm,
    AlgorithmSettings,
    Posterior,
    Scratch,
    ShouldStop,
    State,
)
from topic_model.arrays import FloatArray
from topic_model.bags import BagSource
from topic_model.model import SMALLEST

if TYPE_CHECKING:
    from gensim.models import LdaModel


class GensimLdaSettings(AlgorithmSettings):
    """Hyperparameters under Gensim's names where Gensim has them."""

    passes: int = Field(5, ge=1, le=500, description="passes of batch variational Bayes over the corpus")
    chunksize: int = Field(2_000, ge=1, le=1_000_000, description="campaigns in memory as Gensim's lists at a time")
    alpha: float = Field(0.05, gt=0, le=100, description="prior of the topic mixtures, symmetric")
    eta: float = Field(0.05, gt=0, le=100, description="prior of the topics' terms, symmetric")
    iterations: int = Field(50, ge=1, le=10_000, description="E-step iterations a campaign at most")
    gamma_threshold: float = Field(0.001, gt=0, description="mean change of gamma that ends the E-step")
    start: Literal["nmf", "random"] = Field("nmf", description="TF-IDF NMF start, or Gensim's random one")
    start_sample: int = Field(4_000, ge=10, description="campaigns the NMF start sees at most")

    tuning_ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **AlgorithmSettings.tuning_ranges,
        "alpha": {"type": "continuous", "min": 0.005, "max": 0.5, "scale": "logarithmic"},
        "eta": {"type": "continuous", "min": 0.005, "max": 0.5, "scale": "logarithmic"},
    }


class GensimLda(Algorithm[GensimLdaSettings]):
    """The state is the topics' sufficient statistics: ``sstats`` of shape (K, n_terms)."""

    settings_class = GensimLdaSettings

    def num_passes(self, settings: GensimLdaSettings) -> int:
        """As set."""
        return settings.passes

    def start(self, source: BagSource, settings: GensimLdaSettings, num_topics: int) -> State:
        """Sufficient statistics to start from."""
        if settings.start == "nmf" and source.n_campaigns >= num_topics:
            return {"sstats": nmf_start(source, num_topics, settings.start_sample, settings.seed)}
        random = np.random.RandomState(settings.seed)
        return {"sstats": random.gamma(100.0, 0.01, (num_topics, source.n_terms))}

    def run_pass(
        self,
        source: BagSource,
        settings: GensimLdaSettings,
        state: State,
        number: int,
        should_stop: ShouldStop,
        scratch: Scratch,
    ) -> State | None:
        """One pass of batch variational Bayes."""
        model = _gensim_model(settings, state["sstats"])
        # Gensim draws gamma's start anew in each E-step; seeding by the pass makes a resumed run equal to a whole one.
        model.random_state = np.random.RandomState((settings.seed + number) % 2**32)
        sstats = np.zeros_like(model.state.sstats)
        for chunk in source.chunks(settings.chunksize):
            if should_stop():
                return None
            _, of_chunk = model.inference(list(chunk.bows()), collect_sstats=True)
            sstats += of_chunk
        return {"sstats": sstats}

    def posterior(self, settings: GensimLdaSettings, state: State) -> Posterior:
        """Gensim's lambda: the statistics and the prior."""
        sstats = state["sstats"]
        return Posterior(
            np.asarray(sstats + settings.eta, dtype=np.float64), np.full(len(sstats), settings.alpha), settings.eta
        )


def _gensim_model(settings: GensimLdaSettings, sstats: Any) -> LdaModel:
    """Gensim's model of some statistics; its exp(E[log beta]) is kept out of the subnormal range."""
    from gensim.models import LdaModel

    num_topics, n_terms = sstats.shape
    model = LdaModel(
        num_topics=num_topics,
        id2word={term: str(term) for term in range(n_terms)},
        alpha=[settings.alpha] * num_topics,
        eta=settings.eta,
        iterations=settings.iterations,
        gamma_threshold=settings.gamma_threshold,
        random_state=settings.seed,
        dtype=np.float64,
    )
    model.state.sstats = sstats
    model.sync_state()
    np.maximum(model.expElogbeta, SMALLEST, out=model.expElogbeta)
    return model


def nmf_start(source: BagSource, num_topics: int, sample: int, seed: int) -> FloatArray:
    """Topics of shape (K, n_terms) from an NMF of a sample's TF-IDF, scaled to the source's number of words."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    from topic_model.algorithms.nmf_start import idf_of, tf_idf_rows

    campaigns = source.sample(sample, seed)
    frequency = np.bincount(campaigns.indices, minlength=source.n_terms)
    weights = tf_idf_rows(campaigns, idf_of(frequency, len(campaigns))).matrix(source.n_terms)
    num_parts = min(num_topics, *weights.shape)
    factors = NMF(num_parts, init="nndsvda", max_iter=60, tol=1e-3, random_state=seed)
    # One thread: its products are too small to share, and its result must not depend on the number of cores.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A start need not have converged: the passes that follow go on from it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        factors.fit(weights)
    topics = np.zeros((num_topics, weights.shape[1]))
    topics[:num_parts] = factors.components_
    # A little of every term, so that no topic rules a term out and empty parts are not lost.
    topics += 1e-3 * np.maximum(topics.mean(axis=1, keepdims=True), 1e-12)
    shares = topics / topics.sum(axis=1, keepdims=True)
    return np.asarray(shares * (source.n_words / num_topics), dtype=np.float64)
