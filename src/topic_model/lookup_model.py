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
from topic_model.latent import LatentSpace
from topic_model.model import TopicModel
from topic_model.neighbours import CampaignIndex, CampaignVectors
from topic_model.recommend import KeywordTable, Recommender, exclusions, keyword_key, recommendation_record
from topic_model.settings import NeighbourSettings
from topic_model.text import Tokenizer, campaign_phrases
from topic_model.weighting import TermWeights

INDEX = "index"
MAX_SHARED_TOPICS = 3
MAX_SHARED_TERMS = 5
MAX_RELATED_TERMS = 5
# Bars of low confidence, measured in docs/decisions/0013-confidence.md.
MIN_KNOWN_TERMS_SHARE = 0.5
"""Of a campaign's distinct terms. Below, most of the text has no say in the answer."""
MIN_NEAREST = 0.5
"""Of the nearest neighbour's similarity. Below, words drawn at random do as well."""


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
    term_weights: TermWeights
    latent: LatentSpace
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

        With ``only_client``, neighbours, the evidence of recommendations and the confidence are of that client's
        campaigns alone.

        Raises:
            NoKnownTermsError: no term of the campaign is in the vocabulary.
        """
        terms = tokenizer.campaign_terms(campaign)
        theta = self.model.infer(terms)
        ids, counts = self.model.vocabulary.bow(terms)
        vectors = self._vectors(theta, ids, counts)
        own_row = self._rows.get(campaign.campaign_id)
        number = k or self.settings.num_neighbours
        if only_client is None:
            found = self.index.nearest(vectors, number, own_row=own_row)
        else:
            found = self.scope.nearest(only_client, vectors, number, own_row=own_row)
        rows, similarities = found.rows[0], found.similarities[0]
        phrases = campaign_phrases(campaign, self.model.text_settings)
        cluster = self.clusters.nearest(theta)
        return {
            **describe_fingerprint(self.model, theta),
            "known_terms": len(ids),
            "unknown_terms": [term for term in terms if term not in self.model.vocabulary.ids][:50],
            **describe_confidence(len(ids) / len(terms), float(similarities[0]) if len(similarities) else 0.0),
            "cluster": cluster,
            "cluster_label": self.clusters.labels[cluster],
            "similar": self.similar(vectors, rows, similarities),
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

    def _vectors(self, theta: FloatArray, ids: IntArray, counts: IntArray) -> CampaignVectors:
        bag = csr(counts.astype(np.float64), ids, [0, len(ids)], len(self.model.vocabulary))
        weights = self.term_weights.rows(bag)
        return CampaignVectors(theta, weights, self.latent.project(weights)[0])

    def vectors_of(self, row: int) -> CampaignVectors:
        """What a campaign of the index is compared by."""
        index = self.index
        return CampaignVectors(index.theta[row].astype(np.float64), index.weights[row], index.latent[row])

    def similar(self, campaign: CampaignVectors, rows: IntArray, similarities: FloatArray) -> list[dict[str, Any]]:
        """Neighbours with what they share with a campaign.

        ``related_terms`` are the campaign's that keep the company of the neighbour's (:mod:`topic_model.latent`).
        ``contributions`` says what each similarity is made of: its parts from the shared terms, the related terms and
        the shared topics, in their order, and from all others; they add up to the similarity, to its six decimals.
        """
        blend, weights = self.index.blend, campaign.weights
        dense = np.zeros(weights.shape[1])
        dense[weights.indices] = weights.data
        topic_parts = blend.topics * np.sqrt(campaign.theta) * self.index.roots[rows]
        order = np.argsort(-topic_parts, axis=1, kind="stable")[:, :MAX_SHARED_TOPICS]
        company = np.maximum(0, weights.data * (self.latent.vectors[weights.indices] @ self.index.latent[rows].T).T)
        cosines = np.maximum(0, self.index.latent[rows] @ campaign.latent)
        names = self.model.vocabulary.terms
        found = []
        for place, (row, similarity) in enumerate(zip(rows.tolist(), similarities.tolist(), strict=True)):
            known = self.campaigns[row]
            topic_total = float(topic_parts[place].sum())
            topics = [
                (topic, part)
                for topic, part in zip(order[place].tolist(), topic_parts[place, order[place]].tolist(), strict=True)
                if part >= 0.1 * topic_total > 0
            ]
            terms = self._shared_terms(dense, row)
            related = _heaviest(weights.indices, company[place] / max(company[place].sum(), 1e-12), MAX_RELATED_TERMS)
            latent = blend.latent * float(cosines[place]) if related else 0.0
            found.append(
                {
                    "campaign_id": known.campaign_id,
                    "client_id": known.client_id,
                    "name": known.name,
                    "channel": known.channel,
                    "similarity": similarity,
                    "shared_topics": [
                        {
                            "topic": topic,
                            "share": round(part / topic_total, 4),
                            "terms": self.model.topic_terms[topic][:4],
                        }
                        for topic, part in topics
                    ],
                    "shared_terms": [names[term] for term, _ in terms.heaviest],
                    "related_terms": [names[term] for term, _ in related] if latent else [],
                    "contributions": _contributions(
                        similarity,
                        terms=([blend.terms * part for _, part in terms.heaviest], blend.terms * terms.total),
                        related_terms=([latent * part for _, part in related] if latent else [], latent),
                        topics=([part for _, part in topics], topic_total),
                    ),
                }
            )
        return found

    def _shared_terms(self, dense: FloatArray, row: int) -> _SharedTerms:
        start, stop = self.index.weights.indptr[row : row + 2].tolist()
        ids = self.index.weights.indices[start:stop]
        products = dense[ids] * self.index.weights.data[start:stop]
        return _SharedTerms(_heaviest(ids, products, MAX_SHARED_TERMS), float(products.sum()))


@dataclass(frozen=True, slots=True)
class _SharedTerms:
    """The term ids that make up most of two campaigns' cosine with what each adds to it, the heaviest first; and it."""

    heaviest: list[tuple[int, float]]
    total: float


