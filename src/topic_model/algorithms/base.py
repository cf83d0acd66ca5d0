"""What an algorithm is: settings, a start, passes over a source of bags, and the posterior they lead to.

docs/algorithms.md shows how to add one. Everything around it is the same for all and stands in
:mod:`topic_model.algorithms.fit`: the loop, checkpoints and resuming, measuring, stopping.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import numpy.typing as npt
from pydantic import Field

from topic_model.arrays import FloatArray
from topic_model.bags import BagSource
from topic_model.errors import CorpusError
from topic_model.settings import StrictSettings

MAX_AUTO_TOPICS = 100
MAX_AUTO_THREADS = 16

State = Mapping[str, npt.NDArray[Any]]
"""Named arrays: all that a pass needs of the passes before it, beside its scratch files."""

ShouldStop = Callable[[], bool]


class AlgorithmSettings(StrictSettings):
    """Hyperparameters that every algorithm has; each adds its own."""

    num_topics: int | Literal["auto"] = Field("auto", description="K, or 'auto' for the rule in algorithms.base")
    seed: int = Field(20_260_601, ge=0, lt=2**32, description="of everything that is drawn")

    tuning_ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "num_topics": {"type": "integer", "min": 20, "max": 120, "scale": "linear"},
    }
    """What tuning searches unless told otherwise: ranges as in ``tuning.ranges`` of pipelines/settings.yaml."""


class ThreadedSettings(AlgorithmSettings):
    """Hyperparameters of an algorithm that works in threads."""

    threads: Annotated[int, Field(ge=1, le=1_024)] | Literal["auto"] = Field(
        "auto", description="threads, or 'auto': the machine's cores, at most 16"
    )

    @property
    def num_threads(self) -> int:
        """The number of threads, with 'auto' resolved for this machine."""
        if self.threads != "auto":
            return self.threads
        return min(MAX_AUTO_THREADS, available_cores())


Settings = TypeVar("Settings", bound=AlgorithmSettings)


@dataclass(frozen=True, slots=True)
class Scratch:
    """Two folders for what is too large for the state, such as a topic for each word of the corpus.

    ``before`` holds what the pass before wrote (it is not there in the first pass) and must not be changed; ``after``
    is for what this pass writes (not there yet: make it if you need it). A kill in the middle of a pass leaves
    ``before`` as it was. The files are hashed with the checkpoint.
    """

    before: Path
    after: Path


@dataclass(frozen=True, slots=True)
class Posterior:
    """What training ends in: the topics' Dirichlet parameters of shape (K, n_terms), the prior alpha (K,), and eta."""

    lambda_: FloatArray
    alpha: FloatArray
    eta: float


class Algorithm(ABC, Generic[Settings]):
    """A way to train a topic model; it holds nothing itself.

    A pass must depend on its arguments alone: what is drawn in it is seeded by ``settings.seed`` and ``number``. Then a
    training that was killed and resumed ends in the same bytes as one that was not.
    """

    settings_class: type[Settings]
    depends_on_threads: ClassVar[bool] = True
    """Whether another number of threads gives another model; only asked where the settings have ``threads``."""

    @abstractmethod
    def num_passes(self, settings: Settings) -> int:
        """Passes over the source, at least 1; a checkpoint can be written behind each."""

    @abstractmethod
    def start(self, source: BagSource, settings: Settings, num_topics: int) -> State:
        """The state before the first pass."""

    @abstractmethod
    def run_pass(
        self,
        source: BagSource,
        settings: Settings,
        state: State,
        number: int,
        should_stop: ShouldStop,
        scratch: Scratch,
    ) -> State | None:
        """The state behind pass ``number`` (from 1); None when ``should_stop()``, asked every chunk, said so.

        ``state`` must not be changed.
        """

    @abstractmethod
    def posterior(self, settings: Settings, state: State) -> Posterior:
        """The topic model that a state stands for, behind any pass."""


def resolve_num_topics(settings: AlgorithmSettings, n_campaigns: int, n_terms: int) -> int:
    """K for a training set.

    'auto' is 2 sqrt(n), at least 2, at most 100, at most the terms and fewer than the campaigns: the value at which
    neighbours were best on intents, product categories and shoppers' queries (docs/decisions/0005-topic-model.md).

    Raises:
        CorpusError: fewer than two campaigns, or fewer campaigns or terms than the topics asked for.
    """
    if n_campaigns < 2:
        raise CorpusError(
            f"the corpus has {n_campaigns} campaigns with terms to train on; expected at least 2: give more campaigns"
        )
    if settings.num_topics == "auto":
        return max(2, min(MAX_AUTO_TOPICS, round(2 * math.sqrt(n_campaigns)), n_campaigns - 1, n_terms))
    most = min(n_campaigns, n_terms)
    if not 2 <= settings.num_topics <= most:
        expected = f"2 to {most}, or 'auto'" if most >= 2 else "'auto'"
        raise CorpusError(
            f"num_topics is {settings.num_topics}, but the corpus has {n_campaigns} training campaigns and "
            f"{n_terms} terms; expected {expected}"
        )
    return settings.num_topics


def available_cores() -> int:
    """Cores this process may use: fewer than the machine's where it is pinned to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
