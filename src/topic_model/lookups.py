"""Lookups of every known campaign: what batch transform's fingerprints become."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from topic_model.arrays import (
    Float32Array,
    FloatArray,
    IntArray,
    sha256_of,
    write_bytes,
    write_json,
    written_whole,
)
from topic_model.artifact import Artifact, pack, read_model
from topic_model.bags import Bags, joined
from topic_model.clusters import cluster_campaigns
from topic_model.confidence import measured_min_nearest
from topic_model.errors import ArtifactMismatchError, CorpusError
from topic_model.known_campaigns import KnownCampaign, KnownCampaigns
from topic_model.latent import fit_latent_space
from topic_model.lookup_model import LookupModel, top_topics, write_lookup_model
from topic_model.map_documents import map_documents
from topic_model.model import TopicModel
from topic_model.neighbours import CampaignIndex, with_lists
from topic_model.prepared import known_bags, prepared_batches
from topic_model.processes import in_processes, number_of_processes
from topic_model.projection import MAX_POINTS, project
from topic_model.published import CLUSTERS, SAME, TOPICS
from topic_model.recommend import Recommender, build_keyword_table, exclusions, recommendation_record
from topic_model.search_documents import search_documents
from topic_model.settings import NeighbourSettings
from topic_model.text import Tokenizer
from topic_model.weighting import TermWeights

FORMAT_VERSION = 2
ROWS_A_FILE = 20_000
ROWS_A_PART = 1_000
"""Of a file, that one process makes at a time."""
MAX_KEYWORDS = 50
"""Of a campaign's own keywords, that its row shows."""


_Near = tuple[IntArray, FloatArray]
"""Neighbours of one campaign: rows, and similarities."""


def build_lookups(model_artifact: Artifact, prepared: Path, fingerprints: Path, settings: NeighbourSettings) -> Lookups:
    """Neighbours, clusters and recommendations of all scored campaigns.

    ``fingerprints`` holds the answers of the batch transform, a JSON line a campaign.

    Raises:
        ArtifactMismatchError: fingerprints of another model, or not of the prepared campaigns.
        CorpusError: no campaign has a fingerprint, a file is damaged, or fewer campaigns than clusters.
    """
    model = read_model(model_artifact)
    scored, unscored = _read_fingerprints(fingerprints, model, model_artifact.model_version)
    files = sorted(prepared.glob("**/campaigns.parquet"))
    prepared_campaigns = _read_prepared(files, scored, {entry["campaign_id"] for entry in unscored}, model)
    ids = [campaign.campaign_id for campaign in prepared_campaigns.campaigns]
    theta = np.stack([scored[campaign_id] for campaign_id in ids])
    counts = prepared_campaigns.counts
    term_weights = TermWeights.of(counts)
    weights = term_weights.rows(counts).astype(np.float32)
    latent = fit_latent_space(weights, settings.latent_dimensions, settings.seed)
    campaigns = KnownCampaigns.of(prepared_campaigns.campaigns)
    index = CampaignIndex(theta, weights, latent.project(weights), settings)
    index = with_lists(index, latent, campaigns.rows_of_client.values())
    tokenizer = Tokenizer(model.text_settings)
    table = build_keyword_table(files, ids, model.vocabulary, tokenizer)
    lookup = LookupModel(
        model,
        model_artifact.model_version,
        campaigns,
        index,
        term_weights,
        latent,
        cluster_campaigns(theta, weights, model.vocabulary.terms, settings),
        table,
        Recommender(table, model, theta),
        settings,
    )
    lookup = replace(lookup, min_nearest=measured_min_nearest(lookup))
    negatives = prepared_campaigns.negatives
    excludes = {negative: exclusions([negative], tokenizer) for negative in set(chain.from_iterable(negatives))}
    excluded = [[parts for negative in own for parts in excludes[negative]] for own in negatives]
    return Lookups(lookup, excluded, unscored, model_artifact.manifest)


