"""One run of the workflow on the local AWS: deploy, start, follow, and keep what it made, whatever happens to it."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console

from local_aws.config import LocalAwsError, LocalConfig
from topic_model_cli import execution, results
from topic_model_cli import stack as stacks
from topic_model_cli.command_name import command_name
from topic_model_cli.errors import LocalAwsLostError, RunFailedError, is_connection_error
from topic_model_cli.exports_upload import Exports, upload_exports
from topic_model_cli.failure import explain_failure, job_log
from topic_model_cli.history import StateHistory
from topic_model_cli.left_out import say_left_out
from topic_model_cli.local import DEFAULT_ROOT
from topic_model_cli.measure import measure_run, retrieval_sentence
from topic_model_cli.progress import Progress
from topic_model_cli.report import write_report
from topic_model_cli.summary import RunSummary, render_table, summary_from_folder

if TYPE_CHECKING:
    from pipelines.settings import PipelineSettings

INTERRUPTED = 130
_NOTE_SECONDS = 1.0


@dataclass(frozen=True)
class RunPlan:
    """A run whose inputs have all been checked."""

    name: str
    exports: Exports
    settings: PipelineSettings
    verticals: Mapping[str, str]
    folder: Path
    root: Path
    port: int | None
    deploy: bool


def run_workflow(plan: RunPlan) -> None:
    """Run it and report on it; prints as it goes.

    Raises:
        RunFailedError: the execution failed; its report is written all the same.
        LocalAwsLostError: the server stopped answering.
        typer.Exit: with 130, after Ctrl-C stopped the execution and its jobs.
    """
    console = Console(highlight=False)
    with ThreadPoolExecutor(max_workers=1) as pool:
        # The SDK that builds the definition takes seconds to import, the server seconds to start: both at once.
        building = pool.submit(_build_definition, plan.settings)
        config = _local_aws(plan.root, plan.port, console)
        template = building.result()
    arn = execution.execution_arn(stacks.state_machine_arn(config), plan.name)
    history: StateHistory | None = None
    with _terminations_as_interrupts():
        try:
            definition = _start(plan, config, template, console)
            history = StateHistory(definition)
            described = _follow(config, arn, history, console)
        except KeyboardInterrupt:
            _stop(plan, config, arn, console)
        except Exception as error:
            if is_connection_error(error):
                raise _lost(plan, config, history) from error
            raise
    _keep(plan, config, arn, definition, described)
    if described["status"] != "SUCCEEDED":
        failure = explain_failure(config, described, history)
        results.write_json(plan.folder / "failure.json", dataclasses.asdict(failure))
        _report(plan)
        raise RunFailedError(f"{failure}\n  report: {plan.folder / 'report.html'}")
    measured = measure_run(config, _bucket(config), plan.name, plan.folder, plan.verticals)
    summary = _report(plan)
    console.print()
    render_table(summary, console)
    if measured is not None:
        console.print(f"\n{retrieval_sentence(measured)}", soft_wrap=True)
    say_left_out(plan.folder, summary, console)
    _what_next(plan, summary, console)


def _local_aws(root: Path, port: int | None, console: Console) -> LocalConfig:
    """The local AWS of ``root`` as it runs, whatever its mode; started as it is by default where it does not."""
    from local_aws import lifecycle

    try:
        config = lifecycle.connect(root)
    except LocalAwsError:
        console.print(f"starting the local AWS (its state is in {root}) …", soft_wrap=True)
        config = lifecycle.up(root, port)
    return config


def _bucket(config: LocalConfig) -> str:
    return stacks.bucket_name(config)


def _build_definition(settings: PipelineSettings) -> dict[str, Any]:
    from pipelines.training import build_training_workflow

    return build_training_workflow(settings)


def _start(plan: RunPlan, config: LocalConfig, template: Mapping[str, Any], console: Console) -> dict[str, Any]:
    """Deploy, upload and start; the deployed definition."""
    from pipelines.substitutions import names_used, substitute

    execution.check_name_is_free(config, stacks.state_machine_arn(config), plan.name)
    stack = stacks.ensure_stack(config)
    names = {name: value for name, value in stack.substitutions().items() if name in names_used(template)}
    definition = substitute(template, names)
    machine = stacks.ensure_state_machine(config, stack, definition)
    exports = upload_exports(config, stack.bucket, f"exports/{plan.name}", plan.exports)
    channels = ", ".join(plan.exports.channels)
    console.print(f"run {plan.name}: {len(plan.exports.files)} file(s) of {channels}", soft_wrap=True)
    execution.start(config, machine, plan.name, {"exports": exports, "deploy": plan.deploy})
    return definition


def _follow(config: LocalConfig, arn: str, history: StateHistory, console: Console) -> dict[str, Any]:
    progress = Progress(console)
    notes: dict[str, str] = {}
    looked = 0.0

    def on_change() -> None:
        nonlocal looked
        if time.monotonic() - looked >= _NOTE_SECONDS:
            looked = time.monotonic()
            for run in history.running():
                # Training says how far it is after every pass; the other jobs are short or say nothing.
                if run.job is not None and run.job.kind == "training":
                    _, lines = job_log(config, run.job, lines=1)
                    notes[run.label] = lines[0] if lines and "=" in lines[0] else notes.get(run.label, "")
        progress.update(history, notes)

    with progress.shown():
        return execution.follow(config, arn, history, on_change)


def _keep(
    plan: RunPlan, config: LocalConfig, arn: str, definition: Mapping[str, Any], described: Mapping[str, Any]
) -> None:
    """Put everything that the report and later questions need into the run's folder."""
    record = results.execution_record(described, execution.new_events(config, arn, 0))
    results.write_json(plan.folder / "execution.json", record)
    results.write_json(plan.folder / "definition.json", definition)
    results.write_json(plan.folder / "settings.json", plan.settings.model_dump(mode="json"))
    results.download_results(config, _bucket(config), plan.name, plan.folder)


