"""One run of the workflow on the local AWS: deploy, start, follow, and keep what it made, whatever happens to it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console

from local_aws.config import LocalAwsError, LocalConfig, root_option
from topic_model_cli import execution, interrupts, results
from topic_model_cli import stack as stacks
from topic_model_cli.command_name import command_name
from topic_model_cli.errors import LocalAwsLostError, RunFailedError, is_connection_error
from topic_model_cli.exports_upload import Exports, upload_exports
from topic_model_cli.failure import explain_failure, job_log
from topic_model_cli.history import StateHistory
from topic_model_cli.left_out import say_left_out
from topic_model_cli.measure import measure_run, retrieval_sentence
from topic_model_cli.progress import Progress
from topic_model_cli.report import write_report
from topic_model_cli.summary import RunSummary, render_table, summary_from_folder

if TYPE_CHECKING:
    from pipelines.settings import PipelineSettings

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
    publish: bool | None = None
    """Whether lookups are published without a deployment; None leaves it to ValidateRequest."""

    def request(self, exports: str) -> dict[str, Any]:
        """The execution's input for exports at an ``s3://`` URI."""
        request: dict[str, Any] = {"exports": exports, "deploy": self.deploy}
        return request if self.publish is None else {**request, "publish": self.publish}


def run_workflow(plan: RunPlan) -> None:
    """Run it and report on it; prints as it goes.

    Raises:
        RunFailedError: the execution failed, and its report is written all the same; or the run's folder cannot be
            written, and is not there.
        LocalAwsLostError: the server stopped answering.
        typer.Exit: with 130, after Ctrl-C stopped the execution, its jobs, and the local AWS if this run started it.
    """
    console = Console(highlight=False)
    server = _Server(plan.root)
    with interrupts.terminations_as_interrupts():
        try:
            _run(plan, server, console)
        except KeyboardInterrupt:
            _interrupted(plan, server, console)


@dataclass
class _Server:
    """The local AWS of this run, once there is one, and whether this run started it."""

    root: Path
    config: LocalConfig | None = None
    started: bool = False


def _run(plan: RunPlan, server: _Server, console: Console) -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:
        # The SDK that builds the definition takes seconds to import, the server seconds to start: both at once.
        building = pool.submit(_build_definitions, plan.settings)
        config = _local_aws(server, plan.port, console)
        templates = building.result()
    history: StateHistory | None = None
    try:
        definition = _start(plan, config, templates, console)
        history = StateHistory(definition)
        described = _follow(config, _arn(plan, config), history, console)
    except Exception as error:
        if is_connection_error(error):
            raise _lost(plan, config, history) from error
        raise
    if described["status"] != "SUCCEEDED":
        failure = explain_failure(config, described, history)
        with _folder_or_nothing(plan, config, str(failure)):
            _keep(plan, config, definition, described)
            results.write_json(plan.folder / "failure.json", dataclasses.asdict(failure))
            _report(plan)
        raise RunFailedError(f"{failure}\n  report: {plan.folder / 'report.html'}")
    with _folder_or_nothing(plan, config, f"run {plan.name} succeeded on the local AWS"):
        _keep(plan, config, definition, described)
        measured = measure_run(config, _bucket(config), plan.name, plan.folder, plan.verticals)
        summary = _report(plan)
    console.print()
    render_table(summary, console)
    if measured is not None:
        console.print(f"\n{retrieval_sentence(measured)}", soft_wrap=True)
    say_left_out(plan.folder, summary, console)
    _what_became_of_it(plan, json.loads(described["output"]), console)
    _what_next(plan, summary, console)


@contextlib.contextmanager
def _folder_or_nothing(plan: RunPlan, config: LocalConfig, outcome: str) -> Iterator[None]:
    """Leave the run's folder whole, or not at all, so that its name is free and nobody takes a part for the whole."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(plan.folder, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise RunFailedError(
            f"{outcome}\n  but {plan.folder} cannot be written: {error}; nothing is left there. What the run made is "
            f"kept in the local AWS, in s3://{_bucket(config)}/runs/{plan.name}/; for its report, free some space and "
            "run again under another --name"
        ) from error


def _local_aws(server: _Server, port: int | None, console: Console) -> LocalConfig:
    """The local AWS of the root as it runs, whatever its mode; started as it is by default where it does not."""
    from local_aws import lifecycle

    try:
        server.config = lifecycle.connect(server.root)
    except LocalAwsError:
        console.print(f"starting the local AWS (its state is in {server.root}) …", soft_wrap=True)
        server.config, server.started = lifecycle.up_or_running(server.root, port)
    return server.config


def _arn(plan: RunPlan, config: LocalConfig) -> str:
    return execution.execution_arn(stacks.state_machine_arn(config), plan.name)


def _bucket(config: LocalConfig) -> str:
    return stacks.bucket_name(config)


def _build_definitions(settings: PipelineSettings) -> dict[str, dict[str, Any]]:
    """The workflows' definitions by the names of their state machines; a laptop waits less than AWS."""
    from pipelines.deployment import build_deploy_workflow
    from pipelines.deployment_settings import on_a_laptop
    from pipelines.training import build_training_workflow

    here = settings.model_copy(update={"deployment": on_a_laptop(settings.deployment)})
    return {
        stacks.DEPLOY_MACHINE: build_deploy_workflow(here),
        stacks.STATE_MACHINE: build_training_workflow(here),
    }