@dataclass(frozen=True)
class Lookups:
    """The lookup model with what only the batch knows; ``excluded`` is what each campaign's negatives exclude."""

    lookup: LookupModel
    excluded: Sequence[Sequence[frozenset[str]]]
    unscored: Sequence[dict[str, str]]
    model_manifest: dict[str, Any]

    def write(self, out: Path, model_out: Path) -> str:
        """Write ``lookups/`` and the lookup model's ``model.tar.gz``; returns the lookup model's version."""
        with tempfile.TemporaryDirectory() as scratch:
            version = write_lookup_model(self.lookup, Path(scratch), self.model_manifest)
            pack(Path(scratch), model_out / "model.tar.gz")
        positions = project(self.lookup.index.theta, self.lookup.settings.seed)
        self._write_documents(out, version, positions)
        documents = [
            {"name": CLUSTERS, "file": "clusters.json", "sha256": sha256_of(out / "clusters.json")},
            {"name": TOPICS, "file": "topics.json", "sha256": sha256_of(out / "topics.json")},
            *self._write_parts(out, "search", search_documents(self.lookup.campaigns, self.lookup.keywords)),
            *self._write_parts(out, "map", self._map_parts(positions)),
        ]
        self._write_rows(out, version, documents)
        return version

    def _write_documents(self, out: Path, version: str, positions: FloatArray) -> None:
        model, clusters, index = self.lookup.model, self.lookup.clusters, self.lookup.index
        shares = index.theta.mean(axis=0, dtype=np.float64)
        sizes = np.bincount(clusters.assigned, minlength=len(clusters.labels))
        write_json(
            out / "topics.json",
            [
                {
                    "topic": topic,
                    "share": round(float(shares[topic]), 6),
                    "terms": [
                        {"term": term, "probability": round(probability, 6)}
                        for term, probability in model.top_terms(topic, 12)
                    ],
                }
                for topic in range(model.num_topics)
            ],
        )
        write_json(
            out / "clusters.json",
            [
                {"cluster": cluster, "label": label, "terms": list(terms), "campaigns": int(sizes[cluster])}
                for cluster, (label, terms) in enumerate(zip(clusters.labels, clusters.terms, strict=True))
            ],
        )
        seed = self.lookup.settings.seed
        shown = np.sort(np.random.RandomState(seed).permutation(len(index))[:MAX_POINTS])
        write_json(
            out / "map.json",
            {
                "model_version": version,
                "campaign_id": [self.lookup.campaigns[row].campaign_id for row in shown],
                "name": [self.lookup.campaigns[row].name for row in shown],
                "x": np.round(positions[shown, 0], 4).tolist(),
                "y": np.round(positions[shown, 1], 4).tolist(),
                "cluster": clusters.assigned[shown].tolist(),
            },
        )
        with written_whole(out / "unscored.jsonl") as temporary, temporary.open("wb") as stream:
            stream.writelines(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE) for entry in self.unscored)

    def _map_parts(self, positions: FloatArray) -> Iterator[tuple[str, dict[str, Any]]]:
        lookup = self.lookup
        return map_documents(lookup.campaigns, positions, lookup.clusters.assigned, lookup.settings.seed)

    @staticmethod
    def _write_parts(out: Path, kind: str, parts: Iterable[tuple[str, dict[str, Any]]]) -> list[dict[str, str]]:
        documents = []
        for number, (name, document) in enumerate(parts):
            content = orjson.dumps(document)
            file = f"{kind}-{number:05d}.json"
            write_bytes(out / file, content)
            documents.append({"name": name, "file": file, "sha256": hashlib.sha256(content).hexdigest()})
        return documents

    def _write_rows(self, out: Path, version: str, documents: list[dict[str, str]]) -> None:
        """Write the rows, whose making takes the time of Python's own work, by all cores, and the manifest."""
        found, size = self._neighbours(), len(self.lookup.campaigns)
        starts = [
            start
            for first in range(0, size, ROWS_A_FILE)
            for start in range(first, min(first + ROWS_A_FILE, size), ROWS_A_PART)
        ]
        files = []
        with tempfile.TemporaryDirectory(dir=out, prefix=".rows-") as scratch:

            def write_parts(process: int) -> None:
                for start in starts[process::number]:
                    end = min(start + ROWS_A_PART, start - start % ROWS_A_FILE + ROWS_A_FILE, size)
                    with Path(scratch, f"{start}").open("wb") as stream:
                        for row in range(start, end):
                            stream.write(
                                orjson.dumps(self._row(version, row, *found[row]), option=orjson.OPT_APPEND_NEWLINE)
                            )

            number = min(number_of_processes(), len(starts))
            self._row(version, 0, *found[0])  # what loads at first use is then loaded for all processes
            in_processes(write_parts, number)
            for place, first in enumerate(range(0, size, ROWS_A_FILE)):
                end = min(first + ROWS_A_FILE, size)
                name = f"rows-{place:05d}.jsonl"
                parts = [Path(scratch, f"{start}") for start in starts if first <= start < end]
                files.append({"name": name, "rows": end - first, "sha256": _join(parts, out / name)})
        write_json(
            out / "manifest.json",
            {
                "format_version": FORMAT_VERSION,
                "model_version": version,
                "trained_model_version": self.lookup.model_version,
                "rows": size,
                "unscored": len(self.unscored),
                "files": files,
                "documents": documents,
            },
        )

    def _neighbours(self) -> list[tuple[_Near, _Near | None]]:
        """Of each campaign: its neighbours, and those of its own client, where it has one."""
        lookup = self.lookup
        number = lookup.settings.num_neighbours
        found = lookup.index.all_nearest(number)
        within: list[_Near | None] = [None] * len(lookup.campaigns)
        for client, rows in lookup.scope.rows.items():
            own = lookup.scope.all_nearest(client, number)
            within[rows] = zip(own.rows, own.similarities, strict=True)
        return list(zip(zip(found.rows, found.similarities, strict=True), within, strict=True))

    def _row(self, version: str, row: int, near: _Near, within: _Near | None) -> dict[str, Any]:
        """What the lookup table has of a campaign."""
        lookup, campaign = self.lookup, self.lookup.campaigns[row]
        cluster = int(lookup.clusters.assigned[row])
        return {
            "campaign_id": campaign.campaign_id,
            "client_id": campaign.client_id,
            "channel": campaign.channel,
            "name": campaign.name,
            "model_version": version,
            "cluster": cluster,
            "cluster_label": lookup.clusters.labels[cluster],
            "topics": top_topics(lookup.model, lookup.index.theta[row]),
            **self._keywords(row),
            **self._lists(row, *near),
            "within_client": self._within_client(row, near[0], within),
        }

    def _keywords(self, row: int) -> dict[str, Any]:
        """The campaign's own keywords, the most clicked first, and how many it has."""
        table = self.lookup.keywords
        uses = slice(*table.indptr[row : row + 2])
        clicks = np.nan_to_num(table.figures[uses, 0])
        shown = table.keywords[uses][np.argsort(-clicks, kind="stable")[:MAX_KEYWORDS]]
        return {"keywords": [table.phrases[keyword] for keyword in shown.tolist()], "num_keywords": len(clicks)}

    def _lists(self, row: int, neighbours: IntArray, similarities: FloatArray) -> dict[str, Any]:
        """What a campaign's neighbours are and recommend."""
        lookup = self.lookup
        theta = lookup.index.theta[row].astype(np.float64)
        recommendations = lookup.recommender.recommend(
            theta,
            neighbours,
            similarities,
            own=lookup.recommender.own_keywords(row),
            excluded=self.excluded[row],
            number=lookup.settings.num_recommendations,
            min_similarity=lookup.settings.min_evidence_similarity,
        )
        return {
            "similar": lookup.similar(lookup.index.vectors(row), neighbours, similarities),
            "recommendations": list(map(recommendation_record, recommendations)),
        }

    def _within_client(self, row: int, neighbours: IntArray, within: _Near | None) -> dict[str, Any] | str | None:
        """The lists that the campaign's own client may see: of neighbours that are the client's too."""
        if within is None:
            return None
        return SAME if np.array_equal(within[0], neighbours) else self._lists(row, *within)


