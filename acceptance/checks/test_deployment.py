"""What AWS says of the environment: the model that was deployed serves, and nothing alarms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acceptance.api import Api
from acceptance.environment import Environment, alarms_of, client, deployed_at, fires

CHANGING = ("Creating", "RollingBack", "SystemUpdating", "Updating")


@pytest.fixture
def settled(environment: Environment, in_production: bool) -> dict[str, Any]:
    """The endpoint. Production's may be changed by somebody's deployment: the check is that deployment's own then."""
    endpoint: dict[str, Any] = client("sagemaker").describe_endpoint(EndpointName=environment.endpoint)
    if in_production and endpoint["EndpointStatus"] in CHANGING:
        pytest.skip(f"a deployment is under way: the endpoint is {endpoint['EndpointStatus']}")
    return endpoint


@pytest.mark.usefixtures("published")
def test_the_endpoint_serves(settled: dict[str, Any]) -> None:
    """It is in service, and no canary was rolled back half-way."""
    assert settled["EndpointStatus"] == "InService", settled.get("FailureReason", settled["EndpointStatus"])
    pending = settled.get("PendingDeploymentSummary")
    assert not pending, f"a deployment of {pending['EndpointConfigName']} is under way"


@pytest.mark.usefixtures("published")
def test_every_instance_serves(settled: dict[str, Any]) -> None:
    """As many as were asked for."""
    for variant in settled["ProductionVariants"]:
        here, asked = variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]
        assert here == asked, f"variant {variant['VariantName']}: {here} of {asked} instances"


@pytest.mark.usefixtures("settled")
def test_endpoint_and_lookups_are_of_one_model(environment: Environment, published: Api) -> None:
    """A fresh campaign is answered by the model whose lookups are published."""
    term = published.get("v1", "topics").document["topics"][0]["terms"][0]["term"]
    body = json.dumps({"campaign_id": "acceptance", "keywords": [term]}).encode()
    answer = client("sagemaker-runtime").invoke_endpoint(
        EndpointName=environment.endpoint, ContentType="application/json", Body=body
    )
    serving = json.loads(answer["Body"].read())["model_version"]
    assert serving == published.get("health").document["model_version"]


def test_the_last_execution_succeeded(environment: Environment, in_production: bool) -> None:
    """The workflow that made what serves went through; in production one may be under way."""
    executions = client("stepfunctions").list_executions(stateMachineArn=environment.workflow_arn, maxResults=1)
    if in_production and not executions["executions"]:
        pytest.skip("no workflow has run in production yet")
    status = executions["executions"][0]["status"]
    assert status in (("SUCCEEDED", "RUNNING") if in_production else ("SUCCEEDED",)), f"it is {status}"


def test_nothing_alarms(environment: Environment, in_production: bool) -> None:
    """Every alarm of the stack is there, and none is in ALARM; in production none that began behind the deployment.

    What alarmed before may be what the commit mends: to roll it back would keep it broken.
    """
    alarms = alarms_of(environment.stack)
    assert alarms, "the stack has no alarms"
    since = deployed_at(environment.stack) if in_production else None
    firing = [f"{alarm['AlarmName']} ({alarm.get('StateReason', '')})" for alarm in alarms if fires(alarm, since)]
    assert not firing, f"in ALARM: {'; '.join(firing)}"
