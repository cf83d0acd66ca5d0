"""Measurements, as CloudWatch keeps them: a summary a second of each metric, by namespace, name and exact dimensions.

moto keeps a list of single values and knows no percentiles; a served endpoint would fill it in minutes. Here a second
of a metric is one :class:`Summary`, whatever its traffic; after three hours seconds become minutes, which are kept 15
days, as on AWS. Measurements are in memory: they begin anew with the server.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Dimensions = tuple[tuple[str, str], ...]
"""Names and values, sorted: ``{A=1}`` and ``{A=1, B=2}`` are different metrics, as on AWS."""

_SECONDS_KEPT = 3 * 3600
_MINUTES_KEPT = 15 * 86_400
_TIDY_EVERY = 600  # seconds between tidyings of a series
_DIGITS = 4  # of a value, for percentiles: within 0.05 % of it
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")
STATISTICS = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")


@dataclass(frozen=True)
class MetricKey:
    """A metric's identity."""

    namespace: str
    name: str
    dimensions: Dimensions

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Iterable[Mapping[str, str]]) -> MetricKey:
        """From the API's list of ``{"Name", "Value"}``."""
        return cls(namespace, name, tuple(sorted((entry["Name"], entry["Value"]) for entry in dimensions)))


@dataclass
class Summary:
    """What is known of the values of some seconds."""

    count: float = 0.0
    total: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    values: dict[float, float] = field(default_factory=dict)
    """How often each value came, to four digits; a statistic set whose values differ is not in it."""
    unit: str = "None"

    def add(self, value: float, count: float = 1.0) -> None:
        """Counts a value."""
        self.count += count
        self.total += value * count
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)
        rounded = float(f"{value:.{_DIGITS}g}")
        self.values[rounded] = self.values.get(rounded, 0.0) + count

    def add_set(self, statistics: Mapping[str, float]) -> None:
        """Counts a statistic set."""
        count, low, high = statistics["SampleCount"], statistics["Minimum"], statistics["Maximum"]
        if low == high:
            self.add(low, count)
            return
        self.count += count
        self.total += statistics["Sum"]
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)

    def merge(self, other: Summary) -> None:
        """Counts what another summary counted."""
        self.count += other.count
        self.total += other.total
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        for value, count in other.values.items():
            self.values[value] = self.values.get(value, 0.0) + count
        self.unit = other.unit

    def statistic(self, name: str) -> float | None:
        """A statistic by CloudWatch's name (``Average``, ``p99.9``); None where nothing was counted.

        A percentile is the nearest rank: the least value that at least that share of values does not exceed.

        Raises:
            ValueError: there is no such statistic here.
        """
        percentile = _PERCENTILE.fullmatch(name)
        if percentile is None and name not in STATISTICS:
            raise ValueError(f"the statistic {name!r} is none of {', '.join(STATISTICS)} or a percentile such as p99")
        if not self.count:
            return None
        if percentile:
            return self._percentile(float(percentile[1]))
        figures = (self.count, self.total, self.total / self.count, self.minimum, self.maximum)
        return dict(zip(STATISTICS, figures, strict=True))[name]

    def _percentile(self, percent: float) -> float | None:
        known = sum(self.values.values())
        wanted, seen = known * percent / 100, 0.0
        for value in sorted(self.values):
            seen += self.values[value]
            if seen >= wanted - 1e-9:
                return value
        return None


class _Series:
    def __init__(self) -> None:
        self.seconds: dict[int, Summary] = {}
        self.tidied = time.time()

    def at(self, second: int) -> Summary:
        summary = self.seconds.get(second)
        if summary is None:
            summary = self.seconds[second] = Summary()
        return summary

    def tidy(self, now: float) -> None:
        self.tidied = now
        for second in sorted(self.seconds):
            if second >= now - _SECONDS_KEPT:
                break
            if second % 60:
                self.at(second - second % 60).merge(self.seconds.pop(second))
            elif second < now - _MINUTES_KEPT:
                del self.seconds[second]


def _epoch(moment: dt.datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


class MetricStore:
    """All measurements of one local AWS; safe to use from many threads."""

    def __init__(self) -> None:
        self._series: dict[MetricKey, _Series] = {}
        self._lock = threading.Lock()

    def record(self, measured: Iterable[tuple[MetricKey, float, str]], at: float | None = None) -> None:
        """Counts a value and its unit for each metric, at a moment (now, by default)."""
        moment = time.time() if at is None else at
        with self._lock:
            for key, value, unit in measured:
                summary = self._at(key, moment)
                summary.add(value)
                summary.unit = unit

    def put(self, namespace: str, data: Iterable[Mapping[str, Any]]) -> None:
        """Counts the entries of ``PutMetricData``, which must have been checked."""
        now = time.time()
        with self._lock:
            for datum in data:
                moment = _epoch(datum["Timestamp"]) if datum.get("Timestamp") else now
                summary = self._at(MetricKey.of(namespace, datum["MetricName"], datum.get("Dimensions") or ()), moment)
                summary.unit = datum.get("Unit") or summary.unit
                if datum.get("StatisticValues"):
                    summary.add_set({name: float(value) for name, value in datum["StatisticValues"].items()})
                elif datum.get("Values"):
                    counts = datum.get("Counts") or [1.0] * len(datum["Values"])
                    for value, count in zip(datum["Values"], counts, strict=True):
                        summary.add(float(value), float(count))
                else:
                    summary.add(float(datum.get("Value", 0)))

    def _at(self, key: MetricKey, moment: float) -> Summary:
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        elif moment > series.tidied + _TIDY_EVERY:
            series.tidy(moment)
        return series.at(int(moment))

    def window(self, key: MetricKey, start: int, end: int) -> Summary:
        """The summary of the seconds ``start`` to ``end``, the last one not included."""
        whole = Summary()
        with self._lock:
            series = self._series.get(key)
            if series is None:
                return whole
            few = end - start <= len(series.seconds)
            seconds = range(start, end) if few else sorted(s for s in series.seconds if start <= s < end)
            for second in seconds:
                if summary := series.seconds.get(second):
                    whole.merge(summary)
        return whole

    def periods(self, key: MetricKey, start: float, end: float, period: int) -> Iterator[tuple[int, Summary]]:
        """The periods with data that begin in ``[start, end)``, oldest first, aligned to multiples of the period."""
        found: dict[int, Summary] = {}
        first = int(start) // period * period
        with self._lock:
            series = self._series.get(key)
            for second, summary in sorted(series.seconds.items()) if series else ():
                if first <= second < end:
                    found.setdefault(second // period * period, Summary()).merge(summary)
        yield from sorted(found.items())

    def metrics(self) -> list[MetricKey]:
        """Every metric that was measured, in the order in which they came first."""
        with self._lock:
            return list(self._series)
