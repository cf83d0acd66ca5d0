"""Keywords that some campaigns use, weighed for one campaign, compiled: the score of :mod:`topic_model.recommend`."""

from __future__ import annotations

from math import isnan, log1p, nan
from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, types

from topic_model.kernels.best import keep
from topic_model.kernels.jit import FAST_MATH, array, kernel

SCORE, SUMMED, CAMPAIGNS, CLICKS, CONVERSIONS, COST = range(6)
"""Columns of what is found of a keyword."""
_KEYWORD_BITS = 32
_FOUND: Any = types.Tuple((array(int64, 1, writable=True), array(float64, 2, writable=True)))  # type: ignore[no-untyped-call]


@kernel(fastmath=FAST_MATH)
def _lift(row, theta):  # type: ignore[no-untyped-def]
    """How much likelier a term is in these topics than anywhere."""
    total = float32(0)
    for k in range(len(theta)):
        total += row[k] * theta[k]
    return total


@kernel()
def _fit(terms, lift, theta, lifts):  # type: ignore[no-untyped-def]
    """r / (1 + r), r the mean over terms; ``lifts`` remembers those of terms that were met, 0 for the others."""
    if not len(terms):
        return 0.5  # a keyword without a known term says nothing for or against
    total = 0.0
    for term in terms:
        if lifts[term] == 0:
            lifts[term] = _lift(lift[term], theta)
        total += lifts[term]
    mean = total / len(terms)
    return mean / (1 + mean)


@kernel()
def _demand(clicks, most):  # type: ignore[no-untyped-def]
    return 0.875 if most <= 0 or isnan(clicks) else 0.75 + 0.25 * min(log1p(clicks) / log1p(most), 1.0)


@kernel()
def _efficiency(conversions, cost, average):  # type: ignore[no-untyped-def]
    if average <= 0 or isnan(conversions) or isnan(cost):
        return 0.5
    relative = (conversions + 1) / (cost + 1 / average) / average
    return relative / (1 + relative)


@kernel()
def _collect(neighbours, similarities, indptr, keywords, figures, evidence):  # type: ignore[no-untyped-def]
    """The distinct keywords of the neighbours, ascending, with their evidence; sums are in the neighbours' order."""
    uses = 0
    for row in neighbours:
        uses += indptr[row + 1] - indptr[row]
    sorted_uses, where, whose = np.empty(uses, np.int64), np.empty(uses, np.int64), np.empty(uses, np.int64)
    at = 0
    for place in range(len(neighbours)):
        for use in range(indptr[neighbours[place]], indptr[neighbours[place] + 1]):
            sorted_uses[at] = (int64(keywords[use]) << _KEYWORD_BITS) | at
            where[at], whose[at] = use, place
            at += 1
    sorted_uses.sort()
    distinct = np.empty(uses, np.int64)
    found = 0
    for one in sorted_uses:
        keyword, nth = one >> _KEYWORD_BITS, one & ((int64(1) << _KEYWORD_BITS) - 1)
        if not found or keyword != distinct[found - 1]:
            distinct[found] = keyword
            evidence[found, :CLICKS] = 0.0
            evidence[found, CLICKS:] = nan
            found += 1
        own = evidence[found - 1]
        own[SUMMED] += similarities[whose[nth]]
        own[CAMPAIGNS] += 1
        for column in range(3):
            figure = float64(figures[where[nth], column])
            if not isnan(figure):
                own[CLICKS + column] = figure if isnan(own[CLICKS + column]) else own[CLICKS + column] + figure
    return distinct[:found]


@kernel(
    _FOUND(
        array(int64, 1), array(float64, 1), array(int32, 1), array(float32, 1), array(int64, 1), array(int32, 1),
        array(float32, 2), array(int64, 1), array(int32, 1), array(float32, 2), float64, float64,
        array(float32, 1, writable=True), int64,
    ),
    nogil=True,
)  # fmt: skip
def weigh_keywords(  # type: ignore[no-untyped-def]
    neighbours, similarities, own, theta, indptr, keywords, figures, term_indptr, terms, lift, most_clicks,
    conversion_rate, lifts, wanted,
):  # fmt: skip
    """The best ``wanted`` of the keywords that neighbours use and a campaign lacks, with a row of evidence each.

    ``own`` are the campaign's keyword ids, ascending; ``lifts`` is a work row of shape (n_terms,) of zeros, and is left
    so; the rest is as :class:`~topic_model.recommend.Recommender` holds it.

    The fit, which alone has to fetch a keyword's terms and their lifts, is below 1. So keywords come in the order of
    what their score would be with a fit of 1, and where that is not among the best, terms are not looked at.
    """
    uses = 0
    for row in neighbours:
        uses += indptr[row + 1] - indptr[row]
    evidence = np.empty((uses, 6))
    distinct = _collect(neighbours, similarities, indptr, keywords, figures, evidence)
    whole, at, kept = similarities.sum(), 0, 0
    for place in range(len(distinct)):
        keyword, of = distinct[place], evidence[place]
        while at < len(own) and own[at] < keyword:
            at += 1
        if of[SUMMED] > 0 and not (at < len(own) and own[at] == keyword):
            distinct[kept] = keyword
            evidence[kept] = of
            factors = _demand(of[CLICKS], most_clicks) * _efficiency(of[CONVERSIONS], of[COST], conversion_rate)
            evidence[kept, SCORE] = of[SUMMED] / whole * factors
            kept += 1
    # Nine decimals, so that equals are equal; among them the first by alphabet comes first.
    number = min(wanted, kept)
    best, units = np.empty(number, np.int64), np.empty(number, np.int64)
    found, looked_at = 0, 0
    by_bound = np.argsort(-evidence[:kept, SCORE])
    for place in by_bound:
        of = evidence[place]
        if found == number and np.rint(of[SCORE] * 1e9) < units[number - 1]:
            break
        looked_at += 1
        keyword = distinct[place]
        of[SCORE] *= _fit(terms[term_indptr[keyword] : term_indptr[keyword + 1]], lift, theta, lifts)
        unit = int64(np.rint(of[SCORE] * 1e9))
        found = keep(units, best, found, unit, place)
    for place in by_bound[:looked_at]:
        for entry in range(term_indptr[distinct[place]], term_indptr[distinct[place] + 1]):
            lifts[terms[entry]] = float32(0)
    return distinct[best], evidence[best]
