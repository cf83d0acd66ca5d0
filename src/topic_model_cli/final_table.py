"""The table a run ends with: a few campaigns, their similar campaigns, and the keywords that these recommend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from topic_model.settings import WEAK_SIMILARITY
from topic_model_cli.progress import printable

if TYPE_CHECKING:
    from rich.console import Console

    from topic_model_cli.summary import CampaignLookup, RunSummary, Similar

CAMPAIGNS_SHOWN = 5
SIMILAR_SHOWN = 3
KEYWORDS_SHOWN = 5
_TERMS_SHOWN = 3


def render_table(summary: RunSummary, console: Console) -> None:
    """Print the table; on anything but a terminal as plain indented lines, which can be cut and searched."""
    examples = summary.examples(CAMPAIGNS_SHOWN)
    if not examples:
        return
    if not console.is_terminal:
        for line in _plain_lines(examples):
            console.print(Text(printable(line)), soft_wrap=True, highlight=False)
        return
    table = Table(show_lines=True, expand=False, title="A few campaigns", title_justify="left")
    table.add_column("campaign", ratio=2, overflow="fold")
    table.add_column("similar campaigns, and what they share", ratio=4, overflow="fold")
    table.add_column("recommended keywords", ratio=3, overflow="fold")
    for lookup in examples:
        campaign = Text(printable(lookup.title), style="bold")
        campaign.append(f"\n{printable(_place(lookup))}", style="not bold dim")
        table.add_row(campaign, _similar_cell(lookup), _keyword_cell(lookup))
    console.print(table)


def _similar_cell(lookup: CampaignLookup) -> Text:
    cell = Text()
    for position, similar in enumerate(lookup.similar[:SIMILAR_SHOWN]):
        cell.append("\n" if position else "")
        cell.append(f"{similar.similarity:.2f} ", style="cyan")
        cell.append(printable(similar.name or similar.campaign_id))
        cell.append(weak_mark(similar.similarity), style="yellow")
        cell.append(f"\n     {printable(shared_words(similar))}", style="dim")
    return cell if lookup.similar else Text("none is similar enough", style="dim")


def _keyword_cell(lookup: CampaignLookup) -> Text:
    cell = Text()
    for position, recommended in enumerate(lookup.recommendations[:KEYWORDS_SHOWN]):
        cell.append("\n" if position else "")
        cell.append(printable(recommended.keyword))
        cell.append(f"  {_campaigns(recommended.campaigns)}", style="dim")
    return cell if lookup.recommendations else Text("none", style="dim")


def _plain_lines(examples: Iterable[CampaignLookup]) -> Iterable[str]:
    for lookup in examples:
        yield f"{lookup.title} ({_place(lookup)})"
        for similar in lookup.similar[:SIMILAR_SHOWN]:
            name = f"{similar.name or similar.campaign_id}{weak_mark(similar.similarity)}"
            yield f"  similar {similar.similarity:.2f}  {name}: {shared_words(similar)}"
        if not lookup.similar:
            yield "  similar  none is similar enough"
        keywords = ", ".join(
            f"{recommended.keyword} ({_campaigns(recommended.campaigns)})"
            for recommended in lookup.recommendations[:KEYWORDS_SHOWN]
        )
        yield f"  recommended  {keywords or 'none'}"


def weak_mark(similarity: float) -> str:
    """`` (weak)`` behind a neighbour that is as likely as not about something else, else nothing."""
    return " (weak)" if similarity < WEAK_SIMILARITY else ""


def shared_words(similar: Similar) -> str:
    """What makes two campaigns similar: the terms of both, or the campaign's own that occur with the other's."""
    if similar.shared_terms:
        return ", ".join(similar.shared_terms[:_TERMS_SHOWN])
    related = ", ".join(similar.related_terms[:_TERMS_SHOWN])
    return f"no term in common; related: {related}" if related else "no term in common"


def _place(lookup: CampaignLookup) -> str:
    return f"{lookup.channel}, {lookup.cluster_label}" if lookup.channel else lookup.cluster_label


def _campaigns(number: int) -> str:
    return f"{number} campaign{'' if number == 1 else 's'}"
