"""CloudWatch's Embedded Metric Format: a log line of JSON whose ``_aws`` says which of its members are metrics.

CloudWatch Logs finds such lines in any log group and makes metrics of them, with the dimensions that the line gives
and no others; so does the local AWS, for what containers and functions write.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

logger = logging.getLogger(__name__)

MAX_METRICS = 100
MAX_DIMENSIONS = 30
MAX_VALUES = 100
_LONGEST_LINE = 256 << 10


def metrics_in(line: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The metrics of a log line as ``(namespace, datum of PutMetricData)``; none where it is an ordinary line."""
    if '"_aws"' not in line or len(line) > _LONGEST_LINE:
        return
    try:
        document = json.loads(line[line.index("{") :])
        directives = document["_aws"]["CloudWatchMetrics"]
        moment = dt.datetime.fromtimestamp(float(document["_aws"]["Timestamp"]) / 1000, dt.UTC)
        for directive in directives:
            yield from _directive(directive, document, moment)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError) as error:
        logger.warning("a log line with _aws is no Embedded Metric Format: %r", error)


def _directive(
    directive: Mapping[str, Any], document: Mapping[str, Any], moment: dt.datetime
) -> Iterator[tuple[str, dict[str, Any]]]:
    for definition in directive["Metrics"][:MAX_METRICS]:
        given: Any = document.get(definition["Name"])
        values: list[Any] = given if isinstance(given, list) else [given]
        numbers = [float(value) for value in values[:MAX_VALUES] if _is_number(value)]
        if not numbers:
            continue
        for names in directive.get("Dimensions") or [[]]:
            dimensions = [{"Name": name, "Value": str(document[name])} for name in names[:MAX_DIMENSIONS]]
            yield (
                str(directive["Namespace"]),
                {
                    "MetricName": str(definition["Name"]),
                    "Dimensions": dimensions,
                    "Timestamp": moment,
                    "Values": numbers,
                    "Unit": str(definition.get("Unit", "None")),
                },
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
