"""The report of a run: one HTML file that loads nothing and opens from disk."""

from __future__ import annotations

import os
import tempfile
from importlib import resources
from pathlib import Path
from string import Template

from topic_model import __version__
from topic_model_cli.report import campaigns, quality, run
from topic_model_cli.report.map_data import embedded_json, map_data
from topic_model_cli.report.text import esc, moment
from topic_model_cli.summary import RunSummary

__all__ = ["render_report", "write_report"]


def render_report(summary: RunSummary) -> str:
    """The page as text."""
    files = resources.files(__package__)
    parts = (
        run.course,
        quality.quality,
        campaigns.campaign_map,
        campaigns.neighbours,
        campaigns.topics,
        run.inputs,
        run.settings,
    )
    return Template(files.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=f"Run {esc(summary.name)}",
        css=files.joinpath("page.css").read_text(encoding="utf-8"),
        js=files.joinpath("page.js").read_text(encoding="utf-8"),
        header=run.header(summary),
        main="".join(part(summary) for part in parts),
        footer=f"Made by topic-model {esc(__version__)} from the run that ended {esc(moment(summary.ended))}.",
        data=embedded_json(map_data(summary)),
    )


def write_report(summary: RunSummary, path: Path) -> None:
    """Write the report, whole or not at all."""
    page = render_report(summary)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(page)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
