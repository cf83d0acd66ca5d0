"""``train``: a corpus channel and hyperparameters in, a model folder out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from containers.contract import (
    EXIT_TERMINATED,
    Termination,
    base_folder,
    channel_folder,
    read_hyperparameters,
)
from topic_model.algorithms import parse_hyperparameters
from topic_model.algorithms.checkpoint import discard_checkpoint
from topic_model.algorithms.fit import PassReport, fit_corpus, training_settings
from topic_model.artifact import write_model
from topic_model.corpus import read_corpus
from topic_model.describe import with_topic_terms
from topic_model.errors import DamagedCheckpointError, SettingsError
from topic_model.evaluate import c_npmi, topic_diversity
from topic_model.model import TopicModel


def train(arguments: Sequence[str]) -> int:
    """Train, printing a line of metrics a pass; SIGTERM stops between chunks, and the next run resumes."""
    if arguments:
        raise SettingsError(f"train takes no arguments, got {list(arguments)}; settings are hyperparameters")
    termination = Termination()
    algorithm, settings = parse_hyperparameters(read_hyperparameters())
    corpus = read_corpus(channel_folder("corpus"))
    checkpoints = base_folder() / "checkpoints"
    reports: list[PassReport] = []

    def report(done: PassReport) -> None:
        reports.append(done)
        bounds = {"train_bound": done.train_bound, "held_out_bound": done.held_out_bound}
        _print(f"pass={done.number} seconds={done.seconds:.2f}{_figures(bounds)}")

    def fit() -> TopicModel | None:
        return fit_corpus(
            corpus,
            algorithm,
            settings,
            checkpoints=checkpoints,
            on_pass=report,
            should_stop=lambda: termination.requested,
        )

    try:
        model = fit()
    except DamagedCheckpointError as error:
        # A retry would find the same file for ever; the model does not depend on where training resumed.
        _print(f"{error}; starting again from the first pass")
        discard_checkpoint(checkpoints)
        model = fit()
    if model is None:
        _print("terminated; the last finished pass is in the checkpoint")
        return EXIT_TERMINATED
    model = with_topic_terms(model, corpus.training_bags, settings.seed)
    measured = {
        "c_npmi": float(c_npmi(model, corpus).mean()),
        "topic_diversity": topic_diversity(model),
        "held_out_bound": reports[-1].held_out_bound,
    }
    # Where nothing is held out, or the vocabulary has no two terms, there is nothing to measure.
    metrics = {name: round(value, 6) for name, value in measured.items() if value is not None and math.isfinite(value)}
    _print("final" + _figures(metrics))
    version = write_model(
        model,
        base_folder() / "model",
        about={
            "algorithm": algorithm,
            "settings": training_settings(algorithm, settings),
            "corpus_hash": corpus.content_hash,
            "metrics": metrics,
        },
    )
    _print(f"model_version={version} num_topics={model.num_topics} n_terms={len(model.vocabulary)}")
    return 0


def _figures(figures: Mapping[str, float | None]) -> str:
    return "".join(f" {name}={figure:.4f}" for name, figure in figures.items() if figure is not None)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - SageMaker's metric regexes read standard output
