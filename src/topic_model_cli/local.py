"""``topic-model local``: the local AWS, up, down, its status, and a fresh start."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from local_aws.config import DEFAULT_ROOT, root_option
from topic_model_cli import interrupts

app = typer.Typer(help="The local AWS: a server on this machine that runs the workflow's jobs and endpoints.")

ROOT_GIVEN = "topic_model_cli.root"
"""Where a command's context keeps its ``--root``, for the hints of errors that know nothing of it."""
IMAGE_URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/topic-model:local"
"""The image as the workflow's requests name it; in docker mode a local tag stands for it."""


def _remembered(context: typer.Context, root: Path) -> Path:
    context.meta[ROOT_GIVEN] = root  # the contexts of a command line share it
    return root


PortOption = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Port on 127.0.0.1 that the local AWS starts on.", show_default="4610"),
]
RootOption = Annotated[Path, typer.Option(callback=_remembered, help="Folder that holds the local AWS's state.")]


class JobMode(StrEnum):
    """How the local AWS runs a SageMaker container."""

    process = "process"
    docker = "docker"


@app.command()
def up(
    root: RootOption = DEFAULT_ROOT,
    port: PortOption = None,
    mode: Annotated[JobMode, typer.Option(help="Run jobs as processes, or in Docker containers.")] = JobMode.process,
    image: Annotated[str, typer.Option(help="Docker image of the jobs, for --mode docker.")] = "topic-model:local",
    enforce_iam: Annotated[
        bool, typer.Option("--enforce-iam", help="Check every request against the IAM policies of who sends it.")
    ] = False,
) -> None:
    """Start the local AWS, with what earlier runs left in it."""
    from local_aws import lifecycle

    images = {IMAGE_URI: image} if mode is JobMode.docker else {}
    with interrupts.terminations_as_interrupts():
        try:
            config = lifecycle.up(root, port=port, mode=mode.value, images=images, enforce_iam=enforce_iam)
        except KeyboardInterrupt:
            typer.echo("\ninterrupted; the local AWS was not started")
            raise typer.Exit(interrupts.EXIT_CODE) from None
    typer.echo(f"the local AWS answers at {config.endpoint_url} ({mode.value} mode, state in {root})")
    typer.echo(f"for boto3 and the AWS CLI: export AWS_ENDPOINT_URL={config.endpoint_url}")
    if config.credentials is not None:
        typer.echo("IAM is enforced; the administrator's keys:")
        typer.echo(f"export AWS_ACCESS_KEY_ID={config.credentials.access_key_id}")
        typer.echo(f"export AWS_SECRET_ACCESS_KEY={config.credentials.secret_access_key}")


@app.command()
def down(root: RootOption = DEFAULT_ROOT) -> None:
    """Stop the local AWS, its jobs and its endpoints; the state stays on disk."""
    from local_aws import lifecycle

    stopped = lifecycle.down(root)
    typer.echo(f"the local AWS {'is down' if stopped else 'was not up'}; its state is kept in {root}")


@app.command()
def status(root: RootOption = DEFAULT_ROOT) -> None:
    """Say whether the local AWS is up, where it answers and what runs in it."""
    from local_aws import lifecycle

    found = lifecycle.status(root)
    size = f"{found.disk_bytes / 1e6:,.1f} MB"
    if not found.running:
        start = f"topic-model local up{root_option(root)}"
        typer.echo(f"the local AWS is down; {found.root} holds {size} (start it: {start})")
        return
    typer.echo(f"the local AWS answers at http://127.0.0.1:{found.port} ({found.mode} mode; {found.root}, {size})")
    for name, state in found.endpoints:
        typer.echo(f"endpoint   {name}  {state}")
    for name, state in found.executions:
        typer.echo(f"execution  {name}  {state}")


@app.command()
def reset(
    root: RootOption = DEFAULT_ROOT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop the local AWS and delete its state: buckets, models, endpoints, tables. Folders under runs/ stay."""
    from local_aws import lifecycle

    if not yes:
        typer.confirm(f"Delete everything in {root}?", abort=True)
    lifecycle.reset(root)
    typer.echo(f"the local AWS is down and {root} is gone")
