"""Campaigns by name, id or keyword: words of a query against a client's search document, held in memory.

A campaign matches where each word of the query begins a word of its name or id, or else of these or its keywords.
Names come before keywords, and equal ranks in the order of their names.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

import orjson

from lookup_api.cache import BoundedCache
from lookup_api.calls import AwsCalls
from lookup_api.keys import Principal
from lookup_api.table import LookupTable
from topic_model.published import directory_name, search_name, searchable

MAX_MATCHES = 1_000
MAX_WORDS = 8
_KEPT_QUERIES_BYTES = 8 << 20
_ENTRY_BYTES = 250
"""Of a campaign beside its text: its id and name as strings, and where its lines begin."""


@dataclass(frozen=True, slots=True)
class Found:
    """A campaign that a query found: ``matched`` is what by."""

    campaign_id: str
    client_id: str | None
    name: str | None
    channel: str | None
    matched: str


@dataclass(frozen=True, slots=True)
class Matches:
    """What a query found, best first; ``more`` where there is more than is listed."""

    campaigns: Sequence[Found]
    more: bool


class ClientCampaigns:
    """One client's campaigns, to be searched."""

    def __init__(self, client_id: str | None, parts: Sequence[dict[str, Any]]) -> None:
        self._client_id = client_id
        columns = ("campaign_id", "name", "channel", "words")
        self._ids, self._names, self._channels, words = (
            [value for part in parts for value in part[column]] for column in columns
        )
        heads = [
            " ".join(searchable(f"{campaign_id} {name or ''}"))
            for campaign_id, name in zip(self._ids, self._names, strict=True)
        ]
        self._heads = _Lines(heads)
        self._texts = _Lines([f"{head} {text}" for head, text in zip(heads, words, strict=True)])
        self.size = self._heads.size + self._texts.size + _ENTRY_BYTES * len(self._ids)

    def named(self, words: Sequence[str]) -> Iterator[int]:
        """Places of the campaigns whose name or id has all words."""
        return self._heads.matching(words) if words else iter(range(len(self._ids)))

    def using(self, words: Sequence[str]) -> Iterator[int]:
        """Places of the campaigns that have all words, in whatever part."""
        return self._texts.matching(words)

    def found(self, place: int, matched: str) -> Found:
        """The campaign of a place."""
        return Found(self._ids[place], self._client_id, self._names[place], self._channels[place], matched)

    def id_at(self, place: int) -> str:
        """The id of the campaign of a place."""
        return str(self._ids[place])


class _Lines:
    """Texts as one string of bytes, so that looking through all of them is one search of memory."""

    def __init__(self, lines: Sequence[str]) -> None:
        encoded = [f" {line}\n".encode() for line in lines]
        self._text = b"".join(encoded)
        self._starts = array("Q", [0, *accumulate(map(len, encoded))])
        self.size = len(self._text)

    def matching(self, words: Sequence[str]) -> Iterator[int]:
        """The numbers of the lines in which each word begins some word."""
        first, *others = sorted((f" {word}".encode() for word in words), key=len, reverse=True)
        text, starts = self._text, self._starts
        place = text.find(first)
        while place >= 0:
            line = bisect_right(starts, place) - 1
            start, stop = starts[line], starts[line + 1]
            if all(text.find(other, start, stop) >= 0 for other in others):
                yield line
            place = text.find(first, stop)


class CampaignSearch:
    """Searches the current version; documents and answers are kept while there is room."""

    def __init__(self, calls: AwsCalls, table: LookupTable, cache_bytes: int) -> None:
        self._calls, self._table = calls, table
        self._clients: BoundedCache[ClientCampaigns] = BoundedCache(cache_bytes)
        self._answers: BoundedCache[Matches] = BoundedCache(_KEPT_QUERIES_BYTES)
        self._loading = threading.Lock()

    async def find(self, query: str, principal: Principal, client_id: str | None = None) -> tuple[str, Matches]:
        """The current version, and what a query finds among the campaigns that the principal may see.

        ``client_id`` narrows it to one client. An empty query finds all.
        """
        version = await self._table.version()
        words = tuple(dict.fromkeys(searchable(query)))[:MAX_WORDS]
        if client_id is not None and not principal.sees(client_id):
            return version, Matches((), False)
        client = client_id if client_id is not None else principal.client_id
        key = (version, client, words, query.strip())
        matches = self._answers.get(key)
        if matches is None:
            matches = await self._calls.table(self._find, words, query.strip(), version, client)
            self._answers.put(key, matches, 200 * len(matches.campaigns))
        return version, matches

    def _find(self, words: tuple[str, ...], query: str, version: str, client: str | None) -> Matches:
        if query and not words:  # punctuation alone
            return Matches((), False)
        named: list[Found] = []
        using: list[Found] = []
        for campaigns in self._searched(version, client):
            places = list(islice(campaigns.named(words), MAX_MATCHES + 1))
            for place in places:
                named.append(campaigns.found(place, "id" if campaigns.id_at(place) == query else "name"))
            if len(named) > MAX_MATCHES:
                break
            if words:
                seen = set(places)
                others = (place for place in campaigns.using(words) if place not in seen)
                room = MAX_MATCHES + 1 - len(using)
                using += [campaigns.found(place, "keyword") for place in islice(others, room)]
        every = sorted(named, key=_rank) + sorted(using, key=_rank)
        return Matches(tuple(every[:MAX_MATCHES]), len(every) > MAX_MATCHES)

    def _searched(self, version: str, client: str | None) -> Iterator[ClientCampaigns]:
        if client is not None:
            yield self._client(version, client)
            return
        part, parts = 0, 1
        while part < parts:
            content = self._table.read_document(directory_name(part), version)
            if content is None:
                return
            directory = orjson.loads(content)
            for entry in directory["clients"]:
                yield self._client(version, entry["client_id"])
            part, parts = part + 1, directory["parts"]

    def _client(self, version: str, client: str | None) -> ClientCampaigns:
        key = (version, client)
        if (known := self._clients.get(key)) is not None:
            return known
        with self._loading:  # of several requests one loads
            if (known := self._clients.get(key)) is not None:
                return known
            parts: list[dict[str, Any]] = []
            while not parts or len(parts) < parts[0]["parts"]:
                content = self._table.read_document(search_name(client, len(parts)), version)
                if content is None:
                    break
                parts.append(orjson.loads(content))
            loaded = ClientCampaigns(client, parts)
            self._clients.put(key, loaded, loaded.size)
            return loaded


def _rank(found: Found) -> tuple[bool, str, str]:
    return found.matched != "id", (found.name or "").casefold(), found.campaign_id
