"""What campaigns are found by: their ids, names and the words of their keywords, in a document a client.

Part of a version as its rows are, and published with them. Words and not an index of words: a client has some thousand
campaigns, which a reader holds in memory and searches at memory speed, whereas an item a word and campaign would make
publishing dozens of times longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any, TypeVar

import orjson

from topic_model.known_campaigns import KnownCampaign
from topic_model.published import directory_name, search_name, searchable
from topic_model.recommend import KeywordTable

MAX_PART_BYTES = 350_000
"""Of one part's JSON: it fits an item of the lookup table (400 KB) even where compressing it gains nothing."""
MAX_WORDS_LENGTH = 4_000
_HEAD_BYTES = 4_500
"""Of a part beside its entries: names, and the client's id of up to 1,024 characters."""
_Entry = TypeVar("_Entry")


def search_documents(
    campaigns: Sequence[KnownCampaign], keywords: KeywordTable
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of each client's document with their names, and at the end those of the directory of all clients.

    A part is ``{"client_id", "parts", "campaign_id": [...], "name": [...], "channel": [...], "words": [...]}``; a part
    of the directory ``{"parts", "clients": [{"client_id", "parts", "campaigns"}]}``.
    """
    phrase_words = [" ".join(searchable(phrase)) for phrase in keywords.phrases]
    directory = []
    for client, members in groupby(range(len(campaigns)), lambda row: campaigns[row].client_id):
        parts = list(_parts(members, campaigns, keywords, phrase_words))
        for number, part in enumerate(parts):
            yield search_name(client, number), {"client_id": client, "parts": len(parts), **part}
        total = sum(len(part["campaign_id"]) for part in parts)
        directory.append({"client_id": client, "parts": len(parts), "campaigns": total})
    lists = list(_bounded(directory))
    for number, clients in enumerate(lists):
        yield directory_name(number), {"parts": len(lists), "clients": clients}


def _parts(
    rows: Iterable[int],
    campaigns: Sequence[KnownCampaign],
    keywords: KeywordTable,
    phrase_words: Sequence[str],
) -> Iterator[dict[str, list[Any]]]:
    def entry(row: int) -> tuple[str | None, ...]:
        campaign = campaigns[row]
        own = keywords.keywords[keywords.indptr[row] : keywords.indptr[row + 1]].tolist()
        words = " ".join(dict.fromkeys(chain.from_iterable(phrase_words[keyword].split() for keyword in own)))
        return campaign.campaign_id, campaign.name, campaign.channel, words[:MAX_WORDS_LENGTH]

    return columns_in_parts(("campaign_id", "name", "channel", "words"), map(entry, rows))


def columns_in_parts(names: Sequence[str], entries: Iterable[Sequence[Any]]) -> Iterator[dict[str, list[Any]]]:
    """Entries of as many values as there are names, as columns, in parts that each fit an item of the table."""
    for part in _bounded(entries):
        yield {name: list(column) for name, column in zip(names, zip(*part, strict=True), strict=True)}


def _bounded(every: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Entries in lists of at most a part's bytes, as JSON."""
    entries: list[_Entry] = []
    size = _HEAD_BYTES
    for entry in every:
        length = len(orjson.dumps(entry))
        if entries and size + length + 1 > MAX_PART_BYTES:
            yield entries
            entries, size = [], _HEAD_BYTES
        entries.append(entry)
        size += length + 1
    yield entries
