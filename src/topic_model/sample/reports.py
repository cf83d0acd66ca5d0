"""Writers of the reports as the platforms export them, and of canonical JSON Lines.

Google Ads: what the web interface downloads (title, period, header, thousands separators, ``--`` where there is no
figure, marks of match types around keywords, ``Total:`` rows). Microsoft Advertising: what the reporting service
delivers (a block of ``Report …`` lines, a blank line, every value quoted, a copyright line at the end, with a BOM).
"""

from __future__ import annotations

import csv
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import orjson

from topic_model.sample.drawing import CHANNELS, DrawnCampaign, Row
from topic_model.sample.vocabulary import common_words

FIRST_DAY, LAST_DAY = "1 May 2026", "31 May 2026"

_GOOGLE_FIGURES = ("Currency code", "Avg. CPC", "Clicks", "Impr.", "CTR", "Cost", "Conversions", "Cost / conv.")
GOOGLE_KEYWORD_COLUMNS = (
    *("Keyword status", "Keyword", "Match type", "Account", "Customer ID", "Campaign", "Campaign ID", "Ad group"),
    *("Status", "Max. CPC", *_GOOGLE_FIGURES),
)
GOOGLE_SEARCH_TERM_COLUMNS = (
    *("Search term", "Match type", "Added/Excluded", "Account", "Customer ID", "Campaign", "Campaign ID", "Ad group"),
    *("Keyword", *_GOOGLE_FIGURES),
)
_MICROSOFT_OWNER = ("AccountName", "AccountNumber", "CampaignName", "CampaignId", "AdGroupName")
_MICROSOFT_FIGURES = ("Impressions", "Clicks", "Ctr", "AverageCpc", "Spend", "Conversions")
MICROSOFT_KEYWORD_COLUMNS = (*(*_MICROSOFT_OWNER, "Keyword", "BidMatchType", "KeywordStatus", *_MICROSOFT_FIGURES),)
MICROSOFT_SEARCH_TERM_COLUMNS = (
    *(*_MICROSOFT_OWNER, "SearchQuery", "Keyword", "DeliveredMatchType", "BidMatchType", *_MICROSOFT_FIGURES),
)
_GOOGLE_MATCH_TYPES = {"exact": "Exact match", "phrase": "Phrase match", "broad": "Broad match"}


class ChannelWriter(Protocol):
    """Takes a channel's campaigns one at a time, so that any number fits in memory."""

    def write(self, campaign: DrawnCampaign) -> None:
        """Add one campaign."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _FolderWriter:
    """Opens files in a channel's folder and closes them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._files:
            if kind is None:
                self._finish()

    def _open(self) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """Write what ends a report."""

    def _text_file(self, name: str, encoding: str) -> IO[str]:
        return self._files.enter_context((self._folder / name).open("w", encoding=encoding, newline=""))


class _Totals:
    """Sums over a report's rows, for its last lines."""

    def __init__(self) -> None:
        self.impressions = self.clicks = 0
        self.cost = self.conversions = 0.0

    def add(self, row: Row) -> None:
        self.impressions += row.impressions
        self.clicks += row.clicks
        self.cost += row.cost
        self.conversions += row.conversions

    def row(self) -> Row:
        return Row("", "", "", "", False, self.impressions, self.clicks, self.cost, self.conversions)


class GoogleAdsWriter(_FolderWriter):
    """Search-keyword and search-terms reports of Google Ads."""

    def _open(self) -> None:
        keywords = self._text_file("search_keyword_report.csv", "utf-8")
        terms = self._text_file("search_terms_report.csv", "utf-8")
        for stream, title in ((keywords, "Search keyword report"), (terms, "Search terms report")):
            stream.write(f'{title}\n"{FIRST_DAY} - {LAST_DAY}"\n')
        self._keywords = csv.writer(keywords, lineterminator="\n")
        self._terms = csv.writer(terms, lineterminator="\n")
        self._keywords.writerow(GOOGLE_KEYWORD_COLUMNS)
        self._terms.writerow(GOOGLE_SEARCH_TERM_COLUMNS)
        self._keyword_totals, self._term_totals = _Totals(), _Totals()

    def write(self, campaign: DrawnCampaign) -> None:
        """Add one campaign's rows to both reports."""
        client = common_words().clients[campaign.client]
        owner = (client, _client_id(campaign), campaign.name, campaign.campaign_id)
        highest_price = _number(campaign.theme.cost_a_click * 2, 2)
        for row in campaign.keywords:
            self._keyword_totals.add(row)
            self._keywords.writerow(
                (
                    *("Enabled", _marked(row), _GOOGLE_MATCH_TYPES[row.match_type], *owner, row.ad_group, "Eligible"),
                    *(highest_price, *_google_figures(row)),
                )
            )
        bought = {row.text for row in campaign.keywords}
        triggers = {row.text: _marked(row) for row in campaign.keywords}
        for row in campaign.search_terms:
            self._term_totals.add(row)
            kind, _, rest = row.match_type.partition(" ")
            match_type = f"{_GOOGLE_MATCH_TYPES[kind]} {rest}".rstrip()
            state = "Excluded" if row.excluded else "Added" if row.text in bought else "None"
            self._terms.writerow(
                (row.text, match_type, state, *owner, row.ad_group, triggers[row.keyword], *_google_figures(row))
            )

    def _finish(self) -> None:
        for name, ours, columns, totals in (
            ("Search keywords", self._keywords, GOOGLE_KEYWORD_COLUMNS, self._keyword_totals),
            ("Search terms", self._terms, GOOGLE_SEARCH_TERM_COLUMNS, self._term_totals),
        ):
            figures = _google_figures(totals.row())
            for title in (f"Total: {name}", "Total: Account"):
                ours.writerow((title, *["--"] * (len(columns) - len(figures) - 1), *figures))


