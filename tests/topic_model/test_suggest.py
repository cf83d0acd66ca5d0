"""Choosing the number of topics: on corpora with a known number of themes, and where nothing can be said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from topic_model import suggest
from topic_model.algorithms.base import resolve_num_topics
from topic_model.algorithms.lda import LdaSettings
from topic_model.corpus import Corpus, Vocabulary
from topic_model.settings import CorpusSettings, TextSettings
from topic_model.suggest import suggest_num_topics


def _corpus(n: int, themes: int, *, held_out: float = 0.2) -> Corpus:
    """Campaigns of one theme each, of twelve terms of its own; 30 words a campaign."""
    random = np.random.RandomState(0)
    rows = [random.multinomial(30, np.full(12, 1 / 12)) for _ in range(n)]
    indices = [np.flatnonzero(row) + 12 * (number % themes) for number, row in enumerate(rows)]
    counts = [row[row > 0] for row in rows]
    return Corpus(
        Vocabulary.of([f"term{number:04d}" for number in range(12 * themes)]),
        np.concatenate(([0], np.cumsum([len(row) for row in indices]))),
        np.concatenate(indices),
        np.concatenate(counts),
        tuple(f"campaign-{number}" for number in range(n)),
        random.rand(n) < held_out,
        TextSettings(),
        CorpusSettings(),
    )


def test_the_suggestion_is_near_the_number_of_themes(monkeypatch: Any) -> None:
    """Of 5, 10, 20, 40 topics for 10 themes, 10 are taken: fewer explain less, more explain nothing more."""
    monkeypatch.setattr(suggest, "MULTIPLES", (0.14, 0.28, 0.56, 1.14))
    found = suggest_num_topics(_corpus(400, 10))
    assert [candidate.num_topics for candidate in found.candidates] == [5, 10, 20, 40]
    assert found.num_topics == 10


def test_few_held_out_campaigns_leave_the_rule() -> None:
    """Below fifty held-out campaigns the perplexity is noise, and the rule's number stays."""
    corpus = _corpus(60, 6)
    found = suggest_num_topics(corpus)
    assert found.held_out < 50
    assert found.num_topics == found.rule == resolve_num_topics(LdaSettings(), corpus.training_bags.n_campaigns, 72)


def test_nothing_held_out_is_no_error() -> None:
    """Perplexity is absent then, and not a number that means nothing."""
    found = suggest_num_topics(_corpus(40, 4, held_out=0))
    assert found.held_out == 0
    assert {candidate.perplexity for candidate in found.candidates} == {None}
    assert found.num_topics == found.rule


def test_every_candidate_is_told_of_when_it_is_measured() -> None:
    """In ascending order, each once, at most the campaigns allow."""
    told: list[int] = []
    found = suggest_num_topics(_corpus(12, 3), on_candidate=lambda candidate: told.append(candidate.num_topics))
    assert told == [candidate.num_topics for candidate in found.candidates] == sorted(set(told))
    assert max(told) < 12


def test_one_term_is_measured_as_the_rule_has_it(corpus_of: Callable[..., Corpus]) -> None:
    """Two topics of one term, which the rule makes; that nobody may ask for them is no mistake of the user's."""
    found = suggest_num_topics(corpus_of(*[{"shoe": 1}] * 5, max_df=1))
    assert [candidate.num_topics for candidate in found.candidates] == [found.rule] == [found.num_topics]