def _report(plan: RunPlan) -> RunSummary:
    summary = summary_from_folder(plan.folder)
    write_report(summary, plan.folder / "report.html")
    return summary


def _what_next(plan: RunPlan, summary: RunSummary, console: Console) -> None:
    console.print(f"\nreport   {plan.folder / 'report.html'}", soft_wrap=True)
    console.print(f"results  {plan.folder}", soft_wrap=True)
    if plan.deploy:
        command = command_name()
        root = "" if plan.root == DEFAULT_ROOT else f" --root {shlex.quote(str(plan.root))}"
        for example in summary.examples(1):
            console.print(
                f"try      {command} similar{root} --campaign {shlex.quote(example.campaign_id)}", soft_wrap=True
            )
            keywords = ", ".join(recommended.keyword for recommended in example.recommendations[:3])
            if keywords:
                console.print(f"         {command} similar{root} --keywords {shlex.quote(keywords)}", soft_wrap=True)


def _stop(plan: RunPlan, config: LocalConfig, arn: str, console: Console) -> NoReturn:
    """After Ctrl-C: no job goes on; the local AWS stays up with what it has."""
    console.print("\nstopping the execution and its jobs …")
    try:
        with _interrupts_ignored():
            left = execution.stop(config, arn, "stopped from the keyboard")
    except Exception as error:
        if is_connection_error(error):
            raise _lost(plan, config, None) from error
        raise
    if left:
        console.print(
            f"these jobs have not ended: {', '.join(left)}; `topic-model local down` ends them", soft_wrap=True
        )
    else:
        console.print(f"run {plan.name} and its jobs are stopped; the local AWS stays up", soft_wrap=True)
    raise typer.Exit(INTERRUPTED)


def _lost(plan: RunPlan, config: LocalConfig, history: StateHistory | None) -> LocalAwsLostError:
    running = ", ".join(run.label for run in history.running()) if history else ""
    at = f" while {running} ran" if running else ""
    return LocalAwsLostError(
        f"the local AWS at {config.endpoint_url} stopped answering{at}; its log is {plan.root / 'server.log'}. What it "
        "had stored is kept: `topic-model local up` brings it back, then start the run again under a new name"
    )


@contextlib.contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """While this lasts, SIGTERM and a closed terminal end a run as Ctrl-C does: with its jobs stopped."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    names = [signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])]
    before = {name: signal.signal(name, interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """While this lasts, a second Ctrl-C does not leave jobs behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
