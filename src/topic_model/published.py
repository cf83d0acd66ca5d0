"""Names in the lookup table, for what writes it (BuildNeighbours, PublishLookups) and what reads it (the lookup API).

Standard library alone: it is part of the functions' package.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

POINTER = "#current"
"""Both keys of the item that says which version is read."""

AB_TEST = "#ab-test"
"""Both keys of the item that says which variants of the endpoint an A/B test compares, while one is on."""

TOPICS = "topics"
CLUSTERS = "clusters"
SEARCH = "search"
MAP = "map"

SAME = "same"
"""A row's ``within_client`` where its lists are those of the row: all neighbours are of the campaign's client."""

_WORD = re.compile(r"\w+")
_DOCUMENT_NAME = re.compile(r"topics|clusters|(search|map)(:[0-9a-f]{32})?:[0-9]{1,6}")


def search_name(client_id: str | None, part: int) -> str:
    """The name of one part of a client's search document; a digest stands for the client, whose id may be long."""
    return f"{SEARCH}:{_digest(client_id)}:{part}"


def directory_name(part: int) -> str:
    """The name of one part of the search documents' directory: which clients there are."""
    return f"{SEARCH}:{part}"


def map_name(client_id: str | None, part: int) -> str:
    """The name of one part of a client's map, or of the map of all campaigns (None)."""
    return f"{MAP}:{part}" if client_id is None else f"{MAP}:{_digest(client_id)}:{part}"


def is_document_name(name: str) -> bool:
    """Whether a version may have a document of this name."""
    return _DOCUMENT_NAME.fullmatch(name) is not None


def document_key(name: str) -> str:
    """The ``campaign_id`` under which a document stands; no campaign has it, as ids have no space at their ends."""
    return f" {name}"


def searchable(text: str) -> list[str]:
    """The words of a text as searching compares them: compatibility forms and case folded, punctuation left out."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _digest(client_id: str | None) -> str:
    return hashlib.sha256(b"\x00" if client_id is None else client_id.encode()).hexdigest()[:32]
