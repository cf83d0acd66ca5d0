"""The lookup model: a topic model with the campaigns it is asked about, as one artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from topic_model.arrays import Float32Array, FloatArray, IntArray, csr, write_array, write_json
from topic_model.artifact import Artifact, read_model, write_model
from topic_model.campaigns import Campaign
from topic_model.client_scope import ClientScope
from topic_model.clusters import Clusters
from topic_model.errors import ArtifactError, ArtifactMismatchError
from topic_model.model import TopicModel
from topic_model.neighbours import CampaignIndex
from topic_model.recommend import KeywordTable, Recommender, exclusions, keyword_key, recommendation_record
from topic_model.settings import NeighbourSettings
from topic_model.text import Tokenizer, campaign_phrases
from topic_model.weighting import tf_idf

INDEX = "index"
MAX_SHARED_TOPICS = 3
MAX_SHARED_TERMS = 5


@dataclass(frozen=True, slots=True)
class KnownCampaign:
    """What an answer says of a neighbour."""

    campaign_id: str
    client_id: str | None
    channel: str | None
    name: str | None


@dataclass(frozen=True)
class LookupModel:
    """A topic model with the campaigns that it is asked about: neighbours, clusters and keywords in use."""

    model: TopicModel
    model_version: str
    campaigns: Sequence[KnownCampaign]
    index: CampaignIndex
    idf: FloatArray
    clusters: Clusters
    keywords: KeywordTable
    recommender: Recommender
    settings: NeighbourSettings

    def answer(
        self,
        campaign: Campaign,
        tokenizer: Tokenizer,
        *,
        k: int | None = None,
        num_recommendations: int | None = None,
        only_client: str | None = None,
    ) -> dict[str, Any]:
        """Everything about a fresh campaign; its own id, where the index has it, is not among its neighbours.

        With ``only_client``, neighbours and the evidence of recommendations are of that client's campaigns alone.

        Raises:
            NoKnownTermsError: no term of the campaign is in the vocabulary.
        """
        terms = tokenizer.campaign_terms(campaign)
        theta = self.model.infer(terms)
        ids, counts = self.model.vocabulary.bow(terms)
        weights = tf_idf(csr(counts.astype(np.float64), ids, [0, len(ids)], len(self.idf)), self.idf)
        own_row = self._rows.get(campaign.campaign_id)
        number = k or self.settings.num_neighbours
        if only_client is None:
            found = self.index.nearest(theta, weights, number, own_row=own_row)
        else:
            found = self.scope.nearest(only_client, theta, weights, number, own_row=own_row)
        rows, similarities = found.rows[0], found.similarities[0]
        phrases = campaign_phrases(campaign, self.model.text_settings)
        cluster = self.clusters.nearest(theta)
        return {
            **describe_fingerprint(self.model, theta),
            "known_terms": len(ids),
            "unknown_terms": [term for term in terms if term not in self.model.vocabulary.ids][:50],
            "cluster": cluster,
            "cluster_label": self.clusters.labels[cluster],
            "similar": self.similar(theta, weights, rows, similarities),
            "recommendations": [
                recommendation_record(recommendation)
                for recommendation in self.recommender.recommend(
                    theta,
                    rows,
                    similarities,
                    own=self.recommender.ids_of(map(keyword_key, tokenizer.pipe(phrases.keywords))),
                    excluded=exclusions(phrases.negatives, tokenizer),
                    number=self.settings.num_recommendations if num_recommendations is None else num_recommendations,
                    min_similarity=self.settings.min_evidence_similarity,
                )
            ],
        }

    @cached_property
    def scope(self) -> ClientScope:
        """The index of each client."""
        return ClientScope([campaign.client_id for campaign in self.campaigns], self.index)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {campaign.campaign_id: row for row, campaign in enumerate(self.campaigns)}

    def similar(
        self, theta: FloatArray, weights: Any, rows: IntArray, similarities: FloatArray
    ) -> list[dict[str, Any]]:
        """Neighbours with what they share, for a campaign of fingerprint (K,) and TF-IDF row (1, n_terms).

        ``contributions`` says what each similarity is made of: its parts from the shared terms and topics, in their
        order, and from all other terms and topics; they add up to the similarity, to its six decimals.
        """
        dense = np.zeros(weights.shape[1])
        dense[weights.indices] = weights.data
        weight = self.settings.topic_weight
        topic_parts = weight * np.sqrt(theta) * self.index.roots[rows]
        order = np.argsort(-topic_parts, axis=1, kind="stable")[:, :MAX_SHARED_TOPICS]
        found = []
        for row, similarity, topics, parts, total in zip(
            rows.tolist(),
            similarities.tolist(),
            order.tolist(),
            np.take_along_axis(topic_parts, order, axis=1).tolist(),
            topic_parts.sum(axis=1).tolist(),
            strict=True,
        ):
            known = self.campaigns[row]
            shared = [(topic, part) for topic, part in zip(topics, parts, strict=True) if part >= 0.1 * total > 0]
            terms, term_parts, overlap = self._shared_terms(dense, row)
            found.append(
                {
                    "campaign_id": known.campaign_id,
                    "client_id": known.client_id,
                    "name": known.name,
                    "channel": known.channel,
                    "similarity": similarity,
                    "shared_topics": [
                        {"topic": topic, "share": round(part / total, 4), "terms": self.model.topic_terms[topic][:4]}
                        for topic, part in shared
                    ],
                    "shared_terms": terms,
                    "contributions": _contributions(
                        similarity,
                        [(1 - weight) * part for part in term_parts],
                        (1 - weight) * overlap,
                        [part for _, part in shared],
                        total,
                    ),
                }
            )
        return found

    def _shared_terms(self, dense: FloatArray, row: int) -> tuple[list[str], list[float], float]:
        """The terms that make up most of two campaigns' cosine, the heaviest first, what each adds to it, and it."""
        start, stop = self.index.weights.indptr[row : row + 2].tolist()
        ids = self.index.weights.indices[start:stop]
        products = dense[ids] * self.index.weights.data[start:stop]
        heaviest = np.argsort(-products, kind="stable")[:MAX_SHARED_TERMS]
        names = self.model.vocabulary.terms
        parts = [
            (names[term], part)
            for term, part in zip(ids[heaviest].tolist(), products[heaviest].tolist(), strict=True)
            if part > 0
        ]
        return [term for term, _ in parts], [part for _, part in parts], float(products.sum())


