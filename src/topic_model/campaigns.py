"""The campaign record: what every reader produces and every later step consumes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from topic_model.errors import CampaignError

MAX_ID_LENGTH = 256
MAX_NAME_LENGTH = 1_024

# Lone surrogates cannot be written as UTF-8; control characters (NUL, line ends) break lines and tables.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_FIGURE_FIELDS = ("clicks", "impressions", "cost", "conversions")
_INFINITY = float("inf")

_RECORD_FIELDS = frozenset(
    {"campaign_id", "client_id", "channel", "name", "keywords", "search_terms", "negative_keywords"}
)
_LONGEST_MISSPELLING = 32
_MISSPELLING_SIMILARITY = 0.85


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword or search term with its performance; a figure the export does not have is None, not 0.

    ``clicks``, ``impressions`` and ``conversions`` are counts over the export's period (conversions may be
    fractional: attribution shares them out); ``cost`` is in the account's currency.
    """

    text: str
    match_type: str | None = None
    clicks: float | None = None
    impressions: float | None = None
    cost: float | None = None
    conversions: float | None = None


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign: its keywords, the search terms people typed, and the keywords it must not show for."""

    campaign_id: str
    client_id: str | None = None
    channel: str | None = None
    name: str | None = None
    keywords: tuple[Keyword, ...] = field(default=())
    search_terms: tuple[Keyword, ...] = field(default=())
    negative_keywords: tuple[str, ...] = field(default=())


def campaign_from_record(record: Mapping[str, Any], *, ignore_unknown: bool = True) -> Campaign:
    """A campaign from one canonical JSON record.

    Unknown fields are ignored in exports (they carry columns of other tools) and refused with
    ``ignore_unknown=False``, where a request is meant for us alone. A misspelt field (see :func:`misspelt_field`) is
    refused everywhere: ignored, it would leave the campaign without its keywords.

    Raises:
        CampaignError: a field is missing, of the wrong type or too long; the message names it.
    """
    if not isinstance(record, Mapping):
        raise CampaignError(f"expected a JSON object a line, got {type(record).__name__}")
    if unknown := record.keys() - _RECORD_FIELDS:
        if misspelt := misspelt_field(record.keys()):
            raise CampaignError(f"unknown field {misspelt[0]!r}; did you mean {misspelt[1]!r}?")
        if not ignore_unknown:
            raise CampaignError(f"unknown field {sorted(unknown)[0]!r}; expected {sorted(_RECORD_FIELDS)}")
    campaign_id = record.get("campaign_id")
    if isinstance(campaign_id, int) and not isinstance(campaign_id, bool):
        campaign_id = str(campaign_id)
    if not isinstance(campaign_id, str) or not campaign_id.strip():
        raise CampaignError(f"campaign_id is {_shorten(campaign_id)}; expected a non-empty string")
    if len(campaign_id) > MAX_ID_LENGTH:
        raise CampaignError(f"campaign_id has {len(campaign_id)} characters; at most {MAX_ID_LENGTH}")
    if _UNPRINTABLE.search(campaign_id):
        raise CampaignError(
            f"campaign_id is {_shorten(campaign_id)}; expected no control characters or lone surrogates"
        )
    return Campaign(
        campaign_id=campaign_id.strip(),
        client_id=_optional_text(record, "client_id"),
        channel=_optional_text(record, "channel"),
        name=_optional_text(record, "name"),
        keywords=_keywords(record, "keywords"),
        search_terms=_keywords(record, "search_terms"),
        negative_keywords=tuple(keyword.text for keyword in _keywords(record, "negative_keywords")),
    )


def misspelt_field(names: Iterable[str]) -> tuple[str, str] | None:
    """A name that is nearly a record's field which is not among the names, with that field: keyword for keywords."""
    given = set(names)
    for name in sorted(given - _RECORD_FIELDS):
        if len(name) <= _LONGEST_MISSPELLING and (meant := _field_like(name)) is not None and meant not in given:
            return name, meant
    return None


@lru_cache(maxsize=1_024)  # an export repeats its fields in every record
def _field_like(name: str) -> str | None:
    near = difflib.get_close_matches(name.casefold(), _RECORD_FIELDS, n=1, cutoff=_MISSPELLING_SIMILARITY)
    return near[0] if near else None


def campaign_to_record(campaign: Campaign) -> dict[str, Any]:
    """The canonical JSON record of a campaign; figures that are None are left out."""
    return {
        "campaign_id": campaign.campaign_id,
        "client_id": campaign.client_id,
        "channel": campaign.channel,
        "name": campaign.name,
        "keywords": [_keyword_record(keyword) for keyword in campaign.keywords],
        "search_terms": [_keyword_record(keyword) for keyword in campaign.search_terms],
        "negative_keywords": list(campaign.negative_keywords),
    }


def campaign_to_line(campaign: Campaign) -> bytes:
    """One canonical JSON line, newline included."""
    return orjson.dumps(campaign_to_record(campaign), option=orjson.OPT_APPEND_NEWLINE)


def _optional_text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise CampaignError(f"{name} is {_shorten(value)}; expected a string or null")
    return _UNPRINTABLE.sub(" ", value[:MAX_NAME_LENGTH]).strip() or None


def _keywords(record: Mapping[str, Any], name: str) -> tuple[Keyword, ...]:
    values = record.get(name)
    if values is None:
        return ()
    if not isinstance(values, list | tuple):
        raise CampaignError(f"{name} is {type(values).__name__}; expected a list of strings or objects")
    return tuple([_keyword(value, name, position) for position, value in enumerate(values)])


def _keyword(value: Any, field_name: str, position: int) -> Keyword:
    if isinstance(value, str):
        return Keyword(value)
    if not isinstance(value, dict) or not isinstance(text := value.get("text"), str):
        raise CampaignError(
            f"{field_name}[{position}] is {_shorten(value)}; expected a string or an object with a 'text'"
        )
    match_type = value.get("match_type")
    if match_type is not None and not isinstance(match_type, str):
        raise CampaignError(f"{field_name}[{position}].match_type is {_shorten(match_type)}; expected a string or null")
    for name in _FIGURE_FIELDS:
        figure = value.get(name)
        # Not isinstance: true is an int to it, and this runs four times a keyword.
        if figure is not None and not ((type(figure) is float or type(figure) is int) and 0 <= figure < _INFINITY):
            raise CampaignError(
                f"{field_name}[{position}].{name} is {_shorten(figure)}; expected a number of 0 or more, or null"
            )
    return Keyword(
        text, match_type, value.get("clicks"), value.get("impressions"), value.get("cost"), value.get("conversions")
    )


def _keyword_record(keyword: Keyword) -> str | dict[str, Any]:
    fields = {
        "match_type": keyword.match_type,
        "clicks": keyword.clicks,
        "impressions": keyword.impressions,
        "cost": keyword.cost,
        "conversions": keyword.conversions,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    return {"text": keyword.text, **known} if known else keyword.text


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
