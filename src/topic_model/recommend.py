"""Recommended keywords: what similar campaigns use and this one lacks, ranked by evidence.

Keywords that have the same terms ("running shoes", "shoes for running") are one keyword here, shown in its most used
wording. The score of a keyword, in [0, 1], is ``support * fit * demand * efficiency``:

- support: the share of the summed similarity of the neighbours that are not weak (``min_evidence_similarity``) that
  comes from those which use the keyword;
- fit: r / (1 + r), where r is how much likelier the keyword's terms are in the campaign's own topics than anywhere
  (the mean over terms of sum_k theta_k beta_kw / p(w)); neighbours have side topics too, and those are not for us;
- demand: 0.75 + 0.25 ln(1 + clicks) / ln(1 + c), c the most clicks any keyword has; 0.875 where no export has clicks;
- efficiency: e / (1 + e), e the conversions a unit of cost over the average of all keywords, smoothed by one average
  conversion; 0.5 where the export has no conversions or cost.

A campaign's own keywords, in whatever wording, and what its negative keywords exclude are never recommended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from topic_model.arrays import Float32Array, FloatArray, IntArray, csr, joined_ranges
from topic_model.corpus import Vocabulary, read_prepared
from topic_model.model import TopicModel
from topic_model.text import Tokenizer

FIGURES = ("clicks", "conversions", "cost")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One keyword with its evidence; figures are sums over the neighbours that use it, None where none has them."""

    keyword: str
    score: float
    campaigns: int
    similarity: float
    clicks: float | None
    conversions: float | None
    cost: float | None


@dataclass(frozen=True)
class KeywordTable:
    """Which campaign uses which keyword, with what result.

    ``indptr`` (n_campaigns + 1), ``keywords`` (uses): compressed sparse rows of keyword ids, ascending in a row;
    ``figures`` (uses, 3): clicks, conversions, cost, NaN where the export has none; ``terms`` is CSR of shape
    (n_keywords, n_terms) and holds 1 where a keyword has a known term.
    """

    phrases: Sequence[str]
    keys: Sequence[str]
    indptr: IntArray
    keywords: IntArray
    figures: Float32Array
    terms: Any

    @cached_property
    def ids(self) -> dict[str, int]:
        """Keyword id by key; a key is the keyword's sorted terms."""
        return {key: position for position, key in enumerate(self.keys)}

    @cached_property
    def totals(self) -> tuple[float, float]:
        """The most clicks of one keyword in one campaign, and the conversions a unit of cost over all uses."""
        clicks, conversions, cost = (self.figures[:, column].astype(np.float64) for column in range(3))
        most = float(np.nanmax(clicks)) if np.isfinite(clicks).any() else 0.0
        both = np.isfinite(conversions) & np.isfinite(cost)
        spent = float(cost[both].sum())
        return most, float(conversions[both].sum()) / spent if spent > 0 else 0.0


def keyword_key(terms: Iterable[str]) -> str:
    """The identity of a keyword: its distinct terms, sorted."""
    return " ".join(sorted(set(terms)))


def build_keyword_table(
    files: Sequence[Path], campaign_ids: Sequence[str], vocabulary: Vocabulary, tokenizer: Tokenizer
) -> KeywordTable:
    """The keyword table of the campaigns named, in their order, from prepared channels."""
    columns = ["campaign_id", "keywords", *(f"keyword_{name}" for name in FIGURES)]
    table = read_prepared(files, columns)
    position = pc.index_in(pa.array(campaign_ids, pa.string()), value_set=table["campaign_id"].combine_chunks())
    table = table.take(position).combine_chunks()
    lists = table["keywords"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.repeat(np.arange(len(campaign_ids)), lengths)
    encoded = lists.flatten().dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64)
    figures = np.column_stack(
        [table[f"keyword_{name}"].combine_chunks().flatten().to_numpy(zero_copy_only=False) for name in FIGURES]
    ).astype(np.float64)

    distinct = encoded.dictionary.to_pylist()
    keys = [keyword_key(terms) for terms in tokenizer.pipe(distinct)]
    used = np.bincount(codes, minlength=len(distinct))
    # The most used wording stands for a key; among equals the shortest, then the first by alphabet.
    best: dict[str, int] = {}
    for code, key in enumerate(keys):
        if key and (key not in best or _preferred(distinct[code], used[code], distinct[best[key]], used[best[key]])):
            best[key] = code
    ordered = sorted(best)
    ids = {key: number for number, key in enumerate(ordered)}
    keyword_of = np.array([ids.get(key, -1) for key in keys], dtype=np.int64)[codes] if len(codes) else codes
    kept = keyword_of >= 0
    indptr, keyword_ids, summed = _summed_uses(rows[kept], keyword_of[kept], figures[kept], len(campaign_ids))
    return KeywordTable(
        [distinct[best[key]] for key in ordered],
        ordered,
        indptr,
        keyword_ids,
        summed,
        _keyword_terms(ordered, vocabulary),
    )


