"""Blue/green updates: traffic that moves in steps, alarms that stop it, instances that die; through boto3."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws.config import LocalConfig
from local_aws.endpoint_fleet import FleetPlan, VariantPlan
from local_aws.endpoint_traffic import TrafficPolicy
from local_aws.model_server import ModelContainer
from tests.local_aws.toy_server import (
    archive,
    get,
    invoke,
    is_running,
    keys,
    make_endpoint,
    make_model,
    put,
    settled,
    toy_aws,
    wait_for,
    who,
)
from tests.local_aws.toy_server import make_config as make_plain_config

TWO = {"VariantName": "main", "InitialInstanceCount": 2}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    root = tmp_path_factory.mktemp("updates") / "root"
    with toy_aws(root, LOCAL_AWS_ALARM_SECONDS="0.1", LOCAL_AWS_CAPTURE_SECONDS="0.2") as config:
        config.client("s3").create_bucket(Bucket="models")
        put(config, "models", good=archive("weights"))
        yield config


def make(aws: LocalConfig, name: str, **variables: str) -> None:
    """A model and a configuration of two instances, both called ``name``."""
    make_model(aws, name, **variables)
    make_plain_config(aws, name, TWO | {"ModelName": name})


def update(aws: LocalConfig, endpoint: str, config: str, *, alarms: tuple[str, ...] = (), **routing: Any) -> None:
    policy: dict[str, Any] = {"TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": 1, **routing}}
    if "LinearStepSize" not in routing:
        policy["TrafficRoutingConfiguration"].setdefault("CanarySize", {"Type": "INSTANCE_COUNT", "Value": 1})
    settings: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    if alarms:
        settings["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    aws.client("sagemaker").update_endpoint(EndpointName=endpoint, EndpointConfigName=config, DeploymentConfig=settings)


def describe(aws: LocalConfig, endpoint: str) -> dict[str, Any]:
    shown: dict[str, Any] = aws.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    return shown


def stage(aws: LocalConfig, endpoint: str) -> str | None:
    pending = describe(aws, endpoint).get("PendingDeploymentSummary")
    return pending["ProductionVariants"][0]["VariantStatus"][0]["Status"] if pending else None


def error_alarm(aws: LocalConfig, name: str, endpoint: str, config: str) -> None:
    dimensions = {"EndpointName": endpoint, "VariantName": "main", "EndpointConfigName": config}
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )


def test_a_canary_takes_its_share_and_then_everything(aws: LocalConfig) -> None:
    """While it bakes one of two instances has half of the traffic; then all goes to the new fleet, and the old ends."""
    make(aws, "blue")
    make(aws, "green")
    make_endpoint(aws, "canary", "blue")
    before = {who(aws, "canary")["pid"] for _ in range(4)}
    update(aws, "canary", "green", WaitIntervalInSeconds=5)
    wait_for(lambda: stage(aws, "canary") == "Baking")
    asked = [who(aws, "canary") for _ in range(40)]
    shown = describe(aws, "canary")
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("Updating", "blue")
    assert shown["PendingDeploymentSummary"]["EndpointConfigName"] == "green"
    shares = Counter(answer["version"] for answer in asked)
    assert 6 <= shares["green"] <= 34  # within 4.4 standard deviations
    assert len({answer["pid"] for answer in asked if answer["version"] == "green"}) == 1
    assert settled(aws, "canary")["EndpointConfigName"] == "green"
    assert {who(aws, "canary")["version"] for _ in range(10)} == {"green"}
    wait_for(lambda: not any(is_running(pid) for pid in before))


def test_an_alarm_in_the_bake_sends_all_traffic_back(aws: LocalConfig) -> None:
    """The endpoint rolls back to the old configuration, names the alarm, and the new fleet ends."""
    make(aws, "well")
    make(aws, "failing", TOY_FAILS_EVERY="2")
    make_endpoint(aws, "alarmed", "well")
    error_alarm(aws, "errors-of-failing", "alarmed", "failing")
    update(aws, "alarmed", "failing", WaitIntervalInSeconds=60, alarms=("errors-of-failing",))
    wait_for(lambda: stage(aws, "alarmed") == "Baking")
    statuses, failing = set(), set()

    def rolled_back() -> bool:
        with_answer = None
        try:
            with_answer = who(aws, "alarmed")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelError"
        if with_answer and with_answer["version"] == "failing":
            failing.add(with_answer["pid"])
        statuses.add(describe(aws, "alarmed")["EndpointStatus"])
        return "InService" in statuses

    wait_for(rolled_back)
    shown = describe(aws, "alarmed")
    assert shown["EndpointConfigName"] == "well" and "errors-of-failing" in shown["FailureReason"]
    assert statuses <= {"Updating", "RollingBack", "InService"}
    assert {who(aws, "alarmed")["version"] for _ in range(10)} == {"well"}
    wait_for(lambda: not any(is_running(pid) for pid in failing))


def test_a_linear_update_moves_in_equal_steps(aws: LocalConfig) -> None:
    """Each step adds its instances' share, up to all."""
    model = ModelContainer("m", "image")
    plan = FleetPlan("c", (VariantPlan("v", model, 1.0, 4),))
    routing = {"Type": "LINEAR", "WaitIntervalInSeconds": 5}
    for size, shares in (
        ({"Type": "INSTANCE_COUNT", "Value": 1}, (0.25, 0.5, 0.75, 1.0)),
        ({"Type": "CAPACITY_PERCENT", "Value": 50}, (0.5, 1.0)),
        ({"Type": "CAPACITY_PERCENT", "Value": 30}, (0.5, 1.0)),
    ):
        policy = {"TrafficRoutingConfiguration": routing | {"LinearStepSize": size}}
        assert TrafficPolicy.of({"BlueGreenUpdatePolicy": policy}, plan).shares == shares
    make(aws, "slow-steps")
    make(aws, "next-steps")
    make_endpoint(aws, "linear", "slow-steps")
    update(aws, "linear", "next-steps", Type="LINEAR", LinearStepSize={"Type": "INSTANCE_COUNT", "Value": 1})
    assert settled(aws, "linear")["EndpointConfigName"] == "next-steps"


