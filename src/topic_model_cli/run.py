"""``topic-model run``: the whole workflow on the local AWS, from exports to similar campaigns."""

from __future__ import annotations

import datetime
import re
import secrets
from pathlib import Path
from typing import Annotated

import typer

from local_aws.config import DEFAULT_ROOT
from topic_model_cli.errors import RunNameError, RunOptionError
from topic_model_cli.local import PortOption, RootOption

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
DEFAULT_RUNS = Path("runs")
InputOption = Annotated[
    Path, typer.Option("--input", help="Exports: a file, a folder of files, or a folder with a subfolder a channel.")
]
SettingsOption = Annotated[
    Path | None, typer.Option(help="Settings file; by default the project's pipelines/settings.yaml.")
]


def run(
    input_path: InputOption,
    settings: SettingsOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default run-<date>-<time>-<random>.")] = None,
    root: RootOption = DEFAULT_ROOT,
    port: PortOption = None,
    runs: Annotated[Path, typer.Option(help="Folder that receives a folder of results a run.")] = DEFAULT_RUNS,
    deploy: Annotated[
        bool,
        typer.Option(
            "--deploy/--no-deploy",
            help="Put the model behind the endpoint, if it passes the gates.",
        ),
    ] = True,
    publish: Annotated[
        bool | None,
        typer.Option(
            "--publish/--no-publish",
            help="With --no-deploy: publish the run's lookups, which known campaigns are answered from. Those of a "
            "model that is deployed are published with it.",
            show_default="where no endpoint serves and none are published",
        ),
    ] = None,
    ground_truth: Annotated[
        Path | None,
        typer.Option(help="JSON Lines of campaign_id and vertical to measure with; found beside the input by itself."),
    ] = None,
) -> None:
    """Run the workflow on exports: prepare, train, evaluate, score, find neighbours, recommend keywords, deploy."""
    from pipelines.settings import DEFAULT_SETTINGS_PATH, load_settings
    from topic_model_cli.exports_upload import find_exports, find_ground_truth
    from topic_model_cli.measure import verticals_of

    # Everything that the user can have got wrong is looked at before anything starts.
    run_name = _checked_name(name)
    if deploy and publish is not None:
        raise RunOptionError(
            f"--{'publish' if publish else 'no-publish'} is for --no-deploy; lookups of a model that is deployed are "
            "published with it"
        )
    folder = runs / run_name
    if folder.exists():
        raise RunNameError(f"{folder} exists already; give another --name, or none for a new one")
    exports = find_exports(input_path)
    pipeline_settings = load_settings(settings or DEFAULT_SETTINGS_PATH)
    verticals = verticals_of(ground_truth or find_ground_truth(input_path), exports)

    from topic_model_cli.running import RunPlan, run_workflow

    plan = RunPlan(
        name=run_name,
        exports=exports,
        settings=pipeline_settings,
        verticals=verticals,
        folder=folder,
        root=root,
        port=port,
        deploy=deploy,
        publish=publish,
    )
    run_workflow(plan)


def _checked_name(name: str | None) -> str:
    if name is None:
        now = datetime.datetime.now(datetime.UTC).astimezone()
        return f"run-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    if not _NAME.fullmatch(name):
        raise RunNameError(
            f"--name is {name!r}; expected 1 to 80 letters, digits, '-' and '_', a letter or digit first"
        )
    return name
