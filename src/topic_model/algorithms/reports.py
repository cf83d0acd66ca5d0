"""What is told of a pass: how long it took, and how well its topics explain campaigns that it saw and did not see."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from topic_model.algorithms.base import State
from topic_model.bags import Bags, BagSource
from topic_model.bounds import bound_per_word
from topic_model.model import TopicModel

REPORT_SAMPLE = 1_000
"""Campaigns that a bound is measured on, at most: it is for watching, not for deciding."""
MAX_MEASURED_PASSES = 25


@dataclass(frozen=True, slots=True)
class PassReport:
    """One pass; bounds are variational lower bounds on the log likelihood a word, in nats.

    A bound is None where it was not measured: in a long training every few passes are, and a corpus may hold nothing
    out.
    """

    number: int
    seconds: float
    train_bound: float | None
    held_out_bound: float | None


class Reporter:
    """Measures passes on one sample, drawn once."""

    def __init__(
        self,
        source: BagSource,
        held_out: BagSource | None,
        seed: int,
        num_passes: int,
        tell: Callable[[PassReport], None],
        model_of: Callable[[State], TopicModel],
    ) -> None:
        self._train = source.sample(REPORT_SAMPLE, seed)
        self._held_out: Bags | None = None
        if held_out is not None and held_out.n_campaigns:
            self._held_out = held_out.sample(REPORT_SAMPLE, seed)
        self._every = math.ceil(num_passes / MAX_MEASURED_PASSES)
        self._last = num_passes
        self._tell = tell
        self._model_of = model_of

    def __call__(self, number: int, seconds: float, state: State) -> None:
        """Tell of a pass; the first, the last and every few in a long training are measured."""
        if number % self._every and number not in (1, self._last):
            self._tell(PassReport(number, seconds, None, None))
            return
        model = self._model_of(state)
        held_out = bound_per_word(model, self._held_out) if self._held_out else None
        self._tell(PassReport(number, seconds, bound_per_word(model, self._train), held_out))
