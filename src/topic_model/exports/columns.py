"""What the columns of Google Ads and Microsoft Advertising reports are called, and what their cells mean.

Header names are those of the platforms' English downloads and of Microsoft's reporting service; case, spaces and
punctuation do not matter (``Campaign ID``, ``CampaignId``), nor does a currency in brackets (``Cost (USD)``). Standard
library only: a Lambda function uses this to check a request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

__all__ = [
    "EXPECTED_COLUMNS",
    "is_absent",
    "is_footer",
    "is_negative",
    "is_total",
    "match_type_of",
    "parse_figure",
    "roles_of",
]

# Role → header names, normalised, the preferred one first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "campaign_id": ("campaignid",),
    "campaign": ("campaign", "campaignname"),
    "client": (
        *("customerid", "externalcustomerid", "accountid", "accountnumber", "clientid"),
        *("account", "accountname", "customer", "customername", "client", "clientname", "descriptivename"),
    ),
    "search_term": ("searchterm", "searchterms", "searchquery"),
    "keyword": ("keyword", "searchkeyword", "keywordtext"),
    "negative_keyword": ("negativekeyword", "negativekeywords"),
    "match_type": (
        *("bidmatchtype", "searchkeywordmatchtype", "keywordmatchtype", "matchtype", "criteriontype"),
        *("negativekeywordmatchtype", "searchtermmatchtype", "searchtermsmatchtype", "deliveredmatchtype"),
    ),
    "clicks": ("clicks",),
    "impressions": ("impr", "impressions"),
    "cost": ("cost", "spend"),
    "conversions": ("conversions", "conv", "conversionsqualified"),
}
# Columns whose cells may say that a row is a negative keyword.
_STATUS_NAMES = frozenset(
    {
        "addedexcluded",
        "status",
        "keywordstatus",
        "keywordstate",
        "searchkeywordstatus",
        "type",
        "negative",
        "isnegative",
    }
    | set(_NAMES["match_type"])
)
_TEXT_ROLES = ("search_term", "keyword", "negative_keyword")

EXPECTED_COLUMNS = (
    "'Campaign' or 'Campaign ID', and 'Keyword', 'Search term' (Microsoft: 'SearchQuery') or 'Negative keyword'"
)

_BRACKETED = re.compile(r"\([^)]*\)")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_NEGATIVE = re.compile(
    r"(?:(?:campaign|ad ?group|account|shared) )?negative(?: (?:keyword|exact|phrase|broad))?(?: match)?"
    r"|(?:added ?(?:/|and) ?)?excluded"
)
_TOTAL = re.compile(r"(?:grand |overall )?totals?\s*(?:[:–-].*)?")
_FOOTER = re.compile(r"(?:©|@|\(c\))\s*\d{4}\s+microsoft", re.IGNORECASE)
_FIGURE = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+", re.ASCII)
_PLAIN_FIGURE = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_CURRENCY = re.compile(r"^(?:[A-Za-z]{1,3}\s?)?[$€£¥₹₽₩₪₫₱฿₴₺]?\s?")
_CURRENCY_AFTER = re.compile(r"\s?(?:[$€£¥₹₽₩₪₫₱฿₴₺]|[A-Z]{3})$")


def roles_of(header: Sequence[str]) -> tuple[dict[str, int], tuple[int, ...]] | None:
    """The position of each role in a header row and of the columns that may say "negative"; None if it is no header.

    A report that has search terms is one of search terms: its ``Keyword`` column only says which keyword let each
    search in, and the keyword report has those with their figures.
    """
    names = [_NOT_ALPHANUMERIC.sub("", _BRACKETED.sub("", cell).casefold()) for cell in header]
    roles: dict[str, int] = {}
    for role, known in _NAMES.items():
        for name in known:
            if name in names:
                roles[role] = names.index(name)
                break
    if not ({"campaign", "campaign_id"} & roles.keys() and set(_TEXT_ROLES) & roles.keys()):
        return None
    statuses = tuple(position for position, name in enumerate(names) if name in _STATUS_NAMES)
    return roles, statuses


def is_absent(cell: str) -> bool:
    """Whether a cell says that there is no value: empty, ``--`` (Google), or ``-``."""
    return cell.strip() in ("", "--", "-", "—")


def is_negative(cell: str) -> bool:
    """Whether a status, type or match-type cell marks a negative keyword or an excluded search term."""
    text = cell.strip().casefold()
    return _NEGATIVE.fullmatch(text) is not None or text == "true"


def is_total(cell: str) -> bool:
    """Whether a cell is the label of a totals row: ``Total: Account``, ``Grand total`` …"""
    return _TOTAL.fullmatch(cell.strip().casefold()) is not None


def is_footer(cell: str) -> bool:
    """Whether a cell is the copyright line at the end of Microsoft's reports."""
    return _FOOTER.match(cell.strip()) is not None


def match_type_of(cell: str) -> str | None:
    """``exact``, ``phrase`` or ``broad`` from a match-type cell, however the report words it; None if none of them."""
    text = cell.casefold()
    return next((kind for kind in ("exact", "phrase", "broad") if kind in text), None)


def parse_figure(cell: str) -> float | None:
    """A figure as English-language reports write it; None where absent.

    Thousands separators are commas (``1,234.5``), percentages become shares (``5.2%`` → 0.052), a currency sign or
    code is dropped (``US$1,234.50``, ``12.00 EUR``), and a bound (``< 10``) is not a figure, hence None.

    Raises:
        ValueError: the cell is none of these; a decimal comma is one such, since ``1,234`` would be read wrongly.
    """
    if _PLAIN_FIGURE.fullmatch(cell):
        return float(cell)
    text = cell.strip()
    if is_absent(text) or text[0] in "<>":
        return None
    share = text.endswith("%")
    text = _CURRENCY_AFTER.sub("", _CURRENCY.sub("", text.rstrip("% ")))
    if not _FIGURE.fullmatch(text):
        raise ValueError(
            f"{cell[:40]!r} is no figure of 0 or more in English number format (1,234.56); export the report in English"
        )
    value = float(text.replace(",", ""))
    if not math.isfinite(value):
        raise ValueError(f"{cell[:40]!r} is no finite number")
    return value / 100 if share else value
