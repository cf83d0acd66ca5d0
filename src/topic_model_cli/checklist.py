"""``topic-model checklist``: what must be there before an environment goes live, found and not declared.

Every line is a question to the files of this checkout. Its answer is the evidence (a file, or a figure read from one),
or None, which is told as missing together with what to do. Nothing here is ticked by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from topic_model_cli.checklist_lines import Line


@dataclass(frozen=True)
class Finding:
    """What was found of a line."""

    line: Line
    evidence: str | None


def checklist(
    folder: Annotated[Path, typer.Option(help="The checkout.")] = Path(),
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where something is missing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the go-live checklist: each line met by a file or a figure of this checkout, or missing, and what to do."""
    from topic_model_cli.checklist_lines import LINES

    found = [Finding(line, line.evidence(folder)) for line in LINES]
    missing = sum(finding.evidence is None for finding in found)
    if as_json:
        told = [
            {"group": each.line.group, "what": each.line.what, "evidence": each.evidence}
            | ({} if each.evidence else {"remedy": each.line.remedy})
            for each in found
        ]
        typer.echo(json.dumps(told, indent=2))
    else:
        typer.echo(as_markdown(found))
    if strict and missing:
        raise typer.Exit(1)


def as_markdown(found: list[Finding]) -> str:
    """The findings, a section a group."""
    parts = []
    for group in dict.fromkeys(finding.line.group for finding in found):
        rows = [finding for finding in found if finding.line.group == group]
        parts += [f"## {group}", "", "| | | evidence |", "| --- | --- | --- |"]
        for finding in rows:
            mark, told = ("met", finding.evidence) if finding.evidence else ("**missing**", finding.line.remedy)
            parts.append(f"| {mark} | {finding.line.what} | {told} |")
        parts.append("")
    met = sum(finding.evidence is not None for finding in found)
    return "\n".join([*parts, f"{met} of {len(found)} met."])
