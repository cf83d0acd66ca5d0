"""Topic mixtures of campaigns: the variational E-step, equation 5 of Hoffman et al. 2010, "Online Learning for LDA".

For one campaign with term counts n_w, until gamma stays:

    gamma_k = alpha_k + sum_w n_w phi_wk,    phi_wk proportional to exp(E[log theta_k]) exp(E[log beta_kw])

Both exponentials are needed up to a factor only: a factor common to all topics cancels in phi. So each term's row of
exp(E[log beta]) is divided by its largest entry, and exp(E[log theta]) by its largest: nothing overflows, and what is
too small to matter is clamped far above the subnormal numbers, whose arithmetic is tens of times slower.

After a few iterations a campaign keeps a handful of its K topics; the others have gamma within :data:`DROPPED` of alpha
and then hold no more than exp(psi(alpha)) of any term. So the first iterations, over all topics, are made in float32;
then only the topics that are left are iterated, in float64, and when they have settled the others are looked at again:
one that would gain comes back. The fixed point is that of the plain iteration (tests hold it to Gensim's).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int32, int64, void
from scipy.special import psi

from topic_model.arrays import Float32Array, FloatArray, IntArray
from topic_model.bags import MAX_COUNT
from topic_model.errors import CorpusError
from topic_model.kernels.jit import FAST_MATH, array, kernel
from topic_model.kernels.special import LOWEST_EXPONENT, exp_of, exp_psi_parts

#: Without numba's check of every division for a zero, which would keep the loops that divide from vectorising. No
#: divisor here is zero: weights and alpha are above it, topics and mixtures are clamped.
ARITHMETIC: dict[str, Any] = {"fastmath": FAST_MATH, "error_model": "numpy"}
#: Of exp(E[log beta]) over the term's largest.
SMALLEST = 1e-18
#: exp(-80) of the largest is what a topic has at least of exp(E[log theta]).
_LOWEST_EXPONENT = -80.0
#: A topic is left out when it has less than this share of the campaign's words over its prior.
DROPPED = 3e-5
#: A campaign is done when an iteration moves its fingerprint by no more than this in all. On the sample the fingerprint
#: is then within 5e-5 of where it would go, for every campaign, and for 99 of 100 within 1e-5.
TOLERANCE = 2e-6
#: Iterations that move no more than this share of the words, and each by the same factor of the one before, go to where
#: that leads, in one leap: the factor is above the first number and differs by less than the second of what is left.
STEADY = 1e-3
SLOW = 0.3
ALIKE = 0.1
MAX_ITERATIONS = 1_000
MAX_ROUNDS = 10
#: The first iterations are over all topics and in float32. They end when one in so many topics is left …
FEW = 6
#: … or an iteration moves no more than this share of the words; what follows is exact.
ROUGH = 1e-4
MAX_ROUGH_ITERATIONS = 20
#: Topics left out that could gain no more than this share of the campaign's words, by a bound, are not looked at again.
NEGLIGIBLE = 1e-8
ROWS_AT_A_TIME = 256
WIDTH = 8
CACHE_LINE = 64
_TERMS_AT_A_TIME = 4_096


@kernel(inline="always", **ARITHMETIC)
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


@kernel(inline="always", **ARITHMETIC)
def _exp(x: float) -> float:
    """exp(x) for x in [-80, 0], to 1e-11, without a call: Taylor's series at x / 256, squared eight times."""
    t = x * (1.0 / 256)
    p = 1.0 + t * (
        1.0 + t * (1 / 2 + t * (1 / 6 + t * (1 / 24 + t * (1 / 120 + t * (1 / 720 + t * (1 / 5040 + t / 40320))))))
    )
    for _ in range(8):
        p = p * p
    return p


@kernel(**ARITHMETIC)
def _mixture(gamma, n, y, e, mixture):  # type: ignore[no-untyped-def]
    """exp(psi(gamma)) of n topics over about its largest; returns the exponent that was taken off."""
    largest = -1e300
    for k in range(n):
        y[k], e[k] = _psi_parts(gamma[k])
        largest = max(largest, e[k])
    for k in range(n):
        mixture[k] = y[k] * _exp(max(e[k] - largest, _LOWEST_EXPONENT))
    return largest


