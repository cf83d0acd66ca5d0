"""Probes of a canary against real interfaces of S3, SageMaker and CloudWatch; each test sets the endpoint's answers."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from pipelines.deployment_alarms import ANSWERS_METRIC, CONFIDENCE_NAMESPACE
from pipelines.states import expressions
from pipelines.workflows import DEPLOY
from tests.workflow_functions.conftest import BUCKET, Cloud
from tests.workflow_functions.test_smoke_test import VERSION, answer, known, scored, serve
from workflow_functions import aws, canary_probes
from workflow_functions.errors import SmokeTestError
from workflow_functions.known_answers import ask
from workflow_functions.smoke_test import handler

MODEL, CONFIG = "tm-x-lookup-0", "tm-x-config-0"
OLD = answer(model_version="ffffffffffff")
NOW = dt.datetime.min
"""Each test's own beginning: once in a test, so that all it measures lies in the same minutes."""
FLEET = {"EndpointName": "e", "VariantName": "AllTraffic", "EndpointConfigName": CONFIG}


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not when this file is collected: a test may run many minutes later, and metrics of then would be of no deployment.
    monkeypatch.setattr(sys.modules[__name__], "NOW", dt.datetime.now(dt.UTC))


def event(**changes: Any) -> dict[str, Any]:
    """What the workflow's state sends, three minutes into a deployment."""
    started = NOW - dt.timedelta(0, 180)
    told = {"endpoint": "e", "variant": "AllTraffic", "config": CONFIG, "model": MODEL, "model_version": VERSION}
    told |= {"started": started.isoformat(), "finding": "", "obstacle": ""}
    limits = {"probes": 4, "min_requests": 10, "period_seconds": 60, "datapoints": 2, "unwatched_seconds": 0}
    return told | limits | changes


@pytest.fixture
def run(cloud: Cloud) -> Iterator[Cloud]:
    """A run of two campaigns, and the SageMaker model of its lookup model."""
    known(cloud, google=["a", "b"])
    scored(cloud, "a", "b")
    create_model(f"s3://{BUCKET}/runs/r/lookup-model/model.tar.gz")
    canary_probes._sample.cache_clear()
    yield cloud
    canary_probes._sample.cache_clear()


def create_model(artifact: str) -> None:
    boto3.client("sagemaker").create_model(
        ModelName=MODEL,
        ExecutionRoleArn="arn:aws:iam::123456789012:role/r",
        PrimaryContainer={"Image": "i", "ModelDataUrl": artifact},
    )


def measured(metric: str, value: float, *, minutes_ago: int, namespace: str = "AWS/SageMaker") -> None:
    """A metric of the new configuration, as SageMaker or an earlier probe has put it."""
    dimensions = FLEET if namespace == "AWS/SageMaker" else {"EndpointConfigName": CONFIG}
    datum: Any = {
        "MetricName": metric,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Timestamp": NOW - dt.timedelta(minutes=minutes_ago),
        "Value": value,
    }
    boto3.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum])


def total(metric: str) -> float:
    """The sum of a metric of the probes."""
    now = dt.datetime.now(dt.UTC)
    points = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=CONFIDENCE_NAMESPACE,
        MetricName=metric,
        Dimensions=[{"Name": "EndpointConfigName", "Value": CONFIG}],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(sum(point["Sum"] for point in points))


def test_only_the_new_models_answers_count(run: Cloud) -> None:
    """Of four probes the old model answers two; the right answers of the new one are no finding."""
    serve(run, OLD, answer(), OLD, answer())
    told = handler(event(), None)
    assert (told["probes"], told["finding"]) == (2, "")
    assert (total("Probes"), total(ANSWERS_METRIC)) == (2, 0)


def test_a_wrong_answer_is_measured_and_told(run: Cloud) -> None:
    """The metric that the alarm watches has it, and the first finding stays through later calls."""
    serve(run, OLD, answer(similar=[]), OLD, OLD)
    told = handler(event(), None)
    assert total(ANSWERS_METRIC) == 1
    assert "1 similar campaigns in its row, none from the endpoint" in told["finding"]
    serve(run, OLD, OLD, answer(), answer())
    assert handler(event(finding=told["finding"]), None)["probes"] == 1 + 2
    assert handler(event(probes=0, finding=told["finding"]), None)["verdict"].endswith(told["finding"])