def _contributions(
    similarity: float, terms: list[float], overlap: float, topics: list[float], topic_total: float
) -> dict[str, Any]:
    """The named parts of a similarity and the rest of each kind, to six decimals, none negative, adding up to it."""
    parts = [*terms, max(0.0, overlap - sum(terms)), *topics, max(0.0, topic_total - sum(topics))]
    # The running sum is rounded and not the parts, so that roundings cannot pile up.
    scale = similarity / max(sum(parts), 1e-12)
    running = [round(scale * part, 6) for part in accumulate(parts)]
    rounded = [round(after - before, 6) for before, after in pairwise((0.0, *running))]
    return {
        "terms": rounded[: len(terms)],
        "other_terms": rounded[len(terms)],
        "topics": rounded[len(terms) + 1 : -1],
        "other_topics": rounded[-1],
    }


def describe_fingerprint(model: TopicModel, theta: FloatArray) -> dict[str, Any]:
    """The fingerprint, rounded to 7 decimals, and its topics of 5 % or more, at most 5."""
    return {
        "fingerprint": [round(value, 7) for value in theta.tolist()],
        "topics": top_topics(model, theta),
    }


def top_topics(model: TopicModel, theta: FloatArray | Float32Array) -> list[dict[str, Any]]:
    """The topics of a fingerprint with 5 % or more, at most 5, and always the first."""
    order = np.argsort(-theta, kind="stable")[:5]
    return [
        {"topic": int(topic), "share": round(float(theta[topic]), 4), "terms": model.topic_terms[topic]}
        for place, topic in enumerate(order)
        if place == 0 or theta[topic] >= 0.05
    ]


