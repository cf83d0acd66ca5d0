"""``train``: a corpus channel and hyperparameters in, a model folder out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from containers.contract import (
    EXIT_TERMINATED,
    Termination,
    base_folder,
    channel_folder,
    read_hyperparameters,
)
from topic_model.artifact import write_model
from topic_model.corpus import read_corpus
from topic_model.errors import DamagedCheckpointError, SettingsError
from topic_model.evaluate import c_npmi, topic_diversity
from topic_model.lda import PassReport, fit_lda, training_identity
from topic_model.model import TopicModel
from topic_model.settings import LdaSettings


def train(arguments: Sequence[str]) -> int:
    """Train, printing a line of metrics a pass; SIGTERM stops between chunks, and the next run resumes."""
    if arguments:
        raise SettingsError(f"train takes no arguments, got {list(arguments)}; settings are hyperparameters")
    termination = Termination()
    settings = LdaSettings.from_hyperparameters(read_hyperparameters())
    corpus = read_corpus(channel_folder("corpus"))
    # A folder of its own for each corpus and settings: a tuning job's trials share one checkpoint location.
    checkpoints = base_folder() / "checkpoints" / training_identity(corpus, settings)[:16]
    reports: list[PassReport] = []

    def report(done: PassReport) -> None:
        reports.append(done)
        _print(f"pass={done.number} seconds={done.seconds:.2f} {_bounds(done)}")

    def fit() -> TopicModel | None:
        return fit_lda(
            corpus, settings, checkpoints=checkpoints, on_pass=report, should_stop=lambda: termination.requested
        )

    try:
        model = fit()
    except DamagedCheckpointError as error:
        # A retry would find the same file for ever; the model does not depend on where training resumed.
        _print(f"{error}; starting again from the first pass")
        shutil.rmtree(checkpoints)
        model = fit()
    if model is None:
        _print("terminated; the last finished pass is in the checkpoint")
        return EXIT_TERMINATED
    metrics = {"c_npmi": float(c_npmi(model, corpus).mean()), "topic_diversity": topic_diversity(model)}
    last = f" held_out_bound={reports[-1].held_out_bound:.4f}" if reports and reports[-1].held_out_bound else ""
    _print(f"final c_npmi={metrics['c_npmi']:.4f} topic_diversity={metrics['topic_diversity']:.4f}{last}")
    version = write_model(
        model,
        base_folder() / "model",
        about={"settings": settings.model_dump(), "corpus_hash": corpus.content_hash, "metrics": metrics},
    )
    _print(f"model_version={version} num_topics={model.num_topics} n_terms={len(model.vocabulary)}")
    return 0


def _bounds(done: PassReport) -> str:
    held_out = "" if done.held_out_bound is None else f" held_out_bound={done.held_out_bound:.4f}"
    return f"train_bound={done.train_bound:.4f}{held_out}"


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - SageMaker's metric regexes read standard output
