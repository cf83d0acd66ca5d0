"""``nmf``: non-negative matrix factorisation of the TF-IDF rows of all campaigns, a chunk at a time.

The topics with the most coherent top terms, and the poorest model of the words: weights, not counts, are explained. A
pass finds each campaign's weights for the parts at hand by least squares, adds up X'W and W'W, and then improves the
parts by the sums; no campaign's weights are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from topic_model.algorithms.base import Algorithm, Posterior, Scratch, ShouldStop, State, ThreadedSettings
from topic_model.arrays import Float32Array
from topic_model.bags import BagSource

CHUNK_SIZE = 8_192
SWEEPS = 4
"""Of coordinate descent over a campaign's weights from zero, and over the parts: more change little."""


class NmfSettings(ThreadedSettings):
    """Hyperparameters of the factorisation, and the priors with which its parts are used as topics."""

    passes: int = Field(5, ge=1, le=500, description="alternations over the whole corpus")
    alpha: float = Field(0.05, ge=1e-4, le=100, description="prior of the topic mixtures, symmetric")
    eta: float = Field(0.05, ge=1e-4, le=100, description="prior of the topics' terms, symmetric")
    start_sample: int = Field(4_000, ge=10, description="campaigns the factorisation begins with at most")
    start_iterations: int = Field(40, ge=1, le=1_000, description="alternations over those")

    tuning_ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {**ThreadedSettings.tuning_ranges}


class Nmf(Algorithm[NmfSettings]):
    """The state: ``parts`` of shape (n_terms, K), columns of unit length or zero, ``idf`` (n_terms,), and ``words``."""

    settings_class = NmfSettings
    depends_on_threads = False

    def num_passes(self, settings: NmfSettings) -> int:
        """As set."""
        return settings.passes

    def start(self, source: BagSource, settings: NmfSettings, num_topics: int) -> State:
        """Parts of a sample, and the idf of the whole corpus."""
        from topic_model.algorithms.nmf_start import idf_of, start_statistics

        parts = start_statistics(
            source,
            num_topics,
            sample=settings.start_sample,
            iterations=settings.start_iterations,
            seed=settings.seed,
            threads=settings.num_threads,
        )
        frequency = np.zeros(source.n_terms, dtype=np.int64)
        for chunk in source.chunks(CHUNK_SIZE):
            frequency += np.bincount(chunk.indices, minlength=source.n_terms)
        idf = idf_of(frequency, source.n_campaigns)
        return {"parts": _of_unit_length(parts), "idf": idf, "words": np.array([source.n_words])}

    def run_pass(
        self,
        source: BagSource,
        settings: NmfSettings,
        state: State,
        number: int,
        should_stop: ShouldStop,
        scratch: Scratch,
    ) -> State | None:
        """Weights of all campaigns, and the parts that fit them best."""
        from threadpoolctl import threadpool_limits

        from topic_model.algorithms.nmf_start import tf_idf_rows, transposed
        from topic_model.kernels.nmf import coordinate_descent, sparse_product
        from topic_model.kernels.threads import splitting

        parts = state["parts"]
        n_terms, num_parts = parts.shape
        products = np.zeros((n_terms, num_parts))
        gram_of_weights = np.zeros((num_parts, num_parts))
        # One thread for the dense products: their result must not depend on the number of cores.
        with threadpool_limits(1), splitting(settings.num_threads) as split:
            gram = parts.T @ parts
            for chunk in source.chunks(CHUNK_SIZE):
                if should_stop():
                    return None
                rows = tf_idf_rows(chunk, state["idf"])
                fits = np.empty((len(rows), num_parts), np.float32)
                split(sparse_product, rows.indptr, rows.indptr, rows.indices, rows.counts, parts, fits)
                weights = np.zeros_like(fits)
                split(coordinate_descent, rows.indptr, fits, gram, SWEEPS, weights)
                columns = transposed(rows, n_terms)
                of_chunk = np.empty((n_terms, num_parts), np.float32)
                split(
                    sparse_product, columns.indptr, columns.indptr, columns.indices, columns.counts, weights, of_chunk
                )
                products += of_chunk
                gram_of_weights += weights.T @ weights
            # A mean and not a sum over campaigns, so that a large corpus stays in float32's comfortable range.
            products /= source.n_campaigns
            gram_of_weights /= source.n_campaigns
            improved = np.array(parts)
            sums = (products.astype(np.float32), gram_of_weights.astype(np.float32))
            split(coordinate_descent, np.arange(n_terms + 1), *sums, SWEEPS, improved)
        return {**state, "parts": _of_unit_length(improved)}

    def posterior(self, settings: NmfSettings, state: State) -> Posterior:
        """Each part's shares of the terms, as if an equal part of the corpus's words had been drawn from it."""
        parts = np.ascontiguousarray(state["parts"].T, dtype=np.float64)
        totals = parts.sum(axis=1, keepdims=True)
        shares = np.where(totals > 0, parts / np.where(totals > 0, totals, 1), 1 / parts.shape[1])
        lambda_ = shares * (float(state["words"][0]) / len(parts)) + settings.eta
        return Posterior(lambda_, np.full(len(parts), settings.alpha), settings.eta)


def _of_unit_length(parts: Float32Array) -> Float32Array:
    lengths = np.linalg.norm(parts, axis=0)
    return np.ascontiguousarray(parts / np.where(lengths > 0, lengths, 1), np.float32)
