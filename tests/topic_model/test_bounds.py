"""The bound that passes are reported by, against Gensim's."""

from __future__ import annotations

import pytest

from topic_model.bounds import bound_per_word
from topic_model.corpus import Corpus
from topic_model.model import TopicModel


def test_the_bound_is_gensims(corpus: Corpus, model: TopicModel) -> None:
    """The campaigns' part of Gensim's own bound, a word: the same figure by Gensim's formula."""
    gensim = model.to_gensim()
    gensim.iterations, gensim.gamma_threshold = 2_000, 1e-8
    bows = list(corpus.bows(corpus.held_out_rows))
    words = sum(count for bow in bows for _, count in bow)
    # Gensim adds the topics' part, which the bound of no campaign leaves alone.
    expected = (gensim.bound(bows) - gensim.bound([])) / words
    assert bound_per_word(model, corpus.held_out_bags.bags) == pytest.approx(expected, abs=2e-3)