def _preferred(phrase: str, uses: int, other: str, other_uses: int) -> bool:
    return (-uses, len(phrase), phrase) < (-other_uses, len(other), other)


def _summed_uses(
    rows: IntArray, keywords: IntArray, figures: FloatArray, n_campaigns: int
) -> tuple[IntArray, IntArray, Float32Array]:
    """Uses by campaign and keyword, figures of the same pair summed; a figure nobody has stays NaN."""
    order = np.lexsort((keywords, rows))
    rows, keywords, figures = rows[order], keywords[order], figures[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (rows[1:] != rows[:-1]) | (keywords[1:] != keywords[:-1])
    starts = np.flatnonzero(first)
    summed = np.zeros((len(starts), len(FIGURES)), dtype=np.float32)
    if len(starts):
        known = np.add.reduceat(np.isfinite(figures), starts, axis=0, dtype=np.int64)
        sums = np.add.reduceat(np.nan_to_num(figures), starts, axis=0)
        summed = np.where(known > 0, sums, np.nan).astype(np.float32)
    indptr = np.zeros(n_campaigns + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows[starts], minlength=n_campaigns), out=indptr[1:])
    return indptr, keywords[starts], summed


def _keyword_terms(keys: Sequence[str], vocabulary: Vocabulary) -> Any:
    indices: list[int] = []
    indptr = [0]
    for key in keys:
        indices += [vocabulary.ids[term] for term in key.split(" ") if term in vocabulary.ids]
        indptr.append(len(indices))
    return csr(np.ones(len(indices), dtype=np.float32), np.array(indices, dtype=np.int32), indptr, len(vocabulary))


def exclusions(negatives: Iterable[str], tokenizer: Tokenizer) -> list[frozenset[str]]:
    """What each negative phrase excludes: keywords that have all of a set's terms and words.

    As with the platforms' broad negatives, all words of a phrase must be there, in any order. A word counts by its
    terms, so that ``shoes`` excludes ``running shoe`` too, and by itself where it has none (``best``, ``2025``).
    """
    found = []
    for negative in negatives:
        words = negative.split()
        parts: set[str] = set()
        for word, terms in zip(words, tokenizer.pipe(words), strict=True):
            parts.update(terms or _WORD.findall(word))
        if parts:
            found.append(frozenset(parts))
    return found


