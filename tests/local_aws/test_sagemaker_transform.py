"""Batch transform jobs: through boto3, against real model servers of the toy container."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws.config import LocalConfig
from tests.local_aws.toy_server import (
    archive,
    finished,
    get,
    keys,
    log_text,
    make_model,
    processes_naming,
    put,
    toy_aws,
    wait_for,
)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    with toy_aws(tmp_path_factory.mktemp("transform") / "root") as config:
        for bucket in ("data", "models"):
            config.client("s3").create_bucket(Bucket=bucket)
        put(config, "models", good=archive("weights"))
        make_model(config, "toy")
        yield config


def request(name: str, source: str, model: str = "toy", **fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://data/{source}"}},
            "ContentType": "application/jsonlines",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": f"s3://data/out/{name}", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    return told | fields


def transform(aws: LocalConfig, name: str, source: str, model: str = "toy", **fields: Any) -> dict[str, Any]:
    aws.client("sagemaker").create_transform_job(**request(name, source, model, **fields))
    return finished(aws, "transform", name)


def test_every_file_has_its_answers_beside_its_relative_path(aws: LocalConfig) -> None:
    """A line in, a line out, in order, under the key's relative path with ``.out``."""
    lines = [f"line {i}" for i in range(5000)]
    put(aws, "data", plain__a_jsonl="\n".join(lines).encode(), plain__sub__b_jsonl=b"one\ntwo\n")
    assert transform(aws, "plain", "plain/")["TransformJobStatus"] == "Completed"
    assert keys(aws, "data", "out/plain") == ["out/plain/a_jsonl.out", "out/plain/sub/b_jsonl.out"]
    assert get(aws, "data", "out/plain/sub/b_jsonl.out") == b"ONE\nTWO\n"
    assert get(aws, "data", "out/plain/a_jsonl.out").decode().splitlines() == [line.upper() for line in lines]


def test_order_is_kept_under_concurrency(aws: LocalConfig) -> None:
    """A slow first request does not move its answer behind the faster ones'."""
    put(aws, "data", slow__a=b"sleep\n" + b"".join(b"%d\n" % i for i in range(50)))
    shown = transform(aws, "slow", "slow/", BatchStrategy="SingleRecord", MaxConcurrentTransforms=8)
    assert shown["TransformJobStatus"] == "Completed"
    assert get(aws, "data", "out/slow/a.out").splitlines() == [b"SLEEP", *(b"%d" % i for i in range(50))]


def test_batches_hold_as_many_lines_as_the_payload_takes(aws: LocalConfig) -> None:
    """Three lines of 0.4 MB and a limit of 1 MB make two requests; SingleRecord makes three."""
    put(aws, "data", batched__a=b"\n".join([b"x" * 400_000] * 3))
    transform(aws, "multi", "batched/", MaxPayloadInMB=1, BatchStrategy="MultiRecord")
    transform(aws, "single", "batched/", MaxPayloadInMB=1, BatchStrategy="SingleRecord")
    for name, asked in (("multi", 2), ("single", 3)):
        assert log_text(aws, "/aws/sagemaker/TransformJobs", name).count("asked with") == asked
        assert get(aws, "data", f"out/{name}/a.out") == b"\n".join([b"X" * 400_000] * 3) + b"\n"


def test_the_containers_execution_parameters_stand_where_the_request_is_silent(aws: LocalConfig) -> None:
    """``/execution-parameters`` asked for single records; the request's own value goes before it."""
    told = json.dumps({"BatchStrategy": "SINGLE_RECORD".title().replace("_", ""), "MaxPayloadInMB": 1})
    make_model(aws, "choosy", TOY_PARAMETERS=told)
    put(aws, "data", told__a=b"1\n2\n3\n")
    transform(aws, "told", "told/", "choosy")
    transform(aws, "overruled", "told/", "choosy", BatchStrategy="MultiRecord")
    assert log_text(aws, "/aws/sagemaker/TransformJobs", "told").count("asked with") == 3
    assert log_text(aws, "/aws/sagemaker/TransformJobs", "overruled").count("asked with") == 1