def _heaviest(ids: IntArray, parts: FloatArray, number: int) -> list[tuple[int, float]]:
    order = np.argsort(-parts, kind="stable")[:number]
    return [(term, part) for term, part in zip(ids[order].tolist(), parts[order].tolist(), strict=True) if part > 0]


def _contributions(similarity: float, **kinds: tuple[list[float], float]) -> dict[str, Any]:
    """A similarity's named parts and the rest of each kind, to six decimals, none negative, adding up to it.

    A kind is the parts that are named and the kind's total.
    """
    parts = [part for named, total in kinds.values() for part in (*named, max(0.0, total - sum(named)))]
    # The running sum is rounded and not the parts, so that roundings cannot pile up.
    scale = similarity / max(sum(parts), 1e-12)
    running = [round(scale * part, 6) for part in accumulate(parts)]
    rounded = iter([round(after - before, 6) for before, after in pairwise((0.0, *running))])
    found: dict[str, Any] = {}
    for kind, (named, _) in kinds.items():
        found[kind] = [next(rounded) for _ in named]
        found[f"other_{kind}"] = next(rounded)
    return found


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


def describe_confidence(known_terms_share: float, nearest: float) -> dict[str, Any]:
    """How far an answer is to be trusted: its two figures, and whether either is below its bar.

    ``known_terms_share`` is the share of the campaign's distinct terms that the vocabulary has, ``nearest`` the
    similarity of the nearest neighbour, 0 where there is none.
    """
    share = round(known_terms_share, 4)
    return {
        "confidence": {"known_terms_share": share, "nearest": nearest},
        "low_confidence": share < MIN_KNOWN_TERMS_SHARE or nearest < MIN_NEAREST,
    }


def write_lookup_model(lookup: LookupModel, folder: Path, about: Mapping[str, Any]) -> str:
    """Write model and index as one artifact folder; returns its version.

    ``about`` is the trained model's manifest, whose facts the new one keeps.
    """
    index = folder / INDEX
    write_array(index / "theta.npy", lookup.index.theta)
    _write_csr(index, "weights", lookup.index.weights)
    write_array(index / "latent.npy", lookup.index.latent)
    write_array(index / "idf.npy", lookup.term_weights.idf)
    write_array(index / "average_length.npy", np.array([lookup.term_weights.average_length]))
    write_array(index / "term_vectors.npy", lookup.latent.vectors)
    write_array(index / "term_offset.npy", lookup.latent.offset)
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
    facts = ("algorithm", "settings", "corpus_hash", "metrics")
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
        CampaignIndex(
            theta,
            _read_csr(artifact, "weights", len(model.vocabulary)),
            artifact.array(f"{INDEX}/latent.npy"),
            settings,
        ),
        TermWeights(
            np.asarray(artifact.array(f"{INDEX}/idf.npy")), artifact.array(f"{INDEX}/average_length.npy").item()
        ),
        LatentSpace(
            artifact.array(f"{INDEX}/term_vectors.npy"), np.asarray(artifact.array(f"{INDEX}/term_offset.npy"))
        ),
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
