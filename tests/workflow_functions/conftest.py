"""A moto server of the tests' own, and the functions' clients pointed at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from workflow_functions import aws

BUCKET = "topic-model-tests"
TABLE = "lookups"


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The address of a moto server on a free loopback port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def cloud(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An empty account with one bucket and the lookup table."""
    requests.post(f"{moto_url}/moto-api/reset", timeout=10)
    for name, value in {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    clients = (aws.s3, aws.dynamodb, aws.sagemaker, aws.sagemaker_runtime, aws.impatient_runtime, aws.cloudwatch)
    for client in clients:
        client.cache_clear()
    yield Cloud(moto_url)
    for client in clients:
        client.cache_clear()


class Cloud:
    """What tests put into the account and read from it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.s3 = boto3.client("s3")
        self.dynamodb = boto3.client("dynamodb")
        self.s3.create_bucket(Bucket=BUCKET)
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "campaign_id", "AttributeType": "S"},
                {"AttributeName": "model_version", "AttributeType": "S"},
            ],
            KeySchema=[
                {"AttributeName": "campaign_id", "KeyType": "HASH"},
                {"AttributeName": "model_version", "KeyType": "RANGE"},
            ],
        )

    def put(self, key: str, body: bytes | str) -> str:
        """Write an object; answers its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body.encode() if isinstance(body, str) else body)
        return f"s3://{BUCKET}/{key}"

    def items(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Every item of the lookup table by its key."""
        found = self.dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]
        return {(item["campaign_id"]["S"], item["model_version"]["S"]): item for item in found}

    def document(self, campaign_id: str, version: str) -> Any:
        """The published row of a campaign."""
        return json.loads(self.items()[campaign_id, version]["document"]["S"])