def test_the_container_knows_that_it_serves_a_batch(aws: LocalConfig) -> None:
    """SAGEMAKER_BATCH is true, and the content type is the input's."""
    put(aws, "data", who__a=b"who")
    transform(aws, "who", "who/")
    about = json.loads(get(aws, "data", "out/who/a.out"))
    assert about["batch"] == "true" and about["content-type"] == "application/jsonlines"
    assert about["files"] == ["weights"]


def test_gzip_input_is_unpacked(aws: LocalConfig) -> None:
    """CompressionType Gzip sends the lines that are inside."""
    put(aws, "data", packed__a_gz=gzip.compress(b"one\ntwo\n"))
    told = request("packed", "packed/")
    told["TransformInput"]["CompressionType"] = "Gzip"
    aws.client("sagemaker").create_transform_job(**told)
    finished(aws, "transform", "packed")
    assert get(aws, "data", "out/packed/a_gz.out") == b"ONE\nTWO\n"


def test_a_refused_request_fails_the_job_with_the_models_words(aws: LocalConfig) -> None:
    """The reason names file, line, status and message, and the file has no output."""
    put(aws, "data", refused__a=b"fine\nboom\n")
    shown = transform(aws, "refused", "refused/", BatchStrategy="SingleRecord")
    assert shown["TransformJobStatus"] == "Failed"
    reason = shown["FailureReason"]
    assert "answered 400" in reason and "s3://data/refused/a" in reason and "lines from 2" in reason
    assert '"code": "boom"' in reason
    assert keys(aws, "data", "out/refused") == []


@pytest.mark.parametrize(
    ("name", "body", "variables", "reason"),
    [
        ("crashed", b"crash\n", {}, "line"),
        ("unstarted", b"x\n", {"TOY_EXIT": "1"}, "exit code 9"),
        pytest.param("sick", b"x\n", {"TOY_SICK": "1"}, "did not pass the ping health check", marks=pytest.mark.slow),
        ("large", b"x" * 1_100_000, {}, "larger than MaxPayloadInMB"),
    ],
)
def test_a_job_that_cannot_go_on_has_failed(
    aws: LocalConfig, name: str, body: bytes, variables: dict[str, str], reason: str
) -> None:
    """Each failure is told in its own words, and the model server is gone."""
    make_model(aws, f"model-{name}", **variables)
    aws.client("s3").put_object(Bucket="data", Key=f"failing-{name}/a", Body=body)
    shown = transform(aws, name, f"failing-{name}/", f"model-{name}", MaxPayloadInMB=1)
    assert shown["TransformJobStatus"] == "Failed"
    assert reason in shown["FailureReason"]
    wait_for(lambda: not processes_naming(f"transform/{name}/ml"))


def test_a_stopped_job_ends_its_model_server(aws: LocalConfig) -> None:
    """Stop is heard between records."""
    put(aws, "data", long__a=b"sleep\n" * 1000)
    aws.client("sagemaker").create_transform_job(**request("long", "long/", BatchStrategy="SingleRecord"))
    log = aws.root / "sagemaker/jobs/transform/long/log.txt"
    wait_for(lambda: log.exists() and "asked" in log.read_text())
    aws.client("sagemaker").stop_transform_job(TransformJobName="long")
    assert finished(aws, "transform", "long")["TransformJobStatus"] == "Stopped"
    wait_for(lambda: not processes_naming("transform/long/ml"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DataProcessing": {"JoinSource": "Input"}}, "JoinSource is not supported"),
        ({"DataProcessing": {"OutputFilter": "$.id"}}, "OutputFilter is not supported"),
        ({"ModelName": "absent"}, 'Could not find model "absent"'),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "at most 100"),
        ({"Environment": {f"N{i}": "" for i in range(17)}}, "length less than or equal to 16"),
    ],
)
def test_a_request_that_cannot_be_kept_is_refused(aws: LocalConfig, change: dict[str, Any], message: str) -> None:
    """Validation errors, before anything runs."""
    with pytest.raises(ClientError, match=message) as caught:
        aws.client("sagemaker").create_transform_job(**(request("refused-request", "plain/") | change))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
