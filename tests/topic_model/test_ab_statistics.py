"""The rule of A/B tests against simulated analysts: what it finds, what it does not, and how often it is wrong."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from topic_model.ab_statistics import (
    ALPHA,
    MIN_ANSWERS,
    MIN_VERDICTS,
    POWER,
    Arm,
    Finding,
    Plan,
    compare,
    half_width,
)
from topic_model.errors import SettingsError

CLUSTERING = 0.3
"""Correlation of the verdicts on one answer."""


def simulated(
    seed: int, tests: int, answers: int, accepted: tuple[float, float], plan: Plan
) -> tuple[np.ndarray, np.ndarray]:
    """Whether A, or B, is found better after each answer of many tests; arrays of shape (tests, answers).

    An answer has one to five rated items, whose verdicts depend on each other: they share an acceptance that is drawn
    from a beta distribution.
    """
    random = np.random.default_rng(seed)
    of_b = random.random((tests, answers)) < plan.weight
    mean = np.where(of_b, accepted[1], accepted[0])
    concentration = (1 - CLUSTERING) / CLUSTERING
    rated = random.integers(1, 6, (tests, answers))
    liked = random.binomial(rated, random.beta(mean * concentration, (1 - mean) * concentration))
    arms = []
    for mine in (~of_b, of_b):
        share = np.where(mine, liked / rated, 0)
        number = np.maximum(mine.cumsum(1), 2)
        average = share.cumsum(1) / number
        variance = np.maximum((share**2).cumsum(1) - number * average**2, 0) / (number - 1)
        yes, all_rated = np.where(mine, liked, 0).cumsum(1), np.where(mine, rated, 0).cumsum(1)
        enough = (number >= MIN_ANSWERS) & (np.minimum(yes, all_rated - yes) >= MIN_VERDICTS)
        arms.append((number, average, variance, enough))
    (n_a, mean_a, variance_a, enough_a), (n_b, mean_b, variance_b, enough_b) = arms
    half = half_width(n_a, variance_a, n_b, variance_b, plan)
    difference, looked = mean_b - mean_a, enough_a & enough_b
    return looked & (difference < -half), looked & (difference > half)


@pytest.mark.parametrize("weight", [0.5, 0.1])
@pytest.mark.parametrize("accepted", [0.1, 0.5, 0.9])
def test_looking_after_every_answer_finds_nothing_where_nothing_is(accepted: float, weight: float) -> None:
    """1,000 A/A tests of 2,000 answers, looked at after each: a difference is ever found in at most alpha of them."""
    plan = Plan(weight=weight)
    a_better, b_better = simulated(7, 1_000, 2_000, (accepted, accepted), plan)
    wrong = (a_better | b_better).any(axis=1).mean()
    noise = 2 * math.sqrt(plan.alpha * (1 - plan.alpha) / 1_000)
    assert wrong <= plan.alpha + noise
    assert plan.kinds * wrong <= ALPHA + plan.kinds * noise


@pytest.mark.parametrize("weight", [0.5, 0.2])
def test_the_planned_answers_find_the_difference(weight: float) -> None:
    """With the answers that the plan asks for, a difference of its size is found as often as it says, in B's favour."""
    plan = Plan(detect=0.1, weight=weight)
    # Of answers with these clusters; a plan that knows nothing assumes more variance, and finds it more often.
    variance = 0.25 * (CLUSTERING + (1 - CLUSTERING) * np.mean(1 / np.arange(1, 6)))
    a_better, b_better = simulated(3, 500, plan.answers(variance), (0.45, 0.55), plan)
    assert b_better.any(axis=1).mean() >= POWER - 0.05
    assert a_better.any(axis=1).mean() <= 0.01


def test_a_test_that_is_repeated_needs_this_rule() -> None:
    """The fixed-size z test, looked at after each answer, finds a difference in far more A/A tests than alpha."""
    random = np.random.default_rng(1)
    number = np.arange(1, 1_001)
    differences = np.cumsum(random.standard_normal((500, 1_000)), axis=1) / np.sqrt(number)
    peeked = (np.abs(differences[:, 2 * MIN_ANSWERS :]) > norm.ppf(1 - ALPHA / 2)).any(axis=1).mean()
    assert peeked > 4 * ALPHA


