"""What terms, weights and similarity were chosen by: ``python -m benchmarks.similarity EXPORT [...]``.

For each export with ground truth (JSON Lines whose records carry a ``vertical``; without one, the shipped sample) it
prints the precision@5 of same-vertical neighbours, with one thing of the defaults changed a row: how terms are made,
how they are weighed, the latent space, the blend. Campaigns of the query's own sibling group (the id before its last
``-``) are left out where there are such groups: they are too easy. The last table says how often neighbours of a
similarity are of the campaign's own vertical.
"""

from __future__ import annotations

import argparse
import itertools
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction import DictVectorizer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from topic_model import latent
from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.fit import fit
from topic_model.bags import BagsInMemory
from topic_model.corpus import Vocabulary
from topic_model.evaluate_retrieval import read_verticals, sibling_group
from topic_model.exports import RejectedLog, read_exports
from topic_model.latent import fit_latent_space
from topic_model.settings import CorpusSettings, NeighbourSettings, TextSettings
from topic_model.suggest import MULTIPLES
from topic_model.text import Tokenizer, campaign_phrases, load_pipeline, prepare_text, select_terms
from topic_model.weighting import TermWeights, tf_idf

K = 5
DEFAULTS = NeighbourSettings()
SHARES = (
    (0.01, 0.7), (0, 0), (1, 0), (0.2, 0), (0, 1), (0, 0.5), (0, 0.7), (0.02, 0.7), (0.05, 0.65), (0.1, 0.6), (0.3, 0.5)
)  # fmt: skip
Terms = Mapping[str, int]


@dataclass(frozen=True)
class Export:
    """An export's campaigns: their texts, what they are about, and which pairs count."""

    name: str
    phrases: list[tuple[str, ...]]
    verticals: Any
    allowed: Any

    def precision(self, similarity: Any) -> float:
        """Mean share of the first K that are of the campaign's own vertical; ties go to the first row.

        A similarity of 0 is no neighbour, so a campaign without a known term has none, and that counts as wrong.
        """
        ranked = np.argsort(-np.where(self.allowed, similarity, -9), axis=1, kind="stable")[:, :K]
        hits = self.verticals[ranked] == self.verticals[:, None]
        return float((hits & (np.take_along_axis(similarity, ranked, axis=1) > 0)).mean())


