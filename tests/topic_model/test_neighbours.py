"""Neighbours: what brute force finds, in Hellinger distance and in the blend, exactly or nearly so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

from topic_model.errors import ArtifactMismatchError
from topic_model.latent import fit_latent_space
from topic_model.neighbours import Blend, CampaignIndex, CampaignVectors, Neighbours
from topic_model.settings import NeighbourSettings
from topic_model.weighting import TermWeights


def _index(n: int, *, num_topics: int = 12, n_terms: int = 400, seed: int = 0, **settings: Any) -> CampaignIndex:
    """Campaigns drawn from topics: mixtures from a sparse Dirichlet, terms from their topics."""
    random = np.random.RandomState(seed)
    theta = random.dirichlet(np.full(num_topics, 0.15), n) + 1e-6
    theta /= theta.sum(axis=1, keepdims=True)
    beta = random.dirichlet(np.full(n_terms, 0.05), num_topics)
    rows = [random.multinomial(25, weights / weights.sum()) for weights in theta @ beta]
    values = {"topic_weight": 0.2, "latent_weight": 0.3, "min_similarity": 0.1} | settings
    counts = sp.csr_matrix(np.array(rows, dtype=np.float64))
    weights = TermWeights.of(counts).rows(counts).astype(np.float32)
    latent = fit_latent_space(weights, 20, seed).project(weights)
    return CampaignIndex(theta.astype(np.float32), weights, latent, NeighbourSettings(**values))


def _bare_index(theta: Any, weights: Any, **settings: Any) -> CampaignIndex:
    """An index of given arrays, without a latent space."""
    nowhere = np.zeros((len(theta), 0), dtype=np.float32)
    return CampaignIndex(theta, weights, nowhere, NeighbourSettings(**settings))


def _vectors(index: CampaignIndex, row: int) -> CampaignVectors:
    own = index.weights[row]
    return CampaignVectors(index.theta[row].astype(np.float64), own.indices, own.data, index.latent[row])


def _similarities(index: CampaignIndex) -> Any:
    """The blend of all pairs by its formula, in float64, own campaign left out."""
    theta = index.theta.astype(np.float64)
    weights = index.weights.toarray().astype(np.float64)
    latent = index.latent.astype(np.float64)
    topics, company = index.settings.topic_weight, index.settings.latent_weight
    every = topics * (np.sqrt(theta) @ np.sqrt(theta).T) + (1 - topics - company) * (weights @ weights.T)
    every += company * np.maximum(latent @ latent.T, 0)
    np.fill_diagonal(every, -1)
    return every


def _recall(found: Neighbours, every: Any, number: int) -> float:
    """Share of the neighbours found that are as near as the number-th nearest."""
    hits = total = 0
    for row, near in enumerate(found.rows):
        threshold = np.sort(every[row])[::-1][number - 1]
        hits += int((every[row][near] >= threshold - 2e-6).sum())
        total += number
    return hits / total


SHARES = [(0.0, 0.0), (0.1, 0.6), (0.4, 0.2), (0.0, 1.0), (1.0, 0.0)]


@pytest.mark.parametrize(("topic_weight", "latent_weight"), SHARES)
def test_all_pairs_are_brute_force(topic_weight: float, latent_weight: float) -> None:
    """The same neighbours and similarities as the formula gives in plain NumPy."""
    index = _index(700, topic_weight=topic_weight, latent_weight=latent_weight, min_similarity=0)
    every = _similarities(index)
    found = index.all_nearest(10)
    for row, (near, similarities) in enumerate(zip(found.rows, found.similarities, strict=True)):
        best = np.sort(every[row])[::-1][:10]
        assert similarities == pytest.approx(best, abs=2e-6)
        assert every[row][near] == pytest.approx(best, abs=2e-6)
    assert _recall(found, every, 10) == 1


@pytest.mark.parametrize("number", [1, 10, 300])
@pytest.mark.parametrize(("topic_weight", "latent_weight"), SHARES)
def test_one_campaign_alone_is_brute_force(topic_weight: float, latent_weight: float, number: int) -> None:
    """Rows that are let go early were none of the nearest: similarities are those of the formula, rank by rank."""
    index = _index(400, topic_weight=topic_weight, latent_weight=latent_weight, min_similarity=0.05)
    every = _similarities(index)
    for row in range(0, 400, 20):
        found = index.nearest(_vectors(index, row), number, own_row=row)
        best = np.sort(every[row])[::-1][:number]
        best = best[best >= 0.05 + 1e-6]
        assert found.similarities[0][: len(best)] == pytest.approx(best, abs=2e-6)
        assert every[row][found.rows[0]] == pytest.approx(found.similarities[0], abs=2e-6)


def test_some_rows_alone_are_searched() -> None:
    """Within a range of rows nobody else is found, and the campaign itself is none of its neighbours."""
    index = _index(300, min_similarity=0)
    every = _similarities(index)[130, 100:160]
    found = index.nearest(_vectors(index, 130), 100, own_row=130, within=slice(100, 160))
    assert sorted(found.rows[0].tolist()) == [row for row in range(100, 160) if row != 130]
    assert found.similarities[0] == pytest.approx(np.sort(every)[::-1][:59], abs=2e-6)


def test_topics_alone_are_hellinger_neighbours() -> None:
    """With topic_weight 1 the distance is Hellinger's: scikit-learn's Euclidean neighbours of the square roots."""
    index = _index(400, topic_weight=1, latent_weight=0, min_similarity=0)
    distances, rows = NearestNeighbors(n_neighbors=6).fit(np.sqrt(index.theta)).kneighbors()
    found = index.all_nearest(6)
    hellinger = np.sqrt(1 - np.stack(found.similarities))
    assert hellinger == pytest.approx(distances / np.sqrt(2), abs=1e-3)
    assert np.mean(np.stack(found.rows) == rows) > 0.999


def test_no_campaign_is_its_own_neighbour() -> None:
    """Nor does one stand twice in a list."""
    for row, near in enumerate(_index(300).all_nearest(20).rows):
        assert row not in near
        assert len(set(near.tolist())) == len(near)


def test_ties_go_to_the_first_row() -> None:
    """Among identical campaigns the order is that of the index, so that two runs agree."""
    theta = np.tile(np.array([0.5, 0.3, 0.2], dtype=np.float32), (30, 1))
    weights = sp.csr_matrix(np.tile(np.array([0.6, 0.8], dtype=np.float32), (30, 1)))
    found = _bare_index(theta, weights).all_nearest(4)
    assert found.rows[0].tolist() == [1, 2, 3, 4]
    assert found.rows[2].tolist() == [0, 1, 3, 4]
    assert found.similarities[0] == pytest.approx([1, 1, 1, 1])


def test_far_campaigns_are_no_neighbours() -> None:
    """Below min_similarity nobody is named, even if the list is then short or empty."""
    theta = np.array([[0.98, 0.01, 0.01], [0.97, 0.02, 0.01], [0.01, 0.01, 0.98]], dtype=np.float32)
    weights = sp.csr_matrix(np.eye(3, dtype=np.float32))
    found = _bare_index(theta, weights, topic_weight=1, latent_weight=0, min_similarity=0.5).all_nearest(5)
    assert [rows.tolist() for rows in found.rows] == [[1], [0], []]


def test_a_known_campaign_asked_alone_has_its_neighbours_of_the_batch() -> None:
    """nearest() of a campaign of the index, itself left out, agrees with all_nearest()."""
    index = _index(500)
    every = index.all_nearest(10)
    for row in range(0, 500, 25):
        alone = index.nearest(_vectors(index, row), 10, own_row=row)
        assert alone.similarities[0] == pytest.approx(every.similarities[row], abs=2e-6)
        unlike = set(alone.rows[0].tolist()) ^ set(every.rows[row].tolist())
        assert len(unlike) <= 2  # a tie in the sixth decimal may fall either way


def test_a_fresh_copy_of_a_campaign_finds_it_first() -> None:
    """Asked without own_row, the campaign itself is the nearest, with similarity 1."""
    index = _index(200)
    found = index.nearest(_vectors(index, 42), 3)
    assert found.rows[0][0] == 42
    assert found.similarities[0][0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_campaigns_have_as_many_neighbours_as_there_are(n: int) -> None:
    """One to five campaigns: everyone else."""
    index = _index(n, num_topics=2, n_terms=5, min_similarity=0)
    assert [len(rows) for rows in index.all_nearest(10).rows] == [n - 1] * n


def test_one_term_and_two_topics_are_enough() -> None:
    """The narrowest index there is works."""
    index = _bare_index(
        np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], dtype=np.float32),
        sp.csr_matrix(np.ones((3, 1), dtype=np.float32)),
    )
    assert [rows.tolist() for rows in index.all_nearest(1).rows] == [[1], [0], [1]]


@pytest.mark.parametrize("least", [0.2, 0.29, 0.57])
def test_a_similarity_at_the_minimum_is_a_neighbours(least: float) -> None:
    """Whatever floats make of the two decimals."""
    settings = {"topic_weight": 1, "latent_weight": 0, "min_similarity": least}
    index = _bare_index(np.eye(2, dtype=np.float32), sp.csr_matrix((2, 1), dtype=np.float32), **settings)
    bare = replace(_vectors(index, 0), theta=np.array([least**2, 0]))
    found = index.nearest(bare, 2)
    assert (found.rows[0].tolist(), found.similarities[0].tolist()) == ([0], [least])


def test_index_and_model_of_two_runs_are_refused() -> None:
    """Other numbers of campaigns or of topics are named."""
    index = _index(10)
    with pytest.raises(ArtifactMismatchError, match="10 fingerprints but 9 rows"):
        CampaignIndex(index.theta, index.weights[:9], index.latent, index.settings)
    with pytest.raises(ArtifactMismatchError, match="12 topics but the fingerprint 3"):
        index.nearest(replace(_vectors(index, 0), theta=np.full(3, 1 / 3)), 5)


def test_without_a_latent_space_its_share_goes_to_the_others() -> None:
    """In their proportion; equally where they have none."""
    without = Blend.of(NeighbourSettings(topic_weight=0.1, latent_weight=0.6), 0)
    assert (without.topics, without.latent, without.terms) == pytest.approx((0.25, 0, 0.75))
    assert Blend.of(NeighbourSettings(topic_weight=0, latent_weight=1), 0) == Blend(0.5, 0, 0.5)


def test_an_opposite_in_the_latent_space_costs_nothing() -> None:
    """Its cosine counts as 0: campaigns that share terms stay as similar as these make them."""
    theta = np.full((2, 1), 1, dtype=np.float32)
    terms = sp.csr_matrix(np.ones((2, 1), dtype=np.float32))
    settings = NeighbourSettings(topic_weight=0.1, latent_weight=0.6)
    for other in (-1, 0):
        latent = np.array([[1], [other]], dtype=np.float32)
        found = CampaignIndex(theta, terms, latent, settings).all_nearest(1)
        assert found.similarities[0] == pytest.approx([0.4])