def test_updates_that_cannot_be_carried_out_are_refused(aws: LocalConfig) -> None:
    """More than half as a canary, an alarm that is not there or fires already, a variant that is gone."""
    make(aws, "here")
    make(aws, "there")
    make_model(aws, "other")
    make_plain_config(aws, "renamed", {"ModelName": "other", "InitialInstanceCount": 2})
    make_endpoint(aws, "careful", "here")
    with pytest.raises(ClientError, match="more than half of the 2"):
        update(aws, "careful", "there", CanarySize={"Type": "INSTANCE_COUNT", "Value": 2})
    with pytest.raises(ClientError, match="more than 50 percent"):
        update(aws, "careful", "there", CanarySize={"Type": "CAPACITY_PERCENT", "Value": 60})
    with pytest.raises(ClientError, match="'nowhere' of AutoRollbackConfiguration does not exist"):
        update(aws, "careful", "there", alarms=("nowhere",))
    with pytest.raises(ClientError, match=r"\['main'\] of endpoint careful are not in renamed"):
        update(aws, "careful", "renamed")
    error_alarm(aws, "fires", "careful", "there")
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="fires", Namespace="x", MetricName="y", Statistic="Sum", Period=10, EvaluationPeriods=1, Threshold=0,
        ComparisonOperator="GreaterThanThreshold", TreatMissingData="breaching",
    )  # fmt: skip
    alarms = aws.client("cloudwatch").describe_alarms
    wait_for(lambda: alarms(AlarmNames=["fires"])["MetricAlarms"][0]["StateValue"] == "ALARM")
    with pytest.raises(ClientError, match="is in ALARM already"):
        update(aws, "careful", "there", alarms=("fires",))
    assert describe(aws, "careful")["EndpointStatus"] == "InService"


def test_an_instance_that_is_killed_costs_no_request(aws: LocalConfig) -> None:
    """What it would have got goes to the other one, and soon there are two again."""
    make(aws, "sturdy")
    make_endpoint(aws, "sturdy", "sturdy")
    pids = {who(aws, "sturdy")["pid"] for _ in range(6)}
    killed = min(pids)
    os.kill(killed, signal.SIGKILL)
    after = [who(aws, "sturdy")["pid"] for _ in range(50)]
    assert killed not in after
    wait_for(lambda: len({who(aws, "sturdy")["pid"] for _ in range(6)}) == 2)


def test_requests_in_flight_are_answered_before_an_instance_ends(aws: LocalConfig) -> None:
    """An update at once, under a request that takes longer than the update."""
    from concurrent.futures import ThreadPoolExecutor

    make(aws, "slow", TOY_SECONDS="1.5")
    make(aws, "quick")
    make_endpoint(aws, "drained", "slow")
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(invoke, aws, "drained", b"a") for _ in range(4)]
        time.sleep(0.3)
        update(aws, "drained", "quick", Type="ALL_AT_ONCE", WaitIntervalInSeconds=0)
        assert settled(aws, "drained")["EndpointConfigName"] == "quick"
        assert [answer.result()["Body"].read() for answer in asked] == [b"A"] * 4