def main() -> None:
    """Print the tables, a column an export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exports", nargs="*", type=Path)
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="topic-model-similarity-") as work, threadpool_limits(1):
        if arguments.exports:
            exports = [read_export(path, read_verticals(path)) for path in arguments.exports]
        else:
            from topic_model.sample import generate_sample

            generate_sample(Path(work))
            exports = [read_export(Path(work) / "exports", read_verticals(Path(work) / "ground_truth.jsonl"))]
        print(f"{'precision@5':<44}" + "".join(f"{export.name[:16]:>18}" for export in exports))
        for title, variants in (
            ("terms", terms_variants),
            ("weights", weights_variants),
            ("latent space", latent_variants),
            ("blend", blend_variants),
            ("number of topics, topics alone", topic_count_variants),
            ("what the topic model counts, topics alone", trained_weights_variants),
        ):
            columns = [dict(variants(export, arguments.seed)) for export in exports]
            print(f"\n{title}")
            for name in columns[0]:
                print(f"  {name:<42}" + "".join(f"{column[name]:>18.3f}" for column in columns), flush=True)
        print("\nneighbours of the campaign's own vertical, by similarity (share, and how many of the first 5)")
        bins = [dict(similarity_bins(export, arguments.seed)) for export in exports]
        for name in bins[0]:
            print(f"  {name:<42}" + "".join(f"{column[name]:>18}" for column in bins))


def read_export(path: Path, verticals: Mapping[str, str]) -> Export:
    """The campaigns of an export that have a term."""
    settings = TextSettings()
    with tempfile.TemporaryDirectory() as folder, RejectedLog(Path(folder) / "rejected.jsonl") as rejected:
        campaigns = [
            campaign for campaign in read_exports(path, rejected=rejected) if campaign.campaign_id in verticals
        ]
    campaigns.sort(key=lambda campaign: campaign.campaign_id)
    groups = np.array([sibling_group(campaign.campaign_id) for campaign in campaigns])
    grouped = 1 < np.unique(groups, return_counts=True)[1].max() < len(groups)
    allowed = groups[:, None] != groups[None, :] if grouped else ~np.eye(len(groups), dtype=bool)
    return Export(
        path.name.partition(".")[0],
        [tuple(keyword for keyword in campaign_phrases(campaign, settings).keywords) for campaign in campaigns],
        np.array([verticals[campaign.campaign_id] for campaign in campaigns]),
        allowed,
    )


def counted(every: Iterable[Terms]) -> tuple[Any, list[str]]:
    """Counts of the terms in two campaigns or more and at most half of them, and the terms."""
    vectoriser = DictVectorizer()
    counts = vectoriser.fit_transform(list(every)).tocsc()
    frequency = np.diff(counts.indptr)
    settings = CorpusSettings()
    kept = (frequency >= settings.min_df) & (frequency <= settings.max_df * counts.shape[0])
    return counts[:, kept].tocsr(), list(itertools.compress(vectoriser.get_feature_names_out(), kept))


def default_terms(export: Export) -> list[Terms]:
    """What the tokeniser makes of each campaign."""
    tokenizer = Tokenizer()
    return [tokenizer.count_terms(phrases) for phrases in export.phrases]


def similarity_of(weights: Any, *, terms: float = 1.0, company: float = 0.0, dimensions: int = 100) -> Any:
    """The blend of overlap and latent space of weighted rows, all pairs."""
    every = terms * (weights @ weights.T).toarray()
    return every + company * company_of(weights, dimensions) if company else every


def company_of(weights: Any, dimensions: int) -> Any:
    """Cosines of all pairs in the latent space, cut off at 0; rows without terms, which have no place in it, have 0.

    The space is that of the campaigns with terms, as BuildNeighbours makes it.
    """
    known = np.diff(weights.indptr) > 0
    space = fit_latent_space(weights[known], dimensions, DEFAULTS.seed)
    positions = np.where(known[:, None], space.project(weights), 0)
    return np.maximum(positions @ positions.T, 0)


def terms_variants(export: Export, _seed: int) -> Iterator[tuple[str, float]]:
    """How terms are made; overlap and latent space, no topics."""

    def measured(every: Iterable[Terms], beside: Iterable[Terms] = (), share: float = 0.0) -> float:
        weights = bm25(counted(every)[0])
        if share:
            others = bm25(counted(beside)[0])
            weights = sp.hstack([np.sqrt(1 - share) * weights, np.sqrt(share) * others]).tocsr()
        return export.precision(similarity_of(weights, terms=0.3, company=0.7))

    terms = default_terms(export)
    yield "plurals folded, stop words out (default)", measured(terms)
    yield "surface forms", measured(spacy_terms(export, lambda text, _: text))
    yield "every lemma of spaCy's table", measured(spacy_terms(export, lambda _, lemma: lemma, whole_table=True))
    yield "+ phrases of two words, a fifth", measured(terms, [pairs(phrases) for phrases in export.phrases], 0.2)
    yield "+ pieces of model numbers", measured([{**each, **model_pieces(each)} for each in terms])
    yield "+ 3 to 5 characters of each term, a third", measured(terms, [characters(each) for each in terms], 0.33)


def spacy_terms(export: Export, form: Callable[[str, str], str], *, whole_table: bool = False) -> Iterator[Terms]:
    """Terms of another form of each token."""
    settings = TextSettings()
    nlp = load_pipeline()
    table: Mapping[str, str] = {}
    if whole_table:
        from spacy.util import load_language_data
        from spacy_lookups_data import en

        table = load_language_data(en["lemma_lookup"])
    for phrases in export.phrases:
        tokens = [token.text for doc in nlp.pipe(map(prepare_text, phrases)) for token in doc]
        yield Counter(select_terms([(text, form(text, table.get(text, text))) for text in tokens], settings))


def pairs(phrases: Iterable[str]) -> Terms:
    """Neighbouring terms of each phrase."""
    tokenizer = Tokenizer()
    return Counter(" ".join(pair) for phrase in phrases for pair in itertools.pairwise(tokenizer.terms(phrase)))


def model_pieces(terms: Terms) -> Terms:
    """dsc-t20 → dsc, t20, for terms of letters and digits."""
    found: Counter[str] = Counter()
    for term, count in terms.items():
        if re.search(r"\d", term) and re.search(r"[a-z]", term):
            for piece in re.findall(r"[a-z]+\d*|\d+", term):
                found[piece] += count
    return found


def characters(terms: Terms) -> Terms:
    """Substrings of three to five characters, words bounded by spaces."""
    found: Counter[str] = Counter()
    for term, count in terms.items():
        word = f" {term} "
        for piece in {word[start : start + size] for size in (3, 4, 5) for start in range(len(word) - size + 1)}:
            found[piece] += count
    return found


def bm25(counts: Any) -> Any:
    """The default weights."""
    return TermWeights.of(counts).rows(counts)


def pmi(counts: Any) -> Any:
    """Positive pointwise mutual information of campaign and term, rows normalised (Wilson and Chew 2010)."""
    weights = counts.astype(np.float64)
    total = weights.sum()
    terms = np.asarray(weights.sum(axis=0)).ravel() / total
    lengths = np.repeat(np.asarray(weights.sum(axis=1)).ravel(), np.diff(weights.indptr))
    weights.data = np.maximum(np.log(weights.data / lengths / terms[weights.indices]), 0)
    return normalize(weights)


def entropy(counts: Any) -> Any:
    """(1 + ln count) times 1 minus the term's normalised entropy over campaigns (Dumais 1991)."""
    weights = counts.astype(np.float64)
    shares = weights.data / np.asarray(weights.sum(axis=0)).ravel()[weights.indices]
    spread = np.bincount(weights.indices, weights=shares * np.log(shares), minlength=weights.shape[1])
    weights.data = (1 + np.log(weights.data)) * (1 + spread / np.log(weights.shape[0]))[weights.indices]
    return normalize(weights)


