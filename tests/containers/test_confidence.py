"""The metric of low confidence: from an answer to a line, and from the line to CloudWatch."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from containers.confidence import ConfidenceMetric
from local_aws import lifecycle
from local_aws.config import LocalConfig
from local_aws.embedded_metrics import metrics_in
from pipelines.deployment_alarms import CONFIDENCE_DIMENSION, CONFIDENCE_METRIC, CONFIDENCE_NAMESPACE
from tests.containers.serving import serve, until
from tests.local_aws.conftest import start
from tests.local_aws.toy_server import ROLE, settled
from topic_model.artifact import pack, read_artifact

SURE = {"keywords": ["espresso grinder", "latte", "barista coffee"]}
UNSURE = {"keywords": ["espresso", "qqxx", "wwyy", "zzvv"]}


def _values(output: str, version: str) -> list[float]:
    """The values of the alarm's metric in what a container wrote."""
    found: list[float] = []
    for line in output.splitlines():
        for namespace, datum in metrics_in(line):
            assert (namespace, datum["MetricName"]) == (CONFIDENCE_NAMESPACE, CONFIDENCE_METRIC)
            assert datum["Dimensions"] == [{"Name": CONFIDENCE_DIMENSION, "Value": version}]
            found += datum["Values"]
    return found


def test_every_answer_counts_once_and_refusals_of_malformed_ones_do_not(lookup_model: Path, tmp_path: Path) -> None:
    """A value an answer, single or of a batch; a campaign without known terms is one of low confidence."""
    server = serve(lookup_model, tmp_path)
    answers = [server.ask(SURE), server.ask(UNSURE), server.ask({"keywords": ["qqxx"]})]
    assert [status for status, _ in answers] == [200, 200, 422]
    told = [answer.get("low_confidence") for _, answer in answers]
    assert told == [False, True, None]
    assert server.ask({"keywords": 3})[0] == 400
    server.ask_lines(b"\n".join([orjson.dumps(SURE), b"{broken", orjson.dumps(UNSURE)]))
    server.process.terminate()
    output, _ = server.process.communicate(timeout=60)
    version = read_artifact(lookup_model).model_version
    assert sorted(_values(output, version)) == [0, 0, 1, 1, 1]


def test_batch_transform_measures_nothing(lookup_model: Path, tmp_path: Path) -> None:
    """A fingerprint says nothing of confidence, and no alarm watches a batch."""
    server = serve(lookup_model, tmp_path, SAGEMAKER_BATCH="true")
    server.ask_lines(orjson.dumps(SURE))
    server.process.terminate()
    assert server.process.communicate(timeout=60)[0] == ""


def test_lines_hold_a_second_or_a_hundred_values() -> None:
    """However many answers there are, CloudWatch takes each line and no value is lost."""
    lines: list[bytes] = []

    async def answer() -> None:
        metric = ConfidenceMetric("f" * 12, lines.append)
        for number in range(250):
            metric.add(number % 5 == 0)
        assert len(lines) == 2
        metric.flush()
        metric.flush()

    asyncio.run(answer())
    assert len(lines) == 3 and max(map(len, lines)) < 4_096
    values = _values(b"".join(lines).decode(), "f" * 12)
    assert (len(values), sum(values)) == (250, 50)


def test_a_log_that_nobody_reads_stops_no_endpoint() -> None:
    """Once the pipe is full, or closed at its end, lines are left out at once."""
    code = "from containers.confidence import write_line\nfor _ in range(1_000): write_line(b'x' * 500)"
    reading, writing = os.pipe()
    with subprocess.Popen([sys.executable, "-c", code], stdout=writing) as full:
        assert full.wait(timeout=60) == 0
    os.close(reading)
    with subprocess.Popen([sys.executable, "-c", code], stdout=writing) as closed:
        assert closed.wait(timeout=60) == 0
    os.close(writing)


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[LocalConfig]:
    """A local AWS that runs the real container."""
    try:
        yield start(tmp_path / "aws")
    finally:
        lifecycle.down(tmp_path / "aws")


def test_the_metric_reaches_cloudwatch(aws: LocalConfig, lookup_model: Path, tmp_path: Path) -> None:
    """What an endpoint answers is in the metric that the Deploy workflow's alarm asks for, by the model's version."""
    s3, sagemaker = aws.client("s3"), aws.client("sagemaker")
    s3.create_bucket(Bucket="models")
    pack(lookup_model, tmp_path / "model.tar.gz")
    s3.upload_file(str(tmp_path / "model.tar.gz"), "models", "model.tar.gz")
    container = {"Image": "topic-model", "ModelDataUrl": "s3://models/model.tar.gz"}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m6i.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    assert settled(aws, "e")["EndpointStatus"] == "InService"
    for record in (SURE, SURE, SURE, UNSURE):
        body = orjson.dumps(record)
        aws.client("sagemaker-runtime").invoke_endpoint(EndpointName="e", ContentType="application/json", Body=body)
    version = read_artifact(lookup_model).model_version

    def measured() -> tuple[float, float] | None:
        points = _points(aws, version)
        return (points[0]["SampleCount"], points[0]["Average"]) if points else None

    with contextlib.suppress(AssertionError):
        until(lambda: measured() == (4.0, 0.25))
    assert measured() == (4.0, 0.25)


def _points(aws: LocalConfig, version: str) -> list[dict[str, Any]]:
    now = dt.datetime.now(dt.UTC)
    found: list[dict[str, Any]] = aws.client("cloudwatch").get_metric_statistics(
        Namespace=CONFIDENCE_NAMESPACE,
        MetricName=CONFIDENCE_METRIC,
        Dimensions=[{"Name": CONFIDENCE_DIMENSION, "Value": version}],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(hours=1),
        Period=86_400,
        Statistics=["SampleCount", "Average"],
    )["Datapoints"]
    return found
