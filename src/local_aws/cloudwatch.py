"""CloudWatch on the local AWS: measurements with percentiles, metric math, embedded metrics, alarms that fire.

* :mod:`local_aws.cloudwatch_store`: what was measured;
* :mod:`local_aws.cloudwatch_math`: expressions over it;
* :mod:`local_aws.cloudwatch_alarms`: alarms evaluated against it;
* :mod:`local_aws.embedded_metrics`: log lines that are metrics.

This module puts them in the place of moto's actions, whose parameters it keeps.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterCombination, InvalidParameterValue, ValidationError
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.logs.models import LogsBackend

from local_aws import embedded_metrics
from local_aws.cloudwatch_alarms import AlarmEvaluator, in_order, returned
from local_aws.cloudwatch_math import ExpressionError, evaluate
from local_aws.cloudwatch_store import STATISTICS, MetricKey, MetricStore, Summary
from local_aws.config import LocalConfig

_MOST_DATAPOINTS = 1_440  # of one GetMetricStatistics
_PAGE = 500  # metrics of one ListMetrics

store = MetricStore()
"""The measurements of the local AWS that this process serves."""
_evaluators: list[AlarmEvaluator] = []  # at most one
_moto: dict[str, Callable[..., Any]] = {}
_place: list[tuple[str, str]] = []


def install(config: LocalConfig) -> None:
    """Puts the actions in moto's place and begins to evaluate alarms."""
    _place[:] = [(config.account, config.region)]
    for action in (_put_metric_data, _get_metric_data, _get_metric_statistics, _list_metrics, _describe_alarm_history,
                   _set_alarm_state):  # fmt: skip
        setattr(CloudWatchResponse, action.__name__.removeprefix("_"), action)
    _moto.setdefault("put_metric_alarm", CloudWatchBackend.put_metric_alarm)
    CloudWatchBackend.put_metric_alarm = _put_metric_alarm
    _moto.setdefault("put_log_events", LogsBackend.put_log_events)
    LogsBackend.put_log_events = _put_log_events
    evaluator = AlarmEvaluator(config, store, _alarms)
    _evaluators[:] = [evaluator]
    evaluator.start()


def shutdown() -> None:
    """Ends the evaluation of alarms; idempotent."""
    while _evaluators:
        _evaluators.pop().close()


def _alarms() -> dict[str, Any]:
    account, region = _place[0]
    return dict(cloudwatch_backends[account][region].alarms)


def alarm_states(names: Iterable[str]) -> dict[str, str | None]:
    """The state of each alarm by its name; None where there is no such alarm."""
    alarms = _alarms()
    return {name: alarms[name].state_value if name in alarms else None for name in names}


# ---------------------------------------------------------------------- metrics


def _put_metric_data(self: Any) -> EmptyResult:
    namespace, data = self._get_param("Namespace"), self._get_param("MetricData", [])
    for position, datum in enumerate(data):
        self.cloudwatch_backend._validate_parameters_put_metric_data(datum, position + 1)
    store.put(namespace, data)
    return EmptyResult()


def _get_metric_statistics(self: Any) -> ActionResult:
    plain, extended = self._get_param("Statistics") or [], self._get_param("ExtendedStatistics") or []
    if not plain and not extended:
        raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics")
    start, end = _aware(self._get_param("StartTime")), _aware(self._get_param("EndTime"))
    period = int(self._get_param("Period"))
    if start >= end:
        raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
    _check_period(period)
    if (end - start).total_seconds() / period > _MOST_DATAPOINTS:
        raise InvalidParameterCombination(
            f"You have requested more than {_MOST_DATAPOINTS} datapoints; shorten the time or lengthen the period"
        )
    key = MetricKey.of(self._get_param("Namespace"), self._get_param("MetricName"), self._get_param("Dimensions") or [])
    points = []
    for second, summary in store.periods(key, start.timestamp(), end.timestamp(), period):
        point: dict[str, Any] = {"Timestamp": _moment(second), "Unit": summary.unit}
        point |= {name: _statistic(summary, name) for name in plain if name in STATISTICS}
        if extended:
            point["ExtendedStatistics"] = {name: _statistic(summary, name) for name in extended}
        points.append(point)
    return ActionResult({"Label": key.name, "Datapoints": points})


def _get_metric_data(self: Any) -> ActionResult:
    params = self._get_params()
    start, end = _aware(params["StartTime"]), _aware(params["EndTime"])
    if start >= end:
        raise ValidationError("The parameter EndTime must be greater than StartTime.")
    queries = [_Query(entry) for entry in params.get("MetricDataQueries", [])]
    series: dict[str, dict[int, float | None]] = {}
    for query in queries:
        if query.metric_stat:
            series[query.id] = query.measured(start, end)
    try:
        for query in in_order(queries):
            seconds = sorted({second for found in series.values() for second in found})
            values = {
                second: evaluate(query.expression, {name: found.get(second) for name, found in series.items()})
                for second in seconds
            }
            series[query.id] = {second: value for second, value in values.items() if value is not None}
    except ExpressionError as error:
        raise ValidationError(str(error)) from error
    newest_first = (params.get("ScanBy") or "TimestampDescending") == "TimestampDescending"
    results = []
    for query in queries:
        if query.return_data:
            found = sorted(series[query.id].items(), reverse=newest_first)
            results.append(
                {
                    "Id": query.id,
                    "Label": query.label,
                    "Timestamps": [_moment(second) for second, _ in found],
                    "Values": [value for _, value in found],
                    "StatusCode": "Complete",
                }
            )
    return ActionResult({"MetricDataResults": results})


