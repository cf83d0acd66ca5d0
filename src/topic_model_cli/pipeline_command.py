"""``topic-model pipeline``: the workflows' definitions, rendered from their settings, and the rules they keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from topic_model_cli.errors import PipelineError

app = typer.Typer(help="The workflows' definitions: render them from the settings, and check them.")

SettingsOption = Annotated[Path | None, typer.Option(help="Settings file; by default pipelines/settings.yaml.")]


@app.command()
def render(
    settings: SettingsOption = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write, with --workflow; by default the committed ones.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is not up to date.")] = False,
    workflow: Annotated[
        str | None, typer.Option(help="training or deploy; by default both, and with --out the first.")
    ] = None,
) -> None:
    """Write the definitions that the settings give, as Amazon States Language."""
    from pipelines.render import render_definition, write_definition
    from pipelines.settings import DEFAULT_SETTINGS_PATH, load_settings
    from pipelines.workflows import TRAINING, WORKFLOWS

    if workflow is not None and workflow not in WORKFLOWS:
        raise PipelineError(f"--workflow is {workflow!r}; expected one of {sorted(WORKFLOWS)}")
    wanted = [WORKFLOWS[workflow]] if workflow else [TRAINING] if out else list(WORKFLOWS.values())
    shipped = load_settings(settings or DEFAULT_SETTINGS_PATH)
    for each in wanted:
        text, path = render_definition(shipped, each), out or each.rendered_path
        if not check:
            typer.echo(f"wrote {write_definition(text, path)}")
            continue
        if not path.is_file():
            raise PipelineError(f"there is no {path}; write it with `topic-model pipeline render`")
        if path.read_text(encoding="utf-8") != text:
            raise PipelineError(f"{path} is stale; renew it with `topic-model pipeline render`")
        typer.echo(f"{path} is what the settings give")


@app.command()
def check(settings: SettingsOption = None) -> None:
    """Check the definitions that the settings give: graph, paths, requests, retries, names, sizes."""
    from pipelines.checks import CHECKS
    from pipelines.settings import DEFAULT_SETTINGS_PATH, load_settings
    from pipelines.workflows import WORKFLOWS

    shipped = load_settings(settings or DEFAULT_SETTINGS_PATH)
    findings = [
        f"{workflow.name}: {finding}"
        for workflow in WORKFLOWS.values()
        for finding in workflow.check(workflow.build(shipped))
    ]
    if findings:
        raise PipelineError("\n  ".join([f"the definitions break {len(findings)} rule(s):", *findings]))
    typer.echo(f"the definitions keep the rules: {', '.join(CHECKS)}")
