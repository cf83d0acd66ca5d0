"""Topic mixtures of campaigns: the variational E-step, equation 5 of Hoffman et al. 2010, "Online Learning for LDA".

For one campaign with term counts n_w, until gamma stays:

    gamma_k = alpha_k + sum_w n_w phi_wk,    phi_wk proportional to exp(E[log theta_k]) exp(E[log beta_kw])

Both exponentials are needed up to a factor only: a factor common to all topics cancels in phi. So each term's row of
exp(E[log beta]) is divided by its largest entry, and exp(E[log theta]) by its largest: nothing overflows, and what is
too small to matter is clamped far above the subnormal numbers, whose arithmetic is tens of times slower.

After a few iterations a campaign keeps a handful of its K topics; the others have gamma within :data:`DROPPED` of alpha
and then hold no more than exp(psi(alpha)) of any term. Such topics are left out, which makes an iteration as cheap as
the topics that are left, and are all looked at again when the rest has settled: one that would gain comes back. The
fixed point is that of the plain iteration (tests hold it to Gensim's).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int32, int64, void
from scipy.special import psi

from topic_model.arrays import Float32Array, FloatArray, IntArray
from topic_model.errors import CorpusError
from topic_model.kernels.jit import FAST_MATH, array, kernel

#: Of exp(E[log beta]) over the term's largest.
SMALLEST = 1e-30
#: exp(-80) of the largest is what a topic has at least of exp(E[log theta]).
_LOWEST_EXPONENT = -80.0
#: A topic is left out when it has less than this share of the campaign's words over its prior.
DROPPED = 1e-6
#: A campaign is done when an iteration moves its fingerprint by no more than this in all. On the sample the fingerprint
#: is then within 2e-6 of where it would go, for every campaign.
TOLERANCE = 1e-7
MAX_ITERATIONS = 1_000
ROWS_AT_A_TIME = 256
_TERMS_AT_A_TIME = 4_096
_NONE = np.empty((0, 0))


@kernel(inline="always", fastmath=FAST_MATH)
def _psi_parts(x: float) -> tuple[float, float]:
    """(y, e) with exp(psi(x)) = y exp(e), for x > 0, to 1e-10; no logarithm and no branch, so it vectorises.

    The recurrence psi(x) = psi(x + 6) - sum_i 1 / (x + i) with its terms paired from both ends, then the asymptotic
    series (Abramowitz and Stegun 6.3.6 and 6.3.18).
    """
    u = x * (x + 5.0)
    shift = (2.0 * x + 5.0) * (3.0 * u * u + 20.0 * u + 24.0) / (u * (u + 4.0) * (u + 6.0))
    y = x + 6.0
    r = 1.0 / y
    q = r * r
    return y, -0.5 * r - q * (1.0 / 12 - q * (1.0 / 120 - q * (1.0 / 252 - q / 240))) - shift


@kernel(inline="always", fastmath=FAST_MATH)
def _exp(x: float) -> float:
    """exp(x) for x in [-80, 0], to 1e-11, without a call: Taylor's series at x / 256, squared eight times."""
    t = x * (1.0 / 256)
    p = 1.0 + t * (
        1.0 + t * (1 / 2 + t * (1 / 6 + t * (1 / 24 + t * (1 / 120 + t * (1 / 720 + t * (1 / 5040 + t / 40320))))))
    )
    for _ in range(8):
        p = p * p
    return p


@kernel(fastmath=FAST_MATH)
def _mixture(gamma, n, y, e, mixture):  # type: ignore[no-untyped-def]
    """exp(psi(gamma)) of the first n topics over about its largest."""
    largest = -1e300
    for k in range(n):
        y[k], e[k] = _psi_parts(gamma[k])
        largest = max(largest, e[k])
    for k in range(n):
        mixture[k] = y[k] * _exp(max(e[k] - largest, _LOWEST_EXPONENT))


@kernel(fastmath=FAST_MATH)
def _gains(weights, rows, n, mixture, gains):  # type: ignore[no-untyped-def]
    """sum_w n_w beta_wk / (sum_j mixture_j beta_wj) of n topics: what each gains a share of its mixture."""
    for k in range(n):
        gains[k] = 0.0
    for j in range(len(weights)):
        row = rows[j * n : j * n + n]
        total = 0.0
        for k in range(n):
            total += mixture[k] * row[k]
        scale = weights[j] / total
        for k in range(n):
            gains[k] += scale * row[k]


@kernel(fastmath=FAST_MATH)
def _all_gains(weights, ids, topics, mixture, gains):  # type: ignore[no-untyped-def]
    """:func:`_gains` of all topics, from where their rows are."""
    for k in range(len(gains)):
        gains[k] = 0.0
    for j in range(len(weights)):
        row = topics[ids[j]]
        total = 0.0
        for k in range(len(gains)):
            total += mixture[k] * row[k]
        scale = weights[j] / total
        for k in range(len(gains)):
            gains[k] += scale * row[k]


