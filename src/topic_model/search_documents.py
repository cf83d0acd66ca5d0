"""What campaigns are found by: their ids, names and the words of their keywords, in a document a client.

Part of a version as its rows are, and published with them. Words and not an index of words: a client has some thousand
campaigns, which a reader holds in memory and searches at memory speed, whereas an item a word and campaign would make
publishing dozens of times longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any

import orjson

from topic_model.lookup_model import KnownCampaign
from topic_model.published import SEARCH, search_name, searchable
from topic_model.recommend import KeywordTable

MAX_PART_BYTES = 350_000
"""Of one part's JSON: it fits an item of the lookup table (400 KB) even where compressing it gains nothing."""
MAX_WORDS_LENGTH = 4_000


def search_documents(
    campaigns: Sequence[KnownCampaign], keywords: KeywordTable
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of each client's document with their names, and at the end the directory of all.

    A part is ``{"client_id", "parts", "campaign_id": [...], "name": [...], "channel": [...], "words": [...]}``; the
    directory a list of ``{"client_id", "parts", "campaigns"}``.
    """
    phrase_words = [" ".join(searchable(phrase)) for phrase in keywords.phrases]
    directory = []
    for client, members in groupby(range(len(campaigns)), lambda row: campaigns[row].client_id):
        parts = list(_parts(client, members, campaigns, keywords, phrase_words))
        for number, part in enumerate(parts):
            yield search_name(client, number), {"client_id": client, "parts": len(parts), **part}
        total = sum(len(part["campaign_id"]) for part in parts)
        directory.append({"client_id": client, "parts": len(parts), "campaigns": total})
    yield SEARCH, {"clients": directory}


def _parts(
    client: str | None,
    rows: Iterable[int],
    campaigns: Sequence[KnownCampaign],
    keywords: KeywordTable,
    phrase_words: Sequence[str],
) -> Iterator[dict[str, list[Any]]]:
    names = ("campaign_id", "name", "channel", "words")
    room = MAX_PART_BYTES - len(orjson.dumps(client)) - 200
    entries: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        campaign = campaigns[row]
        own = keywords.keywords[keywords.indptr[row] : keywords.indptr[row + 1]].tolist()
        words = " ".join(dict.fromkeys(chain.from_iterable(phrase_words[keyword].split() for keyword in own)))
        entry = (campaign.campaign_id, campaign.name, campaign.channel, words[:MAX_WORDS_LENGTH])
        length = len(orjson.dumps(entry))
        if entries and size + length > room:
            yield {name: list(column) for name, column in zip(names, zip(*entries, strict=True), strict=True)}
            entries, size = [], 0
        entries.append(entry)
        size += length
    yield {name: list(column) for name, column in zip(names, zip(*entries, strict=True), strict=True)}
