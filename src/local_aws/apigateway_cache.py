"""A stage's cache: answers by the cache key parameters of their method, for the time that the stage says.

As on AWS the key is the method's cache namespace and the values of the parameters that are *declared* as cache keys,
and nothing else: a parameter that is not declared does not tell two requests apart. Every answer of the integration
is kept, errors too.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_ITEM = 1 << 20  # bytes
_ROOM = 64 << 20  # bytes a stage; the smallest of AWS's clusters has 0.5 GB


@dataclass(frozen=True)
class Answer:
    """What is sent to a client."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class CacheSettings:
    """How a method of a stage is cached."""

    ttl_seconds: int
    requires_authorization: bool
    strategy: str

    @classmethod
    def of(cls, stage: Any, method: str, settings_key: str) -> CacheSettings | None:
        """Of a method of a stage; None where it is not cached.

        The stage's own settings (``*/*``) cache GET alone; another method is cached where its own settings say so.
        """
        if not stage.cache_cluster_enabled:
            return None
        own: Mapping[str, Any] = stage.method_settings.get(settings_key, {})
        everywhere: Mapping[str, Any] = stage.method_settings.get("*/*", {}) if method == "GET" else {}
        merged = {**everywhere, **own}
        ttl = int(merged.get("cacheTtlInSeconds", 300))
        if not merged.get("cachingEnabled") or not ttl:
            return None
        return cls(
            ttl,
            bool(merged.get("requireAuthorizationForCacheControl", True)),
            str(merged.get("unauthorizedCacheControlHeaderStrategy", "SUCCEED_WITH_RESPONSE_HEADER")),
        )


class StageCache:
    """The answers of one stage, the least recently used of which go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[float, Answer]] = OrderedDict()
        self._size = 0

    def get(self, key: Hashable) -> Answer | None:
        """An answer that has not expired."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry[0] <= time.monotonic():
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def put(self, key: Hashable, answer: Answer, ttl_seconds: float) -> None:
        """Keep an answer; one above 1 MiB is not kept."""
        with self._lock:
            if key in self._entries:
                self._drop(key)
            if len(answer.body) > LARGEST_ITEM:
                return
            self._entries[key] = (time.monotonic() + ttl_seconds, answer)
            self._size += len(answer.body)
            while self._size > _ROOM:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: Hashable) -> None:
        _, answer = self._entries.pop(key)
        self._size -= len(answer.body)


class Caches:
    """The caches of all stages, and of their canaries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[tuple[str, str, bool], StageCache] = {}

    def of(self, api_id: str, stage: str, *, canary: bool) -> StageCache:
        """The cache of a stage; a canary has its own, unless it uses the stage's."""
        with self._lock:
            return self._stages.setdefault((api_id, stage, canary), StageCache())

    def flush(self, api_id: str, stage: str) -> None:
        """Forget all answers of a stage, as ``FlushStageCache`` does."""
        with self._lock:
            for canary in (False, True):
                self._stages.pop((api_id, stage, canary), None)
