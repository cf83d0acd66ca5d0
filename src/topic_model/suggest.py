"""How many topics a corpus asks for: the rule, and what measuring a few numbers says.

The rule (``num_topics: auto``) needs no measuring and is right for finding neighbours. Measuring trains a model a
candidate, at multiples of the rule's number, and holds each against campaigns that it has not seen. The suggestion is
the smallest candidate whose held-out perplexity is within :data:`TOLERANCE` of the best one's: topics that explain
nothing more are only harder to read and to tell apart (the reasoning of the one-standard-error rule, Breiman et al.
1984).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.base import AlgorithmSettings, resolve_num_topics
from topic_model.algorithms.fit import fit_corpus
from topic_model.corpus import AnyCorpus
from topic_model.evaluate import MIN_HELD_OUT_FOR_GATE, c_npmi, completion_perplexity, topic_diversity

MULTIPLES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Candidate:
    """What was measured with one number of topics; ``perplexity`` as in :mod:`topic_model.evaluate`, or None."""

    num_topics: int
    seconds: float
    perplexity: float | None
    c_npmi: float
    topic_diversity: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The rule's number, what was measured, and the number that the measurements speak for.

    ``num_topics`` is the rule's where the held-out campaigns are too few to say anything.
    """

    rule: int
    candidates: tuple[Candidate, ...]
    num_topics: int
    held_out: int


def suggest_num_topics(
    corpus: AnyCorpus,
    algorithm_name: str = DEFAULT_ALGORITHM,
    *,
    on_candidate: Callable[[Candidate], None] = lambda _: None,
) -> Suggestion:
    """Train and measure the candidates, calling ``on_candidate`` behind each.

    Raises:
        CorpusError: fewer than two campaigns to train on.
    """
    settings = algorithm(algorithm_name).settings_class()
    source = corpus.training_bags
    rule = resolve_num_topics(settings, source.n_campaigns, source.n_terms)
    most = min(source.n_campaigns - 1, source.n_terms)
    measured = []
    held_out = 0
    for number in sorted({max(2, min(most, round(rule * multiple))) for multiple in MULTIPLES}):
        # The rule's number as the rule gives it: of a corpus of one term it makes two topics, which nobody may ask for.
        chosen_settings = settings if number == rule else settings.model_copy(update={"num_topics": number})
        candidate, held_out = _measure(corpus, algorithm_name, chosen_settings)
        on_candidate(candidate)
        measured.append(candidate)
    chosen = rule
    if held_out >= MIN_HELD_OUT_FOR_GATE:
        chosen = next(_near_the_best(measured))
    return Suggestion(rule, tuple(measured), chosen, held_out)


def _measure(corpus: AnyCorpus, algorithm_name: str, settings: AlgorithmSettings) -> tuple[Candidate, int]:
    began = time.monotonic()
    model = fit_corpus(corpus, algorithm_name, settings)
    assert model is not None  # noqa: S101 - nothing asks it to stop
    seconds = time.monotonic() - began
    perplexity, _, scored = completion_perplexity(model, corpus)
    found = Candidate(
        model.num_topics,
        seconds,
        perplexity if scored else None,
        float(np.mean(c_npmi(model, corpus))),
        topic_diversity(model),
    )
    return found, scored


def _near_the_best(candidates: list[Candidate]) -> Iterator[int]:
    """Numbers of topics, ascending, whose perplexity is near the lowest."""
    lowest = min(candidate.perplexity or np.inf for candidate in candidates)
    for candidate in candidates:
        if candidate.perplexity is not None and candidate.perplexity <= lowest * (1 + TOLERANCE):
            yield candidate.num_topics
