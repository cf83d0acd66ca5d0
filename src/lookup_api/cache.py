"""A cache with a bound in bytes, which drops what was not used for longest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

ENTRY_BYTES = 300
"""Of an entry beside its value: keys, links and objects' heads."""
_Value = TypeVar("_Value")


class BoundedCache(Generic[_Value]):
    """Values by key, at most ``max_bytes`` by the sizes they are put with; safe between threads."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._entries: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> _Value | None:
        """The value, which thereby counts as just used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: _Value, size: int) -> None:
        """Keep a value of ``size`` bytes; one that is larger than the whole cache is not kept."""
        size += ENTRY_BYTES
        with self._lock:
            if (old := self._entries.pop(key, None)) is not None:
                self.bytes -= old[1]
            if size > self.max_bytes:
                return
            self._entries[key] = (value, size)
            self.bytes += size
            while self.bytes > self.max_bytes:
                _, (_, dropped) = self._entries.popitem(last=False)
                self.bytes -= dropped