def test_a_failed_probe_counts_as_the_new_models(run: Cloud) -> None:
    """Were it taken for somebody else's request, probes would end just when the errors begin."""
    serve(run, "no JSON", OLD, OLD, OLD)
    assert handler(event(), None)["probes"] == 1
    assert total(ANSWERS_METRIC) == 0


@pytest.mark.parametrize("share", [math.nan, None, "0.7", [0.7]])
def test_an_answer_that_is_no_fingerprint_is_a_wrong_one(run: Cloud, share: Any) -> None:
    """JSON's NaN is no number, and what is no number at all ends no call: the alarm learns of both."""
    serve(run, answer(fingerprint=[share, 0.2, 0.1]), OLD, OLD, OLD)
    assert "no fingerprint" in handler(event(), None)["finding"]
    assert (total("Probes"), total(ANSWERS_METRIC)) == (1, 1)


def test_a_probe_that_is_not_answered_is_not_sent_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as failed at once: with more attempts one call would outlive the bake."""
    tries = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    tries.append(connection.recv(1))
                    connection.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(SmokeTestError, match="did not answer campaign 'a'"):
            ask("e", {"campaign_id": "a"}, aws.impatient_runtime())
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert len(tries) == 1


def test_a_probe_counts_when_it_was_sent(run: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that come in the next period do not make the probes look like somebody else's requests."""
    begun: list[dt.datetime] = []
    put: list[Any] = []

    def slow(*_: Any, **fields: Any) -> dict[str, Any]:
        begun.append(dt.datetime.now(dt.UTC))
        time.sleep(1.1)  # metrics' times are whole seconds
        return answer()

    monkeypatch.setattr(canary_probes, "ask", slow)
    monkeypatch.setattr(aws.cloudwatch(), "put_metric_data", lambda **fields: put.extend(fields["MetricData"]))
    handler(event(probes=1), None)
    [probes] = [datum for datum in put if datum["MetricName"] == "Probes"]
    assert probes["Timestamp"] <= begun[0] and probes["Value"] == 1


def test_where_others_ask_enough_nothing_is_sent(run: Cloud) -> None:
    """Twelve requests in a minute of which no probe was one are enough; of which eight were, they are not."""
    measured("Invocations", 12, minutes_ago=2)
    serve(run, *[answer()] * 4)
    assert handler(event(), None)["probes"] == 0
    measured("Probes", 8, minutes_ago=2, namespace=CONFIDENCE_NAMESPACE)
    assert handler(event(), None)["probes"] == 8 + 4


def test_few_requests_are_no_verdict(run: Cloud) -> None:
    """A period with enough requests is one of the two that an alarm asks for; the number is told in either case."""
    measured("Invocations", 12, minutes_ago=2)
    assert handler(event(probes=0), None)["verdict"] == (
        "no verdict, for an alarm judges by 10 or more in 2 periods of 60 s: 12 requests, none of them probes"
    )
    measured("Invocations", 10, minutes_ago=1)
    assert handler(event(probes=0), None)["verdict"] == "judged by 22 requests, none of them probes"


def test_a_model_of_no_run_is_said_to_be_without_probes(cloud: Cloud) -> None:
    """Nothing is known of its campaigns: the verdict says so, and nothing fails."""
    create_model("s3://elsewhere/model.tar.gz")
    told = handler(event(), None)
    verdict = handler(event(probes=0, obstacle=told["obstacle"]), None)["verdict"]
    assert verdict.startswith("no verdict, for an alarm judges by 10 or more in 2 periods of 60 s: 0 requests")
    assert "no probes could be sent: model tm-x-lookup-0 is made of s3://elsewhere/model.tar.gz" in verdict


def test_the_states_send_and_read_what_the_function_takes_and_answers(run: Cloud) -> None:
    """The definition and the function agree, on the metric of wrong answers too."""
    states = json.loads(DEPLOY.rendered_path.read_text(encoding="utf-8"))["States"]
    answered = handler(event(probes=0), None)
    for name in ("ProbeCanary", "JudgeCanary", "CountRequests"):
        payload = {key.removesuffix(".$") for key in states[name]["Parameters"]["Payload"]}
        assert payload == set(event())
        read = {path.removeprefix("$.Payload.") for path in expressions(states[name]["ResultSelector"])}
        assert read == set(answered)
    assert (CONFIDENCE_NAMESPACE, ANSWERS_METRIC) == (canary_probes.NAMESPACE, canary_probes.WRONG_METRIC)
