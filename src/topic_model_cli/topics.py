"""``topic-model topics``: the topics of a run, or how many a set of exports asks for."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from topic_model_cli.errors import QuestionError
from topic_model_cli.run import DEFAULT_RUNS

if TYPE_CHECKING:
    from topic_model.corpus import AnyCorpus
    from topic_model.suggest import Candidate, Suggestion
    from topic_model_cli.exports_upload import Exports

_TERMS_SHOWN = 8


def topics(
    run: Annotated[str | None, typer.Option(help="Name of a run; by default the newest that has a model.")] = None,
    suggest: Annotated[
        Path | None,
        typer.Option(help="Exports to choose the number of topics for: a file, or a folder as `run --input` takes it."),
    ] = None,
    algorithm: Annotated[str, typer.Option(help="Algorithm to measure with.")] = "lda",
    runs: Annotated[Path, typer.Option(help="Folder that has a folder of results a run.")] = DEFAULT_RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a run's topics, the largest first; with --suggest, measure how many topics exports ask for."""
    if suggest is not None:
        if run is not None:
            raise QuestionError("give either --run NAME or --suggest EXPORTS")
        _suggest(suggest, algorithm, as_json=as_json)
        return
    name, found = _topics_of(runs, run)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{len(found)} topics of {name}, by their share of all campaigns")
    for topic in sorted(found, key=lambda topic: -topic["share"]):
        terms = ", ".join(term["term"] for term in topic["terms"][:_TERMS_SHOWN])
        typer.echo(f"{topic['topic']:>5}  {topic['share']:6.1%}  {terms}")


def _topics_of(runs: Path, name: str | None) -> tuple[str, list[dict[str, Any]]]:
    found = sorted(runs.glob("*/lookups/topics.json"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.parent.name for path in found]
    if name is not None and name not in names:
        shown = ", ".join(reversed(names[-5:])) or "none"
        raise QuestionError(f"there is no run {name!r} with topics in {runs}; the newest that have: {shown}")
    if not found:
        raise QuestionError(f"no run in {runs} has topics yet; make one with 'topic-model run --input EXPORTS'")
    path = found[names.index(name)] if name else found[-1]
    try:
        return path.parent.parent.name, json.loads(path.read_bytes())
    except ValueError as error:
        raise QuestionError(f"{path} is damaged ({error}); run again, or name another --run") from error


def _suggest(path: Path, algorithm_name: str, *, as_json: bool) -> None:
    from topic_model.algorithms import algorithm
    from topic_model.suggest import suggest_num_topics
    from topic_model_cli.exports_upload import find_exports

    algorithm(algorithm_name)  # a misspelt name is told before anything is read
    exports = find_exports(path)
    with tempfile.TemporaryDirectory(prefix="topic-model-topics-") as work:
        corpus = _corpus_of(exports, Path(work))
        if not as_json:
            typer.echo(f"{len(corpus):,} campaigns, {len(corpus.vocabulary):,} terms, algorithm {algorithm_name}")
            typer.echo("topics  perplexity   c_npmi  diversity  seconds")
        suggestion = suggest_num_topics(
            corpus, algorithm_name, on_candidate=(lambda _: None) if as_json else _print_candidate
        )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(suggestion), indent=2))
    else:
        _print_suggestion(suggestion)


def _corpus_of(exports: Exports, work: Path) -> AnyCorpus:
    from topic_model.corpus import build_corpus
    from topic_model.prepare import prepare_channel
    from topic_model.settings import CorpusSettings, PrepareSettings, TextSettings

    for channel, files in exports.channels.items():
        folder = work / "exports" / channel
        for key, file in files.items():
            link = folder / key
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        prepare_channel(
            folder,
            work / "prepared" / channel,
            work / "scoring" / channel,
            channel=channel,
            settings=PrepareSettings(),
            text=TextSettings(),
        )
    return build_corpus(work / "prepared", work / "corpus", CorpusSettings())


def _print_candidate(candidate: Candidate) -> None:
    perplexity = "-" if candidate.perplexity is None else f"{candidate.perplexity:.1f}"
    typer.echo(
        f"{candidate.num_topics:>6}  {perplexity:>10}  {candidate.c_npmi:>7.3f}  {candidate.topic_diversity:>9.2f}  "
        f"{candidate.seconds:>7.1f}"
    )


def _print_suggestion(suggestion: Suggestion) -> None:
    from topic_model.evaluate import MIN_HELD_OUT_FOR_GATE
    from topic_model.suggest import TOLERANCE

    typer.echo(f"\nnum_topics: auto would take {suggestion.rule}: twice the square root of the campaigns, at most 100.")
    if suggestion.held_out < MIN_HELD_OUT_FOR_GATE:
        typer.echo(
            f"Only {suggestion.held_out} campaigns were held out, fewer than {MIN_HELD_OUT_FOR_GATE}: "
            "too few to choose by. Leave it at that."
        )
        return
    if suggestion.num_topics == suggestion.rule:
        typer.echo("The measurements speak for it too.")
        return
    typer.echo(
        f"Suggested: {suggestion.num_topics}, the smallest number within {TOLERANCE:.0%} of the best perplexity on "
        f"{suggestion.held_out:,} held-out campaigns.\nSet it as algorithm.hyperparameters.num_topics in "
        "pipelines/settings.yaml; for similar campaigns alone, auto does as well."
    )
