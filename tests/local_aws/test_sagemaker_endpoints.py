"""Endpoints that serve: through boto3, against real processes of the toy container."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws.config import LocalConfig
from tests.local_aws.toy_server import (
    archive,
    invoke,
    is_running,
    log_text,
    make_config,
    make_endpoint,
    make_model,
    put,
    settled,
    toy_aws,
    wait_for,
    who,
)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    with toy_aws(tmp_path_factory.mktemp("endpoints") / "root") as config:
        config.client("s3").create_bucket(Bucket="models")
        put(config, "models", good=archive("weights"))
        make_model(config, "plain")
        make_config(config, "plain", {"ModelName": "plain"})
        make_endpoint(config, "plain", "plain")
        yield config


def test_an_endpoint_answers_from_its_models_own_process(aws: LocalConfig) -> None:
    """The artifact is unpacked for a process that gets the body, the content type and the model's variables."""
    shown = aws.client("sagemaker").describe_endpoint(EndpointName="plain")
    assert shown["EndpointStatus"] == "InService"
    assert shown["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    answer = invoke(aws, "plain", b"a\nb", ContentType="application/jsonlines")
    assert answer["Body"].read() == b"A\nB"
    assert answer["ContentType"] == "application/jsonlines"
    assert answer["InvokedProductionVariant"] == "plain"
    about = who(aws, "plain", ContentType="text/csv", CustomAttributes="trace=1")
    assert about["files"] == ["weights"] and about["version"] == "plain" and about["batch"] is None
    assert about["content-type"] == "text/csv" and about["x-amzn-sagemaker-custom-attributes"] == "trace=1"


def test_a_body_of_any_bytes_arrives_unchanged(aws: LocalConfig) -> None:
    """Bytes that are no UTF-8 reach the model."""
    body = bytes(range(128, 256))
    assert invoke(aws, "plain", body)["Body"].read() == body.upper()


def test_a_models_refusal_is_a_model_error_with_its_own_status_and_message(aws: LocalConfig) -> None:
    """What the container answers with 400 reaches the caller as AWS wraps it."""
    with pytest.raises(ClientError) as caught:
        invoke(aws, "plain", b"boom")
    answer = caught.value.response
    assert answer["Error"]["Code"] == "ModelError"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert answer["OriginalStatusCode"] == 400
    assert json.loads(answer["OriginalMessage"]) == {"error": {"code": "boom"}}


def test_a_body_above_six_mebibytes_is_refused(aws: LocalConfig) -> None:
    """The limit is 6,291,456 bytes: one more is refused and names the limit."""
    assert invoke(aws, "plain", b"x" * 6_291_456)["ResponseMetadata"]["HTTPStatusCode"] == 200
    with pytest.raises(ClientError, match="6291456"):
        invoke(aws, "plain", b"x" * 6_291_457)


def test_a_body_in_chunks_is_read_to_its_end_and_no_further_than_the_limit(aws: LocalConfig) -> None:
    """Its length is told by no header."""
    scope = "Credential=local/20260101/us-east-1/sagemaker/aws4_request"
    signed = {"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"}
    for chunks, status, told in (([b"a", b"bc"], 200, b"ABC"), ([b"x" * 2**20] * 7, 400, b"less than or equal")):
        connection = HTTPConnection("127.0.0.1", aws.port, timeout=60)
        connection.request("POST", "/endpoints/plain/invocations", iter(chunks), signed, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == status
        assert told in answer.read()
        connection.close()


def test_an_object_whose_name_reads_like_an_invocation_is_s3s(aws: LocalConfig) -> None:
    """POST /endpoints/<key> begins a multipart upload into a bucket of that name."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="endpoints")
    upload = s3.create_multipart_upload(Bucket="endpoints", Key="plain/invocations")["UploadId"]
    part = s3.upload_part(Bucket="endpoints", Key="plain/invocations", UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        Bucket="endpoints", Key="plain/invocations", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )  # fmt: skip
    assert s3.get_object(Bucket="endpoints", Key="plain/invocations")["Body"].read() == b"x"


def test_an_unknown_endpoint_or_variant_is_named(aws: LocalConfig) -> None:
    """The caller learns what is not there."""
    with pytest.raises(ClientError, match="nowhere"):
        invoke(aws, "nowhere", b"x")
    with pytest.raises(ClientError, match="Variant other not found"):
        invoke(aws, "plain", b"x", TargetVariant="other")


def test_traffic_follows_the_weights_and_the_target_variant(aws: LocalConfig) -> None:
    """A weight of 0 gets nothing, a target gets all, and new weights count at once."""
    make_model(aws, "red")
    make_model(aws, "blue")
    make_config(aws, "two", {"ModelName": "red"}, {"ModelName": "blue", "InitialVariantWeight": 0.0})
    make_endpoint(aws, "two", "two")
    assert Counter(who(aws, "two")["version"] for _ in range(20)) == {"red": 20}
    assert who(aws, "two", TargetVariant="blue")["version"] == "blue"
    aws.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName="two",
        DesiredWeightsAndCapacities=[
            {"VariantName": "red", "DesiredWeight": 0.0},
            {"VariantName": "blue", "DesiredWeight": 3.0},
        ],
    )
    assert Counter(who(aws, "two")["version"] for _ in range(20)) == {"blue": 20}


def test_every_instance_is_a_process_and_answers_in_turn(aws: LocalConfig) -> None:
    """Two instances are two processes; a third comes and goes with the desired count."""
    make_model(aws, "many")
    make_config(aws, "many", {"ModelName": "many", "InitialInstanceCount": 2})
    make_endpoint(aws, "many", "many")
    assert len({who(aws, "many")["pid"] for _ in range(6)}) == 2
    for count in (3, 1):
        aws.client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName="many", DesiredWeightsAndCapacities=[{"VariantName": "many", "DesiredInstanceCount": count}]
        )
        shown = settled(aws, "many")
        assert shown["ProductionVariants"][0]["CurrentInstanceCount"] == count
        assert len({who(aws, "many")["pid"] for _ in range(6)}) == count


def test_an_update_swaps_to_the_new_fleet_and_ends_the_old_one(aws: LocalConfig) -> None:
    """After the update the new model answers, from a new process, and the old process is gone."""
    make_model(aws, "old")
    make_model(aws, "new")
    two = {"VariantName": "main", "InitialInstanceCount": 2}
    make_config(aws, "old", two | {"ModelName": "old"})
    make_config(aws, "new", two | {"ModelName": "new"})
    make_endpoint(aws, "updated", "old")
    before = who(aws, "updated")["pid"]
    canary = {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 0}
    deployment = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": canary}}
    aws.client("sagemaker").update_endpoint(
        EndpointName="updated", EndpointConfigName="new", DeploymentConfig=deployment
    )
    shown = settled(aws, "updated")
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", "new")
    assert shown["LastDeploymentConfig"] == deployment
    assert who(aws, "updated")["version"] == "new"
    wait_for(lambda: not is_running(before))


def test_an_update_that_does_not_become_healthy_rolls_back(aws: LocalConfig) -> None:
    """The endpoint is InService on the OLD configuration, says why, and the old process still answers."""
    make_model(aws, "fine")
    make_model(aws, "broken", TOY_EXIT="1")
    make_config(aws, "fine", {"ModelName": "fine", "VariantName": "main"})
    make_config(aws, "broken", {"ModelName": "broken", "VariantName": "main"})
    make_endpoint(aws, "rolled", "fine")
    before = who(aws, "rolled")["pid"]
    aws.client("sagemaker").update_endpoint(EndpointName="rolled", EndpointConfigName="broken")
    shown = settled(aws, "rolled")
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", "fine")
    assert "exit code 9" in shown["FailureReason"] and "no model here" in shown["FailureReason"]
    assert who(aws, "rolled")["pid"] == before


@pytest.mark.parametrize(
    ("key", "variables", "reason"),
    [("good", {"TOY_EXIT": "1"}, "exit code 9"), ("absent", {}, "absent"), ("torn", {}, "expected a .tar.gz")],
)
def test_an_endpoint_that_cannot_start_has_failed_and_says_why(
    aws: LocalConfig, key: str, variables: dict[str, str], reason: str
) -> None:
    """A container that ends, an artifact that is not there and one that is truncated are told apart."""
    put(aws, "models", torn=archive("weights")[:40])
    name = f"failing-{key}"
    make_model(aws, name, key, **variables)
    make_config(aws, name, {"ModelName": name})
    shown = make_endpoint(aws, name, name)
    assert shown["EndpointStatus"] == "Failed"
    assert reason in shown["FailureReason"]
    with pytest.raises(ClientError, match="not InService but Failed"):
        invoke(aws, name, b"x")


def test_a_model_server_that_dies_is_started_again(aws: LocalConfig) -> None:
    """After a crash under a request another process answers, and the log says that it was restarted."""
    make_model(aws, "fragile")
    make_config(aws, "fragile", {"ModelName": "fragile"})
    make_endpoint(aws, "fragile", "fragile")
    before = who(aws, "fragile")["pid"]
    with pytest.raises(ClientError):
        invoke(aws, "fragile", b"crash")

    def answers() -> Any:
        try:
            return who(aws, "fragile")["pid"]
        except ClientError:
            return None

    assert wait_for(answers) != before
    assert wait_for(lambda: "started again" in log_text(aws, "/aws/sagemaker/Endpoints/fragile"))


def test_a_deleted_endpoint_is_gone_with_its_process(aws: LocalConfig) -> None:
    """Describe no longer finds it, its name is free, and nothing runs on."""
    make_model(aws, "shortlived")
    make_config(aws, "shortlived", {"ModelName": "shortlived"})
    make_endpoint(aws, "shortlived", "shortlived")
    pid = who(aws, "shortlived")["pid"]
    aws.client("sagemaker").delete_endpoint(EndpointName="shortlived")
    with pytest.raises(ClientError, match="Could not find endpoint"):
        aws.client("sagemaker").describe_endpoint(EndpointName="shortlived")
    wait_for(lambda: not is_running(pid))
    assert make_endpoint(aws, "shortlived", "shortlived")["EndpointStatus"] == "InService"


def test_requests_at_fault_are_refused(aws: LocalConfig) -> None:
    """Unknown models and configurations, taken names and changes under way are validation errors."""
    sagemaker = aws.client("sagemaker")
    variant = {"VariantName": "v", "ModelName": "absent", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    with pytest.raises(ClientError, match='Could not find model "absent"'):
        sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="absent")
    with pytest.raises(ClientError, match="already existing"):
        sagemaker.create_endpoint(EndpointName="plain", EndpointConfigName="plain")
    with pytest.raises(ClientError, match="regular expression"):
        sagemaker.create_endpoint(EndpointName="under_score", EndpointConfigName="plain")
    make_model(aws, "hopeless", TOY_EXIT="1")
    make_config(aws, "hopeless", {"ModelName": "hopeless"})
    make_endpoint(aws, "hopeless", "hopeless")
    with pytest.raises(ClientError, match="can only be deleted"):
        sagemaker.update_endpoint(EndpointName="hopeless", EndpointConfigName="plain")
