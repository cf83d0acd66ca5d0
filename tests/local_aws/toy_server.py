"""Helpers for tests that run a local AWS with the toy container as its image."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from local_aws import lifecycle
from local_aws.config import LocalConfig

TOY = Path(__file__).with_name("toy_container.py")
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/toy:1"
ROLE = "arn:aws:iam::123456789012:role/toy"
RUNNING = {"InProgress", "Stopping"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def toy_aws(root: Path, **environment: str) -> Iterator[LocalConfig]:
    """A local AWS of its own process in ``root``, stopped at the end."""
    told = {"LOCAL_AWS_STOP_SECONDS": "1", "LOCAL_AWS_STARTUP_SECONDS": "20", "LOCAL_AWS_WORKER_IMPORTS": "json"}
    told |= environment
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield start(root)
    finally:
        lifecycle.down(root)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def start(root: Path) -> LocalConfig:
    return lifecycle.up(root, free_port(), images={IMAGE: f"file:{TOY}"})


def wait_for(look: Callable[[], Any], timeout: float = 90) -> Any:
    """The first true value that ``look`` returns."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = look()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def processing_request(name: str, *arguments: str, bucket: str = "data", **fields: Any) -> dict[str, Any]:
    """A processing job that reads ``in/`` and writes ``<name>/``."""
    request = {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
        },
        "AppSpecification": {"ImageUri": IMAGE, "ContainerArguments": ["process", *arguments]},
        "ProcessingInputs": [
            {
                "InputName": "in",
                "S3Input": {
                    "S3Uri": f"s3://{bucket}/in/",
                    "LocalPath": "/opt/ml/processing/input/in",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": f"s3://{bucket}/{name}",
                        "LocalPath": "/opt/ml/processing/output/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    }
    return request | fields


def training_request(name: str, *, bucket: str = "data", hyperparameters: Any = None, **fields: Any) -> dict[str, Any]:
    """A training job with the channel ``corpus`` from ``in/``."""
    request = {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": r"loss=([0-9.]+)"}],
        },
        "HyperParameters": hyperparameters or {},
        "InputDataConfig": [
            {
                "ChannelName": "corpus",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/in/"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/training"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    return request | fields


def finished(config: LocalConfig, kind: str, name: str, timeout: float = 90) -> dict[str, Any]:
    """The description of a job once it has ended."""
    describe = getattr(config.client("sagemaker"), f"describe_{kind}_job")
    title = "".join(part.title() for part in kind.split("_")).replace("Parameter", "Parameter")

    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = describe(**{f"{title}JobName": name})
        return None if shown[f"{title}JobStatus"] in RUNNING else shown

    result: dict[str, Any] = wait_for(look, timeout)
    return result


def put(config: LocalConfig, bucket: str, **objects: bytes) -> None:
    """Objects by their keys; ``__`` in a name stands for ``/``."""
    s3 = config.client("s3")
    for name, body in objects.items():
        s3.put_object(Bucket=bucket, Key=name.replace("__", "/"), Body=body)


def get(config: LocalConfig, bucket: str, key: str) -> bytes:
    body: bytes = config.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def keys(config: LocalConfig, bucket: str, prefix: str) -> list[str]:
    listed = config.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def processes_naming(text: str) -> list[str]:
    """The command lines and environments of this machine's processes that name ``text`` (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            shown = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
            if text.encode() in shown and int(entry.name) != os.getpid():
                found.append(f"{entry.name}: {(entry / 'cmdline').read_bytes()!r}")
    return found


def log_text(config: LocalConfig, group: str, prefix: str = "") -> str:
    """All lines of a log group's streams; empty while nothing was sent."""
    logs = config.client("logs")
    try:
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    except logs.exceptions.ResourceNotFoundException:
        return ""
    lines = []
    for name in (stream["logStreamName"] for stream in streams if stream["logStreamName"].startswith(prefix)):
        events = logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)["events"]
        lines += [event["message"] for event in events]
    return "\n".join(lines)


def is_running(pid: int) -> bool:
    """Whether a process of that number runs; one that has ended and waits for init to reap it does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return not stat.exists() or stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def archive(name: str) -> bytes:
    """A model archive that holds one empty file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo(name)
        tar.addfile(entry, io.BytesIO(b""))
    return buffer.getvalue()


def make_model(aws: LocalConfig, name: str, key: str = "good", **variables: str) -> None:
    """A model of the toy image."""
    aws.client("sagemaker").create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={
            "Image": IMAGE,
            "ModelDataUrl": f"s3://models/{key}",
            "Environment": {"VERSION": name, **variables},
        },
    )


def make_config(aws: LocalConfig, name: str, *variants: dict[str, Any]) -> None:
    """An endpoint configuration."""
    defaults = {"InitialInstanceCount": 1, "InstanceType": "ml.m6i.large", "InitialVariantWeight": 1.0}
    production = [defaults | {"VariantName": variant["ModelName"]} | variant for variant in variants]
    aws.client("sagemaker").create_endpoint_config(EndpointConfigName=name, ProductionVariants=production)


def settled(aws: LocalConfig, name: str) -> dict[str, Any]:
    """The description of an endpoint once it no longer changes."""

    def look() -> Any:
        shown = aws.client("sagemaker").describe_endpoint(EndpointName=name)
        return None if shown["EndpointStatus"] in ("Creating", "Updating", "RollingBack", "SystemUpdating") else shown

    result: dict[str, Any] = wait_for(look)
    return result


def make_endpoint(aws: LocalConfig, name: str, config: str) -> dict[str, Any]:
    """An endpoint that has come into service, or has failed."""
    aws.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=config)
    return settled(aws, name)


def invoke(aws: LocalConfig, name: str, body: bytes, **fields: Any) -> Any:
    """The answer to an invocation."""
    return aws.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=body, **fields)


def who(aws: LocalConfig, name: str, **fields: Any) -> dict[str, Any]:
    """What the model server says of itself and the request."""
    about: dict[str, Any] = json.loads(invoke(aws, name, b"who", **fields)["Body"].read())
    return about
