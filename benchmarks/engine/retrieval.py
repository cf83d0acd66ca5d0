"""Precision of the system's default similarity, beside what scikit-learn gives for the same campaigns.

Ours is the whole path with default settings, given the training's seed only: Prepare, BuildCorpus, training,
fingerprints, BuildNeighbours' index. ``min_similarity`` alone is off, so that every campaign has its neighbours; it
leaves the ranking as it is. Peers stand on the same terms, and on scikit-learn's own terms, too (``TfidfVectorizer``,
damped counts, terms of two campaigns or more). Siblings (the id before its last ``-``) are left out where there are
any. Every campaign is a query; a neighbour that is missing is a wrong one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson
from sklearn.decomposition import NMF, TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from benchmarks.engine.verdicts import Verdict, above, table
from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.fit import fit_corpus
from topic_model.artifact import read_artifact, write_model
from topic_model.corpus import Corpus, build_corpus
from topic_model.evaluate_retrieval import PreparedTerms, read_prepared_terms, read_verticals, sibling_group
from topic_model.exports import RejectedLog, read_exports
from topic_model.lookups import build_lookups
from topic_model.prepare import prepare_channel
from topic_model.settings import CorpusSettings, NeighbourSettings, PrepareSettings, TextSettings

DEPTHS = (1, 5, 10)
FACTORS = 50
TFIDF_BARS = {"clinc150": 0.730, "google_taxonomy": 0.447, "wands_queries": 0.333}
OURS = "this project"
PEERS = "TF-IDF", "LSI", "NMF"

Precisions = tuple[float, ...]


def compare(exports: Sequence[Path], seeds: Sequence[int]) -> list[Verdict]:
    """Print a table an export; a verdict on precision@5 against each peer at its best."""
    verdicts = []
    for export in exports:
        name = export.name.partition(".")[0]
        with tempfile.TemporaryDirectory(prefix="topic-model-retrieval-") as work:
            with threadpool_limits(1):  # products of this size gain nothing from a second thread
                runs_of = precisions(export, Path(work), seeds)
            found = {method: _medians(runs) for method, runs in runs_of.items()}
        print(f"\n{name}: medians of seeds {', '.join(map(str, seeds))}")
        header = ("similarity", *(f"precision@{depth}" for depth in DEPTHS))
        print(table(header, [(method, *(f"{value:.3f}" for value in values)) for method, values in found.items()]))
        ours = found[OURS][DEPTHS.index(5)]
        if name in TFIDF_BARS:
            verdicts.append(above(f"{name}: precision@5", ours, TFIDF_BARS[name], "TF-IDF cosine as stated beforehand"))
        for peer in PEERS:
            best, whose = max((values[DEPTHS.index(5)], method) for method, values in found.items() if peer in method)
            verdicts.append(above(f"{name}: precision@5", ours, best, whose))
    return verdicts


def precisions(export: Path, work: Path, seeds: Sequence[int]) -> dict[str, list[Precisions]]:
    """Precision@1, 5, 10 by method, a tuple a seed (one where nothing is drawn)."""
    for channel in _channels(export):
        prepare_channel(
            channel,
            work / "prepared" / channel.name,
            work / "scoring" / channel.name,
            channel=channel.name,
            settings=PrepareSettings(),
            text=TextSettings(),
        )
    terms = read_prepared_terms(sorted((work / "prepared").glob("**/campaigns.parquet")))
    truth = Truth.of(terms.campaign_ids, read_verticals(export))
    found = {OURS: [truth.precision_of(default_neighbours(work, seed, truth)) for seed in seeds]}
    own = TfidfTransformer(sublinear_tf=True).fit_transform(terms.counts)
    texts = _texts(export, terms)
    plain = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    for whose, weights in (("our terms", own), ("its own terms", plain)):
        found[f"TF-IDF cosine, {whose}"] = [truth.precision(weights)]
        found[f"LSI, {whose}"] = [truth.precision(lsi(weights, seed)) for seed in seeds]
        factors = [nmf(weights, seed) for seed in seeds]
        found[f"NMF by cosine, {whose}"] = [truth.precision(normalize(each)) for each in factors]
        found[f"NMF by Hellinger distance, {whose}"] = [
            truth.precision(np.sqrt(normalize(each, norm="l1"))) for each in factors
        ]
    return found


class Truth:
    """What campaigns are about, and which pairs do not count: a campaign with itself and with its siblings."""

    def __init__(self, campaign_ids: Sequence[str], verticals: Any, groups: Any) -> None:
        self.campaign_ids = campaign_ids
        self.verticals = verticals
        self.groups = groups

    @classmethod
    def of(cls, campaign_ids: Sequence[str], verticals: dict[str, str]) -> Truth:
        """Of campaigns that all have a vertical; groups that hold everybody or nobody else are none."""
        groups = np.array([sibling_group(campaign_id) for campaign_id in campaign_ids])
        grouped = 1 < np.unique(groups, return_counts=True)[1].max() < len(groups)
        return cls(
            campaign_ids,
            np.array([verticals[campaign_id] for campaign_id in campaign_ids]),
            groups if grouped else np.array(campaign_ids),
        )

    def precision(self, vectors: Any) -> Precisions:
        """Of neighbours by inner product, ties by row; a product of 0 is no neighbour."""
        products = vectors @ vectors.T
        products = np.array(products.todense() if hasattr(products, "todense") else products)
        products[self.groups[:, None] == self.groups[None, :]] = 0
        order = np.argsort(-products, axis=1, kind="stable")[:, : max(DEPTHS)]
        hits = self.verticals[order] == self.verticals[:, None]
        hits &= np.take_along_axis(products, order, axis=1) > 0
        return tuple(float(hits[:, :depth].mean()) for depth in DEPTHS)

    def precision_of(self, neighbours: dict[str, list[str]]) -> Precisions:
        """Of neighbours by id, the nearest first."""
        row_of = {campaign_id: row for row, campaign_id in enumerate(self.campaign_ids)}
        hits = np.zeros((len(row_of), max(DEPTHS)), dtype=bool)
        for campaign_id, others in neighbours.items():
            row = row_of[campaign_id]
            near = [row_of[other] for other in others if self.groups[row_of[other]] != self.groups[row]]
            own = self.verticals[near[: max(DEPTHS)]] == self.verticals[row]
            hits[row, : len(own)] = own
        return tuple(float(hits[:, :depth].mean()) for depth in DEPTHS)

    @property
    def largest_group(self) -> int:
        """Campaigns in the largest group of siblings."""
        return int(np.unique(self.groups, return_counts=True)[1].max())


def default_neighbours(work: Path, seed: int, truth: Truth) -> dict[str, list[str]]:
    """Each campaign's neighbours, the nearest first, by the whole path with default settings."""
    build_corpus(work / "prepared", work / "corpus", CorpusSettings())
    corpus = Corpus.load(work / "corpus")
    model = fit_corpus(corpus, settings=algorithm(DEFAULT_ALGORITHM).settings_class(seed=seed))
    if model is None:
        raise RuntimeError("training stopped without being asked to")
    folder, scored = work / f"model-{seed}", work / f"fingerprints-{seed}"
    version = write_model(model, folder, about={})
    scored.mkdir(parents=True)
    with (scored / "all.out").open("wb") as stream:
        for row, campaign_id in enumerate(corpus.campaign_ids):
            bag = slice(*corpus.indptr[row : row + 2])
            answer: dict[str, Any] = {"campaign_id": campaign_id, "model_version": version}
            if bag.start < bag.stop:
                answer["fingerprint"] = model.infer_bow(corpus.indices[bag], corpus.counts[bag]).tolist()
            else:
                answer["error"] = {"code": "no_known_terms", "message": "no known terms"}
            stream.write(orjson.dumps(answer) + b"\n")
    settings = NeighbourSettings(min_similarity=0, num_neighbours=max(DEPTHS) + truth.largest_group)
    lookup = build_lookups(read_artifact(folder), work / "prepared", scored, settings).lookup
    ids = [campaign.campaign_id for campaign in lookup.campaigns]
    found = lookup.index.all_nearest(settings.num_neighbours)
    return {ids[row]: [ids[other] for other in others] for row, others in enumerate(found.rows)}


