"""The lookup model: a topic model with the campaigns it is asked about, as one artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from topic_model.arrays import (
    Float32Array,
    FloatArray,
    IntArray,
    csr,
    hash_of,
    sha256_of,
    write_array,
    write_json,
)
from topic_model.artifact import Artifact, read_model, write_model
from topic_model.campaigns import Campaign
from topic_model.client_scope import ClientScope
from topic_model.clusters import Clusters
from topic_model.confidence import MIN_NEAREST, describe_confidence
from topic_model.errors import ArtifactError, ArtifactMismatchError
from topic_model.inverted_lists import InvertedLists, read_inverted_lists
from topic_model.known_campaigns import KnownCampaigns, read_known_campaigns
from topic_model.latent import LatentSpace
from topic_model.model import TopicModel
from topic_model.neighbours import CampaignIndex, CampaignVectors
from topic_model.recommend import FIGURES, KeywordTable, Recommender, exclusions, keyword_key, recommendation_record
from topic_model.settings import NeighbourSettings
from topic_model.text import Tokenizer, campaign_phrases
from topic_model.weighting import TermWeights

INDEX = "index"
INDEX_FORMAT = 2
VECTORS = ("theta.npy", "latent.npy", "weights_indptr.npy", "weights_indices.npy", "weights_values.npy")
_SETTINGS = NeighbourSettings.model_fields
# Of what is named of a neighbour, and of the parts of its similarity (topic_model.kernels.explanation).
_KINDS = ("terms", "related_terms", "topics")
_PLACES, _STARTS, _RESTS = (slice(0, 5), slice(5, 10), slice(10, 13)), (0, 6, 12), (5, 11, 15)


@dataclass(frozen=True)
class LookupModel:
    """A topic model with the campaigns that it is asked about: neighbours, clusters and keywords in use.

    ``min_nearest`` is the similarity that the nearest neighbour must have for an answer not to be of low confidence.
    """

    model: TopicModel
    model_version: str
    campaigns: KnownCampaigns
    index: CampaignIndex
    term_weights: TermWeights
    latent: LatentSpace
    clusters: Clusters
    keywords: KeywordTable
    recommender: Recommender
    settings: NeighbourSettings
    min_nearest: float = MIN_NEAREST

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
        phrases = campaign_phrases(campaign, self.model.text_settings)
        terms_of_phrases = tokenizer.phrase_terms(phrases.keywords)
        terms = Counter(chain.from_iterable(terms_of_phrases))
        ids, counts = self.model.known_bow(terms)
        theta = self.model.infer_bow(ids, counts)
        vectors = self.vectors(theta, ids, counts)
        own_row = self.campaigns.row_of(campaign.campaign_id)
        number = k or self.settings.num_neighbours
        if only_client is None:
            found = self.index.nearest(vectors, number, own_row=own_row)
        else:
            found = self.scope.nearest(only_client, vectors, number, own_row=own_row)
        rows, similarities = found.rows[0], found.similarities[0]
        cluster = self.clusters.nearest(theta)
        return {
            **describe_fingerprint(self.model, theta),
            "known_terms": len(ids),
            "unknown_terms": [term for term in terms if term not in self.model.vocabulary.ids][:50],
            **describe_confidence(
                len(ids) / len(terms), float(similarities[0]) if len(similarities) else 0.0, self.min_nearest
            ),
            "cluster": cluster,
            "cluster_label": self.clusters.labels[cluster],
            "similar": self.similar(vectors, rows, similarities),
            "recommendations": [
                recommendation_record(recommendation)
                for recommendation in self.recommender.recommend(
                    theta,
                    rows,
                    similarities,
                    own=set(map(keyword_key, terms_of_phrases)),
                    excluded=exclusions(phrases.negatives, tokenizer),
                    number=self.settings.num_recommendations if num_recommendations is None else num_recommendations,
                    min_similarity=self.settings.min_evidence_similarity,
                )
            ],
        }

    @cached_property
    def scope(self) -> ClientScope:
        """The index of each client."""
        return ClientScope(self.campaigns.rows_of_client, self.index)

    def vectors(self, theta: FloatArray, ids: IntArray, counts: IntArray) -> CampaignVectors:
        """What a fresh campaign of these terms, whose ids ascend, is compared by."""
        weights = self.term_weights.row(ids, counts)
        return CampaignVectors(theta, ids, weights, self.latent.project_one(ids, weights))

    def similar(self, campaign: CampaignVectors, rows: IntArray, similarities: FloatArray) -> list[dict[str, Any]]:
        """Neighbours with what they share with a campaign.

        ``related_terms`` are the campaign's that keep the company of the neighbour's (:mod:`topic_model.latent`).
        ``contributions`` says what each similarity is made of: its parts from the shared terms, the related terms and
        the shared topics, in their order, and from all others; they add up to the similarity, to its six decimals.
        """
        names, topic_terms = self.model.vocabulary.terms, self.model.topic_terms
        found = []
        for row, similarity, named, topic_shares, parts in zip(
            rows.tolist(), similarities.tolist(), *self._explained(campaign, rows, similarities), strict=True
        ):
            known = self.campaigns[row]
            kinds = [[one for one in named[places] if one >= 0] for places in _PLACES]
            terms, related, topics = kinds
            contributions: dict[str, Any] = {}
            for kind, ones, start, rest in zip(_KINDS, kinds, _STARTS, _RESTS, strict=True):
                contributions[kind] = parts[start : start + len(ones)]
                contributions[f"other_{kind}"] = parts[rest]
            found.append(
                {
                    "campaign_id": known.campaign_id,
                    "client_id": known.client_id,
                    "name": known.name,
                    "channel": known.channel,
                    "similarity": similarity,
                    "shared_topics": [
                        {"topic": topic, "share": round(share, 4), "terms": topic_terms[topic][:4]}
                        for topic, share in zip(topics, topic_shares, strict=False)
                    ],
                    "shared_terms": [names[term] for term in terms],
                    "related_terms": [names[term] for term in related],
                    "contributions": contributions,
                }
            )
        return found

    def _explained(
        self, campaign: CampaignVectors, rows: IntArray, similarities: FloatArray
    ) -> tuple[list[list[int]], list[list[float]], list[list[float]]]:
        """Of each row: what is named, the topics' shares, and the parts of the similarity."""
        from topic_model.kernels.explanation import NAMED, PARTS, TOPICS, explain
        from topic_model.kernels.similarity import UNITS

        named, contributions = (np.empty((len(rows), width), dtype=np.int64) for width in (NAMED, PARTS))
        topic_shares = np.empty((len(rows), TOPICS))
        index = self.index
        explain(
            np.ascontiguousarray(rows),
            np.ascontiguousarray(similarities),
            np.sqrt(campaign.theta),
            np.ascontiguousarray(campaign.ids, dtype=np.int64),
            np.ascontiguousarray(campaign.weights, dtype=np.float64),
            np.ascontiguousarray(campaign.latent, dtype=np.float32),
            np.ascontiguousarray(self.latent.vectors),
            *index.arrays,
            index.shares,
            named,
            topic_shares,
            contributions,
        )
        return named.tolist(), topic_shares.tolist(), (contributions / UNITS).tolist()