def test_the_interval_is_the_mixtures() -> None:
    """At its edge the mixture of likelihood ratios is 1 / alpha, integrated numerically and not by the formula."""
    plan = Plan(detect=0.08, weight=0.3)
    n_a, n_b, variance_a, variance_b = 420, 190, 0.11, 0.17
    half = float(half_width(n_a, variance_a, n_b, variance_b, plan))
    total = n_a + n_b
    error = math.sqrt(variance_a / n_a + variance_b / n_b)
    score = half / error * math.sqrt(total)  # the standardised sum after `total` steps of variance 1
    scale = math.sqrt(plan.rho_squared)
    mixture, _ = quad(
        lambda drift: math.exp(drift * score - total * drift**2 / 2) * norm.pdf(drift, scale=scale), -2, 2, limit=500
    )
    assert mixture == pytest.approx(1 / plan.alpha, rel=1e-6)


def test_the_interval_is_narrowest_about_where_it_is_planned() -> None:
    """Tuned for another number of answers it is wider at the planned one."""
    plan = Plan()
    planned = plan.answers() / 2
    factor = {
        share: float(half_width(planned, 0.2, planned, 0.2, Plan(detect=plan.detect * share))) for share in (0.5, 1, 2)
    }
    assert factor[1] < min(factor[0.5], factor[2])


def test_the_documents_numbers_are_the_plans() -> None:
    """docs/ab-tests.md tells how many answers a test takes."""
    text = (Path(__file__).parents[2] / "docs" / "ab-tests.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (0\.\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    assert len(rows) == 4
    for detect, *told in rows:
        assert told == [f"{Plan(float(detect), weight).answers():,}" for weight in (0.5, 0.2, 0.1)]


def _answers(number: int, share: float, seed: int) -> Arm:
    random = np.random.default_rng(seed)
    return Arm.of((int(accepted), 5) for accepted in random.binomial(5, share, number))


@pytest.mark.parametrize(
    ("a", "b", "finding"),
    [
        (_answers(600, 0.4, 1), _answers(600, 0.55, 2), Finding.b_better),
        (_answers(600, 0.55, 1), _answers(600, 0.4, 2), Finding.a_better),
        (_answers(2_000, 0.5, 1), _answers(2_000, 0.5, 2), Finding.same),
        (_answers(60, 0.5, 1), _answers(60, 0.5, 2), Finding.undecided),
        (_answers(600, 0.4, 1), _answers(MIN_ANSWERS - 1, 0.9, 2), Finding.undecided),
        (_answers(600, 0.4, 1), _answers(600, 0.0, 2), Finding.undecided),
        (_answers(0, 0.4, 1), _answers(0, 0.4, 2), Finding.undecided),
    ],
)
def test_what_is_found(a: Arm, b: Arm, finding: Finding) -> None:
    """A clear difference, none worth the name, and too little to say, by answers and by verdicts of each kind."""
    assert compare(a, b, Plan()).finding is finding


def test_an_answer_counts_once_however_many_of_its_items_are_rated() -> None:
    """Ten verdicts on one list are no ten times the evidence: the interval is that of the answers."""
    few = [Arm.of((int(liked), 1) for liked in np.random.default_rng(seed).random(400) < 0.5) for seed in (1, 2)]
    many = [Arm.of((10 * int(liked), 10) for liked in np.random.default_rng(seed).random(400) < 0.5) for seed in (1, 2)]
    assert [arm.ratings for arm in many] == [10 * arm.ratings for arm in few]
    one, other = compare(*few, Plan()), compare(*many, Plan())
    assert (one.low, one.high) == (other.low, other.high)


@pytest.mark.parametrize("changes", [{"detect": 0.0}, {"detect": 1.0}, {"weight": 0.0}, {"weight": math.nan}])
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, float]) -> None:
    """The message names the value and what was expected."""
    with pytest.raises(SettingsError, match=r"expected a share from 0\.01 to 0\.99"):
        Plan(**changes)
