"""Clusters: the themes that are there, numbered by size, labelled by their terms, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tests.topic_model.conftest import THEMES, Chain
from topic_model.arrays import Float32Array
from topic_model.clusters import Clusters, cluster_campaigns, resolve_num_clusters
from topic_model.errors import CorpusError
from topic_model.settings import NeighbourSettings

TERMS = ("common", "coffee", "garden", "guitar")


def _cluster(sizes: tuple[int, ...] = (30, 20, 10), **settings: object) -> tuple[Clusters, Float32Array]:
    """Three clear groups of the given sizes: group g has topic g, term g + 1 and the common term."""
    groups = np.repeat(np.arange(3), sizes)
    random = np.random.RandomState(0)
    theta = np.full((len(groups), 3), 0.02) + random.rand(len(groups), 3) * 0.01
    theta[np.arange(len(groups)), groups] += 1
    theta = (theta / theta.sum(axis=1, keepdims=True)).astype(np.float32)
    weights = np.zeros((len(groups), 4))
    weights[:, 0] = 0.5
    weights[np.arange(len(groups)), groups + 1] = 0.8
    chosen = NeighbourSettings(**({"num_clusters": 3} | settings))
    return cluster_campaigns(theta, sp.csr_matrix(weights), TERMS, chosen), theta


def test_clusters_are_numbered_by_size() -> None:
    """The largest is 0; each campaign is in the cluster of its group."""
    clusters, _ = _cluster((10, 30, 20))
    assert clusters.assigned.tolist() == [2] * 10 + [0] * 30 + [1] * 20


def test_labels_are_what_sets_a_cluster_apart() -> None:
    """A term that everyone has is nobody's label."""
    clusters, _ = _cluster()
    assert clusters.labels == ("coffee", "garden", "guitar")
    assert clusters.terms == (("coffee",), ("garden",), ("guitar",))


def test_a_campaigns_cluster_is_that_of_its_fingerprint() -> None:
    """Asked with a known fingerprint, nearest() names the cluster assigned."""
    clusters, theta = _cluster()
    assert [clusters.nearest(row.astype(np.float64)) for row in theta] == clusters.assigned.tolist()


def test_clusters_are_deterministic() -> None:
    """Two runs give the same centres to the bit."""
    one, two = (_cluster()[0] for _ in range(2))
    assert np.array_equal(one.centres, two.centres) and np.array_equal(one.assigned, two.assigned)


def test_campaigns_that_are_all_the_same_are_one_cluster() -> None:
    """Fewer distinct campaigns than clusters asked for: as many clusters as there are, and none empty."""
    theta = np.tile(np.array([0.6, 0.4], dtype=np.float32), (12, 1))
    clusters = cluster_campaigns(theta, sp.csr_matrix(np.ones((12, 1))), ("only",), NeighbourSettings(num_clusters=4))
    assert clusters.assigned.tolist() == [0] * 12
    assert clusters.labels == ("cluster 0",)
    assert len(clusters.centres) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_campaigns_can_be_clustered(n: int) -> None:
    """One to five campaigns get at most as many clusters."""
    theta = np.random.RandomState(n).dirichlet([1, 1], n).astype(np.float32)
    clusters = cluster_campaigns(theta, sp.csr_matrix(np.eye(n, 3)), ("a", "b", "c"), NeighbourSettings())
    assert len(clusters.assigned) == n
    assert set(clusters.assigned.tolist()) == set(range(len(clusters.labels)))


def test_more_clusters_than_campaigns_names_both() -> None:
    """The message has what was asked for and what there is."""
    with pytest.raises(CorpusError, match="num_clusters is 9, but 3 campaigns"):
        resolve_num_clusters(NeighbourSettings(num_clusters=9), 3, 2)
    with pytest.raises(CorpusError, match="num_clusters is 0"):
        resolve_num_clusters(NeighbourSettings(num_clusters=0), 3, 2)


@pytest.mark.parametrize(
    ("campaigns", "topics", "expected"), [(1, 40, 1), (7, 40, 7), (400, 40, 40), (10**6, 100, 100)]
)
def test_auto_is_the_number_of_topics(campaigns: int, topics: int, expected: int) -> None:
    """As many clusters as topics, or as campaigns where there are fewer."""
    assert resolve_num_clusters(NeighbourSettings(), campaigns, topics) == expected


def test_clusters_of_the_small_corpus_are_its_themes(chain: Chain) -> None:
    """With five clusters each theme's campaigns stand together, and a label is made of that theme's words."""
    lookup = chain.lookups.lookup
    clusters = cluster_campaigns(
        lookup.index.theta, lookup.index.weights, lookup.model.vocabulary.terms, NeighbourSettings(num_clusters=5)
    )
    themes = np.array([campaign.campaign_id.split("-")[0] for campaign in lookup.campaigns])
    for cluster, label in enumerate(clusters.labels):
        names, counts = np.unique(themes[clusters.assigned == cluster], return_counts=True)
        assert counts.max() / counts.sum() >= 0.9
        words = THEMES[names[counts.argmax()]].replace("strings", "string").split()
        assert set(label.split(", ")) <= set(words)
