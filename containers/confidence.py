"""How many of an endpoint's answers have low confidence, as a metric of CloudWatch.

A line on standard output in the Embedded Metric Format, which CloudWatch Logs makes a metric of: ``LowConfidence`` in
the namespace ``TopicModel`` by ``ModelVersion``, 1 or 0 an answer. A worker writes a line a second, or one for as many
values as a line may have; an alarm of the Deploy workflow watches their mean.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import orjson

NAMESPACE, METRIC, DIMENSION = "TopicModel", "LowConfidence", "ModelVersion"
MAX_VALUES = 100
"""Of one metric in one line; the format's own limit."""
SECONDS = 1.0


def write_line(line: bytes) -> None:
    """Write to standard output at once: a short line is not torn apart by those of other workers."""
    with suppress(OSError):  # nobody reads the log any more; the endpoint answers on
        os.write(sys.__stdout__.fileno() if sys.__stdout__ else 1, line)


class ConfidenceMetric:
    """The metric of one worker's answers."""

    def __init__(self, model_version: str, write: Callable[[bytes], None] = write_line) -> None:
        self._version, self._write = model_version, write
        self._values: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, low_confidence: bool) -> None:
        """Count one answer; to be called in the event loop."""
        self._values.append(int(low_confidence))
        if len(self._values) >= MAX_VALUES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self.flush)

    def flush(self) -> None:
        """Write what has been counted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._values:
            self._write(_line(self._version, self._values))
            self._values = []


def _line(model_version: str, values: list[int]) -> bytes:
    definition = {"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": [{"Name": METRIC, "Unit": "None"}]}
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [definition]}
    document = {"_aws": about, DIMENSION: model_version, METRIC: values}
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
