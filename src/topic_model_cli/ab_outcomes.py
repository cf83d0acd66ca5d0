"""What became of an A/B test's variants: requests and errors from CloudWatch, verdicts from the table of feedback."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from botocore.exceptions import ClientError

from lookup_api.feedback import BY_VERSION
from topic_model.ab_statistics import Arm, Comparison, compare
from topic_model_cli.ab_endpoint import AbTest, Names, Variant
from workflow_functions import aws

KINDS = {"keyword": "recommended keywords", "neighbour": "similar campaigns"}
"""What feedback is given on; the plan's ``kinds`` counts them."""
_READ = ("answer_id", "variant", "client_id", "campaign_id", "kind", "verdict")
_MINUTE, _DAY = 60, 86_400


@dataclass(frozen=True)
class Traffic:
    """A variant's requests since the test began; ``latency_ms`` is the median over periods' p99, None without any."""

    requests: int
    errors: int
    latency_ms: float | None


@dataclass(frozen=True)
class Outcomes:
    """A test's outcomes: by variant, and by kind of items."""

    traffic: Mapping[str, Traffic]
    comparisons: Mapping[str, Comparison]
    outside: int
    """Verdicts on the two models that name no variant of the test: of known campaigns, or of other times."""
    missing_table: str | None = None
    """The table of feedback where it is not there: then no verdict is known."""


def read_outcomes(names: Names, test: AbTest, now: dt.datetime | None = None) -> Outcomes:
    """What the two variants have come to so far; requests and errors without verdicts where feedback has no table."""
    answers: dict[tuple[str, str], dict[Any, list[int]]] = {}
    outside, missing = 0, None
    of_test = {test.a.name, test.b.name}
    for version in dict.fromkeys((test.a.version, test.b.version)):
        items = _feedback(names.feedback_table, version, test.started)
        if items is None:
            missing = names.feedback_table
            continue
        for item in items:
            if item.get("variant") not in of_test or item.get("kind") not in KINDS:
                outside += 1
                continue
            counts = answers.setdefault((item["variant"], item["kind"]), {}).setdefault(_unit(item), [0, 0])
            counts[0] += item["verdict"] == "accepted"
            counts[1] += 1

    def arm(variant: Variant, kind: str) -> Arm:
        return Arm.of((accepted, rated) for accepted, rated in answers.get((variant.name, kind), {}).values())

    comparisons = {kind: compare(arm(test.a, kind), arm(test.b, kind), test.plan) for kind in KINDS}
    now = now or dt.datetime.now(dt.UTC)
    traffic = {variant.name: _traffic(names.endpoint, variant.name, test.started, now) for variant in (test.a, test.b)}
    return Outcomes(traffic, comparisons, outside, missing)


def _unit(item: Mapping[str, str]) -> tuple[str, ...]:
    """What was assigned by chance: a client's known campaign, however often it was asked about, or else an answer."""
    if campaign_id := item.get("campaign_id"):
        return (item.get("client_id", ""), campaign_id)
    return (item["answer_id"],)


def _feedback(table: str, version: str, since: dt.datetime) -> Iterator[dict[str, str]] | None:
    """The verdicts on a version since a moment; None where there is no table of that name."""
    names = {f"#{number}": name for number, name in enumerate(_READ)}
    pages = iter(
        aws.dynamodb()
        .get_paginator("query")
        .paginate(
            TableName=table,
            IndexName=BY_VERSION,
            KeyConditionExpression="model_version = :version AND given_at >= :since",
            ExpressionAttributeValues={
                ":version": {"S": version},
                ":since": {"S": since.astimezone(dt.UTC).isoformat(timespec="milliseconds")},
            },
            ProjectionExpression=", ".join(names),
            ExpressionAttributeNames=names,
        )
    )
    try:
        first = next(pages)
    except ClientError as error:
        if aws.error_code(error) != "ResourceNotFoundException":
            raise
        return None
    items = (item for page in chain([first], pages) for item in page["Items"])
    return ({name: str(value["S"]) for name, value in item.items() if "S" in value} for item in items)


def _traffic(endpoint: str, variant: str, since: dt.datetime, now: dt.datetime) -> Traffic:
    # CloudWatch keeps minutes for 15 days and five minutes for 63.
    age = (now - since).total_seconds()
    period = _MINUTE if age < 14 * _DAY else 5 * _MINUTE if age < 62 * _DAY else 60 * _MINUTE
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    wanted = {
        "requests": ("Invocations", "Sum"),
        "errors": ("Invocation5XXErrors", "Sum"),
        "latency": ("ModelLatency", "p99"),
    }
    queries: list[Any] = [
        {
            "Id": identity,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions},
                "Period": period,
                "Stat": stat,
            },
        }
        for identity, (metric, stat) in wanted.items()
    ]
    begin = since.timestamp() // period * period
    pages = (
        aws.cloudwatch()
        .get_paginator("get_metric_data")
        .paginate(
            MetricDataQueries=queries,
            StartTime=dt.datetime.fromtimestamp(begin, dt.UTC),
            EndTime=now + dt.timedelta(0, period),
        )
    )
    values: dict[str, list[float]] = {identity: [] for identity in wanted}
    for page in pages:
        for result in page["MetricDataResults"]:
            values[result["Id"]] += result["Values"]
    latencies = sorted(values["latency"])
    median = latencies[len(latencies) // 2] / 1_000 if latencies else None
    return Traffic(round(sum(values["requests"])), round(sum(values["errors"])), median)
