"""CloudWatch alarms that are evaluated: moto keeps their definitions, and their state follows what was measured.

As on AWS an alarm looks at windows of its period that end now and slide. AWS looks once a minute, or every ten seconds
at periods below a minute; here it is once a second (``LOCAL_AWS_ALARM_SECONDS``), so an alarm fires sooner and never
later than it would there. Periods, thresholds and numbers of datapoints are those that the alarm says.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.cloudwatch_math import ExpressionError, evaluate
from local_aws.cloudwatch_store import MetricKey, MetricStore
from local_aws.config import LocalConfig
from local_aws.iam_enforcement import service_may

logger = logging.getLogger(__name__)

EVALUATION_SECONDS = float(os.environ.get("LOCAL_AWS_ALARM_SECONDS", "1"))
"""Seconds between two looks at every alarm."""
_HISTORY_KEPT = 100  # state changes of one alarm
_WORDS = {
    "GreaterThanThreshold": "greater than",
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
_BREACHES: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
_ACTIONS = {"ALARM": "alarm_actions", "OK": "ok_actions", "INSUFFICIENT_DATA": "insufficient_data_actions"}


@dataclass(frozen=True)
class Datapoint:
    """An alarm's value in one period; None where there was no data."""

    start: int
    value: float | None


class AlarmEvaluator:
    """Evaluates every alarm of a backend, over and over, in a thread of its own."""

    def __init__(self, config: LocalConfig, store: MetricStore, alarms: Callable[[], dict[str, Any]]) -> None:
        self._config = config
        self._store = store
        self._alarms = alarms
        self._history: defaultdict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=_HISTORY_KEPT))
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    def start(self) -> None:
        """Begins to evaluate."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.wait(EVALUATION_SECONDS):
            try:
                self.evaluate_all(time.time())
            except Exception:
                logger.exception("alarms were not evaluated")  # and are at the next look

    def evaluate_all(self, now: float) -> None:
        """One look at every alarm."""
        for alarm in list(self._alarms().values()):
            if alarm.rule is not None:
                continue  # composite alarms are kept, not evaluated
            try:
                state, reason, data = self._evaluate(alarm, now)
            except (ExpressionError, ValueError, KeyError) as error:
                state, reason, data = "INSUFFICIENT_DATA", f"The alarm cannot be evaluated: {error}", {}
            self.move(alarm, state, reason, data)

    def _evaluate(self, alarm: Any, now: float) -> tuple[str, str, dict[str, Any]]:
        points = self._datapoints(alarm, now)
        wanted = int(alarm.datapoints_to_alarm or alarm.evaluation_periods)
        threshold = float(alarm.threshold)
        breaches = _BREACHES[alarm.comparison_operator]
        present = [point for point in points if point.value is not None]
        missing = len(points) - len(present)
        over = [point for point in present if point.value is not None and breaches(point.value, threshold)]
        counted = len(over) + (missing if alarm.treat_missing_data == "breaching" else 0)
        shown = [point.value for point in (over or present)]
        data = {"threshold": threshold, "recentDatapoints": [point.value for point in present]}
        if counted >= wanted:
            return "ALARM", self._reason(alarm, shown, threshold, len(points), crossed=True), data
        if not present and alarm.treat_missing_data in (None, "missing"):
            return "INSUFFICIENT_DATA", "Insufficient Data: no datapoints were received", data
        if missing and alarm.treat_missing_data == "ignore":
            return str(alarm.state_value), str(alarm.state_reason), data
        return "OK", self._reason(alarm, shown, threshold, len(points), crossed=False), data

    @staticmethod
    def _reason(alarm: Any, values: list[float | None], threshold: float, periods: int, *, crossed: bool) -> str:
        if not values:
            treated = alarm.treat_missing_data
            return f"Threshold Crossed: no datapoints were received for {periods} period(s), treated as [{treated}]"
        listed = ", ".join(f"{value:.6g}" for value in values)
        word = "was" if len(values) == 1 else "were"
        return (
            f"Threshold Crossed: {len(values)} out of the last {periods} datapoints [{listed}] {word}"
            f"{'' if crossed else ' not'} {_WORDS[alarm.comparison_operator]} the threshold ({threshold:g})"
        )

    def _datapoints(self, alarm: Any, now: float) -> list[Datapoint]:
        """The alarm's periods, the newest first."""
        period = alarm_period(alarm)
        end = int(now) + 1
        starts = [end - (position + 1) * period for position in range(int(alarm.evaluation_periods))]
        return [Datapoint(start, self._value(alarm, start, start + period)) for start in starts]

    def _value(self, alarm: Any, start: int, end: int) -> float | None:
        if not alarm.metric_data_queries:
            dimensions = tuple(sorted((entry.name, entry.value) for entry in alarm.dimensions))
            key = MetricKey(alarm.namespace, alarm.metric_name, dimensions)
            return self._store.window(key, start, end).statistic(alarm.extended_statistic or alarm.statistic)
        values: dict[str, float | None] = {}
        for query in alarm.metric_data_queries:
            if query.metric_stat:
                values[query.id] = self._store.window(_key(query), start, end).statistic(query.metric_stat.stat)
        for query in in_order(alarm.metric_data_queries):
            values[query.id] = evaluate(query.expression, values)
        return values[returned(alarm.metric_data_queries).id]

    def move(self, alarm: Any, state: str, reason: str, data: Mapping[str, Any]) -> None:
        """Puts an alarm into a state; a change is kept in its history and told to its actions."""
        with self._lock:
            before = str(alarm.state_value)
            if before == state:
                alarm.state_reason, alarm.state_reason_data = reason, json.dumps(data)
                return
            alarm.update_state(reason, json.dumps(data), state)
            now = dt.datetime.now(dt.UTC)
            self._history[alarm.name].append(
                {
                    "AlarmName": alarm.name,
                    "AlarmType": "MetricAlarm",
                    "Timestamp": now,
                    "HistoryItemType": "StateUpdate",
                    "HistorySummary": f"Alarm updated from {before} to {state}",
                    "HistoryData": json.dumps(
                        {
                            "version": "1.0",
                            "oldState": {"stateValue": before},
                            "newState": {"stateValue": state, "stateReason": reason, "stateReasonData": dict(data)},
                        }
                    ),
                }
            )
        if alarm.actions_enabled:
            for arn in getattr(alarm, _ACTIONS[state]):
                self._act(alarm, arn, before, state, reason, now)

    def _act(self, alarm: Any, arn: str, before: str, state: str, reason: str, moment: dt.datetime) -> None:
        if ":sns:" not in arn:
            return  # other kinds of action have nothing to act on here
        message = {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": self._config.account,
            "NewStateValue": state,
            "NewStateReason": reason,
            "StateChangeTime": moment.isoformat(timespec="milliseconds").replace("+00:00", "+0000"),
            "Region": self._config.region,
            "AlarmArn": alarm.alarm_arn,
            "OldStateValue": before,
        }
        source = {"aws:sourcearn": (alarm.alarm_arn,)}
        if service_may("cloudwatch.amazonaws.com", "sns:Publish", arn, source) is False:
            return
        subject = f'{state}: "{alarm.name}" in {self._config.region}'[:100]
        try:
            self._config.client("sns").publish(TopicArn=arn, Subject=subject, Message=json.dumps(message))
        except Exception as error:  # noqa: BLE001 - a topic that is gone must not end the evaluation of all alarms
            logger.warning("alarm %s could not tell %s: %s", alarm.name, arn, error)

    def history(self, name: str | None) -> list[dict[str, Any]]:
        """State changes of one alarm, or of all, the newest first."""
        with self._lock:
            kept = [self._history[name]] if name is not None else list(self._history.values())
            items = [item for changes in kept for item in changes]
        return sorted(items, key=lambda item: item["Timestamp"], reverse=True)


