"""Endpoints in docker mode: an instance is a container, and an update by canary is as in process mode."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws.config import LocalConfig
from tests.local_aws.conftest import running
from tests.local_aws.test_docker_mode import TAG, containers
from tests.local_aws.toy_server import (
    IMAGE,
    TOY,
    archive,
    make_config,
    make_endpoint,
    make_model,
    put,
    settled,
    wait_for,
    who,
)

TOY_TAG = "topic-model-toy:tests"
DOCKERFILE = f"""
FROM {TAG}
COPY {TOY.name} /toy_container.py
ENTRYPOINT ["python", "/toy_container.py"]
"""


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalConfig]:
    """A server in docker mode whose image is the toy container on the project's image."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / TOY.name).write_bytes(TOY.read_bytes())
    (tmp_path / "image" / "Dockerfile").write_text(DOCKERFILE)
    subprocess.run(["docker", "build", "-q", "-t", TOY_TAG, tmp_path / "image"], check=True, capture_output=True)
    monkeypatch.setenv("LOCAL_AWS_STOP_SECONDS", "3")
    with running(tmp_path / "aws", mode="docker", images={IMAGE: TOY_TAG}) as config:
        yield config
    assert containers(config.root) == []
    subprocess.run(["docker", "rmi", "-f", TOY_TAG], check=False, capture_output=True)


@pytest.mark.docker
def test_a_container_that_is_killed_in_the_bake_costs_no_request(aws: LocalConfig) -> None:
    """Two containers of each fleet; one of four is killed, others answer, the new model is promoted and blue ends."""
    aws.client("s3").create_bucket(Bucket="models")
    put(aws, "models", good=archive("weights"))
    for version in ("blue", "green"):
        make_model(aws, version)
        make_config(aws, version, {"ModelName": version, "VariantName": "main", "InitialInstanceCount": 2})
    make_endpoint(aws, "e", "blue")
    blue = set(containers(aws.root))
    assert len(blue) == 2
    routing: dict[str, Any] = {"Type": "CANARY", "WaitIntervalInSeconds": 5}
    routing["CanarySize"] = {"Type": "INSTANCE_COUNT", "Value": 1}
    aws.client("sagemaker").update_endpoint(
        EndpointName="e",
        EndpointConfigName="green",
        DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
    )
    wait_for(lambda: len({who(aws, "e")["version"] for _ in range(10)}) == 2)
    killed = min(set(containers(aws.root)) - blue)
    subprocess.run(["docker", "kill", killed], check=True, capture_output=True)
    versions = [who(aws, "e")["version"] for _ in range(100)]
    assert {"blue", "green"} == set(versions)
    assert settled(aws, "e")["EndpointConfigName"] == "green"
    assert {who(aws, "e")["version"] for _ in range(10)} == {"green"}
    wait_for(lambda: not blue & set(containers(aws.root)) and len(containers(aws.root)) == 2)
