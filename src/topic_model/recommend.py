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
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from topic_model.arrays import Float32Array, FloatArray, IntArray, joined_ranges
from topic_model.bags import Int32Array, pointers
from topic_model.corpus import Vocabulary
from topic_model.model import TopicModel
from topic_model.prepared import MERGE_TEXTS, list_lengths, prepared_batches
from topic_model.text import Tokenizer
from topic_model.texts import Texts

FIGURES = ("clicks", "conversions", "cost")
_FIGURE_COLUMNS = tuple(f"keyword_{name}" for name in FIGURES)
_PHRASES_A_BLOCK = 100_000
_WORD = re.compile(r"\w+")
_SPARE, _MORE = 20, 8  # keywords that may turn out to be the campaign's own, and how many times as many if more do
_NO_KEYWORDS = np.zeros(0, dtype=np.int32)


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

    ``phrases`` and ``keys`` are the keywords' wordings and sorted terms, by ascending key. ``indptr`` (n_campaigns + 1)
    and ``keywords`` (uses) are compressed sparse rows of keyword ids, ascending in a row; ``figures`` (uses, 3):
    clicks, conversions, cost, NaN where the export has none. ``term_indptr`` (n_keywords + 1) and ``terms`` are the
    known terms of each keyword. ``most_clicks`` are those of one keyword in one campaign, ``conversion_rate`` the
    conversions a unit of cost over all uses.
    """

    phrases: Texts
    keys: Texts
    indptr: IntArray
    keywords: Int32Array
    figures: Float32Array
    term_indptr: IntArray
    terms: Int32Array
    most_clicks: float
    conversion_rate: float


def keyword_key(terms: Iterable[str]) -> str:
    """The identity of a keyword: its distinct terms, sorted."""
    return " ".join(sorted(set(terms)))


def build_keyword_table(
    files: Sequence[Path], campaign_ids: Sequence[str], vocabulary: Vocabulary, tokenizer: Tokenizer
) -> KeywordTable:
    """The keyword table of the campaigns named, in their order, from prepared channels.

    The channels are read a batch of campaigns at a time, first for their keywords, then for the figures: what grows is
    the distinct keywords, and 24 bytes a use of one.
    """
    batches, distinct = _read_phrases(files, campaign_ids)
    ordered, phrases, keyword_of = _keywords(distinct, batches, tokenizer)
    summed = []
    figures = (_figures(batch) for file in files for batch in prepared_batches(file, list(_FIGURE_COLUMNS)))
    for batch, values in zip(batches, figures, strict=True):
        keywords = keyword_of[batch.codes]
        kept = (keywords >= 0) & np.repeat(batch.rows >= 0, batch.lengths)
        uses = np.repeat(np.arange(len(batch.rows)), batch.lengths)[kept]
        summed.append(_summed_uses(uses, keywords[kept], values[kept], len(batch.rows)))
    lengths = np.zeros(len(campaign_ids), dtype=np.int64)
    for batch, (indptr, _, _) in zip(batches, summed, strict=True):
        wanted = batch.rows >= 0
        lengths[batch.rows[wanted]] = np.diff(indptr)[wanted]
    indptr = pointers(lengths)
    keyword_ids = np.empty(int(indptr[-1]), dtype=np.int32)
    all_figures = np.empty((int(indptr[-1]), len(FIGURES)), dtype=np.float32)
    for batch in batches:
        wanted = batch.rows >= 0
        own_indptr, own_keywords, own_figures = summed.pop(0)
        # A campaign that is not wanted has no uses left, so what is left stands as the wanted campaigns do.
        places = joined_ranges(indptr[batch.rows[wanted]], np.diff(own_indptr)[wanted])
        keyword_ids[places] = own_keywords
        all_figures[places] = own_figures
    return KeywordTable(
        Texts.of(phrases),
        Texts.of(ordered),
        indptr,
        keyword_ids,
        all_figures,
        *_keyword_terms(ordered, vocabulary),
        *_totals(all_figures),
    )


@dataclass(frozen=True, slots=True)
class _PhrasesOfBatch:
    """The keywords of some prepared campaigns: each campaign's row of the table, or -1, its number of keywords, and the
    code of each keyword."""

    rows: IntArray
    lengths: IntArray
    codes: Int32Array


def _read_phrases(files: Sequence[Path], campaign_ids: Sequence[str]) -> tuple[list[_PhrasesOfBatch], pa.Array]:
    """The keywords of all campaigns as codes of distinct phrases, a batch as :func:`prepared_batches` gives them."""
    ids: list[pa.Array] = []
    lengths: list[IntArray] = []
    phrases = _PhraseCodes()
    for file in files:
        for batch in prepared_batches(file, ["campaign_id", "keywords"]):
            ids.append(batch["campaign_id"].cast(pa.large_string()))
            lengths.append(list_lengths(batch["keywords"]))
            phrases.add(batch["keywords"].flatten())
    rows = pc.index_in(pa.chunked_array(ids, pa.large_string()), value_set=pa.array(campaign_ids, pa.large_string()))
    ends = np.cumsum([len(batch) for batch in lengths])[:-1]
    parts = np.split(np.asarray(pc.fill_null(rows, -1), dtype=np.int64), ends)
    codes, distinct = phrases.finish()
    return [_PhrasesOfBatch(*batch) for batch in zip(parts, lengths, codes, strict=True)], distinct


class _PhraseCodes:
    """Phrases as codes of one dictionary, which is made one whenever as many wait as are known."""

    def __init__(self) -> None:
        self._chunks = pa.chunked_array([], pa.dictionary(pa.int32(), pa.large_string()))
        self._waiting: list[pa.DictionaryArray] = []
        self._number = 0

    def add(self, phrases: pa.Array) -> None:
        """The phrases of one batch."""
        self._waiting.append(phrases.cast(pa.large_string()).dictionary_encode())
        self._number += len(self._waiting[-1].dictionary)
        known = len(self._chunks.chunk(0).dictionary) if self._chunks.num_chunks else 0
        if self._number >= max(MERGE_TEXTS, known):
            self._merge()

    def _merge(self) -> None:
        chunks = [*self._chunks.chunks, *self._waiting]
        self._chunks = pa.chunked_array(chunks, self._chunks.type).unify_dictionaries()
        self._waiting, self._number = [], 0

    def finish(self) -> tuple[list[Int32Array], pa.Array]:
        """The codes of each batch, and the phrases by code."""
        self._merge()
        chunks = self._chunks.chunks
        distinct = chunks[0].dictionary if chunks else pa.array([], pa.large_string())
        return [np.asarray(chunk.indices, dtype=np.int32) for chunk in chunks], distinct


def _keywords(
    distinct: pa.Array, batches: Sequence[_PhrasesOfBatch], tokenizer: Tokenizer
) -> tuple[list[str], list[str], Int32Array]:
    """The keywords' keys by alphabet, the wording that stands for each, and the keyword of each phrase, or -1.

    The most used wording stands for a key; among equals the shortest, then the first by alphabet.
    """
    used = np.zeros(len(distinct), dtype=np.int64)
    for batch in batches:
        used += np.bincount(batch.codes[np.repeat(batch.rows >= 0, batch.lengths)], minlength=len(distinct))
    number_of: dict[str, int] = {}
    best: list[tuple[int, int, str]] = []
    found = np.full(len(distinct), -1, dtype=np.int32)
    wanted = np.flatnonzero(used)
    for start in range(0, len(wanted), _PHRASES_A_BLOCK):
        codes = wanted[start : start + _PHRASES_A_BLOCK]
        phrases = distinct.take(pa.array(codes)).to_pylist()
        for code, phrase, terms in zip(codes.tolist(), phrases, tokenizer.pipe(phrases), strict=True):
            if not (key := keyword_key(terms)):
                continue
            number = number_of.setdefault(key, len(best))
            rank = (-int(used[code]), len(phrase), phrase)
            if number == len(best):
                best.append(rank)
            elif rank < best[number]:
                best[number] = rank
            found[code] = number
    ordered = sorted(number_of)
    place = np.full(len(ordered) + 1, -1, dtype=np.int32)  # the last for phrases without a key
    place[[number_of[key] for key in ordered]] = np.arange(len(ordered))
    return ordered, [best[number_of[key]][2] for key in ordered], place[found]


def _figures(batch: pa.RecordBatch) -> FloatArray:
    """The figures of each keyword, of shape (uses, 3); NaN where the export has none."""
    columns = [batch[name].flatten().to_numpy(zero_copy_only=False) for name in _FIGURE_COLUMNS]
    return np.column_stack(columns).astype(np.float64)


def _summed_uses(
    rows: IntArray, keywords: Int32Array, figures: FloatArray, n_campaigns: int
) -> tuple[IntArray, Int32Array, Float32Array]:
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


def _keyword_terms(keys: Sequence[str], vocabulary: Vocabulary) -> tuple[IntArray, Int32Array]:
    terms: list[int] = []
    indptr = [0]
    for key in keys:
        terms += [vocabulary.ids[term] for term in key.split(" ") if term in vocabulary.ids]
        indptr.append(len(terms))
    return np.array(indptr, dtype=np.int64), np.array(terms, dtype=np.int32)


def _totals(figures: Float32Array) -> tuple[float, float]:
    """The most clicks of one use, and the conversions a unit of cost over all uses; 0 where no use has them."""
    clicks, conversions, cost = (figures[:, column].astype(np.float64) for column in range(3))
    most = float(np.nanmax(clicks)) if np.isfinite(clicks).any() else 0.0
    both = np.isfinite(conversions) & np.isfinite(cost)
    spent = float(cost[both].sum())
    return most, float(conversions[both].sum()) / spent if spent > 0 else 0.0


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
        self._scratch = _Scratch()

    def own_keywords(self, row: int) -> Int32Array:
        """Keyword ids that a campaign of the index uses."""
        return self._table.keywords[self._table.indptr[row] : self._table.indptr[row + 1]]

    def recommend(
        self,
        theta: FloatArray,
        neighbours: IntArray,
        similarities: FloatArray,
        *,
        own: Int32Array | Container[str],
        excluded: Sequence[frozenset[str]],
        number: int,
        min_similarity: float = 0.0,
    ) -> list[Recommendation]:
        """At most ``number`` keywords that the neighbours use and the campaign lacks, best first.

        ``neighbours`` are rows of the table, ``own`` the campaign's keyword ids, or the keys of a fresh one's keywords,
        ``excluded`` what its negative keywords exclude: see :func:`exclusions`. Neighbours below ``min_similarity``
        have no say: a weak neighbour is shown, but what it bids on is no advice.
        """
        strong = similarities >= min_similarity
        neighbours, similarities = neighbours[strong], similarities[strong]
        if not len(neighbours) or not number or not similarities.any():
            return []
        # Few keywords are looked at before enough are found: a fresh campaign's are told by their keys, one by one.
        own_ids, own_keys = (own, ()) if isinstance(own, np.ndarray) else (_NO_KEYWORDS, own)
        wanted = number + (_SPARE if own_keys or excluded else 0)
        while True:
            keywords, evidence = self._weighed(theta, neighbours, similarities, own_ids, wanted)
            chosen = self._chosen(keywords, evidence, own_keys, excluded, number)
            if len(chosen) == number or len(keywords) < wanted:
                return chosen
            wanted *= _MORE

    def _chosen(
        self,
        keywords: IntArray,
        evidence: FloatArray,
        own: Container[str],
        excluded: Sequence[frozenset[str]],
        number: int,
    ) -> list[Recommendation]:
        """The first ``number`` keywords that the campaign neither has nor excludes."""
        table = self._table
        chosen: list[Recommendation] = []
        for keyword, (score, summed, campaigns, *figures) in zip(keywords.tolist(), evidence.tolist(), strict=True):
            if len(chosen) == number:
                break
            key = table.keys[keyword]
            if key in own:
                continue
            phrase = table.phrases[keyword]
            if excluded and _is_excluded(phrase, key, excluded):
                continue
            similarity = round(summed / campaigns, 6)
            chosen.append(Recommendation(phrase, round(score, 6), int(campaigns), similarity, *map(_figure, figures)))
        return chosen

    def _weighed(
        self, theta: FloatArray, neighbours: IntArray, similarities: FloatArray, own: Int32Array, wanted: int
    ) -> tuple[IntArray, FloatArray]:
        """Keyword ids, as many as wanted and the best first, and their evidence."""
        from topic_model.kernels.keywords import weigh_keywords

        if (lifts := self._scratch.lifts) is None:
            lifts = self._scratch.lifts = np.zeros(len(self._lift), dtype=np.float32)
        table = self._table
        found: tuple[IntArray, FloatArray] = weigh_keywords(
            np.ascontiguousarray(neighbours, dtype=np.int64),
            np.ascontiguousarray(similarities, dtype=np.float64),
            np.ascontiguousarray(own, dtype=np.int32),
            theta.astype(np.float32),
            table.indptr,
            table.keywords,
            table.figures,
            table.term_indptr,
            table.terms,
            self._lift,
            table.most_clicks,
            table.conversion_rate,
            lifts,
            wanted,
        )
        return found


class _Scratch(threading.local):
    """A work row of zeros, of shape (n_terms,), a thread."""

    lifts: Float32Array | None = None


def _is_excluded(phrase: str, key: str, excluded: Sequence[frozenset[str]]) -> bool:
    parts = {*_WORD.findall(phrase), *key.split(" ")}
    return any(every <= parts for every in excluded)


def _figure(value: float) -> float | None:
    return round(value, 2) if isfinite(value) else None


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
