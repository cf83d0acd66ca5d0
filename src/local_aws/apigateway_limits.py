"""API keys and usage plans: who may ask, how fast (token buckets), and how often in a day, a week or a month."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws.saved_state import read_state, write_state

logger = logging.getLogger(__name__)

_SAVE_SECONDS = 1.0
_DAYS_KEPT = 100
ACCOUNT_RATE, ACCOUNT_BURST = 10_000.0, 5_000
"""A region's default: requests a second, and how many at once."""
Limit = tuple[tuple[str, ...], Mapping[str, Any]]
"""A name, and ``rateLimit`` and ``burstLimit``; one that is absent or below 0 does not limit."""


@dataclass
class Bucket:
    """A token bucket: ``rate`` tokens a second, at most ``burst`` of them."""

    tokens: float
    moment: float

    def take(self, rate: float, burst: float, now: float) -> bool:
        """Whether there was a token, which is gone then."""
        self.tokens = min(burst, self.tokens + (now - self.moment) * rate)
        self.moment = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Throttles:
    """The token buckets of all that has a rate; in memory, as on AWS."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, ...], Bucket] = {}

    def admit(self, limits: Sequence[Limit], now: float | None = None) -> bool:
        """Whether every limit has a token; none is taken from any where one has not."""
        moment = time.monotonic() if now is None else now
        with self._lock:
            taken: list[Bucket] = []
            for name, limit in limits:
                rate, burst = limit.get("rateLimit"), limit.get("burstLimit")
                if rate is None and burst is None:
                    continue
                rate = float(ACCOUNT_RATE if rate is None else rate)
                burst = float(ACCOUNT_BURST if burst is None else burst)
                if rate < 0 or burst < 0:
                    continue
                bucket = self._buckets.get(name)
                if bucket is None:
                    bucket = self._buckets[name] = Bucket(burst, moment)
                if not bucket.take(rate, burst, moment):
                    for other in taken:
                        other.tokens += 1.0
                    return False
                taken.append(bucket)
        return True


class Usage:
    """How many requests each key of each plan has made a day (UTC); outlives the server."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._changed = False
        self._closed = threading.Event()
        self.days: dict[str, dict[str, int]] = {}
        """By ``<plan>/<key>``, then by ISO date."""
        if path.exists() and (state := read_state(path)):
            self.days = {name: {day: int(count) for day, count in days.items()} for name, days in state.items()}
        self._saver = threading.Thread(target=self._save_now_and_then, name="apigateway-usage", daemon=True)
        self._saver.start()

    def admit(self, plan: str, key: str, quota: Mapping[str, Any], now: dt.datetime | None = None) -> bool:
        """Counts a request and says True, or False where the quota of its period is used up."""
        today = (now or dt.datetime.now(dt.UTC)).date()
        name = f"{plan}/{key}"
        with self._lock:
            days = self.days.setdefault(name, {})
            if quota:
                since = period_start(today, str(quota["period"]), int(quota.get("offset") or 0)).isoformat()
                if sum(count for day, count in days.items() if day >= since) >= int(quota.get("limit") or 0):
                    return False
            days[today.isoformat()] = days.get(today.isoformat(), 0) + 1
            self._changed = True
        return True

    def extend(self, plan: str, key: str, remaining: int, quota: Mapping[str, Any]) -> None:
        """``UpdateUsage``: what remains of the current period becomes ``remaining``."""
        today = dt.datetime.now(dt.UTC).date()
        since = period_start(today, str(quota["period"]), int(quota.get("offset") or 0)).isoformat()
        with self._lock:
            days = self.days.setdefault(f"{plan}/{key}", {})
            before = sum(count for day, count in days.items() if since <= day < today.isoformat())
            days[today.isoformat()] = int(quota["limit"]) - remaining - before
            self._changed = True

    def between(
        self, plan: str, key: str, first: dt.date, last: dt.date, quota: Mapping[str, Any]
    ) -> Iterator[tuple[int, int]]:
        """Used and remaining of each day, as ``GetUsage`` answers; without a quota -1 remains."""
        with self._lock:
            days = dict(self.days.get(f"{plan}/{key}", {}))
        for number in range((last - first).days + 1):
            day = first + dt.timedelta(days=number)
            remaining = -1
            if quota:
                since = period_start(day, str(quota["period"]), int(quota.get("offset") or 0)).isoformat()
                used = sum(count for one, count in days.items() if since <= one <= day.isoformat())
                remaining = max(0, int(quota["limit"]) - used)
            yield days.get(day.isoformat(), 0), remaining

    def save(self) -> None:
        """Write what changed; it is kept in memory where the disk is full."""
        with self._lock:
            if not self._changed:
                return
            oldest = (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=_DAYS_KEPT)).isoformat()
            state = {
                name: {day: count for day, count in days.items() if day >= oldest} for name, days in self.days.items()
            }
            self._changed = False
        try:
            write_state(self._path, dict(state))
        except OSError as error:
            self._changed = True
            logger.warning("%s is not written: %s", self._path, error)

    def _save_now_and_then(self) -> None:
        while not self._closed.wait(_SAVE_SECONDS):
            self.save()

    def close(self) -> None:
        """Write what is left; idempotent."""
        self._closed.set()
        with contextlib.suppress(RuntimeError):
            self._saver.join(5)
        self.save()


def period_start(day: dt.date, period: str, offset: int) -> dt.date:
    """The first day of the quota's period that ``day`` is in.

    ``offset`` is the day on which a period begins: of a week 0 is Sunday, of a month 0 is the first.
    """
    if period == "WEEK":
        return day - dt.timedelta(days=(day.isoweekday() - offset) % 7)
    if period == "MONTH":
        begin = day.replace(day=1 + offset)
        return begin if begin <= day else (begin.replace(day=1) - dt.timedelta(days=1)).replace(day=1 + offset)
    return day


@dataclass(frozen=True)
class Asker:
    """A key that is right, and the plan that lets it in."""

    key_id: str
    key: str
    plan: Any

    def limits(self, api_id: str, stage: str, method: str) -> list[Limit]:
        """The throttles of the plan: of the method, and of the key over all stages of the plan."""
        found: list[Limit] = []
        for entry in self.plan.api_stages:
            limit = (entry.get("throttle") or {}).get(method)
            if limit and entry.get("apiId") == api_id and entry.get("stage") == stage:
                found.append((("plan-method", self.plan.id, self.key_id, api_id, stage, method), limit))
        return [*found, (("plan", self.plan.id, self.key_id), self.plan.throttle)]


def asker(backend: Any, api_id: str, stage: str, value: str | None) -> Asker | None:
    """Who gives a key, or None: an unknown one, one that is disabled, or one of no plan of this stage."""
    if not value:
        return None
    for plan in list(backend.usage_plans.values()):
        if not any(one.get("apiId") == api_id and one.get("stage") == stage for one in plan.api_stages):
            continue
        for plan_key in list(backend.usage_plan_keys.get(plan.id, {}).values()):
            if plan_key.value == value:
                key = backend.keys.get(plan_key.id)
                if key is not None and str(key.enabled).lower() == "true":
                    return Asker(key.id, value, plan)
    return None
