"""``topic-model sample``: realistic exports to try the workflow on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from topic_model_cli.command_name import command_name


class ExportFormat(StrEnum):
    """How the sample's exports are written."""

    csv = "csv"
    jsonl = "jsonl"


def sample(
    out: Annotated[Path, typer.Option(help="Folder to make: exports/<channel>/ and, apart, ground_truth.jsonl.")],
    campaigns: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="How many campaigns, over both channels.")
    ] = 2_000,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same bytes.")] = None,
    export_format: Annotated[
        ExportFormat, typer.Option("--format", help="csv: the platforms' own report layouts; jsonl: canonical records.")
    ] = ExportFormat.csv,
    terms: Annotated[int, typer.Option(min=4, max=10_000, help="Keywords and search terms of a median campaign.")] = 40,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that holds something else.")] = False,
) -> None:
    """Write a sample: exports of two channels, and apart from them the ground truth to measure quality with."""
    from topic_model.sample import DEFAULT_SEED, generate_sample

    layout: Literal["csv", "jsonl"] = "csv" if export_format is ExportFormat.csv else "jsonl"
    report = generate_sample(
        out,
        campaigns=campaigns,
        seed=DEFAULT_SEED if seed is None else seed,
        format=layout,
        terms_per_campaign=terms,
        force=force,
    )
    channels = ", ".join(f"{count:,} in {channel}" for channel, count in report.campaigns_by_channel.items())
    typer.echo(f"{report.campaigns:,} campaigns of {report.verticals} verticals ({channels}) in {out / 'exports'}")
    typer.echo(f"try: {command_name()} run --input {out / 'exports'}")