def alarm_period(alarm: Any) -> int:
    """Seconds of one datapoint."""
    if not alarm.metric_data_queries:
        return int(alarm.period)
    periods = [query.period or (query.metric_stat.period if query.metric_stat else None) for query in
               (returned(alarm.metric_data_queries), *alarm.metric_data_queries)]  # fmt: skip
    return next((int(period) for period in periods if period), 60)


def returned(queries: list[Any]) -> Any:
    """The query whose values an alarm looks at.

    Raises:
        ExpressionError: there is not exactly one.
    """
    found = [query for query in queries if query.return_data is not False]
    if len(found) != 1:
        raise ExpressionError(f"{len(found)} of the alarm's metrics return data; exactly one must (ReturnData)")
    return found[0]


def in_order(queries: list[Any]) -> Iterator[Any]:
    """The expressions, each behind those that it names.

    Raises:
        ExpressionError: they name each other in a circle, or an id that is not there.
    """
    known = {query.id for query in queries if query.metric_stat}
    waiting = [query for query in queries if not query.metric_stat]
    while waiting:
        ready = [query for query in waiting if _can_be_evaluated(query.expression, known)]
        if not ready:
            raise ExpressionError(f"{waiting[0].expression!r} names an id that is not there; known are {sorted(known)}")
        yield from ready
        known |= {query.id for query in ready}
        waiting = [query for query in waiting if query not in ready]


def _can_be_evaluated(expression: str, known: set[str]) -> bool:
    try:
        evaluate(expression, dict.fromkeys(known))
    except ExpressionError as error:
        if "is no id of a metric" in str(error):
            return False
        raise
    return True


def _key(query: Any) -> MetricKey:
    metric = query.metric_stat.metric
    return MetricKey(
        metric.namespace, metric.metric_name, tuple(sorted((entry.name, entry.value) for entry in metric.dimensions))
    )
