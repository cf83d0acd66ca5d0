"""Recommended keywords: ranked by the formula, never the campaign's own, never what its negatives exclude."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.topic_model.conftest import write_prepared
from topic_model.corpus import Vocabulary
from topic_model.model import TopicModel
from topic_model.recommend import Recommendation, Recommender, build_keyword_table, exclusions, keyword_key
from topic_model.settings import TextSettings
from topic_model.text import Tokenizer

TOKENIZER = Tokenizer()
VOCABULARY = Vocabulary.of(["coffee", "mug", "running", "shoe"])
# Two topics: drinking and running.
LAMBDA = np.array([[6.0, 3.0, 0.5, 0.5], [0.5, 0.5, 4.0, 5.0]])


def _campaign(campaign_id: str, *keywords: str, **figures: list[float | None]) -> dict[str, Any]:
    return {"campaign_id": campaign_id, "terms": {}, "keywords": list(keywords), **figures}


def _recommender(tmp_path: Path, *campaigns: dict[str, Any], theta: Any = None) -> Recommender:
    write_prepared(tmp_path, campaigns)
    ids = [campaign["campaign_id"] for campaign in campaigns]
    files = [tmp_path / "google_ads" / "campaigns.parquet"]
    table = build_keyword_table(files, ids, VOCABULARY, TOKENIZER)
    model = TopicModel(VOCABULARY, LAMBDA, np.full(2, 0.5), 0.1, TextSettings())
    mixtures = np.full((len(ids), 2), 0.5) if theta is None else np.asarray(theta)
    return Recommender(table, model, mixtures.astype(np.float32))


def _recommend(
    recommender: Recommender,
    neighbours: list[int],
    similarities: list[float],
    *,
    own: tuple[str, ...] = (),
    negatives: tuple[str, ...] = (),
    number: int = 10,
    theta: tuple[float, float] = (0.5, 0.5),
) -> list[Recommendation]:
    return recommender.recommend(
        np.array(theta),
        np.array(neighbours, dtype=np.int64),
        np.array(similarities),
        own={keyword_key(TOKENIZER.terms(phrase)) for phrase in own},
        excluded=exclusions(negatives, TOKENIZER),
        number=number,
    )


def test_the_score_is_the_formula_without_figures(tmp_path: Path) -> None:
    """Support times fit, with the neutral 0.875 and 0.5 where no export has clicks, conversions or cost."""
    recommender = _recommender(
        tmp_path, _campaign("a"), _campaign("b", "coffee mug", "running shoe"), _campaign("c", "coffee mug")
    )
    found = _recommend(recommender, [1, 2], [0.8, 0.4], theta=(0.9, 0.1))
    assert [each.keyword for each in found] == ["coffee mug", "running shoe"]
    beta = LAMBDA / LAMBDA.sum(axis=1, keepdims=True)
    lift = (0.9 * beta[0] + 0.1 * beta[1]) / (0.5 * beta[0] + 0.5 * beta[1])
    for each, ids, support in zip(found, ([0, 1], [2, 3]), (1.0, 0.8 / 1.2), strict=True):
        mean = lift[ids].mean()
        assert each.score == pytest.approx(support * mean / (1 + mean) * 0.875 * 0.5, rel=1e-4)
    assert (found[0].campaigns, found[0].similarity) == (2, pytest.approx(0.6))
    assert (found[1].campaigns, found[1].similarity) == (1, pytest.approx(0.8))
    assert found[0].clicks is found[0].conversions is found[0].cost is None


def test_the_score_is_the_formula_with_figures(tmp_path: Path) -> None:
    """Clicks, conversions and cost by hand: sums over neighbours, the most clicks 90, 10 conversions for 200."""
    recommender = _recommender(
        tmp_path,
        _campaign("a", "mug", clicks=[90.0], conversions=[2.0], cost=[60.0]),
        _campaign("b", "coffee", clicks=[20.0], conversions=[6.0], cost=[100.0]),
        _campaign("c", "coffee", clicks=[10.0], conversions=[2.0], cost=[40.0]),
    )
    (coffee,) = _recommend(recommender, [1, 2], [0.5, 0.5])
    demand = 0.75 + 0.25 * log(31) / log(91)
    average = 10 / 200
    relative = (8 + 1) / (140 + 1 / average) / average
    # Fit is 1/2: the campaign's mixture is the average one, so no term is likelier than anywhere.
    assert coffee.score == pytest.approx(1 * 0.5 * demand * relative / (1 + relative), rel=1e-4)
    assert (coffee.clicks, coffee.conversions, coffee.cost) == (30, 8, 140)


def test_a_figure_that_some_exports_lack_is_summed_over_the_others(tmp_path: Path) -> None:
    """A null is not a 0: it neither adds nor makes the sum null, and all nulls stay null."""
    recommender = _recommender(
        tmp_path,
        _campaign("a"),
        _campaign("b", "coffee", clicks=[None], conversions=[None], cost=[0.0]),
        _campaign("c", "coffee", clicks=[3.0], conversions=[None], cost=[None]),
    )
    (coffee,) = _recommend(recommender, [1, 2], [0.5, 0.5])
    assert (coffee.clicks, coffee.conversions, coffee.cost) == (3, None, 0)
    assert np.isfinite(coffee.score)


def test_more_evidence_ranks_higher(tmp_path: Path) -> None:
    """All else equal: more neighbours, more clicks, more conversions for the money each win."""
    recommender = _recommender(
        tmp_path,
        _campaign("a", "x1", "x2", clicks=[5.0, 90.0], conversions=[1.0, 1.0], cost=[9.0, 9.0]),
        _campaign("b", "x1", "x2", "x3", clicks=[5.0, 9.0, 99.0], conversions=[1.0, 1.0, 1.0], cost=[9.0, 9.0, 9.0]),
        _campaign("c", "x4", "x5", clicks=[5.0, 5.0], conversions=[9.0, 0.0], cost=[9.0, 9.0]),
    )
    order = [each.keyword for each in _recommend(recommender, [0, 1], [0.6, 0.5])]
    assert order == ["x2", "x1", "x3"]
    assert [each.keyword for each in _recommend(recommender, [2], [0.6])] == ["x4", "x5"]


@pytest.mark.parametrize("own", ["running shoes", "shoes for running", "SHOE, running!", "[running shoe]"])
def test_own_keywords_are_not_recommended_in_any_wording(own: str, tmp_path: Path) -> None:
    """The same terms are the same keyword."""
    recommender = _recommender(tmp_path, _campaign("a", "running shoes", "coffee"))
    assert [each.keyword for each in _recommend(recommender, [0], [0.9], own=(own,))] == ["coffee"]


@pytest.mark.parametrize("negative", ["shoe", "shoes", "running shoes", "shoes running", "best", "2025"])
def test_what_negatives_exclude_is_not_recommended(negative: str, tmp_path: Path) -> None:
    """All words of a negative, in any order, plural or not; a word without terms excludes where it is written."""
    recommender = _recommender(tmp_path, _campaign("a", "best running shoe 2025", "coffee mug"))
    assert [each.keyword for each in _recommend(recommender, [0], [0.9], negatives=(negative,))] == ["coffee mug"]


@pytest.mark.parametrize("negative", ["running socks", "best coffee", "shoehorn", "!!!", "free"])
def test_other_negatives_exclude_nothing(negative: str, tmp_path: Path) -> None:
    """A negative with a word that the keyword lacks leaves it; best coffee does not exclude all coffee."""
    recommender = _recommender(tmp_path, _campaign("a", "running shoe", "coffee mug"))
    assert len(_recommend(recommender, [0], [0.9], negatives=(negative,))) == 2


def test_the_most_used_wording_is_shown(tmp_path: Path) -> None:
    """Wordings of one keyword count together, under the one most campaigns use."""
    recommender = _recommender(
        tmp_path, _campaign("a", "shoes running"), _campaign("b", "running shoes"), _campaign("c", "running shoes")
    )
    (found,) = _recommend(recommender, [0, 1, 2], [0.5, 0.5, 0.5])
    assert (found.keyword, found.campaigns) == ("running shoes", 3)


def test_two_wordings_in_one_campaign_are_one_use(tmp_path: Path) -> None:
    """Their figures are summed, their campaign counts once."""
    recommender = _recommender(tmp_path, _campaign("a", "running shoes", "shoes for running", clicks=[2.0, 3.0]))
    (found,) = _recommend(recommender, [0], [0.5])
    assert (found.campaigns, found.clicks) == (1, 5)


def test_every_candidate_is_weighed(tmp_path: Path) -> None:
    """A keyword that fits wins from behind two hundred with equal support: none is cut by the alphabet."""
    others = [f"aa{number:03d}" for number in range(200)]
    recommender = _recommender(tmp_path, _campaign("a", *others, "zz coffee"))
    (best,) = _recommend(recommender, [0], [0.9], number=1, theta=(0.99, 0.01))
    assert best.keyword == "zz coffee"


def test_negatives_that_exclude_the_best_leave_the_rest(tmp_path: Path) -> None:
    """Hundreds of excluded keywords do not use up the list."""
    recommender = _recommender(
        tmp_path, _campaign("a", *[f"coffee x{number}" for number in range(300)], "plain"), _campaign("b", "coffee x1")
    )
    found = _recommend(recommender, [0, 1], [0.9, 0.9], negatives=("coffee",))
    assert [each.keyword for each in found] == ["plain"]


@pytest.mark.parametrize(
    ("neighbours", "similarities", "number"), [([], [], 5), ([0], [0.9], 0), ([0], [0.0], 5), ([1], [0.9], 5)]
)
def test_without_evidence_nothing_is_recommended(
    neighbours: list[int], similarities: list[float], number: int, tmp_path: Path
) -> None:
    """No neighbours, none wanted, no similarity, or neighbours without keywords: an empty list."""
    recommender = _recommender(tmp_path, _campaign("a", "coffee"), _campaign("b"))
    assert _recommend(recommender, neighbours, similarities, number=number) == []


def test_at_most_the_number_asked_for(tmp_path: Path) -> None:
    """Best first, and no more than asked."""
    recommender = _recommender(tmp_path, _campaign("a", "coffee", "mug", "shoe"))
    every = _recommend(recommender, [0], [0.9])
    assert _recommend(recommender, [0], [0.9], number=2) == every[:2]
    assert [each.score for each in every] == sorted((each.score for each in every), reverse=True)


def test_keywords_without_terms_are_no_keywords(tmp_path: Path) -> None:
    """Digits and stop words alone say nothing to recommend."""
    recommender = _recommender(tmp_path, _campaign("a", "2025", "best", "coffee"))
    assert [each.keyword for each in _recommend(recommender, [0], [0.9])] == ["coffee"]


def test_other_scripts_are_recommended_and_excluded(tmp_path: Path) -> None:
    """Unknown to the model, but keywords all the same."""
    recommender = _recommender(tmp_path, _campaign("a", "кофе арабика", "コーヒー", "हिन्दी कॉफी"))
    assert len(_recommend(recommender, [0], [0.9])) == 3
    left = _recommend(recommender, [0], [0.9], negatives=("арабика", "コーヒー"))
    assert [each.keyword for each in left] == ["हिन्दी कॉफी"]


def test_a_table_of_no_keywords_works(tmp_path: Path) -> None:
    """Campaigns without any keyword are a table of none."""
    recommender = _recommender(tmp_path, _campaign("a"), _campaign("b"))
    assert _recommend(recommender, [0, 1], [0.9, 0.8]) == []


def test_weak_neighbours_have_no_say(tmp_path: Path) -> None:
    """A keyword that only neighbours below the bound use is no advice; evidence and support count the others alone."""
    recommender = _recommender(
        tmp_path, _campaign("a"), _campaign("b", "coffee mug"), _campaign("c", "coffee mug", "running shoe")
    )
    theta, rows, similarities = np.array([0.5, 0.5]), np.array([1, 2]), np.array([0.6, 0.2])
    found = recommender.recommend(
        theta, rows, similarities, own=np.zeros(0, dtype=np.int64), excluded=[], number=10, min_similarity=0.3
    )
    alone = _recommend(recommender, [1], [0.6])
    assert [each.keyword for each in found] == ["coffee mug"]
    assert found == alone
