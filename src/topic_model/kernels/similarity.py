"""How similar one campaign is to some rows of the index, compiled: the blend's three inner products row by row.

The time is that of fetching rows: some 400 bytes of each dense part and 700 of terms. So the latent space, which counts
most, is looked at first, and a row is let go as soon as what is left could not bring it among the nearest: no cosine of
unit vectors is above 1.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int32, int64, void

from topic_model.kernels.jit import FAST_MATH, array, kernel

_TOLERANCE = 1e-5  # of float32's sums, and so that ties with the last of the nearest stay in


@kernel(
    void(
        array(int64, 1),
        array(int64, 1),
        int64,
        array(float32, 1),
        array(float32, 1),
        array(float32, 1),
        array(float32, 2),
        array(float32, 2),
        array(int64, 1),
        array(int32, 1),
        array(float32, 1),
        array(float64, 1),
        float64,
        int64,
        array(float64, 1, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def blend_rows(  # type: ignore[no-untyped-def]
    rows,
    places,
    own_row,
    root,
    company,
    terms,
    roots,
    latent,
    indptr,
    indices,
    values,
    shares,
    least,
    number,
    similarities,
):
    """Into ``similarities``: the blend of a query with each of ``rows``, neither clipped nor rounded.

    ``places`` are where the rows stand in ``latent``, which may have another order than the other arrays: rows that are
    looked at together stand together there. A similarity is -1 for ``own_row``, for rows below ``least`` and for those
    that cannot be among the ``number`` nearest. The query is its square roots ``root`` of shape (K,), its place
    ``company`` of shape (n_dimensions,) and its ``terms``, dense, of shape (n_terms,); ``shares`` are the blend's, of
    topics, company and terms.
    """
    nearest = np.full(number, -1.0)  # ascending: the first is what a row must reach
    for place in range(len(rows)):
        row = rows[place]
        similarities[place] = -1.0
        if row == own_row:
            continue
        reach = max(nearest[0], least) - _TOLERANCE
        near = float32(0)
        other_company = latent[places[place]]
        for k in range(len(company)):
            near += company[k] * other_company[k]
        similarity = shares[1] * max(near, float32(0))
        if similarity + shares[0] + shares[2] < reach:
            continue
        topic = float32(0)
        other_root = roots[row]
        for k in range(len(root)):
            topic += root[k] * other_root[k]
        similarity += shares[0] * topic
        if similarity + shares[2] < reach:
            continue
        overlap = float32(0)
        for entry in range(indptr[row], indptr[row + 1]):
            overlap += terms[indices[entry]] * values[entry]
        similarity += shares[2] * overlap
        similarities[place] = similarity
        if similarity > nearest[0]:
            position = 1
            while position < number and nearest[position] < similarity:
                nearest[position - 1] = nearest[position]
                position += 1
            nearest[position - 1] = similarity
