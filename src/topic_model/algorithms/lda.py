"""``lda``, the default: variational Bayes from an NMF start, compiled, in threads, in memory that stays flat.

Each pass is the E-step of all campaigns under the topics of the pass before, then the M-step: Gensim's batch mode, with
every campaign starting from equal shares, so that a pass depends on the topics alone. Nothing is kept of a campaign
between passes; a corpus larger than memory is read once a pass. Why this and not sampling, and what it was measured
against, stands in docs/decisions/0010-engine.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from topic_model.algorithms.base import Algorithm, Posterior, Scratch, ShouldStop, State, ThreadedSettings
from topic_model.bags import BagSource

CHUNK_SIZE = 8_192
"""Campaigns in memory at a time."""


class LdaSettings(ThreadedSettings):
    """Hyperparameters of the topic model, under Gensim's names where Gensim has them."""

    passes: int = Field(6, ge=1, le=500, description="passes of batch variational Bayes over the corpus")
    alpha: float = Field(0.05, ge=1e-4, le=100, description="prior of the topic mixtures, symmetric")
    eta: float = Field(0.05, ge=1e-4, le=100, description="prior of the topics' terms, symmetric")
    iterations: int = Field(3, ge=1, le=10_000, description="E-step iterations a campaign at most")
    gamma_threshold: float = Field(0.001, gt=0, description="mean change of gamma that ends the E-step")
    start: Literal["nmf", "random"] = Field("nmf", description="TF-IDF NMF start, or Gensim's random one")
    start_sample: int = Field(4_000, ge=10, description="campaigns the NMF start sees at most")
    start_iterations: int = Field(40, ge=1, le=1_000, description="of the NMF start")

    tuning_ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **ThreadedSettings.tuning_ranges,
        "alpha": {"type": "continuous", "min": 0.005, "max": 0.5, "scale": "logarithmic"},
        "eta": {"type": "continuous", "min": 0.005, "max": 0.5, "scale": "logarithmic"},
    }


class Lda(Algorithm[LdaSettings]):
    """The state is the topics' sufficient statistics: ``sstats`` of shape (n_terms, K), float32."""

    settings_class = LdaSettings
    depends_on_threads = False

    def num_passes(self, settings: LdaSettings) -> int:
        """As set."""
        return settings.passes

    def start(self, source: BagSource, settings: LdaSettings, num_topics: int) -> State:
        """Sufficient statistics to start from."""
        from topic_model.algorithms.nmf_start import random_statistics, start_statistics

        if settings.start == "random":
            return {"sstats": random_statistics(source, num_topics, settings.seed)}
        sstats = start_statistics(
            source,
            num_topics,
            sample=settings.start_sample,
            iterations=settings.start_iterations,
            seed=settings.seed,
            threads=settings.num_threads,
        )
        return {"sstats": sstats}

    def run_pass(
        self,
        source: BagSource,
        settings: LdaSettings,
        state: State,
        number: int,
        should_stop: ShouldStop,
        scratch: Scratch,
    ) -> State | None:
        """One pass of batch variational Bayes."""
        from topic_model.kernels.em import expected_topics, statistics_of_chunk
        from topic_model.kernels.threads import splitting

        n_terms, num_topics = state["sstats"].shape
        alpha = np.full(num_topics, settings.alpha, dtype=np.float32)
        totals = np.zeros((n_terms, num_topics))
        with splitting(settings.num_threads) as split:
            topics = expected_topics(state["sstats"], settings.eta, split)
            for chunk in source.chunks(CHUNK_SIZE):
                if should_stop():
                    return None
                statistics_of_chunk(chunk, topics, alpha, settings.iterations, settings.gamma_threshold, totals, split)
        totals *= topics
        return {"sstats": totals.astype(np.float32)}

    def posterior(self, settings: LdaSettings, state: State) -> Posterior:
        """lambda is the statistics and the prior."""
        lambda_ = np.ascontiguousarray(state["sstats"].T, dtype=np.float64) + settings.eta
        return Posterior(lambda_, np.full(len(lambda_), settings.alpha), settings.eta)