class _Query:
    """One entry of GetMetricData's list."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.id: str = entry["Id"]
        self.metric_stat: dict[str, Any] | None = entry.get("MetricStat")
        self.expression: str = entry.get("Expression") or ""
        self.return_data: bool = entry.get("ReturnData") is not False
        if self.metric_stat is None and not self.expression:
            raise ValidationError("The parameter MetricDataQueries.member.1.MetricStat is required.\n")
        named = self.metric_stat["Metric"]["MetricName"] if self.metric_stat else self.expression
        self.label: str = entry.get("Label") or named

    def measured(self, start: dt.datetime, end: dt.datetime) -> dict[int, float | None]:
        """The metric's values by the second in which their period begins."""
        stat = self.metric_stat or {}
        metric, period = stat["Metric"], int(stat["Period"])
        _check_period(period)
        key = MetricKey.of(metric["Namespace"], metric["MetricName"], metric.get("Dimensions") or [])
        found = store.periods(key, start.timestamp(), end.timestamp(), period)
        return {second: _statistic(summary, stat["Stat"]) for second, summary in found}


def _list_metrics(self: Any) -> ActionResult:
    namespace, name = self._get_param("Namespace"), self._get_param("MetricName")
    wanted = [(entry["Name"], entry.get("Value")) for entry in self._get_params().get("Dimensions") or []]
    found = [
        {
            "Namespace": key.namespace,
            "MetricName": key.name,
            "Dimensions": [{"Name": given, "Value": value} for given, value in key.dimensions],
        }
        for key in store.metrics()
        if namespace in (None, key.namespace) and name in (None, key.name) and _has(key, wanted)
    ]
    token = self._get_param("NextToken")
    start = int(token) if token and token.isdigit() else 0
    more = {"NextToken": str(start + _PAGE)} if start + _PAGE < len(found) else {}
    return ActionResult({"Metrics": found[start : start + _PAGE], **more})


def _has(key: MetricKey, wanted: list[tuple[str, str | None]]) -> bool:
    given = dict(key.dimensions)
    return all(name in given and value in (None, given[name]) for name, value in wanted)


def _statistic(summary: Summary, name: str) -> float | None:
    try:
        return summary.statistic(name)
    except ValueError as error:
        raise InvalidParameterValue(str(error)) from error


def _check_period(period: int) -> None:
    if period not in (1, 5, 10, 20, 30) and (period < 60 or period % 60):
        raise InvalidParameterValue(f"Period is {period}; expected 1, 5, 10, 20, 30 or a multiple of 60")


def _aware(moment: Any) -> Any:
    """A request's time in UTC; moto's parser leaves the zone out for some protocols."""
    return moment.replace(tzinfo=dt.UTC) if moment is not None and moment.tzinfo is None else moment


def _moment(second: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(second, dt.UTC)


# ---------------------------------------------------------------------- alarms


def _put_metric_alarm(self: Any, **fields: Any) -> Any:
    """moto's own; what cannot be evaluated is refused, and a new alarm has no data until it is first looked at."""
    queries = fields.get("metric_data_queries")
    if fields.get("rule") is None:
        try:
            if queries:
                returned(queries)
                list(in_order(queries))
                statistics = [query.metric_stat.stat for query in queries if query.metric_stat]
            else:
                statistics = [fields.get("extended_statistic") or fields.get("statistic")]
            for statistic in statistics:
                Summary().statistic(str(statistic))
        except (ExpressionError, ValueError) as error:
            raise ValidationError(str(error)) from error
    before = self.alarms.get(fields["name"])
    alarm = _moto["put_metric_alarm"](self, **fields)
    if before is None:
        alarm.state_value = "INSUFFICIENT_DATA"
    else:
        # As on AWS: a change of an alarm leaves its state as it is.
        alarm.state_value, alarm.state_reason = before.state_value, before.state_reason
    return alarm


def _set_alarm_state(self: Any) -> EmptyResult:
    name, state = self._get_param("AlarmName"), self._get_param("StateValue")
    backend = self.cloudwatch_backend
    if name not in backend.alarms or state not in ("OK", "ALARM", "INSUFFICIENT_DATA"):
        backend.set_alarm_state(name, self._get_param("StateReason"), None, state)  # moto's refusals
    _evaluators[0].move(backend.alarms[name], state, self._get_param("StateReason"), {})
    return EmptyResult()


def _describe_alarm_history(self: Any) -> ActionResult:
    name, kind = self._get_param("AlarmName"), self._get_param("HistoryItemType")
    since, until = (_aware(self._get_param(name)) for name in ("StartDate", "EndDate"))
    items = [
        item
        for item in _evaluators[0].history(name)
        if kind in (None, item["HistoryItemType"])
        and (since is None or item["Timestamp"] >= since)
        and (until is None or item["Timestamp"] <= until)
    ]
    if self._get_param("ScanBy") == "TimestampAscending":
        items.reverse()
    return ActionResult({"AlarmHistoryItems": items[: int(self._get_param("MaxRecords") or 100)]})


# ---------------------------------------------------------------------- logs


def _put_log_events(self: Any, log_group_name: str, log_stream_name: str, log_events: list[dict[str, Any]]) -> Any:
    """moto's own, and the metrics that the lines hold."""
    answer = _moto["put_log_events"](self, log_group_name, log_stream_name, log_events)
    for event in log_events:
        for namespace, datum in embedded_metrics.metrics_in(event["message"]):
            store.put(namespace, [datum])
    return answer
