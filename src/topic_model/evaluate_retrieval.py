"""How good neighbours are, where it is known what campaigns are about: precision among the first k, beside TF-IDF.

The ground truth is a vertical a campaign. It is a yardstick only and never an input of training or of neighbours.
"""

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from topic_model.errors import ExportError

_BLOCK = 512
MAX_QUERIES = 5_000
"""Campaigns measured at most; more are sampled, so that a large corpus is measured in seconds."""


@dataclass(frozen=True)
class PreparedTerms:
    """Prepared campaigns' bags of terms: ids, and counts of shape (n_campaigns, n_terms) in compressed rows."""

    campaign_ids: list[str]
    counts: sparse.csr_matrix


def read_verticals(path: Path, *, at_most: int | None = None) -> dict[str, str]:
    """The vertical by campaign id of a JSON Lines file (``.gz`` too), of its first ``at_most`` lines if given.

    Lines without a vertical are passed over.

    Raises:
        ExportError: a line is no JSON object; the message names the file and the line.
    """
    verticals = {}
    for number, line in enumerate(itertools.islice(_lines(path), at_most), 1):
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ExportError(
                f"{path}, line {number}: not JSON ({error}); expected campaign_id and vertical"
            ) from error
        if isinstance(record, dict) and "campaign_id" in record and isinstance(record.get("vertical"), str):
            verticals[str(record["campaign_id"]).strip()] = record["vertical"]
    return verticals


def read_prepared_terms(paths: Iterable[Path]) -> PreparedTerms:
    """The bags of terms of the channels' ``campaigns.parquet`` files, as training gets them."""
    term_ids: dict[str, int] = {}
    campaign_ids: list[str] = []
    indices: list[int] = []
    counts: list[int] = []
    indptr = [0]
    for path in paths:
        table = pyarrow.parquet.read_table(path, columns=["campaign_id", "terms", "term_counts"])
        for row in table.to_pylist():
            campaign_ids.append(row["campaign_id"])
            indices += [term_ids.setdefault(term, len(term_ids)) for term in row["terms"]]
            counts += row["term_counts"]
            indptr.append(len(indices))
    matrix = sparse.csr_matrix(
        (np.asarray(counts, dtype=np.float64), np.asarray(indices, dtype=np.int64), np.asarray(indptr, dtype=np.int64)),
        shape=(len(campaign_ids), max(1, len(term_ids))),
    )
    return PreparedTerms(campaign_ids, matrix)


def read_neighbours(paths: Iterable[Path]) -> dict[str, list[str]]:
    """The similar campaigns' ids, most similar first, by campaign id, of the ``lookups/rows-*.jsonl`` files."""
    neighbours = {}
    for path in paths:
        for line in _lines(path):
            row = orjson.loads(line)
            neighbours[row["campaign_id"]] = [similar["campaign_id"] for similar in row["similar"]]
    return neighbours


def tfidf_neighbours(terms: PreparedTerms, queries: Sequence[str], keep: int) -> dict[str, list[str]]:
    """The ``keep`` campaigns of largest TF-IDF cosine to each query, brute force; a cosine of 0 is no neighbour."""
    # Damped counts are the stronger baseline on what people typed; rows have length 1, so the product is the cosine.
    weights = TfidfTransformer(sublinear_tf=True).fit_transform(terms.counts)
    row_of = {campaign_id: row for row, campaign_id in enumerate(terms.campaign_ids)}
    rows = [row_of[query] for query in queries]
    found = {}
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        cosines = (weights[block] @ weights.T).toarray()
        cosines[np.arange(len(block)), block] = 0  # not itself
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :keep]
        for position, row in enumerate(block):
            nearest = [column for column in order[position] if cosines[position, column] > 0]
            found[terms.campaign_ids[row]] = [terms.campaign_ids[column] for column in nearest]
    return found