def test_what_an_endpoint_does_is_measured(aws: LocalConfig) -> None:
    """Invocations, errors by class and latency in microseconds, by variant and by its configuration."""
    make(aws, "measured", TOY_SECONDS="0.02", TOY_FAILS_EVERY="3")
    make_endpoint(aws, "measured", "measured")
    failed = 0
    for body in [b"boom"] + [b"a"] * 11:
        try:
            invoke(aws, "measured", body)
        except ClientError as error:
            failed += error.response["OriginalStatusCode"] == 500
    now = time.time()

    def statistics(metric: str, **more: str) -> dict[str, float]:
        dimensions = {"EndpointName": "measured", "VariantName": "main", **more}
        (point,) = aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName=metric, StartTime=now - 3600, EndTime=now + 3600, Period=7200,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            Statistics=["Sum", "SampleCount", "Minimum"],
        )["Datapoints"]  # fmt: skip
        return dict(point)

    for more in ({}, {"EndpointConfigName": "measured"}):
        assert statistics("Invocations", **more)["Sum"] == 12
        assert statistics("Invocation5XXErrors", **more)["Sum"] == failed > 0
        assert statistics("Invocation4XXErrors", **more)["Sum"] == 1
        assert statistics("Invocation4XXErrors", **more)["SampleCount"] == 12
        assert statistics("ModelLatency", **more)["Minimum"] >= 20_000
        assert statistics("OverheadLatency", **more)["Minimum"] > 0
    assert statistics("InvocationsPerInstance")["Sum"] == 6


def test_variant_properties_are_retained_if_asked_and_within_the_scalable_target(aws: LocalConfig) -> None:
    """An update keeps the count that scaling chose if it says so, and never leaves the target's capacities."""
    make(aws, "first")
    make(aws, "second")
    make_endpoint(aws, "scaled", "first")
    scaling, sagemaker = aws.client("application-autoscaling"), aws.client("sagemaker")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/scaled/variant/main",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }

    def count() -> int:
        return int(settled(aws, "scaled")["ProductionVariants"][0]["CurrentInstanceCount"])

    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="scaled", DesiredWeightsAndCapacities=[{"VariantName": "main", "DesiredInstanceCount": 1}]
    )
    assert count() == 1
    sagemaker.update_endpoint(EndpointName="scaled", EndpointConfigName="second", RetainAllVariantProperties=True)
    assert count() == 1
    sagemaker.update_endpoint(EndpointName="scaled", EndpointConfigName="first")
    assert count() == 2
    scaling.register_scalable_target(**target, MinCapacity=3, MaxCapacity=4)
    sagemaker.update_endpoint(EndpointName="scaled", EndpointConfigName="second")
    assert count() == 3
    (kept,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (kept["MinCapacity"], kept["MaxCapacity"]) == (3, 4)


def test_requests_and_answers_are_captured(aws: LocalConfig) -> None:
    """In SageMaker's layout: text of the content types that are named, all else in base64; nothing of a failure."""
    make_model(aws, "captured")
    aws.client("sagemaker").create_endpoint_config(
        EndpointConfigName="captured",
        ProductionVariants=[{"ModelName": "captured", "InstanceType": "ml.m5.large", **TWO}],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://models/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/jsonlines"]},
        },
    )
    shown = make_endpoint(aws, "captured", "captured")
    assert shown["DataCaptureConfig"]["CaptureStatus"] == "Started"
    invoke(aws, "captured", b"a", ContentType="application/jsonlines", InferenceId="mine")
    invoke(aws, "captured", b"\xff", ContentType="text/csv")
    with pytest.raises(ClientError):
        invoke(aws, "captured", b"boom")

    def lines() -> Any:
        found = [get(aws, "models", key) for key in keys(aws, "models", "capture/captured/main/")]
        read = [json.loads(line) for body in found for line in body.decode().splitlines()]
        return read if len(read) == 2 else None

    first, second = sorted(wait_for(lines), key=lambda line: "inferenceId" not in line["eventMetadata"])
    assert first["captureData"]["endpointInput"] == {
        "observedContentType": "application/jsonlines", "mode": "INPUT", "data": "a", "encoding": "JSON",
    }  # fmt: skip
    assert first["captureData"]["endpointOutput"]["data"] == "A"
    assert first["eventMetadata"]["inferenceId"] == "mine" and first["eventVersion"] == "0"
    assert second["captureData"]["endpointInput"]["data"] == "/w=="
    assert second["captureData"]["endpointInput"]["encoding"] == "BASE64"
    (key, *_) = keys(aws, "models", "capture/captured/main/")
    assert len(key.split("/")) == 8 and key.endswith(".jsonl")
