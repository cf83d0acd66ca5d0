"""Lines of CloudWatch Logs that the server writes by itself, a request at a time, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

KEPT_LINES = 10_000
"""Of a stream; the oldest go first. Functions and stages write for as long as the server is asked."""
_SLACK = 2_000


def write_lines(backend: Any, group: str, stream: str, lines: Iterable[str]) -> None:
    """Append lines, of now, to a stream of a group that is there; the stream is made where it is not."""
    streams = backend.groups[group].streams
    if stream not in streams:
        backend.create_log_stream(group, stream)
    moment = int(time.time() * 1000)
    backend.put_log_events(group, stream, [{"timestamp": moment, "message": line} for line in lines])
    events = streams[stream].events
    if len(events) > KEPT_LINES + _SLACK:
        del events[:-KEPT_LINES]