def sibling_group(campaign_id: str) -> str:
    """The id before its last ``-``; campaigns of one group were cut from one source and are easy neighbours."""
    return campaign_id.rpartition("-")[0] or campaign_id


def precision_at(
    k: int,
    neighbours: Mapping[str, Sequence[str]],
    verticals: Mapping[str, str],
    queries: Sequence[str],
    leave_out: Callable[[str, str], bool] = lambda query, other: False,  # noqa: ARG005 - nothing is left out
) -> float:
    """Mean over the queries of the share of their first k neighbours that are of the query's own vertical, in [0, 1].

    A neighbour that is not there counts as wrong: a method that finds few is not better for it. ``leave_out(query,
    other)`` says which neighbours are passed over.
    """
    if not queries:
        return float("nan")
    hits = 0
    for query in queries:
        first = [other for other in neighbours.get(query, ()) if not leave_out(query, other)][:k]
        hits += sum(verticals.get(other) == verticals[query] for other in first)
    return hits / (k * len(queries))


def evaluate_retrieval(
    terms: PreparedTerms,
    neighbours: Mapping[str, Sequence[str]],
    verticals: Mapping[str, str],
    *,
    k: int = 5,
    seed: int = 20_260_601,
) -> dict[str, Any]:
    """Precision@k of the neighbours beside that of TF-IDF cosine over the same terms, and of chance.

    Queries are the campaigns with a vertical and at least one term; those that the model gave no neighbours count
    against it. ``without_siblings`` leaves out the campaigns of the query's own :func:`sibling_group`, which is the
    hard measure where ids name such groups; ``short_lists`` counts queries that have fewer than k neighbours left
    then, because the lookups hold only so many.
    """
    with_terms = np.diff(terms.counts.indptr) > 0
    labelled = [
        campaign_id
        for campaign_id, has_terms in zip(terms.campaign_ids, with_terms, strict=True)
        if has_terms and campaign_id in verticals
    ]
    queries = labelled
    if len(queries) > MAX_QUERIES:
        chosen = np.random.default_rng(seed).choice(len(labelled), MAX_QUERIES, replace=False)
        queries = [labelled[position] for position in sorted(chosen)]
    groups = Counter(sibling_group(campaign_id) for campaign_id in terms.campaign_ids)
    largest = max((groups[sibling_group(query)] for query in queries), default=0)
    grouped = 1 < largest < len(terms.campaign_ids)
    baseline = tfidf_neighbours(terms, queries, keep=k + (largest if grouped else 0))
    result: dict[str, Any] = {
        "k": k,
        "campaigns": len(terms.campaign_ids),
        "queries": len(queries),
        "verticals": len({verticals[query] for query in queries}),
        "chance": _chance(labelled, verticals),
        f"precision_at_{k}": precision_at(k, neighbours, verticals, queries),
        f"tfidf_precision_at_{k}": precision_at(k, baseline, verticals, queries),
    }
    if grouped:

        def siblings(query: str, other: str) -> bool:
            return sibling_group(query) == sibling_group(other)

        left = (sum(not siblings(query, other) for other in neighbours.get(query, ())) for query in queries)
        result["without_siblings"] = {
            f"precision_at_{k}": precision_at(k, neighbours, verticals, queries, siblings),
            f"tfidf_precision_at_{k}": precision_at(k, baseline, verticals, queries, siblings),
            "short_lists": sum(count < k for count in left),
        }
    return result


def _chance(labelled: Sequence[str], verticals: Mapping[str, str]) -> float:
    """The expected share of the query's own vertical among neighbours drawn at random."""
    sizes = Counter(verticals[campaign_id] for campaign_id in labelled)
    total = len(labelled)
    if total < 2:
        return float("nan")
    return sum(size * (size - 1) for size in sizes.values()) / (total * (total - 1))


def _lines(path: Path) -> Iterator[bytes]:
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as packed:
            yield from packed
    else:
        with path.open("rb") as plain:
            yield from plain
