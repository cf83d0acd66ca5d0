"""Whether analysts accept more of one model's answers than of another's: a rule that may be asked at any time.

**What is compared.** Of each rated answer the share of its rated items that were accepted; of each variant the mean of
these shares. Verdicts on one answer depend on each other (one person, one list), so the answer is the unit, however
many of its items were rated: its variance is measured between answers and not between verdicts.

**When one may look.** Whenever one likes. A test that is repeated until it is significant finds a difference where
there is none, so the interval here is a *confidence sequence*: with probability 1 - alpha it holds the true difference
at all times at once. It is the asymptotic one of a Gaussian mixture (Robbins 1970; Waudby-Smith, Arbour, Sinha, Kennedy
and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52 (2024),
theorem 2.2), which is what a mixture sequential probability ratio test (mSPRT) inverts::

    difference ± se * sqrt((t rho^2 + 1) / (t rho^2) * ln((t rho^2 + 1) / alpha^2)),   se^2 = s_A^2/n_A + s_B^2/n_B

with t = n_A + n_B answers and rho chosen so that it is narrowest at the planned t. Being asymptotic it says nothing
before each variant has :data:`MIN_ANSWERS` rated answers and :data:`MIN_VERDICTS` of each verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from topic_model.arrays import FloatArray
from topic_model.errors import SettingsError

ALPHA = 0.05
"""The probability of ever finding a difference where there is none, over all kinds of items together."""
POWER = 0.8
MIN_ANSWERS = 50
MIN_VERDICTS = 20
MAX_ANSWER_VARIANCE = 0.25
"""Of a share in [0, 1]; that of answers of which one item is rated and half are accepted."""


class Finding(StrEnum):
    """What the answers rated so far say."""

    a_better = "A is better"
    b_better = "B is better"
    same = "no difference"
    """None as large as the test was to find."""
    undecided = "not enough data"


@dataclass(frozen=True)
class Plan:
    """What was settled before the first verdict came in.

    ``detect`` is the difference between the variants' mean shares, in (0, 1), that the test is to find; ``weight`` is
    B's share of the answers; ``kinds`` of items (keywords, neighbours) are tested side by side, at alpha / kinds each.
    """

    detect: float = 0.1
    weight: float = 0.5
    kinds: int = 2

    def __post_init__(self) -> None:
        for name, value in (("detect", self.detect), ("weight", self.weight)):
            if not 0.01 <= value <= 0.99:
                raise SettingsError(f"{name} is {value}; expected a share from 0.01 to 0.99")

    @property
    def alpha(self) -> float:
        """Of each kind (Bonferroni)."""
        return ALPHA / self.kinds

    def answers(self, variance: float = MAX_ANSWER_VARIANCE) -> int:
        """Rated answers, of both variants together, with which ``detect`` is found with probability :data:`POWER`.

        Solves ``(c + z) se = detect``, where ``c`` is the sequence's factor at the planned answers, which depends on
        alpha alone, and ``z`` the normal quantile of the power. ``variance`` is that of answers' shares.
        """
        kappa = _kappa(self.alpha)
        factor = math.sqrt((kappa + 1) / kappa * math.log((kappa + 1) / self.alpha**2))
        shares = 1 / self.weight + 1 / (1 - self.weight)
        return math.ceil(variance * shares * ((factor + float(norm.ppf(POWER))) / self.detect) ** 2)

    @property
    def rho_squared(self) -> float:
        """Of the mixture; makes the interval narrowest at the planned answers."""
        return _kappa(self.alpha) / self.answers()


def _kappa(alpha: float) -> float:
    """``t rho^2`` at which the sequence is narrowest (the paper's equation 26, an approximation to 1 %)."""
    spent = -2 * math.log(alpha)
    return spent + math.log(spent) + 1


@dataclass(frozen=True)
class Arm:
    """A variant's rated answers; ``mean`` and ``variance`` are of the answers' accepted shares."""

    answers: int
    ratings: int
    accepted: int
    mean: float
    variance: float

    @classmethod
    def of(cls, answers: Iterable[tuple[int, int]]) -> Arm:
        """From each answer's accepted and rated items."""
        counts = np.array(list(answers), dtype=np.int64).reshape(-1, 2)
        shares = counts[:, 0] / np.maximum(counts[:, 1], 1)
        number = len(counts)
        return cls(
            number,
            int(counts[:, 1].sum()),
            int(counts[:, 0].sum()),
            float(shares.mean()) if number else math.nan,
            float(shares.var(ddof=1)) if number > 1 else math.nan,
        )

    @property
    def enough(self) -> bool:
        """Whether there is enough for a normal approximation."""
        return self.answers >= MIN_ANSWERS and min(self.accepted, self.ratings - self.accepted) >= MIN_VERDICTS


@dataclass(frozen=True)
class Comparison:
    """What a test of one kind of items comes to; ``low`` to ``high`` is the interval of the difference B - A."""

    a: Arm
    b: Arm
    finding: Finding
    difference: float
    low: float
    high: float
    planned: int
    """Rated answers of both variants with which the test was to end, by the variance that they show."""


def compare(a: Arm, b: Arm, plan: Plan) -> Comparison:
    """What the rated answers say of the difference B - A."""
    if not (a.enough and b.enough):
        return Comparison(a, b, Finding.undecided, b.mean - a.mean, math.nan, math.nan, plan.answers())
    half = float(half_width(a.answers, a.variance, b.answers, b.variance, plan))
    difference = b.mean - a.mean
    low, high = difference - half, difference + half
    if low > 0:
        finding = Finding.b_better
    elif high < 0:
        finding = Finding.a_better
    elif -plan.detect < low and high < plan.detect:
        finding = Finding.same
    else:
        finding = Finding.undecided
    pooled = (a.variance * a.answers + b.variance * b.answers) / (a.answers + b.answers)
    return Comparison(a, b, finding, difference, low, high, plan.answers(pooled))


def half_width(n_a: ArrayLike, variance_a: ArrayLike, n_b: ArrayLike, variance_b: ArrayLike, plan: Plan) -> FloatArray:
    """Half of the interval's width; elementwise over arrays of numbers of answers and their variances."""
    answers_a, answers_b = np.asarray(n_a, dtype=np.float64), np.asarray(n_b, dtype=np.float64)
    squared = np.asarray(variance_a) / answers_a + np.asarray(variance_b) / answers_b
    spread = (answers_a + answers_b) * plan.rho_squared
    width: Any = np.sqrt(squared * (spread + 1) / spread * np.log((spread + 1) / plan.alpha**2))
    return np.asarray(width, dtype=np.float64)
