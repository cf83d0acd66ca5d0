"""Reading the lookup table: the version that is current, its rows and its documents.

A version's rows and documents never change once the pointer names it, so they are kept in memory for as long as there
is room; only the pointer is read again, every ``version_seconds``. That a campaign has no row is as unchanging. While
the table is silent, the last version that was read stays the current one for ``stale_seconds``.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from typing import Any

import orjson

from lookup_api.cache import BoundedCache
from lookup_api.calls import AwsCalls
from lookup_api.keys import Principal
from lookup_api.problems import unavailable, unknown_campaign
from lookup_api.renewed import STALE_SECONDS, Renewed
from topic_model.published import POINTER, document_key

MAX_ID_LENGTH = 256
MAX_DOCUMENT_BYTES = 32 << 20
UNPUBLISHED_RETRY_SECONDS = 60
# As topic_model.campaigns refuses them: a campaign with such an id cannot be in the table.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ABSENT = b""


class LookupTable:
    """The lookup table, as one version at a time."""

    def __init__(
        self,
        calls: AwsCalls,
        table: str,
        *,
        version_seconds: float,
        cache_bytes: int,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self._calls, self._table = calls, table
        self._rows: BoundedCache[bytes] = BoundedCache(cache_bytes)
        self._documents: BoundedCache[Any] = BoundedCache(cache_bytes)
        self._version = Renewed(calls, self.read_version, version_seconds, stale_seconds=stale_seconds)

    async def version(self) -> str:
        """The version to read.

        Raises:
            Problem: 503, where nothing is published, or the table is silent for too long.
        """
        version = await self._version.value()
        if version is None:
            raise unavailable("no lookups are published yet", UNPUBLISHED_RETRY_SECONDS)
        return version

    async def row(self, campaign_id: str, principal: Principal) -> dict[str, Any]:
        """The row of a campaign that the principal may see.

        Raises:
            Problem: 404, where there is none.
        """
        if not 0 < len(campaign_id) <= MAX_ID_LENGTH or _UNPRINTABLE.search(campaign_id):
            raise unknown_campaign(campaign_id.encode("utf-8", "replace").decode())
        version = await self.version()
        document = self._rows.get((version, campaign_id))
        if document is None:
            document = await self._calls.table(self._read_row, campaign_id, version)
            self._rows.put((version, campaign_id), document, len(document) + len(campaign_id))
        if document == _ABSENT:
            raise unknown_campaign(campaign_id)
        row: dict[str, Any] = orjson.loads(document)
        if not principal.sees(row["client_id"]):
            raise unknown_campaign(campaign_id)
        return row

    async def document(self, name: str) -> tuple[str, Any]:
        """The current version and its document of that name, which nobody may change.

        Raises:
            Problem: 503, where the version has none.
        """
        version = await self.version()
        found = await self.document_of(version, name)
        if found is None:
            raise unavailable(f"version {version} was published without its {name}", UNPUBLISHED_RETRY_SECONDS)
        return version, found

    async def document_of(self, version: str, name: str) -> Any | None:
        """A version's document of that name, which nobody may change; None where the version has none."""
        found = self._documents.get((version, name))
        if found is None:
            content = await self._calls.table(self.read_document, name, version)
            if content is None:
                return None
            found = orjson.loads(content)
            self._documents.put((version, name), found, 4 * len(content))
        return found

    def read_version(self) -> str | None:
        """The version in the pointer; for a thread."""
        version: str | None = self._get(POINTER, POINTER).get("version", {}).get("S")
        return version

    def read_document(self, name: str, version: str) -> bytes | None:
        """A document's JSON, or None where the version has none; for a thread."""
        packed = self._get(document_key(name), version).get("packed", {}).get("B")
        return None if packed is None else gzip.decompress(packed)

    def _read_row(self, campaign_id: str, version: str) -> bytes:
        document: str | None = self._get(campaign_id, version).get("document", {}).get("S")
        return _ABSENT if document is None else document.encode()

    def _get(self, campaign_id: str, version: str) -> Mapping[str, Any]:
        key = {"campaign_id": {"S": campaign_id}, "model_version": {"S": version}}
        # Consistent: behind the pointer's move an eventually consistent read could still miss a row.
        return self._calls.dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})