def lsi(weights: Any, seed: int) -> Any:
    """Unit rows of shape (n, 50): scikit-learn's truncated SVD of TF-IDF rows."""
    return normalize(
        TruncatedSVD(min(FACTORS, *(side - 1 for side in weights.shape)), random_state=seed).fit_transform(weights)
    )


def nmf(weights: Any, seed: int) -> Any:
    """Non-negative rows of shape (n, 50): scikit-learn's NMF of TF-IDF rows."""
    return NMF(min(FACTORS, *weights.shape), random_state=seed, max_iter=500).fit_transform(weights)


def _texts(export: Path, terms: PreparedTerms) -> list[str]:
    """Each campaign's keywords and search terms as one text, in the order of the prepared campaigns."""
    texts = {
        campaign.campaign_id: " ".join(keyword.text for keyword in (*campaign.keywords, *campaign.search_terms))
        for campaign in read_exports(export, rejected=RejectedLog(None))
    }
    return [texts[campaign_id] for campaign_id in terms.campaign_ids]


def _channels(export: Path) -> list[Path]:
    folders = sorted(path for path in export.iterdir() if path.is_dir()) if export.is_dir() else []
    return folders or [export]


def _medians(runs: list[Precisions]) -> Precisions:
    return tuple(median(values) for values in zip(*runs, strict=True))
