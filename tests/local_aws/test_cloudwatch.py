"""CloudWatch: measurements, metric math, embedded metrics and alarms, through boto3 against a running local AWS."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from local_aws import lifecycle
from local_aws.cloudwatch_math import ExpressionError, evaluate
from local_aws.cloudwatch_store import Summary
from local_aws.config import LocalConfig
from tests.local_aws.conftest import start
from tests.local_aws.toy_server import wait_for

NAMESPACE = "Tests"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    root: Path = tmp_path_factory.mktemp("cloudwatch") / "root"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_ALARM_SECONDS", "0.1")
        try:
            yield start(root)
        finally:
            lifecycle.down(root)


def put(aws: LocalConfig, name: str, *values: float, **dimensions: str) -> None:
    aws.client("cloudwatch").put_metric_data(
        Namespace=NAMESPACE,
        MetricData=[{"MetricName": name, "Values": list(values), "Dimensions": named(dimensions)}],
    )


def named(dimensions: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


def metric(identity: str, name: str, stat: str, **dimensions: str) -> dict[str, Any]:
    of = {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": named(dimensions)}
    return {"Id": identity, "MetricStat": {"Metric": of, "Period": 60, "Stat": stat}, "ReturnData": False}


def alarm(aws: LocalConfig, name: str, **fields: Any) -> None:
    defaults = {
        "AlarmName": name,
        "EvaluationPeriods": 1,
        "Threshold": 10.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    if "Metrics" not in fields:
        defaults |= {"Namespace": NAMESPACE, "MetricName": name, "Period": 60, "Statistic": "Sum"}
    if "ExtendedStatistic" in fields:
        del defaults["Statistic"]
    aws.client("cloudwatch").put_metric_alarm(**(defaults | fields))


def state(aws: LocalConfig, name: str) -> str:
    (found,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(found["StateValue"])


def around_now() -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    return {"StartTime": now - dt.timedelta(minutes=5), "EndTime": now + dt.timedelta(minutes=5)}


def test_statistics_are_those_of_the_values() -> None:
    """Sums and extremes are exact; percentiles are NumPy's nearest rank, within the four digits kept."""
    values = np.random.default_rng(7).lognormal(5, 2, 2_000)
    summary = Summary()
    for value in values:
        summary.add(float(value))
    assert summary.statistic("SampleCount") == 2_000
    assert summary.statistic("Sum") == pytest.approx(values.sum())
    assert (summary.statistic("Minimum"), summary.statistic("Maximum")) == (values.min(), values.max())
    for percent in (0, 50, 90, 99, 99.93, 100):
        wanted = np.percentile(values, percent, method="inverted_cdf")
        assert summary.statistic(f"p{percent:g}") == pytest.approx(wanted, rel=1e-3)


def test_what_is_put_is_what_is_read(aws: LocalConfig) -> None:
    """Values come back by exact dimensions: those of another endpoint are another metric's."""
    put(aws, "Reads", 1, 2, 3, Endpoint="a")
    put(aws, "Reads", 40, Endpoint="a", Variant="v")
    cloudwatch = aws.client("cloudwatch")
    of = {"Namespace": NAMESPACE, "MetricName": "Reads", "Period": 3600, "Dimensions": named({"Endpoint": "a"})}
    (point,) = cloudwatch.get_metric_statistics(
        **of, **around_now(), Statistics=["Sum", "Average"], ExtendedStatistics=["p50"]
    )["Datapoints"]
    assert (point["Sum"], point["Average"], point["ExtendedStatistics"]) == (6.0, 2.0, {"p50": 2.0})
    listed = cloudwatch.list_metrics(Namespace=NAMESPACE, MetricName="Reads")["Metrics"]
    assert [len(found["Dimensions"]) for found in listed] == [1, 2]


def test_metric_math_computes_a_rate(aws: LocalConfig) -> None:
    """GetMetricData divides two metrics; a period in which one lacks data has no rate."""
    put(aws, "Errors", *[1] * 5, *[0] * 15)
    queries = [
        metric("errors", "Errors", "Sum"),
        metric("all", "Errors", "SampleCount"),
        metric("none", "Nothing", "Sum"),
        {"Id": "rate", "Expression": "IF(all >= 10, errors / all, 0)", "Label": "rate"},
        {"Id": "empty", "Expression": "none / all", "Label": "empty"},
    ]
    rate, empty = aws.client("cloudwatch").get_metric_data(MetricDataQueries=queries, **around_now())[
        "MetricDataResults"
    ]
    assert sum(rate["Values"]) == pytest.approx(0.25) and empty["Values"] == []


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a + b * 2 ^ 2", 14.0),
        ("(a + b) / (b - 3)", None),
        ("FILL(absent, 7) + 1", 8.0),
        ("IF(a > 1 && b == 3, a, b)", 2.0),
        ("SUM(METRICS()) + MAX([a, b])", 8.0),
        ("AVG([a, absent])", 2.0),
        ("-ABS(-a) + CEIL(1.2)", 0.0),
    ],
)
def test_expressions_mean_what_cloudwatch_says(expression: str, value: float | None) -> None:
    """Precedence, missing data and division by zero are CloudWatch's."""
    assert evaluate(expression, {"a": 2.0, "b": 3.0, "absent": None}) == value


@pytest.mark.parametrize(
    "expression", ["__import__('os')", "a.b", "c", "ANOMALY_DETECTION_BAND(a)", "a +", "'x'", "a[0]"]
)
def test_other_expressions_are_refused(expression: str) -> None:
    """What is no metric math is an error and is never run."""
    with pytest.raises(ExpressionError):
        evaluate(expression, {"a": 1.0})


