"""``lda-sklearn``: scikit-learn's online variational Bayes as an algorithm of topic-model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from scipy.special import psi

from topic_model.algorithms.base import Algorithm, AlgorithmSettings, Posterior, Scratch, ShouldStop, State
from topic_model.bags import BagSource


class SklearnLdaSettings(AlgorithmSettings):
    """``num_topics`` and ``seed`` come from the base class; these are this algorithm's own."""

    passes: int = Field(5, ge=1, le=500, description="passes over the corpus")
    batch_size: int = Field(500, ge=1, le=100_000, description="campaigns an update")
    alpha: float = Field(0.05, gt=0, le=100, description="prior of the topic mixtures, symmetric")
    eta: float = Field(0.05, gt=0, le=100, description="prior of the topics' terms, symmetric")
    learning_decay: float = Field(0.7, gt=0.5, le=1, description="how fast old batches are forgotten")

    tuning_ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **AlgorithmSettings.tuning_ranges,
        "learning_decay": {"type": "continuous", "min": 0.51, "max": 1.0, "scale": "linear"},
    }


class SklearnLda(Algorithm[SklearnLdaSettings]):
    """The state is scikit-learn's ``components_`` (K, n_terms), its name for lambda, and the number of batches seen."""

    settings_class = SklearnLdaSettings

    def num_passes(self, settings: SklearnLdaSettings) -> int:
        """As set."""
        return settings.passes

    def start(self, source: BagSource, settings: SklearnLdaSettings, num_topics: int) -> State:
        """Random topics, as scikit-learn draws them."""
        random = np.random.RandomState(settings.seed)
        return {"components": random.gamma(100.0, 0.01, (num_topics, source.n_terms)), "batches": np.array(1)}

    def run_pass(
        self,
        source: BagSource,
        settings: SklearnLdaSettings,
        state: State,
        number: int,
        should_stop: ShouldStop,
        scratch: Scratch,
    ) -> State | None:
        """One call of ``partial_fit`` a batch."""
        from sklearn.decomposition import LatentDirichletAllocation

        components = state["components"].copy()
        model = LatentDirichletAllocation(
            n_components=len(components),
            doc_topic_prior=settings.alpha,
            topic_word_prior=settings.eta,
            learning_decay=settings.learning_decay,
            batch_size=settings.batch_size,
            total_samples=source.n_campaigns,
        )
        # What partial_fit goes on from: the fitted attributes, and draws that depend on the pass alone.
        model.components_ = components
        model.exp_dirichlet_component_ = np.exp(psi(components) - psi(components.sum(axis=1, keepdims=True)))
        model.n_batch_iter_, model.n_iter_ = int(state["batches"]), number
        model.doc_topic_prior_, model.topic_word_prior_ = settings.alpha, settings.eta
        model.random_state_ = np.random.RandomState((settings.seed + number) % 2**32)
        model.n_features_in_ = source.n_terms
        for chunk in source.chunks(settings.batch_size):
            if should_stop():
                return None
            model.partial_fit(chunk.matrix(source.n_terms))
        return {"components": model.components_, "batches": np.array(model.n_batch_iter_)}

    def posterior(self, settings: SklearnLdaSettings, state: State) -> Posterior:
        """``components_`` are the Dirichlet parameters already."""
        components = state["components"]
        return Posterior(components, np.full(len(components), settings.alpha), settings.eta)
