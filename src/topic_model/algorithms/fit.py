"""Training by any algorithm: passes, checkpoints, resuming, stopping, and a report a pass."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import topic_model
from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.base import (
    Algorithm,
    AlgorithmSettings,
    Posterior,
    Scratch,
    ShouldStop,
    State,
    ThreadedSettings,
    resolve_num_topics,
)
from topic_model.algorithms.checkpoint import (
    SLOTS,
    Identity,
    discard_leftovers,
    discard_scratch,
    read_checkpoint,
    write_checkpoint,
)
from topic_model.algorithms.reports import PassReport, Reporter
from topic_model.bags import BagSource
from topic_model.corpus import AnyCorpus
from topic_model.errors import CheckpointError, CorpusError, SettingsError, TrainingError
from topic_model.model import TopicModel
from topic_model.settings import TextSettings
from topic_model.vocabulary import Vocabulary

__all__ = ["PassReport", "fit", "fit_corpus", "training_settings"]

CHECKPOINT_SECONDS = 1.0
"""Least time between checkpoints, so that hundreds of short passes are not spent on writing; what a kill can cost."""
_LOGGER = logging.getLogger(__name__)


def training_settings(name: str, settings: AlgorithmSettings) -> dict[str, Any]:
    """The settings as far as they determine the model: threads resolved, or left out where they change nothing."""
    found = settings.model_dump()
    if isinstance(settings, ThreadedSettings):
        del found["threads"]
        if algorithm(name).depends_on_threads:
            found["threads"] = settings.num_threads
    return found


def fit_corpus(
    corpus: AnyCorpus,
    algorithm_name: str = DEFAULT_ALGORITHM,
    settings: AlgorithmSettings | None = None,
    **options: Any,
) -> TopicModel | None:
    """:func:`fit` to a corpus's training campaigns, its held-out ones for the reports; settings default to all
    defaults."""
    return fit(
        corpus.training_bags,
        corpus.vocabulary,
        corpus.text_settings,
        algorithm_name,
        settings or algorithm(algorithm_name).settings_class(),
        held_out=corpus.held_out_bags,
        **options,
    )


def fit(
    source: BagSource,
    vocabulary: Vocabulary,
    text_settings: TextSettings,
    algorithm_name: str,
    settings: AlgorithmSettings,
    *,
    held_out: BagSource | None = None,
    checkpoints: Path | None = None,
    on_pass: Callable[[PassReport], None] | None = None,
    should_stop: ShouldStop = lambda: False,
) -> TopicModel | None:
    """Train a topic model.

    With ``checkpoints`` the state is written behind the first pass, the last, and any that ends a second after the
    checkpoint before; a run that finds a checkpoint goes on behind it and ends in the model of an uninterrupted one. A
    run that finds the last pass done reports that pass once more, so that its metrics are in this run's log too.
    Bounds are measured for ``on_pass`` only. Returns None when ``should_stop`` said so; finished passes are in the
    checkpoint.

    Raises:
        SettingsError: an unknown algorithm, or settings of another one.
        CorpusError: fewer campaigns or terms than topics.
        CheckpointError: the checkpoint is damaged, or of another corpus, other settings or another algorithm; or its
            folder cannot be made.
        TrainingError: the algorithm's posterior is not one.
    """
    chosen = algorithm(algorithm_name)
    if not isinstance(settings, chosen.settings_class):
        expected = chosen.settings_class.__name__
        raise SettingsError(f"{algorithm_name!r} takes {expected}, got {type(settings).__name__}")
    if source.n_terms != len(vocabulary):
        raise CorpusError(f"the bags are of {source.n_terms} terms and the vocabulary has {len(vocabulary)}")
    num_topics = resolve_num_topics(settings, source.n_campaigns, source.n_terms)
    identity = Identity(
        algorithm_name,
        source.content_hash,
        num_topics,
        training_settings(algorithm_name, settings),
        topic_model.__version__,
    )

    def model_of(state: State) -> TopicModel:
        posterior = chosen.posterior(settings, state)
        _check(algorithm_name, posterior, (num_topics, source.n_terms))
        return TopicModel(vocabulary, posterior.lambda_, posterior.alpha, posterior.eta, text_settings)

    with _folder(checkpoints) as folder:
        training = _Training(chosen, settings, source, identity, folder, keep=checkpoints is not None)
        if training.resume():
            _LOGGER.info("resuming behind pass %d of %d", training.done, training.num_passes)
        elif should_stop():
            return None
        else:
            training.begin(num_topics)
        report = Reporter(source, held_out, settings.seed, training.num_passes, on_pass, model_of) if on_pass else None
        if report and training.done == training.num_passes:
            report(training.done, 0.0, training.state)
        while training.done < training.num_passes:
            began = time.monotonic()
            if not training.advance(should_stop):
                return None
            if report:
                report(training.done, time.monotonic() - began, training.state)
        return model_of(training.state)


def _check(name: str, posterior: Posterior, shape: tuple[int, int]) -> None:
    """Refuse what is no posterior before it becomes an artifact: NaN in one topic is NaN in every fingerprint."""
    found = (posterior.lambda_.shape, posterior.alpha.shape)
    if found != (shape, shape[:1]):
        raise TrainingError(f"{name} ended in lambda and alpha of the shapes {found}; expected {shape} and {shape[:1]}")
    wrong = int((~((posterior.lambda_ > 0) & (posterior.lambda_ < np.inf))).sum())
    if wrong or not (np.isfinite(posterior.alpha) & (posterior.alpha > 0)).all():
        raise TrainingError(
            f"{name} ended in {wrong} parameters of {posterior.lambda_.size} that are not finite and above 0; "
            "raise eta, or lower the corpus's counts"
        )


class _Training:
    """A training under way: its state, the number of passes done, and the scratch folder of the last of them."""

    def __init__(
        self,
        chosen: Algorithm[Any],
        settings: AlgorithmSettings,
        source: BagSource,
        identity: Identity,
        folder: Path,
        *,
        keep: bool,
    ) -> None:
        self._algorithm = chosen
        self._settings = settings
        self._source = source
        self._identity = identity
        self._folder = folder
        self._keep = keep
        self._written = 0  # the pass that the checkpoint is of
        self._written_at = -math.inf
        self._written_slot = SLOTS[0]
        self._slot = SLOTS[0]
        self.num_passes = chosen.num_passes(settings)
        self.done = 0
        self.state: State = {}

    def resume(self) -> bool:
        """Go on behind the folder's checkpoint, if it has one; what a killed pass left is removed."""
        checkpoint = read_checkpoint(self._folder, self._identity) if self._keep else None
        if checkpoint:
            self.done, self.state = checkpoint.number, checkpoint.state
            self._slot = self._written_slot = checkpoint.slot or SLOTS[0]
            self._written = self.done
        discard_leftovers(self._folder)
        discard_scratch(self._folder, but=(self._slot,) if checkpoint and checkpoint.slot else ())
        return checkpoint is not None

    def begin(self, num_topics: int) -> None:
        """The algorithm's start."""
        self.state = self._algorithm.start(self._source, self._settings, num_topics)

    def advance(self, should_stop: ShouldStop) -> bool:
        """The next pass, and its checkpoint when one is due; False when stopped, with the passes before it kept."""
        after = next(slot for slot in SLOTS if slot not in (self._slot, self._written_slot))
        discard_scratch(self._folder, but=(self._slot, self._written_slot))
        scratch = Scratch(self._folder / self._slot, self._folder / after)
        state = self._algorithm.run_pass(self._source, self._settings, self.state, self.done + 1, should_stop, scratch)
        if state is None:
            self._write()
            return False
        self.done, self.state, self._slot = self.done + 1, state, after
        if self.done == self.num_passes or time.monotonic() - self._written_at >= CHECKPOINT_SECONDS:
            self._write()
        return True

    def _write(self) -> None:
        if not self._keep or self._written == self.done:
            return
        finished = self.done == self.num_passes  # no pass will read what the last one left
        slot = None if finished else self._slot
        write_checkpoint(self._folder, self._identity, self.done, self.state, slot)
        self._written, self._written_at, self._written_slot = self.done, time.monotonic(), self._slot
        if finished:
            discard_scratch(self._folder)


@contextmanager
def _folder(checkpoints: Path | None) -> Iterator[Path]:
    """The checkpoint folder, or a temporary one for the scratch files of a training that keeps nothing."""
    if checkpoints is not None:
        try:
            checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint folder {checkpoints} cannot be made ({error.strerror}); name a folder that can be"
            ) from error
        yield checkpoints
        return
    with tempfile.TemporaryDirectory(prefix="topic-model-") as temporary:
        yield Path(temporary)
