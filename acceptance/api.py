"""Asking the lookup API as a customer does: HTTP with a key."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

SECONDS = 30.0  # API Gateway answers within 29
PATIENCE_SECONDS = 90.0
"""For what may pass by itself: a key that API Gateway does not know yet, its rate, a function that starts."""
_PASSING = (429, 502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """A status, headers by their names in small letters, and a document (None where it is no JSON)."""

    status: int
    headers: Mapping[str, str]
    document: Any
    text: str

    @property
    def code(self) -> str:
        """The code of a problem document, such as ``unknown-campaign``; empty of other answers."""
        kind = self.document.get("type", "") if isinstance(self.document, dict) else ""
        return str(kind).rpartition(":")[2]


@dataclass(frozen=True)
class Api:
    """The API, asked with a key or without one."""

    url: str
    key: str | None = field(default=None, repr=False)
    patience_seconds: float = PATIENCE_SECONDS

    def get(self, *path: str, key: str | None = None, **query: str | int) -> Answer:
        """GET a path, its parts quoted."""
        return self._ask(self._url(path, query), None, key)

    def post(self, *path: str, body: object, key: str | None = None) -> Answer:
        """POST a JSON body."""
        return self._ask(self._url(path, {}), json.dumps(body).encode(), key)

    def _url(self, path: tuple[str, ...], query: Mapping[str, str | int]) -> str:
        url = "/".join([self.url, *(quote(part, safe="") for part in path)])
        return f"{url}?{urlencode(query)}" if query else url

    def _ask(self, url: str, body: bytes | None, key: str | None) -> Answer:
        headers = {"content-type": "application/json"} if body is not None else {}
        if given := key or self.key:
            headers["x-api-key"] = given
        until = time.monotonic() + self.patience_seconds
        wait = 0.2
        while True:
            answer = self._once(urllib.request.Request(url, body, headers))  # noqa: S310 - of the stack's output
            if answer.status not in _PASSING or time.monotonic() + wait > until:
                return answer
            time.sleep(wait)
            wait = min(2 * wait, 10.0)

    @staticmethod
    def _once(request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - as above
                status, headers, payload = response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            status, headers, payload = error.code, error.headers, error.read()
        text = payload.decode("utf-8", "replace")
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        return Answer(status, {name.lower(): value for name, value in headers.items()}, document, text)
