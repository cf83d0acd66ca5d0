"""The lookup API as a server over a real local AWS: published lookups, and an endpoint that serves their model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import uvicorn

from local_aws.config import LocalConfig
from lookup_api.answer_key import ensure_answer_key
from lookup_api.app import create_app
from lookup_api.settings import ApiSettings
from lookup_api.tables import ensure_tables, put_key
from tests.local_aws.conftest import free_port, running
from tests.topic_model.conftest import run_chain, themed_campaigns
from topic_model.campaigns import Campaign, Keyword
from workflow_functions import aws as function_clients
from workflow_functions import publish_lookups

LOOKUPS, CLIENTS, FEEDBACK, ENDPOINT, BUCKET = "lookups", "clients", "feedback", "campaigns", "models"
ANSWER_KEY = "answer-key"
SETTINGS = ApiSettings(
    LOOKUPS,
    CLIENTS,
    FEEDBACK,
    ENDPOINT,
    version_seconds=0,
    key_seconds=0,
    stale_seconds=0,
    answer_key_secret=ANSWER_KEY,
)
ADMIN, KEYS = "admin-key-of-tests", {"client-0": "key-of-client-0", "client-1": "key-of-client-1"}
HTML = Campaign("html", "client-0", "google_ads", "<script>alert(1)</script>", (Keyword("espresso <b>grinder</b>"),))
SLASHED = Campaign("brand/search 50%+é", "client-0", "google_ads", "=HYPERLINK(1)", (Keyword("espresso latte"),))
# Its id, decoded too early, is the path of another campaign's neighbours.
BELOW = Campaign("html/similar", "client-0", "google_ads", "below another", (Keyword("latte grinder"),))


@dataclass
class Server:
    """The application under uvicorn, and a client of it."""

    url: str
    version: str
    config: LocalConfig
    lines: list[str]
    client: httpx.Client

    def request(self, method: str, path: str, key: str | None = ADMIN, **arguments: Any) -> httpx.Response:
        """One request's response."""
        headers = {**({} if key is None else {"x-api-key": key}), **arguments.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **arguments)

    def get(self, path: str, key: str | None = ADMIN, **query: Any) -> Any:
        """The answer to a GET that succeeds."""
        response = self.request("GET", path, key, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, document: Any, key: str | None = ADMIN) -> httpx.Response:
        """The response to a JSON document."""
        return self.request("POST", path, key, json=document)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The published rows by campaign."""
        pages = self.config.client("dynamodb").get_paginator("scan").paginate(TableName=LOOKUPS)
        items = [item for page in pages for item in page["Items"] if "document" in item]
        documents = [json.loads(item["document"]["S"]) for item in items if item["model_version"]["S"] == self.version]
        return {row["campaign_id"]: row for row in documents}


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A local AWS with tables and a bucket, where boto3 of this process finds it."""
    with running(tmp_path_factory.mktemp("lookup-api") / "aws") as config, pytest.MonkeyPatch.context() as patch:
        for name, value in config.environment().items():
            patch.setenv(name, value)
        clients = (function_clients.s3, function_clients.dynamodb, function_clients.sagemaker_runtime)
        for client in clients:
            client.cache_clear()
        dynamodb = config.client("dynamodb")
        config.client("s3").create_bucket(Bucket=BUCKET)
        dynamodb.create_table(
            TableName=LOOKUPS,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "campaign_id", "KeyType": "HASH"},
                {"AttributeName": "model_version", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("campaign_id", "model_version")
            ],
        )
        ensure_tables(dynamodb, CLIENTS, FEEDBACK)
        ensure_answer_key(config.client("secretsmanager"), ANSWER_KEY)
        put_key(dynamodb, CLIENTS, ADMIN, None)
        for client_id, key in KEYS.items():
            put_key(dynamodb, CLIENTS, key, client_id)
        yield config
        for client in clients:
            client.cache_clear()


@pytest.fixture(scope="session")
def published(local_aws: LocalConfig, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The version of lookups that were built, published and deployed by the real functions."""
    folder = tmp_path_factory.mktemp("built")
    chain = run_chain(folder, [*themed_campaigns(80), HTML, SLASHED, BELOW], num_topics=5)
    version = chain.lookups.write(folder / "lookups", folder / "model-archive")
    publish(local_aws, folder / "lookups", "first")
    s3, sagemaker = local_aws.client("s3"), local_aws.client("sagemaker")
    s3.upload_file(str(folder / "model-archive" / "model.tar.gz"), BUCKET, "model.tar.gz")
    container = {
        "Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/topic-model:local",
        "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz",
        "Environment": {"TOPIC_MODEL_WORKERS": "1"},
    }
    role = "arn:aws:iam::123456789012:role/serving"
    sagemaker.create_model(ModelName="lookup", ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {
        "VariantName": "champion",
        "ModelName": "lookup",
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "InitialVariantWeight": 1.0,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="lookup", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="lookup")
    deadline = time.monotonic() + 120
    while (shown := sagemaker.describe_endpoint(EndpointName=ENDPOINT))["EndpointStatus"] != "InService":
        assert shown["EndpointStatus"] == "Creating" and time.monotonic() < deadline, shown.get("FailureReason")
        time.sleep(0.1)
    return version


def publish(config: LocalConfig, lookups: Path, run: str) -> None:
    """What the workflow does with a lookups folder."""
    for path in lookups.iterdir():
        config.client("s3").upload_file(str(path), BUCKET, f"runs/{run}/lookups/{path.name}")
    publish_lookups.handler({"lookups": f"s3://{BUCKET}/runs/{run}/lookups", "table": LOOKUPS}, None)


@pytest.fixture(scope="session")
def api(local_aws: LocalConfig, published: str) -> Iterator[Server]:
    """The application over all of it; what it looks up again it does at once, so that tests need not wait."""
    lines: list[str] = []
    port = free_port()
    config = uvicorn.Config(create_app(SETTINGS, write=lines.append), port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, timeout=60) as client:
        yield Server(url, published, local_aws, lines, client)
    server.should_exit = True
    thread.join(timeout=20)


def decoded(line: str) -> dict[str, Any]:
    """A line of the access log."""
    entry: dict[str, Any] = orjson.loads(line)
    return entry
