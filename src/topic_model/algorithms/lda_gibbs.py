"""``lda-gibbs``: collapsed Gibbs sampling from an NMF start, compiled, in threads, in memory that stays flat.

The topic of each word lives in scratch files, a chunk of campaigns each, and in memory are a chunk's and the topics'
counts only. The posterior is the mean of the counts over the last half of the sweeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from topic_model.algorithms.base import Algorithm, Posterior, Scratch, ShouldStop, State, ThreadedSettings
from topic_model.arrays import Float32Array, FloatArray
from topic_model.bags import Bags, BagSource
from topic_model.errors import SettingsError

if TYPE_CHECKING:
    from topic_model.kernels.threads import Split

CHUNK_SIZE = 8_192
MAX_TOPICS = 65_535
"""What a scratch file's two bytes a word can tell apart."""
FIRST_ITERATIONS = 5
"""E-step iterations that the first topics of words are drawn from."""


class GibbsLdaSettings(ThreadedSettings):
    """Hyperparameters of the sampler."""

    passes: int = Field(40, ge=2, le=5_000, description="sweeps over all words; the first draws from the start")
    alpha: float = Field(0.05, ge=1e-4, le=100, description="prior of the topic mixtures, symmetric")
    eta: float = Field(0.05, ge=1e-4, le=100, description="prior of the topics' terms, symmetric")
    start: Literal["nmf", "random"] = Field("nmf", description="TF-IDF NMF start, or a random one")
    start_sample: int = Field(4_000, ge=10, description="campaigns the NMF start sees at most")
    start_iterations: int = Field(40, ge=1, le=1_000, description="of the NMF start")

    tuning_ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **ThreadedSettings.tuning_ranges,
        "alpha": {"type": "continuous", "min": 0.005, "max": 0.5, "scale": "logarithmic"},
        "eta": {"type": "continuous", "min": 0.005, "max": 0.5, "scale": "logarithmic"},
    }


class GibbsLda(Algorithm[GibbsLdaSettings]):
    """The state: ``counts`` of shape (n_terms, K), their sum over the sweeps kept, and how many those are.

    Before the first sweep ``counts`` are the start's statistics.
    """

    settings_class = GibbsLdaSettings
    depends_on_threads = False

    def num_passes(self, settings: GibbsLdaSettings) -> int:
        """As set."""
        return settings.passes

    def start(self, source: BagSource, settings: GibbsLdaSettings, num_topics: int) -> State:
        """Statistics to draw the first topics from.

        Raises:
            SettingsError: more topics than a scratch file can tell apart.
        """
        if num_topics > MAX_TOPICS:
            raise SettingsError(f"num_topics is {num_topics}; lda-gibbs takes at most {MAX_TOPICS}: use lda")
        from topic_model.algorithms.nmf_start import random_statistics, start_statistics

        if settings.start == "random":
            sstats = random_statistics(source, num_topics, settings.seed)
        else:
            sstats = start_statistics(
                source,
                num_topics,
                sample=settings.start_sample,
                iterations=settings.start_iterations,
                seed=settings.seed,
                threads=settings.num_threads,
            )
        counts = sstats.astype(np.float64)
        return {"counts": counts, "sum": np.zeros_like(counts), "kept": np.zeros(1, np.int64)}

    def run_pass(
        self,
        source: BagSource,
        settings: GibbsLdaSettings,
        state: State,
        number: int,
        should_stop: ShouldStop,
        scratch: Scratch,
    ) -> State | None:
        """One sweep over all words."""
        from topic_model.kernels.threads import splitting

        seed = np.random.default_rng((settings.seed, number)).integers(0, 2**64, dtype=np.uint64)
        scratch.after.mkdir(parents=True)
        place = 0
        with splitting(settings.num_threads) as split:
            sweep = _Sweep(source, settings, state["counts"], seed, split, first=number == 1)
            for position, chunk in enumerate(source.chunks(CHUNK_SIZE)):
                if should_stop():
                    return None
                before = None
                if number > 1:
                    before = np.load(scratch.before / f"{position}.npy", allow_pickle=False)
                topics = sweep.chunk(chunk, place, before)
                np.save(scratch.after / f"{position}.npy", topics, allow_pickle=False)
                place += len(chunk)
        kept = number > settings.passes // 2
        return {
            "counts": sweep.counts,
            "sum": state["sum"] + sweep.counts if kept else state["sum"],
            "kept": state["kept"] + kept,
        }

    def posterior(self, settings: GibbsLdaSettings, state: State) -> Posterior:
        """The mean of the counts kept, or before that the last ones, and the prior."""
        kept = int(state["kept"][0])
        counts = state["sum"] / kept if kept else state["counts"]
        # Differences of floats may leave a count a hair below zero.
        lambda_ = np.ascontiguousarray(np.maximum(counts, 0).T) + settings.eta
        return Posterior(lambda_, np.full(len(lambda_), settings.alpha), settings.eta)


class _Sweep:
    """A sweep under way: the counts, kept up to date."""

    def __init__(
        self,
        source: BagSource,
        settings: GibbsLdaSettings,
        counts: FloatArray,
        seed: Any,
        split: Split,
        *,
        first: bool,
    ) -> None:
        from topic_model.kernels.em import expected_topics

        # Counts a block old mislead little while a block is a small part of the corpus.
        self._block = int(np.clip(source.n_campaigns // 32, 16, 1_024))
        self._settings = settings
        self._seed = seed
        self._split = split
        self._start = expected_topics(counts.astype(np.float32), settings.eta, split) if first else None
        self.counts = np.zeros_like(counts) if first else counts.copy()
        self._totals = self.counts.sum(axis=0)

    def chunk(self, chunk: Bags, place: int, before: Any) -> Any:
        """The units' new topics; ``before`` are the ones they had, ``place`` where the chunk begins in the corpus."""
        from topic_model.kernels import gibbs

        pointers = np.empty(len(chunk) + 1, np.int64)
        gibbs.unit_pointers(chunk.indptr, chunk.counts, pointers)
        bags = (chunk.indptr, chunk.indices, chunk.counts, pointers)
        topics = np.empty(pointers[-1], np.uint16)
        if self._start is not None:
            mixtures = self._first_mixtures(chunk, self._start)
            self._split(gibbs.first_draw, pointers, *bags, self._start, mixtures, place, self._seed, topics)
            gibbs.add_units(0, len(chunk), *bags, topics, 1.0, self.counts, self._totals)
            return topics
        prior = (np.float32(self._settings.alpha), np.float32(self._settings.eta))
        for first in range(0, len(chunk), self._block):
            last = min(first + self._block, len(chunk))
            work = pointers[first : last + 1] - pointers[first]
            weights = (self.counts, self._totals)
            self._split(gibbs.sample, work, first, *bags, *weights, *prior, place, self._seed, before, topics)
            gibbs.add_units(first, last, *bags, before, -1.0, *weights)
            gibbs.add_units(first, last, *bags, topics, 1.0, *weights)
        return topics

    def _first_mixtures(self, chunk: Bags, start: Float32Array) -> Float32Array:
        """Each campaign's mixture of the start's topics, by a few iterations of the variational E-step."""
        from topic_model.kernels.em import chunk_mixtures

        alpha = np.full(start.shape[1], self._settings.alpha, dtype=np.float32)
        return chunk_mixtures(chunk, start, alpha, FIRST_ITERATIONS, 0.0, self._split)[0]