def describe_fingerprint(model: TopicModel, theta: FloatArray) -> dict[str, Any]:
    """The fingerprint, rounded to 7 decimals, and its topics of 5 % or more, at most 5."""
    return {
        "fingerprint": np.round(theta, 7).tolist(),
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
    write_array(index / "latent.npy", lookup.index.latent)
    write_array(index / "idf.npy", lookup.term_weights.idf)
    write_array(index / "average_length.npy", np.array([lookup.term_weights.average_length]))
    write_array(index / "term_vectors.npy", lookup.latent.vectors)
    write_array(index / "term_offset.npy", lookup.latent.offset)
    lookup.campaigns.write(index)
    write_array(index / "cluster_centres.npy", lookup.clusters.centres)
    write_array(index / "cluster_of_campaign.npy", lookup.clusters.assigned)
    write_json(
        index / "clusters.json",
        [
            {"label": label, "terms": list(terms)}
            for label, terms in zip(lookup.clusters.labels, lookup.clusters.terms, strict=True)
        ],
    )
    _write_keywords(lookup.keywords, index)
    facts = ("algorithm", "settings", "corpus_hash", "metrics")
    return write_model(
        lookup.model,
        folder,
        about={
            **{name: about[name] for name in facts if name in about},
            "trained_model_version": lookup.model_version,
            "neighbour_settings": lookup.settings.model_dump(),
            "index_format": INDEX_FORMAT,
            "neighbour_index": _write_lists(lookup.index, index),
            "min_nearest": lookup.min_nearest,
        },
    )


def _write_keywords(table: KeywordTable, index: Path) -> None:
    for name, texts in (("keyword_phrases", table.phrases), ("keyword_keys", table.keys)):
        write_array(index / f"{name}.npy", texts.content)
        write_array(index / f"{name}_starts.npy", texts.starts)
    write_array(index / "keywords_indptr.npy", table.indptr)
    write_array(index / "keywords.npy", table.keywords)
    write_array(index / "keyword_figures.npy", table.figures)
    write_array(index / "keyword_terms_indptr.npy", table.term_indptr)
    write_array(index / "keyword_terms.npy", table.terms)
    write_json(
        index / "keyword_totals.json", {"most_clicks": table.most_clicks, "conversion_rate": table.conversion_rate}
    )


def _write_lists(index: CampaignIndex, folder: Path) -> dict[str, Any]:
    """Write the inverted lists, where there are any; returns what the manifest says of how neighbours are searched."""
    if index.lists is None:
        return {"exact": True}
    write_array(folder / "list_centres.npy", index.lists.centres)
    write_array(folder / "list_of_campaign.npy", index.lists.list_of_campaign)
    hashes = {f"{INDEX}/{name}": sha256_of(folder / name) for name in VECTORS}
    return {"exact": False, "vectors_hash": _vectors_hash(hashes), **index.lists.facts()}


def _vectors_hash(hashes: Mapping[str, str]) -> str:
    """One hash over the vectors that the lists were made of and their recall was measured with."""
    return hash_of("".join(hashes[f"{INDEX}/{name}"] for name in VECTORS).encode())


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
    if (found := artifact.manifest.get("index_format")) != INDEX_FORMAT:
        raise ArtifactError(
            f"the neighbour index has format {found}, expected {INDEX_FORMAT}; build the neighbours again with this "
            "version of topic-model"
        )
    model = read_model(artifact)
    # A setting that earlier versions had and this one does without says nothing of the index.
    given = artifact.manifest["neighbour_settings"]
    settings = NeighbourSettings.from_mapping({name: given[name] for name in given if name in _SETTINGS})
    campaigns = read_known_campaigns(artifact, INDEX)
    theta = _array(artifact, "theta")
    if theta.shape != (len(campaigns), model.num_topics):
        raise ArtifactMismatchError(
            f"the index has fingerprints of shape {theta.shape} for {len(campaigns)} campaigns, but the model "
            f"{model.num_topics} topics; deploy model and index of one training run"
        )
    latent = _array(artifact, "latent")
    clusters = artifact.document(f"{INDEX}/clusters.json")
    n_terms = len(model.vocabulary)
    table = _read_keywords(artifact, len(campaigns), n_terms)
    weights = _read_csr(artifact, "weights", n_terms)
    _check_rows("terms", weights.indptr, weights.indices, len(campaigns), n_terms)
    space = LatentSpace(_array(artifact, "term_vectors"), _array(artifact, "term_offset"))
    if space.vectors.shape != (n_terms, latent.shape[1]) or latent.shape[0] != len(campaigns):
        raise ArtifactMismatchError(
            f"the latent space has terms of shape {space.vectors.shape} and campaigns of shape {latent.shape}; "
            "build the neighbours again"
        )
    return LookupModel(
        model,
        artifact.model_version,
        campaigns,
        CampaignIndex(
            theta,
            weights,
            latent,
            settings,
            _read_lists(artifact, (len(campaigns), model.num_topics + latent.shape[1])),
        ),
        TermWeights(_array(artifact, "idf"), _array(artifact, "average_length").item()),
        space,
        Clusters(
            _array(artifact, "cluster_centres"),
            _array(artifact, "cluster_of_campaign"),
            tuple(cluster["label"] for cluster in clusters),
            tuple(tuple(cluster["terms"]) for cluster in clusters),
        ),
        table,
        Recommender(table, model, theta),
        settings,
        _min_nearest(artifact),
    )


def _min_nearest(artifact: Artifact) -> float:
    found = artifact.manifest.get("min_nearest", MIN_NEAREST)
    if not isinstance(found, int | float) or not 0 <= found <= 1:
        raise ArtifactError(f"the manifest's min_nearest is {found!r}, expected 0 to 1; build the neighbours again")
    return float(found)


def _check_rows(
    what: str, indptr: IntArray, indices: npt.NDArray[np.integer[Any]], n_rows: int, n_columns: int
) -> None:
    """Compiled loops go where these arrays send them: what would lead them astray is not loaded.

    Raises:
        ArtifactError: they are no compressed sparse rows of this shape.
    """
    if (
        indptr.shape != (n_rows + 1,)
        or indptr[0] != 0
        or indptr[-1] != len(indices)
        or (np.diff(indptr) < 0).any()
        or not 0 <= indices.min(initial=0) <= indices.max(initial=0) < max(n_columns, 1)
    ):
        raise ArtifactError(f"the artifact's {what} are no rows of {n_columns} columns; build the neighbours again")


def _read_keywords(artifact: Artifact, n_campaigns: int, n_terms: int) -> KeywordTable:
    totals = artifact.document(f"{INDEX}/keyword_totals.json")
    table = KeywordTable(
        artifact.texts(f"{INDEX}/keyword_phrases"),
        artifact.texts(f"{INDEX}/keyword_keys"),
        _array(artifact, "keywords_indptr"),
        _array(artifact, "keywords"),
        _array(artifact, "keyword_figures"),
        _array(artifact, "keyword_terms_indptr"),
        _array(artifact, "keyword_terms"),
        float(totals["most_clicks"]),
        float(totals["conversion_rate"]),
    )
    _check_rows("keywords", table.indptr, table.keywords, n_campaigns, len(table.phrases))
    _check_rows("keywords' terms", table.term_indptr, table.terms, len(table.phrases), n_terms)
    if len(table.keys) != len(table.phrases) or table.figures.shape != (len(table.keywords), len(FIGURES)):
        raise ArtifactError("the artifact's columns of keywords do not fit together; build the neighbours again")
    return table


def _read_lists(artifact: Artifact, shape: tuple[int, int]) -> InvertedLists | None:
    facts = artifact.manifest["neighbour_index"]
    if facts.get("exact"):
        return None
    if (found := _vectors_hash(artifact.manifest["files"])) != facts.get("vectors_hash"):
        raise ArtifactMismatchError(
            f"the inverted lists were made for vectors of hash {str(facts.get('vectors_hash'))[:12]}, but those of the "
            f"index have {found[:12]}; build the neighbours again"
        )
    return read_inverted_lists(_array(artifact, "list_centres"), _array(artifact, "list_of_campaign"), facts, shape)


def _array(artifact: Artifact, name: str) -> Any:
    # Not NumPy's memmap, each slice of which makes an object more; the pages are mapped all the same.
    return np.asarray(artifact.array(f"{INDEX}/{name}.npy"))


def _write_csr(folder: Path, name: str, matrix: Any) -> None:
    write_array(folder / f"{name}_indptr.npy", matrix.indptr.astype(np.int64))
    write_array(folder / f"{name}_indices.npy", matrix.indices.astype(np.int32))
    write_array(folder / f"{name}_values.npy", matrix.data.astype(np.float32))


def _read_csr(artifact: Artifact, name: str, n_columns: int) -> Any:
    values, indices, indptr = (_array(artifact, f"{name}_{part}") for part in ("values", "indices", "indptr"))
    return csr(values, indices, indptr, n_columns)
