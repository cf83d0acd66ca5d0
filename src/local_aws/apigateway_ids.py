"""Ids, key values and times of API Gateway's control plane that a replay of the journal makes again.

moto draws them at random, so an API would have another id, and a key another value, after each start. Here they follow
from a seed that a changing request is given when it comes in, and that the journal keeps with it.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import string
import threading
import time
from collections.abc import Iterator
from typing import Any

from local_aws.http_server import Environ

SEED_KEY = "HTTP_X_LOCAL_AWS_SEED"
_LETTERS = string.ascii_lowercase + string.digits


class _Request(threading.local):
    """What the request of this thread was given."""

    draws: random.Random = random.Random()  # noqa: S311 - ids, not secrets; a seed is 128 bits of the system's entropy
    moment: float | None = None


_request = _Request()


def stamp(environ: Environ) -> None:
    """Give a request a seed of its own, and the time; what a client sends in their place is dropped."""
    environ[SEED_KEY] = f"{secrets.token_hex(16)}.{time.time():.0f}"


@contextlib.contextmanager
def stamped(environ: Environ) -> Iterator[None]:
    """Draw ids from the request's seed, and tell its time; without a seed (a read) nothing is fixed."""
    seed, _, moment = str(environ.get(SEED_KEY, "")).partition(".")
    before = _request.draws, _request.moment
    if seed:
        _request.draws = random.Random(seed)  # noqa: S311 - see above
        _request.moment = float(moment)
    try:
        yield
    finally:
        _request.draws, _request.moment = before


class Clock:
    """``time`` as moto's models of API Gateway use it."""

    @staticmethod
    def time() -> float:
        """The time of the request that is answered or replayed."""
        return time.time() if _request.moment is None else _request.moment


def new_id(*_identifier: Any, existing_ids: Any = None, length: int = 10, **_more: Any) -> str:
    """An id as moto's ``generate_str_id`` makes it: small letters and digits."""
    taken = frozenset(existing_ids or ())
    while True:
        made = "".join(_request.draws.choices(_LETTERS, k=length))
        if made not in taken:
            return made


def new_key_value() -> str:
    """The value of an API key: 40 letters and digits, as AWS makes them."""
    return "".join(_request.draws.choices(string.ascii_letters + string.digits, k=40))
