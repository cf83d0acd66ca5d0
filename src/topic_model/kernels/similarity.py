"""Which campaigns of the index are nearest to one, compiled: the blend's three inner products, row by row.

The time is that of fetching rows: some 400 bytes of each dense part and of terms. So the latent space, which counts
most, is looked at first and topics, which count least, last, and a row is let go as soon as what is left could not
bring it among the nearest: no cosine of unit vectors is above 1. The nearest lists are gone through first, so that this
is soon, and latent space and terms are held in the lists' order too, in which they are fetched as one.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numba import boolean, float32, float64, int32, int64, void

from topic_model.kernels.best import keep
from topic_model.kernels.jit import FAST_MATH, array, kernel

UNITS = 1_000_000
"""A similarity is a whole number of millionths, far above float32's error: a tie is a tie, whoever computes it."""
_TOLERANCE = 1e-5  # of float32's sums and of rounding, and so that ties with the last of the nearest stay in
_FLOATS, _MATRIX = array(float32, 1), array(float32, 2)
#: The campaigns: roots; latent space and the terms' three arrays, and whether these are in the order of the lists.
_INDEX = (_MATRIX, _MATRIX, array(int64, 1), array(int32, 1), _FLOATS, boolean)
#: Where to look: centres, rows list by list or nothing, where each list begins, how many lists.
_SCOPE = (_MATRIX, array(int64, 1), array(int64, 1), int64)
#: How: the shares of topics, company and terms, and the least similarity in millionths.
_BLEND = (array(float64, 1), int64)


@kernel(fastmath=FAST_MATH)
def _nearest_lists(centres, root, company, shares, probes, chosen, place, nearness):  # type: ignore[no-untyped-def]
    """Into ``chosen``: the lists whose centres have the largest inner product with a campaign, the largest first."""
    by_root, by_company = sqrt(shares[0]), sqrt(shares[1])
    for k in range(len(root)):
        place[k] = float32(by_root * root[k])
    for k in range(len(company)):
        place[len(root) + k] = float32(by_company * company[k])
    held = 0
    for one in range(len(centres)):
        near = float32(0)
        centre = centres[one]
        for k in range(len(place)):
            near += centre[k] * place[k]
        if held == probes and near <= nearness[held - 1]:
            continue
        held = min(held + 1, probes)
        position = held - 1
        while position > 0 and nearness[position - 1] < near:
            nearness[position], chosen[position] = nearness[position - 1], chosen[position - 1]
            position -= 1
        nearness[position], chosen[position] = near, one


@kernel(fastmath=FAST_MATH)
def _search(  # type: ignore[no-untyped-def]
    roots, latent, indptr, indices, values, by_list, order, starts, chosen, shares, least, own_row, root,
    company, terms, rows, units,
):  # fmt: skip
    """Into ``rows`` and ``units``: the nearest of the chosen lists' campaigns, by similarity and then row; how many.

    ``terms`` are the campaign's, dense, of shape (n_terms,).
    """
    listed = len(order) > 0
    number, found = len(rows), 0
    reach = least / UNITS - _TOLERANCE
    for one in chosen:
        for place in range(starts[one], starts[one + 1]):
            row = order[place] if listed else place
            if row == own_row:
                continue
            near = float32(0)
            fetched = place if by_list else row
            other_company = latent[fetched]
            for k in range(len(company)):
                near += company[k] * other_company[k]
            similarity = shares[1] * max(near, float32(0))
            if similarity + shares[0] + shares[2] < reach:
                continue
            overlap = float32(0)
            for entry in range(indptr[fetched], indptr[fetched + 1]):
                overlap += terms[indices[entry]] * values[entry]
            similarity += shares[2] * overlap
            if similarity + shares[0] < reach:
                continue
            topic = float32(0)
            other_root = roots[row]
            for k in range(len(root)):
                topic += root[k] * other_root[k]
            similarity += shares[0] * topic
            unit = int64(np.rint(min(similarity, 1.0) * UNITS))
            if unit < least:
                continue
            found = keep(units, rows, found, unit, row)
            if found == number:
                reach = max(least, units[number - 1]) / UNITS - _TOLERANCE
    return found


@kernel(
    int64(
        *_INDEX, *_SCOPE, *_BLEND, int64, _FLOATS, _FLOATS, array(int64, 1), _FLOATS, array(float32, 1, writable=True),
        array(int64, 1, writable=True), array(int64, 1, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)  # fmt: skip
def nearest_to_one(  # type: ignore[no-untyped-def]
    roots, latent, indptr, indices, values, by_list, centres, order, starts, probes, shares, least, own_row,
    root, company, ids, weights, terms, rows, units,
):  # fmt: skip
    """The number of the nearest of one campaign, which go into ``rows`` and, in millionths, into ``units``.

    The campaign is its square roots ``root`` of shape (K,), its place ``company`` in the latent space, and the terms
    ``ids`` with ``weights``. ``terms`` is a work row of shape (n_terms,) of zeros, and is left so. ``own_row``, -1 for
    none, is left out. Without ``centres``, the campaigns of the one list that ``starts`` tells of are compared.
    """
    for j in range(len(ids)):
        terms[ids[j]] = weights[j]
    chosen = np.zeros(probes, dtype=np.int64)
    if len(centres):
        place, nearness = np.empty(centres.shape[1], dtype=np.float32), np.empty(probes, dtype=np.float32)
        _nearest_lists(centres, root, company, shares, probes, chosen, place, nearness)
    found = _search(
        roots, latent, indptr, indices, values, by_list, order, starts, chosen, shares, least, own_row, root,
        company, terms, rows, units,
    )  # fmt: skip
    for j in range(len(ids)):
        terms[ids[j]] = float32(0)
    return found


@kernel(
    void(
        *_INDEX, *_SCOPE, *_BLEND, int64, int64, int64, int64, array(int64, 2, writable=True),
        array(int64, 2, writable=True), array(int64, 1, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)  # fmt: skip
def nearest_to_rows(  # type: ignore[no-untyped-def]
    roots, latent, indptr, indices, values, by_list, centres, order, starts, probes, shares, least, n_terms,
    first, stop, offset, rows, units, counts,
):  # fmt: skip
    """:func:`nearest_to_one` of each of the index's own campaigns at some places of the scope's order.

    What is found of row r is at r - ``offset``. Campaigns of a list are near each other in that order, and find most of
    what they look at in the processor's cache.
    """
    terms = np.zeros(n_terms, dtype=np.float32)
    chosen = np.zeros(probes, dtype=np.int64)
    place, nearness = np.empty(centres.shape[1], dtype=np.float32), np.empty(probes, dtype=np.float32)
    for one in range(first, stop):
        row = order[one] if len(order) else one
        own = one if by_list else row
        for entry in range(indptr[own], indptr[own + 1]):
            terms[indices[entry]] = values[entry]
        if len(centres):
            _nearest_lists(centres, roots[row], latent[own], shares, probes, chosen, place, nearness)
        counts[row - offset] = _search(
            roots, latent, indptr, indices, values, by_list, order, starts, chosen, shares, least, row,
            roots[row], latent[own], terms, rows[row - offset], units[row - offset],
        )  # fmt: skip
        for entry in range(indptr[own], indptr[own + 1]):
            terms[indices[entry]] = float32(0)
