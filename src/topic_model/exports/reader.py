"""All campaigns of a folder of exports, whatever their layouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from topic_model.campaigns import Campaign
from topic_model.errors import ExportError
from topic_model.exports.canonical import read_json_lines, read_parquet
from topic_model.exports.grouping import RowStore
from topic_model.exports.layouts import Layout, is_export_name, sniff
from topic_model.exports.rejected import RejectedLog
from topic_model.exports.streams import read_head, reading
from topic_model.exports.tables import read_table
from topic_model.settings import TextSettings

__all__ = ["read_exports"]


def read_exports(
    path: Path, *, rejected: RejectedLog, text: TextSettings | None = None, channel: str | None = None
) -> Iterator[Campaign]:
    """Campaigns of one export or of all exports in a folder and its folders, files in the order of their names.

    JSON Lines and Parquet stream, a campaign at a time. Rows of reports are gathered first, since a campaign's rows may
    stand anywhere, also in several files (see ``grouping``), and come last. Hidden files and those whose name starts
    with ``_`` are ignored. ``channel`` fills in for records that name none.

    A campaign id that comes again is listed as rejected with the place of the first, which is kept.

    Raises:
        ExportError: nothing there, a file that is no export, or one that is damaged.
    """
    settings = text or TextSettings()
    files = [(file, name, _layout(file, name)) for file, name in _export_files(path)]
    rejected.files += len(files)
    seen: dict[str, tuple[str, int]] = {}
    for file, name, layout in files:
        if layout.kind != "table":
            with reading(name):
                for line, campaign in _read_canonical(file, name, layout, rejected):
                    if (first := seen.setdefault(campaign.campaign_id, (name, line))) != (name, line):
                        _reject_again(rejected, name, line, campaign, first)
                    elif channel is None or campaign.channel is not None:
                        yield campaign
                    else:
                        yield replace(campaign, channel=channel)
    tables = [entry for entry in files if entry[2].kind == "table"]
    if not tables:
        return
    store = RowStore(max_texts=settings.max_texts, channel=channel)
    for file, name, layout in tables:
        with reading(name):
            read_table(file, name, layout, rejected, store, max_text_length=settings.max_text_length)
    for name, line, campaign in store.campaigns(rejected):
        if (known := seen.setdefault(campaign.campaign_id, (name, line))) != (name, line):
            _reject_again(rejected, name, line, campaign, known)
        else:
            yield campaign


def _read_canonical(file: Path, name: str, layout: Layout, rejected: RejectedLog) -> Iterator[tuple[int, Campaign]]:
    if layout.kind == "parquet":
        return read_parquet(file, name, rejected)
    return read_json_lines(file, name, layout, rejected)


def _reject_again(rejected: RejectedLog, name: str, line: int, campaign: Campaign, first: tuple[str, int]) -> None:
    reason = f"campaign_id {campaign.campaign_id!r} is in {first[0]} line {first[1]} already; the first is kept"
    rejected.add(name, line, reason, campaign.campaign_id)


def _export_files(path: Path) -> list[tuple[Path, str]]:
    if path.is_file():
        return [(path, path.name)]
    if not path.exists():
        raise ExportError(f"{path} is not there; expected a folder of exports or one export")
    if not path.is_dir():
        raise ExportError(f"{path} is neither a folder nor a file; expected exports")
    files = [
        (file, str(relative))
        for file in sorted(path.rglob("*"))
        if file.is_file() and all(map(is_export_name, (relative := file.relative_to(path)).parts))
    ]
    if not files:
        raise ExportError(
            f"{path} has no exports; expected files of JSON Lines, Parquet, or reports of Google Ads or Microsoft "
            "Advertising (hidden files and names that start with _ do not count)"
        )
    return files


def _layout(file: Path, name: str) -> Layout:
    with reading(name):
        head = read_head(file)
    return sniff(head, name)
