"""What the defaults of topics and similarity were chosen by: ``python -m benchmarks.similarity EXPORTS [...]``.

For each export with ground truth (JSON Lines whose records carry a ``vertical``; without one, the shipped sample) it
prints precision@5 of same-vertical neighbours for numbers of topics and shares of topics in the similarity,
beside TF-IDF cosine on the same terms. Sibling campaigns (one source cluster: the id before its last ``-``) can be left
out with ``--no-siblings``: they are too easy.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.base import AlgorithmSettings
from topic_model.algorithms.fit import fit_corpus
from topic_model.corpus import Corpus, build_corpus
from topic_model.evaluate_retrieval import read_verticals
from topic_model.neighbours import CampaignIndex
from topic_model.prepare import prepare_channel
from topic_model.settings import CorpusSettings, NeighbourSettings, PrepareSettings, TextSettings
from topic_model.weighting import tf_idf

K = 5
MULTIPLES = (0.5, 1.0, 2.0, 3.0, 4.0)
WEIGHTS = (1.0, 0.7, 0.5, 0.4, 0.3, 0.2)


def main() -> None:
    """Print one table an export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exports", nargs="*", type=Path)
    parser.add_argument("--no-siblings", action="store_true")
    parser.add_argument("--seed", type=int, default=AlgorithmSettings().seed)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="topic-model-similarity-") as work:
        if arguments.exports:
            for export in arguments.exports:
                compare(export, read_verticals(export), Path(work) / export.name, arguments)
        else:
            from topic_model.sample import generate_sample

            sample = Path(work) / "sample"
            generate_sample(sample)
            compare(sample / "exports", read_verticals(sample / "ground_truth.jsonl"), Path(work) / "work", arguments)


def compare(export: Path, verticals: dict[str, str], work: Path, arguments: argparse.Namespace) -> None:
    """One export's table: a row a number of topics, a column a share of the topics in the similarity."""
    for channel in _channels(export):
        prepare_channel(
            channel, work / channel.name, work / f"{channel.name}-scoring", channel=channel.name,
            settings=PrepareSettings(), text=TextSettings(),
        )  # fmt: skip
    build_corpus(work, work.with_name("corpus"), CorpusSettings())
    corpus = Corpus.load(work.with_name("corpus"))
    rows = np.flatnonzero(np.diff(corpus.indptr) > 0)
    truth = np.array([verticals.get(corpus.campaign_ids[row], "") for row in rows])
    siblings = np.array([corpus.campaign_ids[row].rsplit("-", 1)[0] for row in rows])
    allowed = ~np.eye(len(rows), dtype=bool)
    if arguments.no_siblings:
        allowed = siblings[:, None] != siblings[None, :]
    weights = tf_idf(corpus.matrix(rows))
    cosine = (weights @ weights.T).toarray()
    print(f"{export.name}: {len(rows)} campaigns, {len(corpus.vocabulary)} terms, precision@{K}")
    print(f"  TF-IDF cosine {_precision(cosine, truth, allowed):.3f}")
    print("  topics " + "".join(f"  w={weight:<5g}" for weight in WEIGHTS))
    for multiple in MULTIPLES:
        num_topics = max(2, min(len(corpus.training_rows) - 1, round(multiple * len(corpus.training_rows) ** 0.5)))
        theta = _fingerprints(corpus, rows, num_topics, arguments.seed)
        roots = CampaignIndex(theta, weights, NeighbourSettings()).roots
        topic = roots @ roots.T
        figures = [_precision(weight * topic + (1 - weight) * cosine, truth, allowed) for weight in WEIGHTS]
        print(f"  {num_topics:>4} ({multiple:g}√n)" + "".join(f"  {figure:.3f}  " for figure in figures), flush=True)


def _channels(export: Path) -> list[Path]:
    folders = sorted(path for path in export.iterdir() if path.is_dir()) if export.is_dir() else []
    return folders or [export]


def _fingerprints(corpus: Corpus, rows: Any, num_topics: int, seed: int) -> Any:
    settings = algorithm(DEFAULT_ALGORITHM).settings_class(num_topics=num_topics, seed=seed)
    model = fit_corpus(corpus, DEFAULT_ALGORITHM, settings)
    if model is None:
        raise RuntimeError("training stopped without being asked to")
    bags = corpus.matrix(rows)
    theta = model.infer_theta(bags.indptr, bags.indices, bags.data)
    return theta.astype(np.float32)


def _precision(similarity: Any, truth: Any, allowed: Any) -> float:
    ranked = np.argsort(-np.where(allowed, similarity, -1), axis=1, kind="stable")[:, :K]
    return float((truth[ranked] == truth[:, None]).mean())


if __name__ == "__main__":
    main()