@kernel()
def _gather(topics, ids, active, n, rows):  # type: ignore[no-untyped-def]
    """Rows of n topics, one behind the other."""
    for j in range(len(ids)):
        row = topics[ids[j]]
        close = rows[j * n : j * n + n]
        for k in range(n):
            close[k] = row[active[k]]


@kernel(
    int64(
        array(int64, 1),
        array(int32, 1),
        array(float64, 1),
        array(float32, 2),
        array(float64, 1),
        int64,
        float64,
        float64,
        float64,
        array(float64, 2, writable=True),
        array(float64, 2, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def e_step(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915 - a call would cost what it does
    indptr, indices, weights, topics, alpha, iterations, absolute, relative, dropped, gamma, sstats
):
    """The E-step of campaigns as compressed sparse rows, each by itself; returns the number of iterations of all.

    Args:
        indptr: shape (n + 1,).
        indices: term ids.
        weights: counts or weights of the terms, above 0.
        topics: shape (n_terms, K), from :func:`scaled_topics`.
        alpha: shape (K,).
        iterations: of a campaign at most.
        absolute: a campaign is done when an iteration over all topics changes gamma by no more in all …
        relative: … plus this share of the sum of gamma.
        dropped: :data:`DROPPED`, or 0 to iterate over all topics always.
        gamma: shape (n, K); holds the start and receives the result.
        sstats: shape (n_terms, K) to add sum_d n_dw phi_dwk to, or (0, 0) to do without.
    """
    num_topics = len(alpha)
    longest = 0
    for d in range(len(indptr) - 1):
        longest = max(longest, indptr[d + 1] - indptr[d])
    rows = np.empty(longest * (num_topics // 2 + 1))
    y, e, mixture = np.empty(num_topics), np.empty(num_topics), np.empty(num_topics)
    gains, current = np.empty(num_topics), np.empty(num_topics)
    active = np.empty(num_topics, np.int64)
    kept = np.empty(num_topics, np.int64)
    prior = alpha.sum()
    done = 0
    for d in range(len(indptr) - 1):
        ids = indices[indptr[d] : indptr[d + 1]]
        counts = weights[indptr[d] : indptr[d + 1]]
        words = counts.sum()
        bound = absolute + relative * (words + prior)
        least = dropped * words
        n = 0  # of the topics at work: none yet
        for _ in range(iterations):
            if n == 0:
                n = num_topics
                for k in range(n):
                    active[k] = k
                    current[k] = gamma[d, k]
            _mixture(current, n, y, e, mixture)
            if n == num_topics:
                _all_gains(counts, ids, topics, mixture, gains)
            else:
                _gains(counts, rows, n, mixture, gains)
            change = 0.0
            num_kept = 0
            for k in range(n):
                gain = mixture[k] * gains[k]
                updated = alpha[active[k]] + gain
                change += abs(updated - current[k])
                current[k] = updated
                if gain > least:
                    kept[num_kept] = k
                    num_kept += 1
            done += 1
            settled = change <= bound
            if settled or 2 * num_kept <= n:
                for k in range(n):
                    gamma[d, active[k]] = current[k]
                if settled and n == num_topics:
                    break
                if settled:
                    n = 0
                elif dropped > 0.0:
                    for k in range(num_kept):
                        active[k] = active[kept[k]]
                        current[k] = current[kept[k]]
                    n = num_kept
                    _gather(topics, ids, active, n, rows)
        for k in range(n):
            gamma[d, active[k]] = current[k]
        if len(sstats):
            _mixture(gamma[d], num_topics, y, e, mixture)
            for j in range(len(ids)):
                row = topics[ids[j]]
                total = 0.0
                for k in range(num_topics):
                    total += mixture[k] * row[k]
                scale = counts[j] / total
                for k in range(num_topics):
                    sstats[ids[j], k] += scale * mixture[k] * row[k]
    return done


@kernel(
    void(
        array(float64, 2),
        array(float64, 1),
        array(float32, 2, writable=True),
    ),
    fastmath=FAST_MATH,
    nogil=True,
)
def _scale(lambda_, psi_of_totals, topics):  # type: ignore[no-untyped-def]
    """exp(psi(lambda) - psi(its total)) of terms by topics, each term's row over its largest entry."""
    num_topics = len(psi_of_totals)
    y, e = np.empty(num_topics), np.empty(num_topics)
    for w in range(len(lambda_)):
        largest = -1e300
        for k in range(num_topics):
            y[k], e[k] = _psi_parts(lambda_[w, k])
            e[k] -= psi_of_totals[k]
            largest = max(largest, e[k])
        most = 0.0
        for k in range(num_topics):
            y[k] *= _exp(max(e[k] - largest, _LOWEST_EXPONENT))
            most = max(most, y[k])
        for k in range(num_topics):
            topics[w, k] = max(y[k] / most, SMALLEST)


@kernel(int64(array(int64, 1), array(int32, 1), array(float64, 1), int64), nogil=True)
def _first_wrong(indptr, indices, weights, n_terms):  # type: ignore[no-untyped-def]
    """The first entry whose id or weight is out of range, -1 for none; without fast mathematics, which knows no NaN."""
    for entry in range(len(indices)):
        if not (0 <= indices[entry] < n_terms and 0.0 < weights[entry] < np.inf):
            return entry
    for d in range(len(indptr) - 1):
        if not 0 <= indptr[d] < indptr[d + 1] <= len(indices):
            return len(indices)
    return -1


class Inference:
    """Topic mixtures by the topics of one model; threads may share it."""

    def __init__(self, lambda_: FloatArray, alpha: FloatArray) -> None:
        """Topics from Dirichlet parameters of shape (K, n_terms), with the prior of shape (K,)."""
        self.topics = scaled_topics(lambda_)
        self.alpha = np.ascontiguousarray(alpha, dtype=np.float64)

    def gamma(
        self,
        indptr: IntArray,
        indices: npt.NDArray[np.integer[Any]],
        weights: npt.NDArray[np.number[Any]],
        *,
        threads: int = 1,
    ) -> FloatArray:
        """Dirichlet parameters of shape (n, K) of campaigns as compressed sparse rows.

        Every row starts from ones and is iterated by itself: its result is the same bits in every company, and for any
        number of threads.

        Raises:
            CorpusError: a row is empty, an id is out of range, or a weight is not above 0 and finite.
        """
        pointers = np.ascontiguousarray(indptr, dtype=np.int64)
        ids, values = _as_ids(indices), np.ascontiguousarray(weights, dtype=np.float64)
        if (wrong := _first_wrong(pointers, ids, values, len(self.topics))) >= 0 or len(ids) != len(values):
            raise CorpusError(_explain(wrong, pointers, ids, values, len(self.topics)))
        gamma = np.ones((len(pointers) - 1, len(self.alpha)))
        if threads == 1 or len(gamma) <= ROWS_AT_A_TIME:
            self._infer(pointers, ids, values, gamma)
            return gamma
        # The kernel holds no lock, so plain threads do: unlike OpenMP's, they leave nothing behind that a fork breaks.
        starts = range(0, len(gamma), ROWS_AT_A_TIME)
        with ThreadPoolExecutor(threads) as pool:
            parts = (slice(start, start + ROWS_AT_A_TIME) for start in starts)
            done = [
                pool.submit(self._infer, pointers[part.start : part.stop + 1], ids, values, gamma[part])
                for part in parts
            ]
            for part_done in done:
                part_done.result()
        return gamma

    def _infer(self, indptr: IntArray, indices: Any, weights: FloatArray, gamma: FloatArray) -> None:
        e_step(
            indptr, indices, weights, self.topics, self.alpha, MAX_ITERATIONS, 0.0, TOLERANCE, DROPPED, gamma, _NONE
        )  # fmt: skip


def _as_ids(indices: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
    ids = np.ascontiguousarray(indices, dtype=np.int32)
    if indices.dtype != np.int32 and not np.array_equal(ids, indices):
        raise CorpusError(f"term ids go up to {indices.max()}; expected them below 2³¹: build the corpus again")
    return ids


def _explain(entry: int, indptr: IntArray, ids: Any, weights: FloatArray, n_terms: int) -> str:
    if not 0 <= entry < min(len(ids), len(weights)):
        return (
            f"bags of {len(ids)} term ids and {len(weights)} weights do not fit their {len(indptr) - 1} rows; expected "
            "rows that rise from 0 to the number of ids, none of them empty"
        )
    row = int(np.searchsorted(indptr, entry, side="right")) - 1
    return (
        f"row {row} has the term id {ids[entry]} with the weight {weights[entry]}; expected an id from 0 to "
        f"{n_terms - 1} and a finite weight above 0: build the bags with this model's vocabulary"
    )


def scaled_topics(lambda_: FloatArray) -> Float32Array:
    """exp(E[log beta]) as the kernel wants it: shape (n_terms, K), each term's largest entry being 1.

    Raises:
        CorpusError: a parameter is not above 0 and finite.
    """
    totals = lambda_.sum(axis=1, dtype=np.float64)
    if not (np.isfinite(totals).all() and lambda_.min() > 0):
        raise CorpusError(
            f"lambda has entries from {lambda_.min()} to {lambda_.max()}; expected all above 0 and finite: "
            "train the model again"
        )
    topics = np.empty(lambda_.shape[::-1], dtype=np.float32)
    psi_of_totals = psi(totals)
    for start in range(0, len(topics), _TERMS_AT_A_TIME):
        part = slice(start, start + _TERMS_AT_A_TIME)
        _scale(np.ascontiguousarray(lambda_[:, part].T, dtype=np.float64), psi_of_totals, topics[part])
    return topics