class Recommender:
    """Ranks keywords for campaigns; holds what is the same for all of them."""

    def __init__(self, table: KeywordTable, model: TopicModel, theta: Float32Array) -> None:
        self._table = table
        marginal = theta.mean(axis=0, dtype=np.float64) @ model.beta
        # lift[w] @ theta = sum_k theta_k beta_kw / p(w), of shape (n_terms, K)
        self._lift = np.ascontiguousarray((model.beta / np.maximum(marginal, 1e-12)).T, dtype=np.float32)

    def own_keywords(self, row: int) -> IntArray:
        """Keyword ids that a campaign of the index uses."""
        return self._table.keywords[self._table.indptr[row] : self._table.indptr[row + 1]]

    def ids_of(self, keys: Iterable[str]) -> IntArray:
        """Keyword ids of keys; unknown ones are left out."""
        known = {self._table.ids[key] for key in keys if key in self._table.ids}
        return np.array(sorted(known), dtype=np.int64)

    def recommend(
        self,
        theta: FloatArray,
        neighbours: IntArray,
        similarities: FloatArray,
        *,
        own: IntArray,
        excluded: Sequence[frozenset[str]],
        number: int,
        min_similarity: float = 0.0,
    ) -> list[Recommendation]:
        """At most ``number`` keywords that the neighbours use and the campaign lacks, best first.

        ``neighbours`` are rows of the table, ``own`` the campaign's keyword ids, ``excluded`` what its negative
        keywords exclude: see :func:`exclusions`. Neighbours below ``min_similarity`` have no say: a weak neighbour is
        shown, but what it bids on is no advice.
        """
        strong = similarities >= min_similarity
        neighbours, similarities = neighbours[strong], similarities[strong]
        if not len(neighbours) or not number or not similarities.any():
            return []
        table = self._table
        starts = table.indptr[neighbours]
        lengths = table.indptr[neighbours + 1] - starts
        uses = joined_ranges(starts, lengths)
        keywords, use = np.unique(table.keywords[uses], return_inverse=True)
        summed = np.bincount(use, np.repeat(similarities, lengths), minlength=len(keywords))
        campaigns = np.bincount(use, minlength=len(keywords))
        figures = table.figures[uses]
        clicks, conversions, cost = (_sum_by(use, figures[:, column], len(keywords)) for column in range(3))
        score = (
            summed
            / similarities.sum()
            * self._fit(theta, keywords)
            * self._demand(clicks)
            * self._efficiency(conversions, cost)
        )
        lacking = np.flatnonzero((summed > 0) & ~np.isin(keywords, own))
        chosen: list[Recommendation] = []
        for best in lacking[np.lexsort((keywords[lacking], -np.round(score[lacking], 9)))]:
            keyword = int(keywords[best])
            if _is_excluded(table.phrases[keyword], table.keys[keyword], excluded):
                continue
            chosen.append(
                Recommendation(
                    table.phrases[keyword],
                    round(float(score[best]), 6),
                    int(campaigns[best]),
                    round(float(summed[best]) / int(campaigns[best]), 6),
                    *(_figure(values[best]) for values in (clicks, conversions, cost)),
                )
            )
            if len(chosen) == number:
                break
        return chosen

    def _fit(self, theta: FloatArray, keywords: IntArray) -> FloatArray:
        terms = self._table.terms
        starts = terms.indptr[keywords]
        lengths = terms.indptr[keywords + 1] - starts
        distinct, place = np.unique(terms.indices[joined_ranges(starts, lengths)], return_inverse=True)
        lift = (self._lift[distinct] @ theta)[place]
        sums = np.bincount(np.repeat(np.arange(len(keywords)), lengths), lift, minlength=len(keywords))
        mean = sums / np.maximum(lengths, 1)
        # A keyword without a known term says nothing for or against.
        return np.asarray(np.where(lengths > 0, mean / (1 + mean), 0.5), dtype=np.float64)

    def _demand(self, clicks: FloatArray) -> FloatArray:
        most = self._table.totals[0]
        if most <= 0:
            return np.full(len(clicks), 0.875)
        share = np.minimum(np.log1p(clicks) / np.log1p(most), 1)
        return np.asarray(np.where(np.isfinite(clicks), 0.75 + 0.25 * share, 0.875), dtype=np.float64)

    def _efficiency(self, conversions: FloatArray, cost: FloatArray) -> FloatArray:
        average = self._table.totals[1]
        if average <= 0:
            return np.full(len(cost), 0.5)
        relative = (conversions + 1) / (cost + 1 / average) / average
        known = np.isfinite(relative)
        return np.asarray(np.where(known, relative / (1 + relative), 0.5), dtype=np.float64)


def _sum_by(groups: IntArray, values: Float32Array, number: int) -> FloatArray:
    known = np.isfinite(values)
    sums = np.bincount(groups[known], values[known].astype(np.float64), minlength=number).astype(np.float64)
    sums[np.bincount(groups[known], minlength=number) == 0] = np.nan
    return np.asarray(sums, dtype=np.float64)


def _is_excluded(phrase: str, key: str, excluded: Sequence[frozenset[str]]) -> bool:
    if not excluded:
        return False
    parts = {*_WORD.findall(phrase), *key.split(" ")}
    return any(every <= parts for every in excluded)


def _figure(value: float) -> float | None:
    return round(float(value), 2) if np.isfinite(value) else None


def recommendation_record(recommendation: Recommendation) -> Mapping[str, Any]:
    """The recommendation as lookup rows and answers show it."""
    return {
        "keyword": recommendation.keyword,
        "score": recommendation.score,
        "campaigns": recommendation.campaigns,
        "similarity": recommendation.similarity,
        "clicks": recommendation.clicks,
        "conversions": recommendation.conversions,
        "cost": recommendation.cost,
    }
