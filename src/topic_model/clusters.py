"""Clusters of campaigns: k-means in the square roots of fingerprints, where Euclidean distance is Hellinger's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from topic_model.arrays import Float32Array, FloatArray, IntArray
from topic_model.errors import CorpusError
from topic_model.settings import NeighbourSettings

KMEANS_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Clusters:
    """``centres`` of shape (n_clusters, K) in the space of square roots; ``assigned`` of shape (n_campaigns,)."""

    centres: Float32Array
    assigned: IntArray
    labels: tuple[str, ...]
    terms: tuple[tuple[str, ...], ...]

    def nearest(self, theta: FloatArray) -> int:
        """The cluster of a fingerprint."""
        return int(np.argmin(((self.centres - np.sqrt(theta)) ** 2).sum(axis=1)))


def resolve_num_clusters(settings: NeighbourSettings, n_campaigns: int, num_topics: int) -> int:
    """The number of clusters; 'auto' is the number of topics, where silhouettes are best, or of campaigns if fewer.

    Raises:
        CorpusError: fewer campaigns than the clusters asked for.
    """
    if settings.num_clusters == "auto":
        return min(n_campaigns, num_topics)
    if not 1 <= settings.num_clusters <= n_campaigns:
        raise CorpusError(
            f"num_clusters is {settings.num_clusters}, but {n_campaigns} campaigns have a fingerprint; "
            f"expected 1 to {n_campaigns}, or 'auto'"
        )
    return settings.num_clusters


def cluster_campaigns(
    theta: Float32Array, weights: Any, terms: tuple[str, ...], settings: NeighbourSettings
) -> Clusters:
    """Clusters of the fingerprints, numbered by size (0 the largest) and labelled by their top terms.

    A term's rank is p ln(p / q), where p is the share of the cluster's campaigns that have it and q the share of all:
    a label says what most of the cluster is about and what sets it apart from the rest.
    """
    # Half of a serving process's start would be importing what it does not use.
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    roots = np.sqrt(theta)
    number = resolve_num_clusters(settings, *theta.shape)
    kind = KMeans if len(theta) <= KMEANS_LIMIT else MiniBatchKMeans
    # One thread: sums of many depend on who comes first, and equal input must give equal clusters.
    with threadpool_limits(1):
        found = kind(number, n_init=4, random_state=settings.seed).fit(roots)
    sizes = np.bincount(found.labels_, minlength=number)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    renumbered = np.empty(number, dtype=np.int64)
    renumbered[order] = np.arange(len(order))
    assigned = renumbered[found.labels_]

    presence = weights.astype(bool).astype(np.float64)
    everywhere = np.asarray(presence.mean(axis=0)).ravel()
    top_terms = []
    for cluster in range(len(order)):
        share = np.asarray(presence[assigned == cluster].mean(axis=0)).ravel()
        with np.errstate(divide="ignore", invalid="ignore"):
            rank = np.where(share > everywhere, share * np.log(share / everywhere), 0.0)
        top_terms.append(tuple(terms[term] for term in np.argsort(-rank, kind="stable")[:8] if rank[term] > 0))
    labels = tuple(", ".join(names[:3]) or f"cluster {cluster}" for cluster, names in enumerate(top_terms))
    return Clusters(found.cluster_centers_[order].astype(np.float32), assigned, labels, tuple(top_terms))
