"""What the checks share: the environment, keys for the length of a run, and what is known of the sample."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from acceptance.api import Api
from acceptance.environment import Environment, client, environment_of
from acceptance.keys import key_for

GROUND_TRUTH = "sample/ground_truth.jsonl"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which environment, and how much of it may be asked."""
    parser.addoption("--stack", required=True)
    parser.addoption("--suite", choices=("test", "production"), required=True)


def pytest_configure(config: pytest.Config) -> None:
    """Marks."""
    config.addinivalue_line("markers", "sample: needs the sample in the environment's bucket; test environments only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Production is not asked what only the sample can answer."""
    if config.getoption("--suite") == "production":
        left_out = [item for item in items if item.get_closest_marker("sample")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def in_production(pytestconfig: pytest.Config) -> bool:
    """Whether customers are served here."""
    return bool(pytestconfig.getoption("--suite") == "production")


@pytest.fixture(scope="session")
def environment(pytestconfig: pytest.Config) -> Environment:
    """What is checked."""
    return environment_of(str(pytestconfig.getoption("--stack")))


@pytest.fixture(scope="session")
def nobody(environment: Environment) -> Api:
    """The API without a key."""
    return Api(environment.api_url)


@pytest.fixture(scope="session")
def admin(environment: Environment) -> Iterator[Api]:
    """The API with a key that sees all campaigns."""
    with key_for(environment, None) as key:
        yield Api(environment.api_url, key)


@pytest.fixture(scope="session")
def published(environment: Environment, admin: Api, in_production: bool) -> Api:
    """The API over published lookups; a production whose workflow has never gone through has none."""
    if in_production:
        runs = client("stepfunctions").list_executions(
            stateMachineArn=environment.workflow_arn, statusFilter="SUCCEEDED", maxResults=1
        )
        if not runs["executions"]:
            pytest.skip("no workflow has gone through in production yet: nothing is published")
    return admin


@pytest.fixture(scope="session")
def verticals(environment: Environment) -> dict[str, str]:
    """What the sample's campaigns are about, by their ids; never an input of training."""
    try:
        answer = client("s3").get_object(Bucket=environment.bucket, Key=GROUND_TRUTH)
    except ClientError as error:
        pytest.fail(f"s3://{environment.bucket}/{GROUND_TRUTH} cannot be read: {error}")
    records = (json.loads(line) for line in answer["Body"].iter_lines() if line.strip())
    return {str(record["campaign_id"]): str(record["vertical"]) for record in records}


@pytest.fixture(scope="session")
def known(published: Api, verticals: dict[str, str]) -> list[dict[str, Any]]:
    """Forty known campaigns, spread over the sample: the answers about them."""
    step = max(1, len(verticals) // 60)
    answers = (published.get("v1", "campaigns", campaign_id) for campaign_id in sorted(verticals)[::step])
    found = [answer.document for answer in answers if answer.status == 200][:40]
    assert len(found) >= 20, f"of {len(verticals)} campaigns in the sample only {len(found)} of those asked are known"
    return found
