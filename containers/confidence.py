"""How many of an endpoint's answers have low confidence, as a metric of CloudWatch.

A line on standard output in the Embedded Metric Format, which CloudWatch Logs makes a metric of: ``LowConfidence`` in
the namespace ``TopicModel`` by ``ModelVersion``, 1 or 0 an answer. A worker writes a line a second, or one for as many
values as a line may have; an alarm of the Deploy workflow watches their mean.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress

import orjson

NAMESPACE, METRIC, DIMENSION = "TopicModel", "LowConfidence", "ModelVersion"
MAX_VALUES = 100
"""Of one metric in one line; the format's own limit."""
SECONDS = 1.0
STANDARD_OUTPUT = 1


def write_line(line: bytes) -> None:
    """Write a line of at most 4,096 bytes to standard output, whole, where that can be done without waiting.

    Workers share the pipe, and a log whose reader has stalled or gone must not stop an endpoint.
    """
    waiting = select.poll()
    waiting.register(STANDARD_OUTPUT, select.POLLOUT)
    with suppress(OSError):
        if any(event & select.POLLOUT for _, event in waiting.poll(0)):
            os.write(STANDARD_OUTPUT, line)


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
