"""``topic-model deliver``: a commit from source to production through the pipeline of delivery/, on the local AWS."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_ROOT = Path(".local-delivery")
DEFAULT_RUNS = Path("runs")


class Checks(StrEnum):
    """What a commit must pass first."""

    check = "check"
    check_quick = "check-quick"


def deliver(
    source: Annotated[Path, typer.Option(help="The repository; what is delivered is a commit of it.")] = Path(),
    commit: Annotated[str, typer.Option(help="The commit, a branch or a tag.")] = "HEAD",
    approve: Annotated[
        bool | None,
        typer.Option("--approve/--reject", help="Answer the approval before production; by default it is asked."),
    ] = None,
    checks: Annotated[
        Checks,
        typer.Option(help="The make target of the build's checks: all of them, or lint, definition and a few tests."),
    ] = Checks.check_quick,
    campaigns: Annotated[int, typer.Option(min=100, max=100_000, help="Campaigns of the sample.")] = 1_000,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE for delivery/pipeline.yaml; may be repeated."),
    ] = None,
    build_image: Annotated[
        str | None, typer.Option(help="Docker image to build in; by default the build's commands run as processes.")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Folder of the local AWS that is delivered to, and of its deliveries.")
    ] = DEFAULT_ROOT,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Port on 127.0.0.1 that the local AWS starts on; any by default."),
    ] = None,
    enforce_iam: Annotated[
        bool,
        typer.Option(
            help="Let stacks, workflows, jobs and functions act under their roles, and refuse what those do not allow."
        ),
    ] = True,
    runs: Annotated[Path, typer.Option(help="Folder that receives a folder of reports a delivery.")] = DEFAULT_RUNS,
) -> None:
    """Deliver a commit: build, test environment, acceptance, approval, production, by delivery/pipeline.yaml.

    Each action of the pipeline is carried out by its provider on a local AWS of the deliveries' own, in the order of
    stages and runOrder. What fails stops the delivery there, removes its test environment and says why.
    """
    from topic_model_cli.deliver_errors import DeliveryError
    from topic_model_cli.deliver_running import DeliveryPlan, deliver_commit
    from topic_model_cli.deliver_source import find_commit

    parameters = {}
    for pair in parameter or []:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise DeliveryError(f"--parameter is {pair!r}; expected NAME=VALUE")
        parameters[name] = value

    def answer(question: str) -> bool:
        if approve is not None:
            return approve
        if not sys.stdin.isatty():
            typer.echo("nobody can be asked for approval here; give --approve or --reject")
            return False
        typer.echo(question)
        return typer.confirm("Approve?", default=False)

    deliver_commit(
        DeliveryPlan(
            commit=find_commit(source, commit),
            root=root,
            port=port,
            runs=runs,
            parameters={"Checks": checks.value, **parameters},
            build_overrides={
                "CHECKS": parameters.get("Checks", checks.value),
                "CAMPAIGNS": str(campaigns),
                "PACKAGE_ARGS": "--laptop",
                "IMAGE_ARGS": "--stand-in",
            },
            build_image=build_image,
            enforce_iam=enforce_iam,
            approve=answer,
        )
    )