def write_lookup_model(lookup: LookupModel, folder: Path, about: Mapping[str, Any]) -> str:
    """Write model and index as one artifact folder; returns its version.

    ``about`` is the trained model's manifest, whose facts the new one keeps.
    """
    index = folder / INDEX
    write_array(index / "theta.npy", lookup.index.theta)
    _write_csr(index, "weights", lookup.index.weights)
    write_array(index / "idf.npy", lookup.idf)
    write_json(
        index / "campaigns.json",
        {name: [getattr(campaign, name) for campaign in lookup.campaigns] for name in KnownCampaign.__slots__},
    )
    write_array(index / "cluster_centres.npy", lookup.clusters.centres)
    write_array(index / "cluster_of_campaign.npy", lookup.clusters.assigned)
    write_json(
        index / "clusters.json",
        [
            {"label": label, "terms": list(terms)}
            for label, terms in zip(lookup.clusters.labels, lookup.clusters.terms, strict=True)
        ],
    )
    table = lookup.keywords
    write_json(index / "keywords.json", {"phrases": list(table.phrases), "keys": list(table.keys)})
    write_array(index / "keywords_indptr.npy", table.indptr)
    write_array(index / "keywords.npy", table.keywords.astype(np.int32))
    write_array(index / "keyword_figures.npy", table.figures)
    _write_csr(index, "keyword_terms", table.terms)
    facts = ("settings", "corpus_hash", "metrics")
    return write_model(
        lookup.model,
        folder,
        about={
            **{name: about[name] for name in facts if name in about},
            "trained_model_version": lookup.model_version,
            "neighbour_settings": lookup.settings.model_dump(),
        },
    )


def has_index(artifact: Artifact) -> bool:
    """Whether the artifact is a lookup model, and not a trained model alone."""
    return "neighbour_settings" in artifact.manifest


def read_lookup_model(artifact: Artifact) -> LookupModel:
    """The lookup model of a checked artifact.

    Raises:
        ArtifactError: it has no index, or its parts do not fit together.
    """
    if not has_index(artifact):
        raise ArtifactError("the artifact has no neighbour index; deploy the one that build-neighbours wrote")
    model = read_model(artifact)
    settings = NeighbourSettings.from_mapping(artifact.manifest["neighbour_settings"])
    theta = artifact.array(f"{INDEX}/theta.npy")
    columns = artifact.document(f"{INDEX}/campaigns.json")
    names = KnownCampaign.__slots__
    campaigns = [KnownCampaign(*values) for values in zip(*(columns[name] for name in names), strict=True)]
    if theta.shape != (len(campaigns), model.num_topics):
        raise ArtifactMismatchError(
            f"the index has fingerprints of shape {theta.shape} for {len(campaigns)} campaigns, but the model "
            f"{model.num_topics} topics; deploy model and index of one training run"
        )
    clusters = artifact.document(f"{INDEX}/clusters.json")
    keywords = artifact.document(f"{INDEX}/keywords.json")
    table = KeywordTable(
        keywords["phrases"],
        keywords["keys"],
        artifact.array(f"{INDEX}/keywords_indptr.npy"),
        artifact.array(f"{INDEX}/keywords.npy"),
        artifact.array(f"{INDEX}/keyword_figures.npy"),
        _read_csr(artifact, "keyword_terms", len(model.vocabulary)),
    )
    return LookupModel(
        model,
        artifact.model_version,
        campaigns,
        CampaignIndex(theta, _read_csr(artifact, "weights", len(model.vocabulary)), settings),
        np.asarray(artifact.array(f"{INDEX}/idf.npy")),
        Clusters(
            np.asarray(artifact.array(f"{INDEX}/cluster_centres.npy")),
            artifact.array(f"{INDEX}/cluster_of_campaign.npy"),
            tuple(cluster["label"] for cluster in clusters),
            tuple(tuple(cluster["terms"]) for cluster in clusters),
        ),
        table,
        Recommender(table, model, theta),
        settings,
    )


def _write_csr(folder: Path, name: str, matrix: Any) -> None:
    write_array(folder / f"{name}_indptr.npy", matrix.indptr.astype(np.int64))
    write_array(folder / f"{name}_indices.npy", matrix.indices.astype(np.int32))
    write_array(folder / f"{name}_values.npy", matrix.data.astype(np.float32))


def _read_csr(artifact: Artifact, name: str, n_columns: int) -> Any:
    values, indices, indptr = (
        np.asarray(artifact.array(f"{INDEX}/{name}_{part}.npy")) for part in ("values", "indices", "indptr")
    )
    return csr(values, indices, indptr, n_columns)