def _join(parts: Iterable[Path], path: Path) -> str:
    """Write some files, one behind the other, as one; returns the hexadecimal SHA-256 of it."""
    digest = hashlib.sha256()
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        for part in parts:
            content = part.read_bytes()
            part.unlink()
            digest.update(content)
            stream.write(content)
    return digest.hexdigest()


@dataclass(frozen=True)
class _PreparedCampaigns:
    """The scored campaigns in the order of their ids; ``counts`` is CSR of shape (n_campaigns, n_terms)."""

    campaigns: Sequence[KnownCampaign]
    negatives: Sequence[Sequence[str]]
    counts: Any


def _read_prepared(
    files: list[Path], scored: dict[str, Float32Array], unscored: set[str], model: TopicModel
) -> _PreparedCampaigns:
    if not files:
        raise CorpusError("no prepared channel; expected campaigns.parquet of each channel")
    vocabulary = pa.array(model.vocabulary.terms, pa.large_string())
    names = [*KnownCampaign.__slots__, "negatives"]
    about: list[pa.Table] = []
    bags: list[Bags] = []
    for file in files:
        for batch in prepared_batches(file, [*names, "terms", "term_counts"]):
            indptr, ids, counts = known_bags(batch, vocabulary, file)
            bags.append(Bags(indptr, ids, counts.astype(np.float32)))
            about.append(pa.table({name: batch[name] for name in names}))
    if not about:
        raise CorpusError("the prepared channels hold no campaign; see rejected.jsonl of each channel for the reasons")
    table = pa.concat_tables(about)
    if lost := [name for name in table["campaign_id"].to_pylist() if name not in scored and name not in unscored]:
        raise ArtifactMismatchError(
            f"{len(lost)} prepared campaigns have neither a fingerprint nor a reason for none, {lost[0]!r} for one; "
            "score all prepared campaigns"
        )
    # A client's campaigns stand together: its part of the index is then a view (client_scope).
    order = np.asarray(
        pc.sort_indices(table, sort_keys=[("client_id", "ascending"), ("campaign_id", "ascending")]), dtype=np.int64
    )
    kept = pc.is_in(table["campaign_id"], value_set=pa.array(list(scored), pa.string()))
    order = order[np.asarray(kept)[order]]
    if len(order) != len(scored):
        raise ArtifactMismatchError(
            f"{len(scored)} campaigns have a fingerprint, but {len(order)} of them are prepared; "
            "score and prepare the same exports"
        )
    table = table.take(pa.array(order))
    return _PreparedCampaigns(
        [
            KnownCampaign(*values)
            for values in zip(*(table[name].to_pylist() for name in KnownCampaign.__slots__), strict=True)
        ],
        table["negatives"].to_pylist(),
        joined(bags).rows(order).matrix(len(model.vocabulary)),
    )