def test_an_alarm_follows_what_is_measured(aws: LocalConfig) -> None:
    """It has no data, is OK without any, fires above its threshold, says why, and keeps its history."""
    alarm(aws, "Fires")
    assert wait_for(lambda: state(aws, "Fires") == "OK")
    put(aws, "Fires", 6, 6)
    assert wait_for(lambda: state(aws, "Fires") == "ALARM")
    cloudwatch = aws.client("cloudwatch")
    (shown,) = cloudwatch.describe_alarms(AlarmNames=["Fires"])["MetricAlarms"]
    assert shown["StateReason"] == (
        "Threshold Crossed: 1 out of the last 1 datapoints [12] was greater than the threshold (10)"
    )
    changes = cloudwatch.describe_alarm_history(AlarmName="Fires", HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in changes] == [
        "Alarm updated from OK to ALARM",
        "Alarm updated from INSUFFICIENT_DATA to OK",
    ]


def test_a_percentile_and_a_rate_can_be_alarmed_on(aws: LocalConfig) -> None:
    """Extended statistics and metric math are evaluated like any other."""
    alarm(aws, "Slow", ExtendedStatistic="p90")
    alarm(
        aws,
        "Rate",
        Threshold=0.1,
        Metrics=[
            metric("bad", "Answers", "Sum"),
            metric("all", "Answers", "SampleCount"),
            {"Id": "rate", "Expression": "bad / all", "ReturnData": True},
        ],
    )
    put(aws, "Slow", *range(1, 11))
    put(aws, "Answers", 0, 0, 0, 0)
    assert wait_for(lambda: (state(aws, "Slow"), state(aws, "Rate")) == ("OK", "OK"))
    put(aws, "Slow", 12, 13, 14)
    put(aws, "Answers", 1)
    assert wait_for(lambda: (state(aws, "Slow"), state(aws, "Rate")) == ("ALARM", "ALARM"))


@pytest.mark.parametrize(
    ("treat", "expected"), [("breaching", "ALARM"), ("notBreaching", "OK"), ("missing", "INSUFFICIENT_DATA")]
)
def test_missing_data_are_treated_as_the_alarm_says(aws: LocalConfig, treat: str, expected: str) -> None:
    """An alarm on a metric that nobody measures has the state that TreatMissingData asks for."""
    alarm(aws, f"Absent-{treat}", TreatMissingData=treat)
    assert wait_for(lambda: state(aws, f"Absent-{treat}") == expected)


def test_several_datapoints_may_be_asked_for(aws: LocalConfig) -> None:
    """One breaching period of three is not enough where two are asked for."""
    alarm(aws, "Twice", Period=10, EvaluationPeriods=3, DatapointsToAlarm=2, Threshold=0.5)
    now = dt.datetime.now(dt.UTC)
    datum = {"MetricName": "Twice", "Value": 1.0}
    cloudwatch = aws.client("cloudwatch")
    cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[{**datum, "Timestamp": now}])
    time.sleep(0.5)
    assert state(aws, "Twice") == "OK"
    earlier = now - dt.timedelta(seconds=13)
    cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[{**datum, "Timestamp": earlier}])
    assert wait_for(lambda: state(aws, "Twice") == "ALARM")


def test_an_alarm_tells_its_topic(aws: LocalConfig) -> None:
    """A queue that is subscribed to the alarm's topic gets CloudWatch's message."""
    topic = aws.client("sns").create_topic(Name="alarms")["TopicArn"]
    queue = aws.client("sqs").create_queue(QueueName="alarms")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    alarm(aws, "Tells", AlarmActions=[topic])
    put(aws, "Tells", 11)
    (message,) = wait_for(lambda: aws.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"))
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == ("Tells", "ALARM")


def test_an_alarm_that_cannot_be_evaluated_is_refused(aws: LocalConfig) -> None:
    """An unknown statistic or expression is told when the alarm is made."""
    with pytest.raises(ClientError, match="tm99"):
        alarm(aws, "Bad", Metrics=[metric("a", "x", "tm99") | {"ReturnData": True}])
    with pytest.raises(ClientError, match="SEARCH"):
        alarm(aws, "Bad", Metrics=[{"Id": "a", "Expression": "SEARCH('x')", "ReturnData": True}])


def test_a_log_line_of_embedded_metrics_becomes_metrics(aws: LocalConfig) -> None:
    """Only the metrics and dimensions that the line names; other lines and damaged ones are just lines."""
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="lines")
    logs.create_log_stream(logGroupName="lines", logStreamName="s")
    now = int(time.time() * 1000)
    definition = {"Namespace": "Embedded", "Dimensions": [["Model"]], "Metrics": [{"Name": "Low", "Unit": "None"}]}
    line = {"_aws": {"Timestamp": now, "CloudWatchMetrics": [definition]}, "Model": "m1", "Low": [1, 0, 0, 1], "x": 5}
    messages = [json.dumps(line), "plain", '{"_aws": {"CloudWatchMetrics": 3}}', '{"_aws": broken']
    logs.put_log_events(
        logGroupName="lines",
        logStreamName="s",
        logEvents=[{"timestamp": now, "message": message} for message in messages],
    )
    cloudwatch = aws.client("cloudwatch")
    (found,) = cloudwatch.list_metrics(Namespace="Embedded")["Metrics"]
    assert (found["MetricName"], found["Dimensions"]) == ("Low", named({"Model": "m1"}))
    (point,) = cloudwatch.get_metric_statistics(
        Namespace="Embedded", MetricName="Low", Dimensions=named({"Model": "m1"}), Period=3600, Statistics=["Average"],
        **around_now(),
    )["Datapoints"]  # fmt: skip
    assert point["Average"] == 0.5
