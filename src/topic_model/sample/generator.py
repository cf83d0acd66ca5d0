"""The sample on disk: exports of two channels, and the ground truth apart from them."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from topic_model.errors import ExportError
from topic_model.sample.drawing import CHANNELS, draw_campaigns
from topic_model.sample.reports import JsonLinesWriter, csv_writer_of

DEFAULT_SEED = 20_260_601
MAX_CAMPAIGNS = 1_000_000
MAX_TERMS = 10_000
_FIRST_LINE = "A sample made by `topic-model sample`; nothing in it is real."


@dataclass(frozen=True)
class SampleReport:
    """What a sample holds and where: ``exports`` is the input of a run, ``ground_truth`` is never one."""

    folder: Path
    exports: Path
    ground_truth: Path
    campaigns: int
    campaigns_by_channel: dict[str, int]
    keywords: int
    search_terms: int
    clients: int
    verticals: int
    themes: int


def generate_sample(
    out: Path,
    *,
    campaigns: int = 2_000,
    seed: int = DEFAULT_SEED,
    force: bool = False,
    format: Literal["csv", "jsonl"] = "csv",
    terms_per_campaign: int = 40,
) -> SampleReport:
    """Write realistic exports of two channels; the same arguments give the same bytes.

    Args:
        out: the folder to make; an earlier sample there is replaced.
        campaigns: how many, over all channels.
        seed: of everything that is drawn; the words and phrases themselves do not depend on it.
        force: replace a folder that holds something else.
        format: ``csv`` for the platforms' own report layouts, ``jsonl`` for canonical records.
        terms_per_campaign: keywords and search terms of the median campaign; the largest have twelve times as many.

    Raises:
        ExportError: an argument is out of range, or the folder holds something else and ``force`` is not set.
    """
    _check("campaigns", campaigns, 1, MAX_CAMPAIGNS)
    _check("seed", seed, 0, 2**32 - 1)
    _check("terms_per_campaign", terms_per_campaign, 4, MAX_TERMS)
    if format not in ("csv", "jsonl"):
        raise ExportError(f"format is {format!r}; expected 'csv' or 'jsonl'")
    out = out.absolute()
    _check_target(out, force=force)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Built beside the target and renamed at the end: a sample is there whole or not at all.
    building = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        report = _write(building, out, campaigns=campaigns, seed=seed, layout=format, terms=terms_per_campaign)
        building.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return report


def _write(
    folder: Path, out: Path, *, campaigns: int, seed: int, layout: Literal["csv", "jsonl"], terms: int
) -> SampleReport:
    by_channel, clients, themes = Counter[str](), set[int](), set[tuple[str, str]]()
    keywords = search_terms = 0
    with ExitStack() as stack:
        writers = {}
        for channel in CHANNELS:
            target = folder / "exports" / channel
            writers[channel] = stack.enter_context(
                csv_writer_of(channel, target) if layout == "csv" else JsonLinesWriter(target)
            )
        truth = stack.enter_context((folder / "ground_truth.jsonl").open("wb"))
        for campaign in draw_campaigns(campaigns, seed, terms):
            writers[campaign.channel].write(campaign)
            theme = campaign.theme
            line = {"campaign_id": campaign.campaign_id, "vertical": theme.vertical, "theme": theme.name}
            truth.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            by_channel[campaign.channel] += 1
            clients.add(campaign.client)
            themes.add((theme.vertical, theme.name))
            keywords += len(campaign.keywords)
            search_terms += len(campaign.search_terms)
    report = SampleReport(
        folder=out,
        exports=out / "exports",
        ground_truth=out / "ground_truth.jsonl",
        campaigns=campaigns,
        campaigns_by_channel={channel: by_channel[channel] for channel in CHANNELS},
        keywords=keywords,
        search_terms=search_terms,
        clients=len(clients),
        verticals=len({vertical for vertical, _ in themes}),
        themes=len(themes),
    )
    (folder / "README.txt").write_text(_readme(report, seed, layout, terms), encoding="utf-8")
    return report


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ExportError(f"{name} is {value}; expected {low} to {high:,}")


def _check_target(out: Path, *, force: bool) -> None:
    """Refuse to replace what is not a sample, and with ``force`` still what nobody means to lose."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ExportError(f"{out} is not a folder; name a folder for the sample")
    if not out.exists() or not any(out.iterdir()) or _is_sample(out):
        return
    if not force:
        raise ExportError(
            f"{out} holds something that is not a sample; name another folder, or use --force to replace it"
        )
    here = Path.cwd()
    if out in (Path.home(), here, *here.parents) or (out / ".git").exists():
        raise ExportError(f"{out} is a home, working or repository folder; name another folder for the sample")


def _is_sample(folder: Path) -> bool:
    readme = folder / "README.txt"
    if not readme.is_file() or not (folder / "ground_truth.jsonl").is_file():
        return False
    with readme.open(encoding="utf-8", errors="replace") as stream:
        return stream.readline().rstrip("\n") == _FIRST_LINE


def _readme(report: SampleReport, seed: int, layout: str, terms: int) -> str:
    channels = ", ".join(f"{count:,} in {channel}" for channel, count in report.campaigns_by_channel.items())
    return f"""{_FIRST_LINE}

campaigns            {report.campaigns:,} ({channels})
keywords             {report.keywords:,}
search terms         {report.search_terms:,}
clients              {report.clients}
verticals, themes    {report.verticals}, {report.themes}
seed                 {seed}
format               {layout}
terms per campaign   {terms} (median)

exports/             the input of a run, a folder a channel
ground_truth.jsonl   what each campaign is about: to measure quality with, never an input
"""