@kernel(**ARITHMETIC)
def _gains(counts, rows, n, mixture, scales, gains):  # type: ignore[no-untyped-def]
    """Into ``gains``: sum_w n_w beta_kw / (sum_j mixture_j beta_jw), what each of n topics gains a
    share of its mixture.

    ``scales`` receives the quotients. ``rows`` has the terms of a topic one behind the other: there are more terms than
    topics left, so loops over terms fill the processor's registers.
    """
    length = len(counts)
    for j in range(length):
        scales[j] = 0.0
    for k in range(n):
        row = rows[k * length : (k + 1) * length]
        share = mixture[k]
        for j in range(length):
            scales[j] += share * row[j]
    for j in range(length):
        scales[j] = counts[j] / scales[j]
    for k in range(n):
        row = rows[k * length : (k + 1) * length]
        total = 0.0
        for j in range(length):
            total += scales[j] * row[j]
        gains[k] = total


@kernel(**ARITHMETIC)
def _gather(topics, ids, active, n, rows):  # type: ignore[no-untyped-def]
    """The terms of n topics, topic by topic."""
    length = len(ids)
    for k in range(n):
        topic = active[k]
        row = rows[k * length : (k + 1) * length]
        for j in range(length):
            row[j] = topics[ids[j], topic]


@kernel(**ARITHMETIC)
def _shrink(alpha, least, rows, length, active, is_active, current, gamma, n):  # type: ignore[no-untyped-def]
    """Leave out the topics that gain no more than ``least``; returns the number of those left."""
    left = 0
    for k in range(n):
        topic = active[k]
        if current[k] - alpha[topic] > least:
            if left < k:
                active[left] = topic
                current[left] = current[k]
                for j in range(length):
                    rows[left * length + j] = rows[k * length + j]
            left += 1
        else:
            gamma[topic] = current[k]
            is_active[topic] = False
    return left


@kernel(**ARITHMETIC)
def _leap(alpha, active, current, step, n, rate):  # type: ignore[no-untyped-def]
    """To where steps lead that shrink by ``rate`` each: the sum of the geometric series (Aitken's extrapolation).

    A topic that would fall to its prior stays where it is.
    """
    far = rate / (1.0 - rate)
    for k in range(n):
        there = current[k] + far * step[k]
        if there > alpha[active[k]]:
            current[k] = there


@kernel(**ARITHMETIC)
def _rough_gains(counts, ids, topics, mixture, gains):  # type: ignore[no-untyped-def]
    """:func:`_gains` of all topics, in float32 and from where their rows are: four terms at a time, to read less."""
    num_topics = len(mixture)
    length = len(ids)
    for k in range(num_topics):
        gains[k] = float32(0)
    for j in range(0, length - 3, 4):
        row, row1, row2, row3 = topics[ids[j]], topics[ids[j + 1]], topics[ids[j + 2]], topics[ids[j + 3]]
        total, total1, total2, total3 = float32(0), float32(0), float32(0), float32(0)
        for k in range(num_topics):
            share = mixture[k]
            total += share * row[k]
            total1 += share * row1[k]
            total2 += share * row2[k]
            total3 += share * row3[k]
        scale, scale1 = float32(counts[j]) / total, float32(counts[j + 1]) / total1
        scale2, scale3 = float32(counts[j + 2]) / total2, float32(counts[j + 3]) / total3
        for k in range(num_topics):
            gains[k] += scale * row[k] + scale1 * row1[k] + scale2 * row2[k] + scale3 * row3[k]
    for j in range(length - length % 4, length):
        row = topics[ids[j]]
        total = float32(0)
        for k in range(num_topics):
            total += mixture[k] * row[k]
        scale = float32(counts[j]) / total
        for k in range(num_topics):
            gains[k] += scale * row[k]