def _start(
    plan: RunPlan, config: LocalConfig, templates: Mapping[str, Mapping[str, Any]], console: Console
) -> dict[str, Any]:
    """Deploy, upload and start; the deployed definition of the training workflow."""
    from pipelines.substitutions import names_used, substitute

    execution.check_name_is_free(config, stacks.state_machine_arn(config), plan.name)
    stack = stacks.ensure_stack(config)
    definitions = {}
    for machine, template in templates.items():
        names = {name: value for name, value in stack.substitutions().items() if name in names_used(template)}
        definitions[machine] = substitute(template, names)
        stacks.ensure_state_machine(config, stack, definitions[machine], machine)
    exports = upload_exports(config, stack.bucket, f"exports/{plan.name}", plan.exports)
    channels = ", ".join(plan.exports.channels)
    console.print(f"run {plan.name}: {len(plan.exports.files)} file(s) of {channels}", soft_wrap=True)
    if plan.deploy:
        console.print(_how_it_deploys(plan.settings), soft_wrap=True)
    execution.start(config, stacks.state_machine_arn(config), plan.name, plan.request(exports))
    return definitions[stacks.STATE_MACHINE]


def _how_it_deploys(settings: PipelineSettings) -> str:
    from pipelines.deployment_settings import on_a_laptop

    asked, here = settings.deployment, on_a_laptop(settings.deployment)
    told = f"deploys by {here.strategy} and bakes {here.bake_seconds} s a step"
    return told if here == asked else f"{told} (on AWS, by the settings: {asked.bake_seconds} s)"


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


def _keep(plan: RunPlan, config: LocalConfig, definition: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Put everything that the report and later questions need into the run's folder."""
    record = results.execution_record(described, execution.new_events(config, _arn(plan, config), 0))
    results.write_json(plan.folder / "execution.json", record)
    results.write_json(plan.folder / "definition.json", definition)
    results.write_json(plan.folder / "settings.json", plan.settings.model_dump(mode="json"))
    results.download_results(config, _bucket(config), plan.name, plan.folder)


def _report(plan: RunPlan) -> RunSummary:
    summary = summary_from_folder(plan.folder)
    write_report(summary, plan.folder / "report.html")
    return summary


def _what_became_of_it(plan: RunPlan, output: Mapping[str, Any], console: Console) -> None:
    """Whether a canary was judged, and whether known campaigns are answered from this run by now."""
    console.print()
    if plan.deploy:
        console.print(f"canary   {output['deployment']['canary']}", soft_wrap=True)
    console.print(f"lookups  {output['published']['outcome']}", soft_wrap=True)


def _what_next(plan: RunPlan, summary: RunSummary, console: Console) -> None:
    console.print(f"report   {plan.folder / 'report.html'}", soft_wrap=True)
    console.print(f"results  {plan.folder}", soft_wrap=True)
    if plan.deploy:
        command = command_name()
        root = root_option(plan.root)
        for example in summary.examples(1):
            console.print(
                f"try      {command} similar{root} --campaign {shlex.quote(example.campaign_id)}", soft_wrap=True
            )
            keywords = ", ".join(recommended.keyword for recommended in example.recommendations[:3])
            if keywords:
                console.print(f"         {command} similar{root} --keywords {shlex.quote(keywords)}", soft_wrap=True)


def _interrupted(plan: RunPlan, server: _Server, console: Console) -> NoReturn:
    """After Ctrl-C no job goes on, and no process that this run started; a local AWS that was there before stays."""
    with interrupts.interrupts_ignored():
        if server.config is None:
            console.print("\ninterrupted before the run began; nothing was started", soft_wrap=True)
            raise typer.Exit(interrupts.EXIT_CODE)
        console.print("\nstopping the execution and its jobs …")
        left = _stop(plan, server.config, goes_down=server.started)
        if server.started:
            from local_aws import lifecycle

            lifecycle.down(plan.root)  # and with it whatever job has not ended
            console.print(
                f"run {plan.name} and its jobs are stopped, and so is the local AWS, which this run had started; "
                f"its state is kept in {plan.root}",
                soft_wrap=True,
            )
        elif left:
            console.print(
                f"these jobs have not ended: {', '.join(left)}; "
                f"`topic-model local down{root_option(plan.root)}` ends them",
                soft_wrap=True,
            )
        else:
            console.print(
                f"run {plan.name} and its jobs are stopped; the local AWS, which was up before, stays up",
                soft_wrap=True,
            )
    raise typer.Exit(interrupts.EXIT_CODE)


def _stop(plan: RunPlan, config: LocalConfig, *, goes_down: bool) -> list[str]:
    """Stop the execution; the jobs that have not ended."""
    try:
        return execution.stop(config, _arn(plan, config), "stopped from the keyboard")
    except Exception as error:
        if goes_down:
            return []  # its jobs end with it
        if is_connection_error(error):
            raise _lost(plan, config, None) from error
        raise


def _lost(plan: RunPlan, config: LocalConfig, history: StateHistory | None) -> LocalAwsLostError:
    running = ", ".join(run.label for run in history.running()) if history else ""
    at = f" while {running} ran" if running else ""
    return LocalAwsLostError(
        f"the local AWS at {config.endpoint_url} stopped answering{at}; its log is {plan.root / 'server.log'}. What it "
        f"had stored is kept: `topic-model local up{root_option(plan.root)}` brings it back, then start the run again "
        "under a new name"
    )