def weights_variants(export: Export, _seed: int) -> Iterator[tuple[str, float]]:
    """How terms are weighed, by overlap alone and with the latent space."""
    counts, _ = counted(default_terms(export))
    for name, weigh in (
        ("BM25 (default)", bm25),
        ("TF-IDF, damped counts", tf_idf),
        ("entropy, damped counts", entropy),
        ("pmi", pmi),
    ):
        weights = weigh(counts)
        yield f"{name}: overlap", export.precision(similarity_of(weights))
        blended = similarity_of(weights, terms=0.3, company=0.7)
        yield f"{name}: 0.3, latent space the rest", export.precision(blended)


def latent_variants(export: Export, _seed: int) -> Iterator[tuple[str, float]]:
    """Smoothing and dimensions of the latent space, alone; the default is 3 and 100."""
    weights = bm25(counted(default_terms(export))[0])
    for smoothing, dimensions in itertools.product((1, 2, 3, 4, 5), (50, 100, 200)):
        with mock.patch.object(latent, "SMOOTHING", smoothing):
            every = similarity_of(weights, terms=0, company=1, dimensions=dimensions)
        yield f"smoothing {smoothing}, {dimensions} dimensions", export.precision(every)


def topic_count_variants(export: Export, seed: int) -> Iterator[tuple[str, float]]:
    """Multiples of the number of topics that 'auto' takes, by fingerprints alone."""
    rule = topic_roots(export, seed, "auto").shape[1]
    for multiple in MULTIPLES:
        roots = topic_roots(export, seed, max(2, round(rule * multiple)))
        yield f"{multiple:g} of auto's{' (default)' if multiple == 1 else ''}", export.precision(roots @ roots.T)