class MicrosoftAdvertisingWriter(_FolderWriter):
    """Keyword and search-query performance reports of Microsoft Advertising.

    The rows' number stands above them, so the rows go to a side file first.
    """

    _REPORTS = (
        ("keyword_performance_report.csv", "Keyword Performance Report", MICROSOFT_KEYWORD_COLUMNS),
        ("search_query_performance_report.csv", "Search Query Performance Report", MICROSOFT_SEARCH_TERM_COLUMNS),
    )

    def _open(self) -> None:
        self._streams = [self._text_file(f".{name}", "utf-8") for name, _, _ in self._REPORTS]
        self._writers = [csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\r\n") for stream in self._streams]
        self._rows = [0, 0]

    def write(self, campaign: DrawnCampaign) -> None:
        """Add one campaign's rows to both reports."""
        client = common_words().clients[campaign.client]
        owner = (client, _client_id(campaign), campaign.name, campaign.campaign_id)
        bids = {row.text: row.match_type.capitalize() for row in campaign.keywords}
        self._writers[0].writerows(
            (*owner, row.ad_group, row.text, bids[row.text], "Active", *_microsoft_figures(row))
            for row in campaign.keywords
        )
        self._writers[1].writerows(
            (
                *(*owner, row.ad_group, row.text, row.keyword, row.match_type.split(" ")[0].capitalize()),
                *(bids[row.keyword], *_microsoft_figures(row)),
            )
            for row in campaign.search_terms
        )
        self._rows[0] += len(campaign.keywords)
        self._rows[1] += len(campaign.search_terms)

    def _finish(self) -> None:
        for (name, title, columns), side, rows in zip(self._REPORTS, self._streams, self._rows, strict=True):
            side.close()
            side_path = self._folder / f".{name}"
            with (self._folder / name).open("w", encoding="utf-8-sig", newline="") as report:
                report.write(
                    f'"Report Name: {title}"\r\n"Report Time: 5/1/2026,5/31/2026"\r\n'
                    '"Time Zone: (GMT) Greenwich Mean Time : Dublin, Edinburgh, Lisbon, London"\r\n'
                    '"Last Completed Available Day: 6/1/2026 11:59:00 PM (GMT)"\r\n'
                    '"Last Completed Available Hour: 6/2/2026 6:00:00 AM (GMT)"\r\n'
                    '"Report Aggregation: Summary"\r\n"Report Filter: "\r\n"Potential Incomplete Data: false"\r\n'
                    f'"Rows: {rows}"\r\n\r\n'
                )
                csv.writer(report, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(columns)
                with side_path.open(encoding="utf-8", newline="") as lines:
                    while block := lines.read(1 << 20):
                        report.write(block)
                report.write('\r\n"©2026 Microsoft Corporation. All rights reserved. "\r\n')
            side_path.unlink()


class JsonLinesWriter(_FolderWriter):
    """Canonical campaign records, a line each."""

    def _open(self) -> None:
        self._stream = self._files.enter_context((self._folder / "campaigns.jsonl").open("wb"))

    def write(self, campaign: DrawnCampaign) -> None:
        """Add one campaign's line."""
        record = {
            "campaign_id": campaign.campaign_id,
            "client_id": _client_id(campaign),
            "channel": campaign.channel,
            "name": campaign.name,
            "keywords": [_json_row(row) for row in campaign.keywords],
            "search_terms": [_json_row(row) for row in campaign.search_terms],
            "negative_keywords": campaign.negatives,
        }
        self._stream.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def csv_writer_of(channel: str, folder: Path) -> ChannelWriter:
    """The writer of a channel's own report layout."""
    return GoogleAdsWriter(folder) if channel == CHANNELS[0] else MicrosoftAdvertisingWriter(folder)


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "text": row.text,
        "match_type": row.match_type.split(" ")[0],
        "clicks": row.clicks,
        "impressions": row.impressions,
        "cost": row.cost,
        "conversions": row.conversions,
    }


def _client_id(campaign: DrawnCampaign) -> str:
    """The account as its platform numbers it: Google's ``123-456-7890``, Microsoft's ``X1234567``."""
    if campaign.channel != CHANNELS[0]:
        return f"X{7_000_000 + campaign.client * 4_099}"
    digits = f"{4_100_000_000 + campaign.client * 37_211_903:010d}"
    return f"{digits[:3]}-{digits[3:6]}-{digits[6:]}"


def _marked(row: Row) -> str:
    """The keyword with its match type's marks, as Google Ads shows it."""
    if row.match_type == "exact":
        return f"[{row.text}]"
    return f'"{row.text}"' if row.match_type == "phrase" else row.text


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _google_figures(row: Row) -> tuple[str, ...]:
    """As ``_GOOGLE_FIGURES``; two hyphens where a rate has no base."""
    return (
        "GBP",
        _number(row.cost / row.clicks, 2) if row.clicks else "--",
        _number(row.clicks, 0),
        _number(row.impressions, 0),
        f"{row.clicks / row.impressions:.2%}" if row.impressions else "--",
        _number(row.cost, 2),
        _number(row.conversions, 2),
        _number(row.cost / row.conversions, 2) if row.conversions else "--",
    )


def _microsoft_figures(row: Row) -> tuple[str, ...]:
    """As ``_MICROSOFT_FIGURES``; the reporting service writes plain numbers."""
    return (
        str(row.impressions),
        str(row.clicks),
        f"{row.clicks / row.impressions:.2%}" if row.impressions else "",
        f"{row.cost / row.clicks:.2f}" if row.clicks else "0.00",
        f"{row.cost:.2f}",
        f"{row.conversions:g}",
    )