def _read_fingerprints(
    folder: Path, model: TopicModel, model_version: str
) -> tuple[dict[str, Float32Array], list[dict[str, str]]]:
    """Fingerprints by campaign id, and the campaigns that have none with the reason."""
    scored: dict[str, Float32Array] = {}
    unscored: list[dict[str, str]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    answer = orjson.loads(line)
                    campaign_id = str(answer["campaign_id"])
                    if "error" in answer:
                        unscored.append({"campaign_id": campaign_id, "reason": str(answer["error"]["message"])})
                        continue
                    version, theta = answer["model_version"], np.array(answer["fingerprint"], dtype=np.float32)
                except (ValueError, KeyError, TypeError) as error:
                    message = f"{path.name} line {number} is no answer of the scoring model ({error}); score again"
                    raise CorpusError(message) from error
                if version != model_version or theta.shape != (model.num_topics,):
                    raise ArtifactMismatchError(
                        f"{path.name} line {number} was scored by model {version} with {theta.size} topics, expected "
                        f"{model_version} with {model.num_topics}; score the campaigns with the model of this run"
                    )
                scored[campaign_id] = theta
    if not scored:
        raise CorpusError(f"no campaign has a fingerprint ({len(unscored)} have no known terms); check the exports")
    return scored, unscored
