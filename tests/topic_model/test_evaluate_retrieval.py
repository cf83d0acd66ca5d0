"""Precision of neighbours against known verticals, by hand-made cases and by scikit-learn's cosine as oracle."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics.pairwise import cosine_similarity

from topic_model.errors import ExportError
from topic_model.evaluate_retrieval import (
    PreparedTerms,
    evaluate_retrieval,
    precision_at,
    read_prepared_terms,
    read_verticals,
    sibling_group,
    tfidf_neighbours,
)


def test_precision_counts_a_missing_neighbour_as_wrong() -> None:
    """Of two queries with k = 2: one hit of two, one hit and nothing more: 2 hits of 4."""
    neighbours = {"a": ["b", "x"], "b": ["a"]}
    verticals = {"a": "shoes", "b": "shoes", "x": "tea"}

    assert precision_at(2, neighbours, verticals, ["a", "b"]) == 0.5


def test_left_out_neighbours_make_room_for_the_next() -> None:
    """With the sibling passed over, the next neighbour is the first."""
    neighbours = {"g-1": ["g-2", "h-1"]}
    verticals = {"g-1": "shoes", "g-2": "tea", "h-1": "shoes"}

    def siblings(query: str, other: str) -> bool:
        return sibling_group(query) == sibling_group(other)

    assert precision_at(1, neighbours, verticals, ["g-1"]) == 0.0
    assert precision_at(1, neighbours, verticals, ["g-1"], siblings) == 1.0


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=2, max_size=9))
@settings(max_examples=60, deadline=None)
def test_tfidf_neighbours_are_those_of_scikit_learns_cosine(counts: list[list[int]]) -> None:
    """With damped counts, cosines of the neighbours found are the largest that brute force finds, in order."""
    matrix = sparse.csr_matrix(np.asarray(counts, dtype=float))
    ids = [f"c{row}" for row in range(len(counts))]
    found = tfidf_neighbours(PreparedTerms(ids, matrix), ids, keep=3)

    cosines = cosine_similarity(TfidfTransformer(sublinear_tf=True).fit_transform(matrix))
    np.fill_diagonal(cosines, 0)
    for row, campaign_id in enumerate(ids):
        expected = sorted((value for value in cosines[row] if value > 1e-12), reverse=True)[:3]
        assert [cosines[row][ids.index(other)] for other in found[campaign_id]] == pytest.approx(expected)


def test_perfect_neighbours_score_one_and_chance_is_the_share_of_pairs() -> None:
    """Three campaigns a vertical with words of their own: both methods are right always, chance is 2 of 5."""
    ids = [f"{vertical}{number}" for vertical in "xy" for number in range(3)]
    counts = np.zeros((6, 2))
    counts[:3, 0] = counts[3:, 1] = 1
    verticals = {campaign_id: campaign_id[0] for campaign_id in ids}
    neighbours = {a: [b for b in ids if b != a and b[0] == a[0]] for a in ids}

    result = evaluate_retrieval(PreparedTerms(ids, sparse.csr_matrix(counts)), neighbours, verticals, k=2)

    assert result["precision_at_2"] == result["tfidf_precision_at_2"] == 1.0
    assert result["chance"] == pytest.approx(2 / 5)
    assert result["queries"] == 6


def test_a_campaign_that_the_model_left_out_counts_against_it() -> None:
    """A query with terms but without neighbours is a miss, not a smaller denominator."""
    terms = PreparedTerms(["a", "b"], sparse.csr_matrix(np.ones((2, 1))))

    result = evaluate_retrieval(terms, {"a": ["b"]}, {"a": "x", "b": "x"}, k=1)

    assert result["precision_at_1"] == 0.5


def test_siblings_are_measured_apart_where_ids_name_them() -> None:
    """Neighbours of one's own group only: perfect with siblings, nothing without."""
    ids = ["g-1", "g-2", "h-1", "h-2"]
    terms = PreparedTerms(ids, sparse.csr_matrix(np.ones((4, 1))))
    neighbours = {"g-1": ["g-2"], "g-2": ["g-1"], "h-1": ["h-2"], "h-2": ["h-1"]}

    result = evaluate_retrieval(terms, neighbours, dict.fromkeys(ids, "x"), k=1)

    assert result["precision_at_1"] == 1.0
    assert result["without_siblings"]["precision_at_1"] == 0.0
    assert result["without_siblings"]["tfidf_precision_at_1"] == 1.0
    assert result["without_siblings"]["short_lists"] == 4


def test_nothing_labelled_gives_no_figure() -> None:
    """Without ground truth there is no precision rather than 0."""
    result = evaluate_retrieval(PreparedTerms(["a"], sparse.csr_matrix(np.ones((1, 1)))), {}, {})

    assert result["queries"] == 0
    assert math.isnan(result["precision_at_5"])


def test_prepared_terms_of_channels_share_their_columns(tmp_path: Path) -> None:
    """A term is one column whichever channel it comes from."""
    for channel, terms in (("a", ["tea", "cup"]), ("b", ["cup"])):
        table = pa.table({"campaign_id": [channel], "terms": [terms], "term_counts": [[2] * len(terms)]})
        pyarrow.parquet.write_table(table, tmp_path / f"{channel}.parquet")

    terms = read_prepared_terms([tmp_path / "a.parquet", tmp_path / "b.parquet"])

    assert terms.campaign_ids == ["a", "b"]
    assert terms.counts.toarray().tolist() == [[2, 2], [0, 2]]


def test_verticals_are_read_from_plain_and_gzipped_records(tmp_path: Path) -> None:
    """Records without a vertical are passed over."""
    text = b'{"campaign_id": "a", "vertical": "tea"}\n\n{"campaign_id": "b"}\n'
    (tmp_path / "plain.jsonl").write_bytes(text)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(text))

    for name in ("plain.jsonl", "packed.jsonl.gz"):
        assert read_verticals(tmp_path / name) == {"a": "tea"}


def test_a_malformed_ground_truth_names_file_and_line(tmp_path: Path) -> None:
    """The message says where to look."""
    (tmp_path / "truth.jsonl").write_text('{"campaign_id": "a", "vertical": "tea"}\nnonsense\n')

    with pytest.raises(ExportError, match=r"truth\.jsonl, line 2"):
        read_verticals(tmp_path / "truth.jsonl")
