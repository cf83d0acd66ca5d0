"""Probes: known campaigns asked of an endpoint while its canary bakes, so that its alarms have something to judge by.

An alarm judges from a least number of requests a period. On a quiet endpoint a canary gets fewer, and a bad model
would be promoted unseen. Nobody can ask a canary alone (both fleets have the same variant), so probes go to the
endpoint, and those that the new model answers are told by its version. Each such answer is held against the campaign's
lookup row as well: a wrong one goes into a metric with an alarm of its own, and sends the model back while it bakes.

Where others ask enough, no probes are sent: answers to known campaigns are surer than those to fresh ones, and would
hide a model that is not.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from topic_model.errors import TopicModelError
from workflow_functions import aws
from workflow_functions.errors import SmokeTestError
from workflow_functions.known_answers import Known, ask, compare, known_campaigns
from workflow_functions.run_models import run_folder

NAMESPACE = "TopicModel"
PROBES_METRIC = "Probes"
"""Probes that the new model answered, or that failed, by the configuration's name."""
WRONG_METRIC = "WrongAnswers"
"""Those of them whose answer is not the campaign's row; what the alarm ``<configuration>-answers`` watches."""
DIMENSION = "EndpointConfigName"
INFERENCE_ID = "topic-model-probe-"
"""What the inference ids of probes begin with; data capture keeps them, so that nobody takes a probe for a question."""

MAX_SAMPLE = 32
MAX_PROBES = 500
SECONDS = 10.0
"""After which no more probes are sent in one call: the workflow has an endpoint to look after."""
THREADS = 2
RECENT_PERIODS = 5
"""In one of which others must have asked enough for probes to be left out; metrics come a minute or two late."""


@dataclass(frozen=True)
class Traffic:
    """What a configuration was asked, period by period."""

    requests: Mapping[dt.datetime, float]
    probes: Mapping[dt.datetime, float]

    def others(self, since: dt.datetime) -> float:
        """The most that anybody but the probes asked in a period."""
        return max((n - self.probes.get(at, 0.0) for at, n in self.requests.items() if at >= since), default=0.0)


def probe(event: Mapping[str, Any]) -> dict[str, Any]:
    """Send probes where they are needed, and say what the canary was judged by so far.

    The event is ``{"endpoint", "variant", "config", "model", "model_version", "started", "probes", "min_requests",
    "period_seconds", "datapoints", "unwatched_seconds", "finding", "obstacle"}``: ``probes`` is how many to send at
    most, ``started`` (ISO 8601) when the deployment began, ``unwatched_seconds`` how long alarms have not been watched
    by now, ``finding`` and ``obstacle`` the answer's of the call before. The answer is ``{"requests", "probes",
    "asked", "verdict", "finding", "obstacle"}``: ``asked`` says the numbers in words, ``verdict`` also whether an alarm
    can judge by them, ``finding`` what was wrong with the first wrong answer, ``obstacle`` why none could be asked for.
    """
    finding, obstacle = str(event["finding"]), str(event["obstacle"])
    wanted = min(int(event["probes"]), MAX_PROBES)
    recent = (RECENT_PERIODS + 1) * int(event["period_seconds"])
    if wanted and _traffic(event, _ago(0)).others(_ago(recent)) < int(event["min_requests"]):
        try:
            sample = _sample(str(event["model"]), str(event["model_version"]))
        except (TopicModelError, ClientError, ValueError) as error:
            obstacle = f"no probes could be sent: {error}"
        else:
            found, obstacle = _send(event, sample, wanted), ""
            finding = finding or found
    traffic = _traffic(event, _ago(int(event["unwatched_seconds"])))
    requests, probes = round(sum(traffic.requests.values())), round(sum(traffic.probes.values()))
    asked = "; ".join(text for text in (_asked(requests, probes), obstacle, finding) if text)
    return {
        "requests": requests,
        "probes": probes,
        "asked": asked,
        "verdict": _verdict(event, traffic, asked),
        "finding": finding,
        "obstacle": obstacle,
    }


def _ago(seconds: int) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(0, seconds)


def _asked(requests: int, probes: int) -> str:
    told = f"{requests:,} request{'' if requests == 1 else 's'}"
    of_them = "all" if probes >= requests else "none" if not probes else f"{probes:,}"
    return f"{told}, {of_them} of them probes" if requests else told


def _verdict(event: Mapping[str, Any], traffic: Traffic, asked: str) -> str:
    least, periods = int(event["min_requests"]), int(event["datapoints"])
    if sum(number >= least for number in traffic.requests.values()) >= periods:
        return f"judged by {asked}"
    every = f"{periods} periods of {event['period_seconds']} s" if periods > 1 else f"{event['period_seconds']} s"
    return f"no verdict, for an alarm judges by {least:,} or more in {every}: {asked}"


