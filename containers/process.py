"""``process <step>``: the processing jobs, each a call of the library."""

from __future__ import annotations

import itertools
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from containers.contract import EXIT_TERMINATED, input_folder, output_folder, parse_arguments
from topic_model.artifact import Artifact, read_model, unpack
from topic_model.errors import ArtifactError, ExportError, SettingsError
from topic_model.settings import (
    CorpusSettings,
    EvaluationSettings,
    NeighbourSettings,
    PrepareSettings,
    TextSettings,
)

MAX_REJECTIONS_SHOWN = 100


def process(arguments: Sequence[str]) -> int:
    """Run one step with its ``--name value`` arguments."""
    step = arguments[0] if arguments else None
    if step not in STEPS:
        raise SettingsError(f"unknown processing step {step!r}; expected one of {', '.join(STEPS)}")
    # As a container's first process it would ignore SIGTERM, and be killed only when the platform's grace is over.
    signal.signal(signal.SIGTERM, _stop)
    _print(STEPS[step](arguments[1:]))
    return 0


def prepare(arguments: Sequence[str]) -> str:
    """One channel's exports → prepared campaigns."""
    from topic_model.prepare import prepare_channel

    parsed = parse_arguments(arguments, PrepareSettings, TextSettings, extra=["channel"])
    prepared = output_folder("prepared")
    try:
        report = prepare_channel(
            input_folder("exports"),
            prepared,
            output_folder("scoring"),
            channel=parsed.extra["channel"],
            settings=parsed.of(PrepareSettings),
            text=parsed.of(TextSettings),
        )
    except ExportError:
        # SageMaker uploads the outputs of jobs that succeed: of one that fails, the log is what is left.
        _print_rejections(prepared / "rejected.jsonl")
        raise
    return f"prepared {report}"


def _print_rejections(path: Path) -> None:
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            for line in itertools.islice(lines, MAX_REJECTIONS_SHOWN):
                _print(f"rejected {line.rstrip()}")


def build_corpus(arguments: Sequence[str]) -> str:
    """Prepared channels → corpus."""
    from topic_model import corpus as corpora

    settings = parse_arguments(arguments, CorpusSettings).of(CorpusSettings)
    corpus = corpora.build_corpus(input_folder("prepared"), output_folder("corpus"), settings)
    return (
        f"campaigns={len(corpus)} terms={len(corpus.vocabulary)} tokens={corpus.n_tokens} "
        f"held_out={corpus.n_held_out} corpus_hash={corpus.content_hash[:12]}"
    )


def evaluate(arguments: Sequence[str]) -> str:
    """Trained model and corpus → evaluation."""
    from topic_model import evaluate as evaluation
    from topic_model.corpus import read_corpus

    gates = parse_arguments(arguments, EvaluationSettings).of(EvaluationSettings)
    corpus = read_corpus(input_folder("corpus"))
    with tempfile.TemporaryDirectory() as scratch:
        artifact = _unpack_model(Path(scratch))
        if artifact.manifest["corpus_hash"] != corpus.content_hash:
            raise ArtifactError("the model was trained on another corpus; evaluate it on the one it was trained on")
        document = evaluation.evaluate(read_model(artifact), corpus, gates, artifact.model_version)
    evaluation.write_evaluation(document, output_folder("evaluation"))
    verdict = "accepted" if document["accepted"] else f"rejected by {', '.join(document['failed_gates'])}"
    return f"{verdict} metrics={document['metrics']}"


def build_neighbours(arguments: Sequence[str]) -> str:
    """Trained model, prepared channels and fingerprints → lookups and the lookup model."""
    from topic_model.lookups import build_lookups

    settings = parse_arguments(arguments, NeighbourSettings).of(NeighbourSettings)
    with tempfile.TemporaryDirectory() as scratch:
        lookups = build_lookups(
            _unpack_model(Path(scratch)), input_folder("prepared"), input_folder("fingerprints"), settings
        )
        version = lookups.write(output_folder("lookups"), output_folder("lookup-model"))
    return f"campaigns={len(lookups.lookup.campaigns)} unscored={len(lookups.unscored)} model_version={version}"


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.exit(EXIT_TERMINATED)


def _unpack_model(folder: Path) -> Artifact:
    archives = sorted(input_folder("model").glob("**/model.tar.gz"))
    if len(archives) != 1:
        raise ArtifactError(f"the input 'model' has {len(archives)} files model.tar.gz, expected one")
    return unpack(archives[0], folder)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a container's log is its standard output


STEPS: dict[str, Callable[[Sequence[str]], str]] = {
    "prepare": prepare,
    "build-corpus": build_corpus,
    "evaluate": evaluate,
    "build-neighbours": build_neighbours,
}