@kernel(**ARITHMETIC)
def _rough_start(counts, ids, topics, alpha, words, e, mixture, gains, gamma):  # type: ignore[no-untyped-def]
    """Iterations over all topics from gamma of ones, in float32, until few topics are left or little changes."""
    num_topics = len(alpha)
    bound = float32(ROUGH) * words
    least = float32(DROPPED) * words
    for k in range(num_topics):
        gamma[k] = float32(1)
        mixture[k] = float32(1)
    for _ in range(MAX_ROUGH_ITERATIONS):
        _rough_gains(counts, ids, topics, mixture, gains)
        change = float32(0)
        left = 0
        for k in range(num_topics):
            gain = mixture[k] * gains[k]
            updated = alpha[k] + gain
            change += abs(updated - gamma[k])
            gamma[k] = updated
            left += gain > least
        if change <= bound or FEW * left <= num_topics:
            break
        largest = float32(-1e30)
        for k in range(num_topics):
            mixture[k], e[k] = exp_psi_parts(gamma[k])
            largest = max(largest, e[k])
        for k in range(num_topics):
            mixture[k] *= exp_of(max(e[k] - largest, LOWEST_EXPONENT))


@kernel(**ARITHMETIC)
def _most_left_out(scales, length, alpha, top):  # type: ignore[no-untyped-def]
    """What a topic that is left out gains at most, its gamma being no more than ``alpha``: no term is worth over 1."""
    total = 0.0
    for j in range(length):
        total += scales[j]
    y, e = _psi_parts(alpha)
    return total * y * _exp(max(min(e - top, 0.0), _LOWEST_EXPONENT))


@kernel(**ARITHMETIC)
def _look_again(scales, ids, topics, alpha, top, e, mixture, gains, is_active, rough, gamma, least):  # type: ignore[no-untyped-def]
    """What the topics left out would gain, into ``gamma``; returns how many of them gain more than ``least``.

    ``top`` is the exponent that :func:`_mixture` took off for the topics at work, whose ``scales`` these are.
    """
    num_topics = len(alpha)
    length = len(ids)
    for k in range(num_topics):
        rough[k] = gamma[k]
        gains[k] = float32(0)
    for j in range(0, length - 3, 4):
        row, row1, row2, row3 = topics[ids[j]], topics[ids[j + 1]], topics[ids[j + 2]], topics[ids[j + 3]]
        scale, scale1 = float32(scales[j]), float32(scales[j + 1])
        scale2, scale3 = float32(scales[j + 2]), float32(scales[j + 3])
        for k in range(num_topics):
            gains[k] += scale * row[k] + scale1 * row1[k] + scale2 * row2[k] + scale3 * row3[k]
    for j in range(length - length % 4, length):
        row = topics[ids[j]]
        scale = float32(scales[j])
        for k in range(num_topics):
            gains[k] += scale * row[k]
    taken_off = float32(top)
    for k in range(num_topics):
        mixture[k], e[k] = exp_psi_parts(rough[k])
        e[k] = max(min(e[k] - taken_off, float32(0)), LOWEST_EXPONENT)
    for k in range(num_topics):
        gains[k] *= mixture[k] * exp_of(e[k])
    back = 0
    for k in range(num_topics):
        if not is_active[k]:
            gamma[k] = alpha[k] + gains[k]
            if gains[k] > least:
                is_active[k] = True
                back += 1
    return back


