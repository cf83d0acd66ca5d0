"""What is there after the server was stopped or killed and started again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local_aws import lifecycle
from local_aws.config import LocalConfig
from tests.local_aws.toy_server import (
    archive,
    finished,
    get,
    is_running,
    keys,
    log_text,
    make_config,
    make_endpoint,
    make_model,
    processes_naming,
    put,
    settled,
    start,
    toy_aws,
    training_request,
    wait_for,
    who,
)


@dataclass
class Restarted:
    """The second server, and what the first one said."""

    aws: LocalConfig
    finished: dict[str, Any]
    server_process: int


@pytest.fixture(scope="module", params=[pytest.param("stopped", marks=pytest.mark.slow), "killed"])
def restarted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    """A server that ran a job, ran another and served an endpoint when it ended, and its successor."""
    root = tmp_path_factory.mktemp("restart") / "root"
    with toy_aws(root) as first:
        first.client("s3").create_bucket(Bucket="data")
        first.client("s3").create_bucket(Bucket="models")
        put(first, "data", in__a=b"hello")
        put(first, "models", good=archive("weights"))
        sagemaker = first.client("sagemaker")
        sagemaker.create_training_job(**training_request("finished", hyperparameters={"steps": "2"}))
        before = finished(first, "training", "finished")
        slow = {"steps": "1000", "sleep": "0.1"}
        where = {"S3Uri": "s3://data/checkpoints"}
        sagemaker.create_training_job(**training_request("running", hyperparameters=slow, CheckpointConfig=where))
        make_model(first, "kept")
        make_config(first, "kept", {"ModelName": "kept"})
        make_endpoint(first, "kept", "kept")
        begin_a_canary(first)
        sagemaker.add_tags(ResourceArn=before["TrainingJobArn"], Tags=[{"Key": "owner", "Value": "me"}])
        server_process = who(first, "kept")["pid"]
        wait_for(lambda: keys(first, "data", "checkpoints/step.txt"))
        if request.param == "killed":
            os.kill(json.loads((root / "server.json").read_text())["pid"], signal.SIGKILL)
        else:
            lifecycle.down(root)
        wait_for(lambda: not processes_naming(str(root)))
        yield Restarted(start(root), before, server_process)
    wait_for(lambda: not processes_naming(str(root)))


def begin_a_canary(aws: LocalConfig) -> None:
    """An endpoint with an alarm and a scalable target whose update bakes for longer than any test takes."""
    two = {"ModelName": "kept", "InitialInstanceCount": 2}
    for name in ("old", "new"):
        make_config(aws, name, two)
    make_endpoint(aws, "changing", "old")
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="watched", Namespace="n", MetricName="m", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
    )  # fmt: skip
    aws.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker", ResourceId="endpoint/changing/variant/kept", MinCapacity=1, MaxCapacity=3,
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
    )  # fmt: skip
    routing = {"Type": "CANARY", "WaitIntervalInSeconds": 3_600}
    routing["CanarySize"] = {"Type": "INSTANCE_COUNT", "Value": 1}
    aws.client("sagemaker").update_endpoint(
        EndpointName="changing",
        EndpointConfigName="new",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "watched"}]},
        },
    )

    def bakes() -> bool:
        pending = aws.client("sagemaker").describe_endpoint(EndpointName="changing").get("PendingDeploymentSummary")
        return bool(pending and pending["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Baking")

    wait_for(bakes)


def test_an_update_that_was_interrupted_leaves_the_old_configuration(restarted: Restarted) -> None:
    """The endpoint serves what it served before the update, and says what became of that."""
    shown = settled(restarted.aws, "changing")
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", "old")
    assert shown["FailureReason"] == "the local AWS was stopped during the update to new"
    assert len({who(restarted.aws, "changing")["pid"] for _ in range(6)}) == 2


def test_alarms_and_scalable_targets_are_kept(restarted: Restarted) -> None:
    """Both are there again, and the alarm is evaluated again."""
    alarms = restarted.aws.client("cloudwatch").describe_alarms
    assert wait_for(lambda: alarms(AlarmNames=["watched"])["MetricAlarms"][0]["StateValue"] == "OK")
    scaling = restarted.aws.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)


def test_a_finished_job_is_described_as_before(restarted: Restarted) -> None:
    """Every field, times and metrics among them."""
    after = restarted.aws.client("sagemaker").describe_training_job(TrainingJobName="finished")
    metadata = {"ResponseMetadata"}
    assert {k: v for k, v in after.items() if k not in metadata} == {
        k: v for k, v in restarted.finished.items() if k not in metadata
    }


def test_a_finished_jobs_log_is_in_cloudwatch_again(restarted: Restarted) -> None:
    """Its lines are there as events."""
    wait_for(lambda: "step=2" in log_text(restarted.aws, "/aws/sagemaker/TrainingJobs", "finished/"))


def test_a_job_that_ran_has_failed_and_says_why(restarted: Restarted) -> None:
    """Its checkpoints are in S3, so that a retry resumes."""
    shown = restarted.aws.client("sagemaker").describe_training_job(TrainingJobName="running")
    assert shown["TrainingJobStatus"] == "Failed"
    assert shown["FailureReason"] == "InternalServerError: the local AWS was stopped while the job ran"
    assert int(get(restarted.aws, "data", "checkpoints/step.txt")) >= 1


def test_an_endpoint_serves_again(restarted: Restarted) -> None:
    """A call waits for the model's new process and is answered; the old process is gone."""
    about = who(restarted.aws, "kept")
    assert about["version"] == "kept" and about["pid"] != restarted.server_process
    assert not is_running(restarted.server_process)
    assert settled(restarted.aws, "kept")["EndpointStatus"] == "InService"


def test_tags_are_kept_and_their_journal_replays_in_peace(restarted: Restarted) -> None:
    """Tags given after the creation are there, and the server's log has no error."""
    listed = restarted.aws.client("sagemaker").list_tags(ResourceArn=restarted.finished["TrainingJobArn"])
    assert listed["Tags"] == [{"Key": "owner", "Value": "me"}]
    assert "ERROR" not in (restarted.aws.root / "server.log").read_text()
