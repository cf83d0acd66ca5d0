"""``topic-model pipeline``: the workflow's definition, rendered from its settings, and the rules it must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from topic_model_cli.errors import PipelineError

app = typer.Typer(help="The workflow's definition: render it from the settings, and check it.")

SettingsOption = Annotated[Path | None, typer.Option(help="Settings file; by default pipelines/settings.yaml.")]


@app.command()
def render(
    settings: SettingsOption = None,
    out: Annotated[Path | None, typer.Option(help="File to write; by default the committed one.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file is not up to date.")] = False,
) -> None:
    """Write the definition that the settings give, as Amazon States Language."""
    from pipelines.render import RENDERED_PATH, render_definition, write_definition
    from pipelines.settings import DEFAULT_SETTINGS_PATH, load_settings

    text = render_definition(load_settings(settings or DEFAULT_SETTINGS_PATH))
    path = out or RENDERED_PATH
    if not check:
        typer.echo(f"wrote {write_definition(text, path)}")
        return
    if not path.is_file():
        raise PipelineError(f"there is no {path}; write it with `topic-model pipeline render`")
    if path.read_text(encoding="utf-8") != text:
        raise PipelineError(f"{path} is stale; renew it with `topic-model pipeline render`")
    typer.echo(f"{path} is what the settings give")


@app.command()
def check(settings: SettingsOption = None) -> None:
    """Check the definition that the settings give: graph, paths, requests, retries, names, sizes."""
    from pipelines.checks import CHECKS, check_definition
    from pipelines.settings import DEFAULT_SETTINGS_PATH, load_settings
    from pipelines.training import build_training_workflow

    findings = check_definition(build_training_workflow(load_settings(settings or DEFAULT_SETTINGS_PATH)))
    if findings:
        raise PipelineError("\n  ".join([f"the definition breaks {len(findings)} rule(s):", *findings]))
    typer.echo(f"the definition keeps the rules: {', '.join(CHECKS)}")