@kernel(
    int64(
        array(int64, 1),
        array(int32, 1),
        array(float64, 1),
        array(float32, 2),
        array(float64, 1),
        array(float64, 2, writable=True),
    ),
    **ARITHMETIC,
    nogil=True,
)
def infer(indptr, indices, weights, topics, alpha, thetas):  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
    """The topics of campaigns as compressed sparse rows, each by itself; returns the iterations in all.

    Args:
        indptr: shape (n + 1,).
        indices: term ids.
        weights: counts or weights of the terms, above 0.
        topics: shape (n_terms, K), from :func:`scaled_topics`; a topic of zeros stays out of all.
        alpha: shape (K,).
        thetas: shape (n, K) or, where the last topics are of zeros, less; receives gamma over its sum.
    """
    num_topics = len(alpha)
    longest = 0
    for d in range(len(indptr) - 1):
        longest = max(longest, indptr[d + 1] - indptr[d])
    rough, rough_alpha = np.empty((4, num_topics), np.float32), alpha.astype(np.float32)
    rough_e, rough_mixture, rough_gains, rough_gamma = rough[0], rough[1], rough[2], rough[3]
    y, e, mixture = np.empty(num_topics), np.empty(num_topics), np.empty(num_topics)
    gains, step, gamma = np.empty(num_topics), np.empty(num_topics), np.empty(num_topics)
    rows, scales = np.empty(longest * num_topics), np.empty(longest)
    # One more than there are topics: see where they are filled.
    active, current = np.empty(num_topics + 1, np.int64), np.empty(num_topics + 1)
    is_active = np.empty(num_topics, np.bool_)
    prior, highest_alpha = alpha.sum(), alpha[: thetas.shape[1]].max()
    done = 0
    for d in range(len(indptr) - 1):
        ids = indices[indptr[d] : indptr[d + 1]]
        counts = weights[indptr[d] : indptr[d + 1]]
        words = counts.sum()
        bound = TOLERANCE * (words + prior)
        least, steady = DROPPED * words, STEADY * words
        _rough_start(
            counts, ids, topics, rough_alpha, float32(words), rough_e, rough_mixture, rough_gains, rough_gamma
        )  # fmt: skip
        for k in range(num_topics):
            gamma[k] = rough_gamma[k]
            is_active[k] = gamma[k] - alpha[k] > least
        for _ in range(MAX_ROUNDS):
            n = 0
            for k in range(num_topics):  # without a branch; what is written beyond n is not read
                active[n] = k
                current[n] = gamma[k]
                n += is_active[k]
            _gather(topics, ids, active, n, rows)
            top, last, last_rate = 0.0, 0.0, 0.0
            for _ in range(MAX_ITERATIONS):
                top = _mixture(current, n, y, e, mixture)
                _gains(counts, rows, n, mixture, scales, gains)
                change = 0.0
                left = 0
                for k in range(n):
                    gain = mixture[k] * gains[k]
                    updated = alpha[active[k]] + gain
                    step[k] = updated - current[k]
                    change += abs(step[k])
                    current[k] = updated
                    left += gain > least
                done += 1
                if change <= bound:
                    break
                if left < n:
                    n = _shrink(alpha, least, rows, len(ids), active, is_active, current, gamma, n)
                    last = 0.0
                    continue
                if change > steady:
                    continue
                rate = change / last if last > change else 0.0
                if rate > SLOW and abs(rate - last_rate) < ALIKE * (1.0 - rate):
                    _leap(alpha, active, current, step, n, rate)
                    last, last_rate = 0.0, 0.0
                else:
                    last, last_rate = change, rate
            for k in range(n):
                gamma[active[k]] = current[k]
            if n == num_topics:
                break
            if _most_left_out(scales, len(ids), highest_alpha + least, top) <= NEGLIGIBLE * words:
                for k in range(num_topics):
                    if not is_active[k]:
                        gamma[k] = alpha[k]
                break
            left_out = (top, rough_e, rough_mixture, rough_gains, is_active, rough_gamma)
            if not _look_again(scales, ids, topics, alpha, *left_out, gamma, least):
                break
        theta = thetas[d]
        total = 0.0
        for k in range(len(theta)):
            total += gamma[k]
        for k in range(len(theta)):
            theta[k] = gamma[k] / total
    return done


