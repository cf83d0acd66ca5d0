"""What a campaign shares with each of its neighbours, compiled, and what their similarity is made of."""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int32, int64, void

from topic_model.kernels.jit import FAST_MATH, array, kernel
from topic_model.kernels.similarity import UNITS

TERMS, RELATED, TOPICS = 5, 5, 3
"""As many are named of each kind."""
LEAST_TOPIC_SHARE = 0.1
"""Of the topics' part of the similarity; topics with less are not named."""
NAMED = TERMS + RELATED + TOPICS
PARTS = NAMED + 3


@kernel(fastmath=FAST_MATH)
def _keep_heaviest(one, part, ids, parts):  # type: ignore[no-untyped-def]
    """Put a part among the heaviest, which are above 0 and in descending order; of equals the first stays first."""
    position = len(parts) - 1
    if part <= parts[position]:
        return
    while position > 0 and parts[position - 1] < part:
        parts[position], ids[position] = parts[position - 1], ids[position - 1]
        position -= 1
    parts[position], ids[position] = part, one


@kernel(fastmath=FAST_MATH)
def _shared_terms(ids, weights, others, values, found, parts):  # type: ignore[no-untyped-def]
    """The cosine of two campaigns' terms; the heaviest terms of it go into ``found`` with what each adds."""
    total = 0.0
    for entry in range(len(others)):
        term, low, high = others[entry], 0, len(ids)
        while low < high:
            middle = (low + high) // 2
            if ids[middle] < term:
                low = middle + 1
            else:
                high = middle
        if low < len(ids) and ids[low] == term:
            product = weights[low] * values[entry]
            total += product
            _keep_heaviest(term, product, found, parts)
    return total


@kernel(fastmath=FAST_MATH)
def _related_terms(ids, weights, company, vectors, other, found, parts):  # type: ignore[no-untyped-def]
    """The cosine in the latent space; the terms that keep the other's company go into ``found`` with their shares."""
    cosine = float32(0)
    for k in range(len(company)):
        cosine += company[k] * other[k]
    total = 0.0
    for j in range(len(ids)):
        vector = vectors[ids[j]]
        near = float32(0)
        for k in range(len(company)):
            near += vector[k] * other[k]
        part = weights[j] * near
        if part > 0:
            total += part
            _keep_heaviest(ids[j], part, found, parts)
    if cosine <= 0 or total <= 0:
        found[:] = -1
        parts[:] = 0.0
        return 0.0
    parts *= cosine / total
    return cosine


@kernel(fastmath=FAST_MATH)
def _shared_topics(root, other, found, parts):  # type: ignore[no-untyped-def]
    """The Bhattacharyya coefficient; the topics with a tenth of it or more go into ``found`` with what each adds."""
    total = 0.0
    for k in range(len(root)):
        part = root[k] * other[k]
        total += part
        _keep_heaviest(k, part, found, parts)
    for k in range(TOPICS):
        if parts[k] < LEAST_TOPIC_SHARE * total:
            found[k], parts[k] = -1, 0.0
    return total


@kernel(fastmath=FAST_MATH)
def _in_millionths(similarity, parts, totals, sequence, contributions):  # type: ignore[no-untyped-def]
    """Into ``contributions``: the parts of each kind and the rest of its total, scaled to add up to the similarity."""
    at, first, whole = 0, 0, 0.0
    for kind, number in enumerate((TERMS, RELATED, TOPICS)):
        left = totals[kind]
        for k in range(first, first + number):
            sequence[at] = parts[k]
            left -= parts[k]
            whole += parts[k]
            at += 1
        first += number
        sequence[at] = max(left, 0.0)
        whole += sequence[at]
        at += 1
    # The running sum is rounded and not the parts, so that roundings cannot pile up.
    scale = similarity * UNITS / max(whole, 1e-12)
    before, running = 0, 0.0
    for k in range(PARTS):
        running += sequence[k]
        after = int64(np.rint(scale * running))
        contributions[k] = after - before
        before = after


@kernel(
    void(
        array(int64, 1), array(float64, 1), array(float64, 1), array(int64, 1), array(float64, 1), array(float32, 1),
        array(float32, 2), array(float32, 2), array(float32, 2), array(int64, 1), array(int32, 1), array(float32, 1),
        array(float64, 1), array(int64, 2, writable=True), array(float64, 2, writable=True),
        array(int64, 2, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)  # fmt: skip
def explain(  # type: ignore[no-untyped-def]
    rows, similarities, root, ids, weights, company, vectors, roots, latent, indptr, indices, values, shares, named,
    topic_shares, contributions,
):  # fmt: skip
    """What a campaign shares with ``rows`` of the index, one by one.

    The campaign is its square roots ``root``, its terms ``ids``, ascending, with ``weights``, and its place ``company``
    in the latent space, where ``vectors`` has the terms'. ``shares`` are the blend's, of topics, company and terms.

    Into ``named``, of shape (n_rows, NAMED), -1 where there are fewer: the terms that both have, by their weights'
    product; the campaign's terms that keep the neighbour's company, by what they add to the cosine; the topics. Into
    ``topic_shares``, of shape (n_rows, TOPICS): the topics' shares of their part of the similarity. Into
    ``contributions``, of shape (n_rows, PARTS), in millionths that add up to the similarity: those of the terms, of all
    other terms, and so on of the other kinds.
    """
    parts, totals, sequence = np.empty(NAMED), np.empty(3), np.empty(PARTS)
    related, topics = slice(TERMS, TERMS + RELATED), slice(TERMS + RELATED, NAMED)
    for place in range(len(rows)):
        row = rows[place]
        found = named[place]
        found[:] = -1
        parts[:] = 0.0
        entries = slice(indptr[row], indptr[row + 1])
        totals[2] = shares[0] * _shared_topics(root, roots[row], found[topics], parts[topics])
        parts[topics] *= shares[0]
        totals[1] = shares[1] * _related_terms(
            ids, weights, company, vectors, latent[row], found[related], parts[related]
        )
        parts[related] *= shares[1]
        totals[0] = shares[2] * _shared_terms(
            ids, weights, indices[entries], values[entries], found[:TERMS], parts[:TERMS]
        )
        parts[:TERMS] *= shares[2]
        if shares[0] <= 0:
            found[topics] = -1
        if shares[1] <= 0:
            found[related] = -1
        for k in range(TOPICS):
            topic_shares[place, k] = parts[TERMS + RELATED + k] / max(totals[2], 1e-300)
        _in_millionths(similarities[place], parts, totals, sequence, contributions[place])
