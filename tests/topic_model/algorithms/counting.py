"""An algorithm for the frame's tests: it shuffles words with a state and scratch files, and does everything by hand."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from topic_model.algorithms.base import Algorithm, Posterior, Scratch, ShouldStop, State, ThreadedSettings
from topic_model.bags import BagSource

PLACE = f"{__name__}:Shuffle"


class ShuffleSettings(ThreadedSettings):
    """Settings of the test's algorithm."""

    passes: int = Field(4, ge=1)
    chunk: int = Field(20, ge=1)
    flavour: Literal["sweet", "salty"] = "sweet"


class Shuffle(Algorithm[ShuffleSettings]):
    """Keeps a topic for each word in a scratch file a chunk, as a Gibbs sampler does, and moves some in each pass."""

    settings_class = ShuffleSettings

    def num_passes(self, settings: ShuffleSettings) -> int:
        return settings.passes

    def start(self, source: BagSource, settings: ShuffleSettings, num_topics: int) -> State:
        return {"counts": np.zeros((num_topics, source.n_terms))}

    def run_pass(
        self,
        source: BagSource,
        settings: ShuffleSettings,
        state: State,
        number: int,
        should_stop: ShouldStop,
        scratch: Scratch,
    ) -> State | None:
        counts = np.zeros_like(state["counts"])
        scratch.after.mkdir()
        for position, bags in enumerate(source.chunks(settings.chunk)):
            if should_stop():
                return None
            random = np.random.default_rng((settings.seed, number, position))
            drawn = random.integers(0, len(counts), len(bags.indices))
            if number > 1:
                before = np.load(scratch.before / f"{position}.npy", allow_pickle=False)
                drawn = (before + 3 * drawn) % len(counts)
            np.save(scratch.after / f"{position}.npy", drawn, allow_pickle=False)
            np.add.at(counts, (drawn, bags.indices), bags.counts)
        return {"counts": counts}

    def posterior(self, settings: ShuffleSettings, state: State) -> Posterior:
        counts = state["counts"]
        return Posterior(counts + 0.1, np.full(len(counts), 0.1), 0.1)
