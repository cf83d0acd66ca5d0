"""Bags: chunks and samples of a source, and arrays that do not make sense refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from topic_model.bags import Bags, BagsInMemory, checked_bags, sampled_rows
from topic_model.corpus import Corpus
from topic_model.errors import CorpusError

INDPTR = [0, 2, 2, 5]
INDICES = [0, 3, 1, 2, 4]
COUNTS = [1, 2, 3, 4, 5]


def _source(**changed: Any) -> BagsInMemory:
    arrays = {"indptr": INDPTR, "indices": INDICES, "counts": COUNTS} | changed
    return BagsInMemory.of(**{name: np.array(values) for name, values in arrays.items()}, n_terms=5)


def test_empty_bags_are_left_out() -> None:
    """There is nothing to train on in a campaign without terms."""
    source = _source()
    assert (source.n_campaigns, source.n_terms, source.n_words) == (2, 5, 15)
    assert list(source.bags.bows()) == [[(0, 1), (3, 2)], [(1, 3), (2, 4), (4, 5)]]


@pytest.mark.parametrize("size", [1, 7, 10, 1_000])
def test_chunks_are_the_whole_in_order(size: int, corpus: Corpus) -> None:
    """Chunk after chunk, every campaign once, in the corpus's order; each chunk but the last is full."""
    source = corpus.training_bags
    chunks = list(source.chunks(size))
    assert all(len(chunk) == size for chunk in chunks[:-1])
    bows = [bow for chunk in chunks for bow in chunk.bows()]
    assert bows == list(corpus.bows(corpus.training_rows))


def test_a_sample_is_seeded_rows_in_order(corpus: Corpus) -> None:
    """The same seed, the same campaigns, distinct and ascending; another seed, others; all where there are no more."""
    source = corpus.training_bags
    rows = sampled_rows(source.n_campaigns, 20, 1)
    assert (np.diff(rows) > 0).all() and len(rows) == 20
    assert np.array_equal(source.sample(20, 1).indices, source.bags.rows(rows).indices)
    assert not np.array_equal(rows, sampled_rows(source.n_campaigns, 20, 2))
    assert len(source.sample(10_000, 1)) == source.n_campaigns


def test_the_matrix_is_the_corpuss(corpus: Corpus) -> None:
    """The bags as a matrix are the corpus's rows."""
    found = corpus.training_bags.bags.matrix(len(corpus.vocabulary))
    assert (found != corpus.matrix(corpus.training_rows)).nnz == 0


def test_the_hash_names_the_content() -> None:
    """Equal bags, equal hash; another count, another one."""
    assert _source().content_hash == _source().content_hash
    assert _source().content_hash != _source(counts=[1, 2, 3, 4, 6]).content_hash


def test_a_thousand_million_is_kept() -> None:
    """A count of 10⁹ is exact in float32, and huge ones keep seven digits."""
    bags = _source(counts=[10**9, 2, 3, 4, 1]).bags
    assert bags.counts[0] == 10**9
    assert bags.n_words == 10**9 + 10


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"indices": [0, 3, 1, 2, 5]}, "campaign 2 has the term id 5, but the vocabulary has 5 terms; expected 0 to 4"),
        ({"indices": [-1, 3, 1, 2, 4]}, "campaign 0 has the term id -1"),
        ({"indices": [3, 0, 1, 2, 4]}, "campaign 0 has the term id 0 behind 3; expected ids ascending"),
        ({"indices": [0, 3, 1, 1, 4]}, "campaign 2 has the term id 1 behind 1"),
        ({"indices": [0.0, 3.0, 1.0, 2.0, 4.0]}, "term ids are of type float64"),
        ({"counts": [1, 0, 3, 4, 5]}, "campaign 0 has the count 0 of the term id 3; expected a number above 0"),
        ({"counts": [1, 2, -3, 4, 5]}, "campaign 2 has the count -3 of the term id 1"),
        ({"counts": [1, 2, 3, np.nan, 5]}, "campaign 2 has the count nan of the term id 2"),
        ({"counts": [1, 2, 3, 4, np.inf]}, "campaign 2 has the count inf of the term id 4"),
        ({"counts": [1, 2, 3, 4, 1e300]}, r"campaign 2 has the count 1e\+300"),
        ({"counts": [1, 2, 3, 4, 2e12]}, r"campaign 2 has the count 20{12}\.0 .* above 0 and at most 1e\+12: leave"),
        ({"counts": [1, 2, 3, 4, 1e-300]}, "campaign 2 has the count 1e-300"),
        ({"counts": [1, 2, 3, 4]}, r"shapes \(4,\), \(5,\) and \(4,\)"),
        ({"indptr": [0, 2, 1, 5]}, "expected to rise from 0 to the 5 entries"),
        ({"indptr": [0, 2, 2, 4]}, "indptr goes from 0 to 4"),
        ({"indptr": [1, 2, 2, 5]}, "indptr goes from 1 to 5"),
        ({"indptr": []}, r"shapes \(0,\), \(5,\) and \(5,\)"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(changed: dict[str, Any], told: str) -> None:
    """The message names the campaign, the value and what was expected."""
    with pytest.raises(CorpusError, match=told):
        _source(**changed)


def test_the_first_campaign_may_have_a_number() -> None:
    """A part of a corpus tells its campaigns' numbers in the whole."""
    with pytest.raises(CorpusError, match="campaign 102 has the term id 9"):
        checked_bags(np.array(INDPTR), np.array([0, 3, 1, 2, 9]), np.array(COUNTS), 5, first=100)


def test_no_campaigns_are_a_source_without_chunks() -> None:
    """Nothing held out is no error."""
    source = BagsInMemory.of([0], np.zeros(0, np.int32), [], 5)
    assert list(source.chunks()) == []
    assert len(source.sample(5, 1)) == 0 and isinstance(source.bags, Bags)