@kernel(
    void(
        array(float64, 2),
        array(float64, 1),
        array(float32, 2, writable=True),
    ),
    **ARITHMETIC,
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


@kernel(int64(array(int64, 1), array(int32, 1), array(float64, 1), int64, float64), nogil=True)
def _first_wrong(indptr, indices, weights, n_terms, largest):  # type: ignore[no-untyped-def]
    """The first entry whose id or weight is out of range, -1 for none; without fast mathematics, which knows no NaN.

    ``largest``, the weight that is the most, is an argument: machine code is kept by this package's sources, and the
    bound stands elsewhere.
    """
    for entry in range(len(indices)):
        if not (0 <= indices[entry] < n_terms and 0.0 < weights[entry] <= largest):
            return entry
    for d in range(len(indptr) - 1):
        if not 0 <= indptr[d] < indptr[d + 1] <= len(indices):
            return len(indices)
    return -1


class Inference:
    """Topic mixtures by the topics of one model; threads may share it."""

    def __init__(self, lambda_: FloatArray, alpha: FloatArray) -> None:
        """Topics from Dirichlet parameters of shape (K, n_terms), with the prior of shape (K,)."""
        self._num_topics = len(alpha)
        # Topics that nothing belongs to fill the last register: loops over topics then have no rest.
        added = -self._num_topics % WIDTH
        topics = scaled_topics(lambda_)
        self._topics = aligned((len(topics), self._num_topics + added))
        self._topics[:, : self._num_topics] = topics
        self._alpha = np.pad(np.asarray(alpha, dtype=np.float64), (0, added), constant_values=1.0)

    def theta(
        self,
        indptr: IntArray,
        indices: npt.NDArray[np.integer[Any]],
        weights: npt.NDArray[np.number[Any]],
        *,
        threads: int = 1,
    ) -> FloatArray:
        """Topic mixtures of shape (n, K), of campaigns as compressed sparse rows; rows sum to 1.

        Every row starts from ones and is iterated by itself: its result is the same bits in every company, and for any
        number of threads.

        Raises:
            CorpusError: a row is empty, an id is out of range, or a weight is not above 0 and at most
                :data:`topic_model.bags.MAX_COUNT`.
            ValueError: ``threads`` is below 1.
        """
        if threads < 1:
            raise ValueError(f"threads is {threads}; expected 1 or more")
        pointers = np.ascontiguousarray(indptr, dtype=np.int64)
        ids, values = _as_ids(indices), np.ascontiguousarray(weights, dtype=np.float64)
        # Above MAX_COUNT sums would overflow float32, as in training.
        wrong = _first_wrong(pointers, ids, values, len(self._topics), MAX_COUNT)
        if wrong >= 0 or len(ids) != len(values):
            raise CorpusError(_explain(wrong, pointers, ids, values, len(self._topics)))
        theta = np.empty((len(pointers) - 1, self._num_topics))
        if threads == 1 or len(theta) <= ROWS_AT_A_TIME:
            self._infer(pointers, ids, values, theta)
            return theta
        # The kernel holds no lock, so plain threads do: unlike OpenMP's, they leave nothing behind that a fork breaks.
        starts = range(0, len(theta), ROWS_AT_A_TIME)
        with ThreadPoolExecutor(threads) as pool:
            parts = (slice(start, start + ROWS_AT_A_TIME) for start in starts)
            done = [
                pool.submit(self._infer, pointers[part.start : part.stop + 1], ids, values, theta[part])
                for part in parts
            ]
            for part_done in done:
                part_done.result()
        return theta

    def _infer(self, indptr: IntArray, indices: Any, weights: FloatArray, theta: FloatArray) -> None:
        infer(indptr, indices, weights, self._topics, self._alpha, theta)


def aligned(shape: tuple[int, int]) -> Float32Array:
    """Zeros that begin with a cache line; NumPy's begin anywhere, and half of the loads then cross into the next."""
    room = np.zeros(4 * math.prod(shape) + CACHE_LINE, dtype=np.uint8)
    begin = -room.ctypes.data % CACHE_LINE
    return room[begin : begin + 4 * math.prod(shape)].view(np.float32).reshape(shape)


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
        f"{n_terms - 1} and a weight above 0 and at most {MAX_COUNT:g}: build the bags with this model's vocabulary"
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