def trained_weights_variants(export: Export, seed: int) -> Iterator[tuple[str, float]]:
    """What the topic model counts, by fingerprints alone: words, or weights that add up to as many."""
    for name, weigh in (("counts (default)", None), ("idf-weighted, damped counts", tf_idf), ("pmi", pmi)):
        roots = topic_roots(export, seed, "auto", weigh)
        yield name, export.precision(roots @ roots.T)


def topic_roots(export: Export, seed: int, num_topics: int | str, weigh: Callable[[Any], Any] | None = None) -> Any:
    """Square roots of the fingerprints by the default algorithm; zeros of a campaign without a known term."""
    counts, terms = counted(default_terms(export))
    if weigh is not None:
        words = counts.sum()
        counts = weigh(counts).tocsr()
        counts.eliminate_zeros()
        counts *= words / counts.sum()
    known = np.diff(counts.indptr) > 0
    used = counts[known]
    bags = BagsInMemory.of(used.indptr, used.indices, used.data, len(terms))
    settings = algorithm(DEFAULT_ALGORITHM).settings_class(seed=seed, num_topics=num_topics)
    model = fit(bags, Vocabulary.of(terms), TextSettings(), DEFAULT_ALGORITHM, settings)
    assert model is not None  # noqa: S101 - nothing asks it to stop
    roots = np.zeros((counts.shape[0], model.num_topics))
    roots[known] = np.sqrt(model.infer_theta(used.indptr, used.indices, used.data))
    return roots


def parts_of(export: Export, seed: int) -> tuple[Any, Any, Any]:
    """Cosines of all pairs: topics (BC), latent space, terms."""
    counts, _ = counted(default_terms(export))
    roots = topic_roots(export, seed, "auto")
    weights = bm25(counts)
    return roots @ roots.T, company_of(weights, DEFAULTS.latent_dimensions), (weights @ weights.T).toarray()


def blend_variants(export: Export, seed: int) -> Iterator[tuple[str, float]]:
    """The shares of topics and latent space; the rest is the terms'."""
    topics, company, overlap = parts_of(export, seed)
    for topic_share, latent_share in SHARES:
        every = topic_share * topics + latent_share * company + (1 - topic_share - latent_share) * overlap
        note = " (default)" if (topic_share, latent_share) == (DEFAULTS.topic_weight, DEFAULTS.latent_weight) else ""
        yield f"topics {topic_share:g}, latent space {latent_share:g}{note}", export.precision(every)


def similarity_bins(export: Export, seed: int) -> Iterator[tuple[str, str]]:
    """Of the first K neighbours, the share of the campaign's own vertical by similarity."""
    topics, company, overlap = parts_of(export, seed)
    every = DEFAULTS.topic_weight * topics + DEFAULTS.latent_weight * company
    every += (1 - DEFAULTS.topic_weight - DEFAULTS.latent_weight) * overlap
    every = np.where(export.allowed, every, -9)
    ranked = np.argsort(-every, axis=1, kind="stable")[:, :K]
    similarity = np.take_along_axis(every, ranked, axis=1)
    own = export.verticals[ranked] == export.verticals[:, None]
    for low in np.arange(0, 1, 0.1):
        inside = (similarity >= low) & (similarity < (low + 0.1 if low < 0.85 else 2))
        share = f"{own[inside].mean():.2f}" if inside.any() else "-"
        yield f"{low:.1f} to {low + 0.1:.1f}", f"{share} ({inside.sum()})"


if __name__ == "__main__":
    main()
