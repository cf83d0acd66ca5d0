"""Who asks: the client of an API key, from the table of clients.

Behind API Gateway the gateway has checked the key and names it by its id (``requestContext.identity.apiKeyId``), which
no caller can set. Where the application is asked directly, the header ``x-api-key`` is looked up by its SHA-256: keys
themselves are stored nowhere.

An item of the table is ``key`` (``id:<API key's id>`` or ``sha256:<hex>``) and either ``client_id`` or ``admin`` (true:
sees all clients), with ``expires_at`` (epoch seconds) where the key ends by itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lookup_api.cache import BoundedCache
from lookup_api.calls import AwsCalls
from lookup_api.problems import forbidden
from lookup_api.renewed import STALE_SECONDS, Renewed

if TYPE_CHECKING:
    from starlette.types import Scope

MAX_KEY_LENGTH = 256
_KEPT_BYTES, _ENTRY_BYTES = 4 << 20, 2_000


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose campaigns a request may see; ``client_id`` is None for an administrator, who sees all."""

    client_id: str | None

    def sees(self, client_id: str | None) -> bool:
        """Whether campaigns of a client (None: of none) may be shown."""
        return self.client_id is None or self.client_id == client_id


def hashed_key(api_key: str) -> str:
    """The table's name of a key that is given itself."""
    return f"sha256:{hashlib.sha256(api_key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def gateway_key(key_id: str) -> str:
    """The table's name of a key that API Gateway has checked."""
    return f"id:{key_id}"


class KeyRing:
    """Principals by key, each believed for some seconds, and for longer while the table of clients is silent."""

    def __init__(self, calls: AwsCalls, table: str, seconds: float, *, stale_seconds: float = STALE_SECONDS) -> None:
        self._calls, self._table = calls, table
        self._seconds, self._stale_seconds = seconds, stale_seconds
        self._known: BoundedCache[Renewed[Mapping[str, Any]]] = BoundedCache(_KEPT_BYTES)

    async def principal(self, scope: Scope) -> Principal:
        """The principal of a request.

        Raises:
            Problem: 403, where no key of the table that has not expired is given; 503, where the table is silent.
        """
        key = _key_of(scope)
        if key is None:
            raise forbidden()
        known = self._known.get(key)
        if known is None:
            known = Renewed(self._calls, lambda: self._read(key), self._seconds, stale_seconds=self._stale_seconds)
            self._known.put(key, known, len(key) + _ENTRY_BYTES)
        item = await known.value()
        principal = _principal(item)
        if principal is None or float(item.get("expires_at", {}).get("N", "inf")) <= time.time():
            raise forbidden()
        return principal

    def _read(self, key: str) -> Mapping[str, Any]:
        return self._calls.dynamodb.get_item(TableName=self._table, Key={"key": {"S": key}}).get("Item", {})


def _principal(item: Mapping[str, Any]) -> Principal | None:
    client_id = item.get("client_id", {}).get("S")
    if client_id:
        return Principal(client_id)
    return Principal(None) if item.get("admin", {}).get("BOOL") is True else None


def _key_of(scope: Scope) -> str | None:
    event = scope.get("aws.event")
    if isinstance(event, dict):
        identity = event.get("requestContext", {}).get("identity", {})
        key_id = identity.get("apiKeyId") if isinstance(identity, dict) else None
        return gateway_key(key_id) if isinstance(key_id, str) and 0 < len(key_id) <= MAX_KEY_LENGTH else None
    given = [value for name, value in scope["headers"] if name == b"x-api-key"]
    if len(given) != 1 or not 0 < len(given[0]) <= MAX_KEY_LENGTH:
        return None
    return hashed_key(given[0].decode("latin-1"))