@functools.lru_cache(maxsize=1)  # read once in a deployment, or once a process of the function
def _sample(model: str, version: str) -> tuple[Known, ...]:
    """Known campaigns of the run that made the model.

    Raises:
        SmokeTestError: the model is none of a run's, or no campaign of its run has a row.
        LookupRowsError, ClientError: the run's files cannot be read.
    """
    shown = aws.sagemaker().describe_model(ModelName=model)
    artifact = shown.get("PrimaryContainer", {}).get("ModelDataUrl", "")
    if (run := run_folder(artifact)) is None:
        raise SmokeTestError(f"model {model} is made of {artifact or 'nothing'}, which is no run's lookup model")
    found = tuple(known_campaigns(f"{run}/lookups", f"{run}/scoring", version, at_most=MAX_SAMPLE))
    if not found:
        raise SmokeTestError(f"no campaign under {run}/scoring has a row under {run}/lookups")
    return found


def _send(event: Mapping[str, Any], sample: tuple[Known, ...], number: int) -> str:
    """Ask, count what the new model answered, and say what was wrong with its first wrong answer."""
    endpoint, version = str(event["endpoint"]), str(event["model_version"])
    deadline = time.monotonic() + SECONDS

    def one(known: Known) -> tuple[dt.datetime, str] | None:
        """When it was sent and what is wrong with it; None where it was not, or the old model answered."""
        record, row = known
        sent = dt.datetime.now(dt.UTC).replace(microsecond=0)
        if time.monotonic() > deadline:
            return None
        try:
            answer = ask(endpoint, record, aws.impatient_runtime(), InferenceId=f"{INFERENCE_ID}{uuid.uuid4().hex}")
        except SmokeTestError:
            # Whose failure it is nobody says; SageMaker's metrics know, and the alarm on errors judges by them.
            return sent, ""
        if answer.get("model_version") != version:
            return None
        try:
            compare(row, answer, version)
        except SmokeTestError as error:
            return sent, str(error)
        return sent, ""

    # Begun anywhere, so that a few probes at a time come round to every campaign.
    first = random.randrange(len(sample))  # noqa: S311 (a choice of campaigns, no secret)
    asked = itertools.islice(itertools.cycle(sample), first, first + number)
    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for answer in pool.map(one, asked) if answer is not None]
    wrong = [text for _, text in answers if text]
    if answers:
        _count(str(event["config"]), Counter(sent for sent, _ in answers), len(wrong))
    return f"wrong answer: {wrong[0]}" if wrong else ""


def _count(config: str, probes: Mapping[dt.datetime, int], wrong: int) -> None:
    """Put the metrics: the probes by when they were sent, the wrong answers as of now.

    SageMaker counted a request in the period that it came in. Probes that were counted in the next one would look like
    somebody else's requests there, enough for no more to be sent. The alarm on wrong answers looks at the newest one.
    """
    data: Any = [
        {
            "MetricName": name,
            "Timestamp": moment,
            "Dimensions": [{"Name": DIMENSION, "Value": config}],
            "Value": float(value),
            "Unit": "Count",
            # The alarms' periods may be shorter than a minute.
            "StorageResolution": 1,
        }
        for name, moment, value in (
            *((PROBES_METRIC, sent, number) for sent, number in probes.items()),
            (WRONG_METRIC, dt.datetime.now(dt.UTC), wrong),
        )
    ]
    aws.cloudwatch().put_metric_data(Namespace=NAMESPACE, MetricData=data)


def _traffic(event: Mapping[str, Any], until: dt.datetime) -> Traffic:
    """What SageMaker's metrics and the probes' say of the new configuration, since the deployment began."""
    period = int(event["period_seconds"])
    config = {DIMENSION: str(event["config"])}
    fleet = {"EndpointName": str(event["endpoint"]), "VariantName": str(event["variant"]), **config}
    wanted = {
        "requests": ("AWS/SageMaker", "Invocations", fleet),
        "probes": (NAMESPACE, PROBES_METRIC, config),
    }
    queries: list[Any] = [
        {
            "Id": identity,
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": name,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                },
                "Period": period,
                "Stat": "Sum",
            },
        }
        for identity, (namespace, name, dimensions) in wanted.items()
    ]
    began = dt.datetime.fromisoformat(str(event["started"]))
    # Whole periods: up to a moment means with the period that it lies in.
    first, last = (
        dt.datetime.fromtimestamp(at.timestamp() // period * period, dt.UTC) for at in (began, max(began, until))
    )
    pages = (
        aws.cloudwatch()
        .get_paginator("get_metric_data")
        .paginate(MetricDataQueries=queries, StartTime=first, EndTime=last + dt.timedelta(0, period))
    )
    series: dict[str, dict[dt.datetime, float]] = {identity: {} for identity in wanted}
    for page in pages:
        for result in page["MetricDataResults"]:
            series[result["Id"]].update(_points(result["Timestamps"], result["Values"]))
    return Traffic(**series)


def _points(moments: list[dt.datetime], values: list[float]) -> Iterator[tuple[dt.datetime, float]]:
    for moment, value in zip(moments, values, strict=True):
        yield moment.astimezone(dt.UTC), value
