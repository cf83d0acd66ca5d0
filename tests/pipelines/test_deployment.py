"""The Deploy workflow as a value, and the settings that it is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_aws.cloudwatch_math import evaluate
from pipelines.deployment import ENDPOINT_TAG, build_deploy_workflow
from pipelines.deployment_alarms import alarm_names
from pipelines.deployment_settings import on_a_laptop
from pipelines.render import render_definition
from pipelines.settings import load_settings, parse_settings
from pipelines.workflows import DEPLOY
from workflow_functions import explain_deployment, retire_models

State = dict[str, Any]


def states(text: str = "") -> State:
    found: State = build_deploy_workflow(parse_settings(text))["States"]
    return found


def test_the_rendered_file_is_up_to_date() -> None:
    """What is deployed is what the builder makes; renew it with ``topic-model pipeline render``."""
    assert DEPLOY.rendered_path.read_text(encoding="utf-8") == render_definition(load_settings(), DEPLOY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "deployment: {strategy: linear, instance_count: 6, step_instances: 2, timeout_seconds: 7_200}",
        "deployment: {strategy: all-at-once, instance_count: 1, bake_seconds: 0}",
        "deployment: {keep_instance_count: true, capture_percent: 0}",
    ],
)
def test_the_definition_passes_every_check(text: str) -> None:
    """Whatever the settings turn on or off, the definition stays valid, on AWS and on a laptop."""
    settings = parse_settings(text)
    here = settings.model_copy(update={"deployment": on_a_laptop(settings.deployment)})
    assert DEPLOY.check(DEPLOY.build(settings)) == DEPLOY.check(DEPLOY.build(here)) == []


def test_the_settings_are_the_deployments() -> None:
    """Canary size, bake, termination wait and the alarms that roll back are in the update that SageMaker gets."""
    config = states("deployment: {instance_count: 4, step_instances: 2, bake_seconds: 900, timeout_seconds: 7_200}")[
        "UpdateEndpoint"
    ]["Parameters"]["DeploymentConfig"]
    assert config["BlueGreenUpdatePolicy"] == {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 900,
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 2},
        },
        "TerminationWaitInSeconds": 300,
        "MaximumExecutionTimeoutInSeconds": 7_200,
    }
    assert [alarm["AlarmName.$"] for alarm in config["AutoRollbackConfiguration"]["Alarms"]] == [
        "$.alarms.errors",
        "$.alarms.latency",
        "$.alarms.confidence",
        "$.alarms.answers",
    ]


def test_the_shipped_latency_limit_rolls_back_a_model_twenty_times_slower() -> None:
    """The container answers 99 of 100 requests within 10 ms (benchmarks/serving.py); 20 times that is not kept."""
    assert states("")["AlarmOnLatency"]["Parameters"]["Threshold"] <= 20 * 10_000


def test_probes_are_twice_what_the_alarms_ask_for() -> None:
    """In a period, or a laptop's shorter bake, the canary's share of probes is twice the least number."""
    for deployment in (load_settings().deployment, on_a_laptop(load_settings().deployment)):
        window = min(deployment.alarms.period_seconds, deployment.bake_seconds)
        polls = window // (deployment.poll_seconds + 1)
        share = deployment.step_instances / deployment.instance_count
        assert deployment.probes_per_poll * polls * share >= 2 * deployment.alarms.min_requests
    assert states("")["ProbeCanary"]["Parameters"]["Payload"]["probes"] == load_settings().deployment.probes_per_poll


def test_a_deployment_never_fails_for_its_probes() -> None:
    """Whatever becomes of them, the workflow goes on to look at the endpoint, to retire models, or to explain."""
    found, behind = states(""), {"ProbeCanary": "DescribeDeployment", "JudgeCanary": "RetireModels"}
    for name, then in (behind | {"CountRequests": "ExplainRollback"}).items():
        (catcher,) = found[name]["Catch"]
        assert catcher["ErrorEquals"] == ["States.ALL"]
        assert found[catcher["Next"]]["Next"] == found[name]["Next"] == then


def test_an_endpoint_that_changes_is_left_alone() -> None:
    """Another's deployment is no failure of AWS: it is named, and what to do; maintenance is waited for."""
    found = states("")
    rules = json.dumps(found["EndpointFailed?"]["Choices"])
    for status, then in (("Updating", "EndpointBusy"), ("RollingBack", "EndpointBusy"), ("Creating", "EndpointBusy")):
        assert f'"StringEquals": "{status}"' in rules and f'"Next": "{then}"' in rules
    (waiting,) = [c for c in found["EndpointFailed?"]["Choices"] if c.get("StringEquals") == "SystemUpdating"]
    assert found[waiting["Next"]]["Type"] == "Wait"
    assert "redrive" in json.dumps(found["EndpointBusy"])


def test_a_deployment_that_takes_too_long_is_told_by_what_was_counted() -> None:
    """The workflow counts its looks; between two are a wait and calls that nobody measured."""
    cause = states("deployment: {poll_seconds: 20}")["DeploymentStuck"]["Parameters"]["Cause.$"]
    assert "is still {} after 180 looks, 20 seconds or more apart" in cause


def test_calls_that_are_throttled_or_out_of_quota_are_made_again() -> None:
    """With back-off and jitter; a throttled look for the endpoint does not count as one that is not there."""
    found = states("")
    for name in ("CreateEndpoint", "UpdateEndpoint"):
        retried = {error for retrier in found[name]["Retry"] for error in retrier["ErrorEquals"]}
        assert {"SageMaker.ResourceLimitExceededException", "SageMaker.SageMakerException"} <= retried
        assert {retrier["JitterStrategy"] for retrier in found[name]["Retry"]} == {"FULL"}
    waits = [c["Next"] for c in found["EndpointMissing?"]["Choices"] if c["StringMatches"] == "*ate exceeded*"]
    assert [found[name]["Next"] for name in waits] == ["DescribeEndpoint"]


@pytest.mark.parametrize(
    ("requests", "p99", "median", "measure"),
    [(9, 1_000, 1_000, 0), (20, 1_000, 8, 8), (20, 200, 190, 190), (100, 200, 8, 200)],
)
def test_one_slow_request_among_few_is_no_verdict(requests: int, p99: int, median: int, measure: int) -> None:
    """A worker's first request may be slow; a model that is slow throughout is found among few requests as well."""
    *_, expression = states("")["AlarmOnLatency"]["Parameters"]["Metrics"]
    values = {"requests": float(requests), "latency": float(p99), "median": float(median)}
    assert evaluate(expression["Expression"], values) == measure


def test_the_alarms_watch_the_new_fleet_alone() -> None:
    """SageMaker's metrics by the new configuration's name, latency in microseconds; missing data are no failure."""
    found = states("deployment: {alarms: {max_latency_p99_ms: 250}}")
    for name in ("AlarmOnErrors", "AlarmOnLatency"):
        for query in found[name]["Parameters"]["Metrics"]:
            if "MetricStat" in query:
                dimensions = query["MetricStat"]["Metric"]["Dimensions"]
                assert {"Name": "EndpointConfigName", "Value.$": "$.endpoint_config.name"} in dimensions
    assert found["AlarmOnLatency"]["Parameters"]["Threshold"] == 250_000
    alarms = [state for name, state in found.items() if name.startswith("AlarmOn") and state["Type"] == "Task"]
    assert {alarm["Parameters"]["TreatMissingData"] for alarm in alarms} == {"notBreaching"}
    assert len(alarms) == len(alarm_names())


def test_the_functions_know_the_workflows_names() -> None:
    """Alarms, and the tag by which configurations are found, are called the same in both places."""
    assert tuple(alarm_names()) == explain_deployment.ALARM_KINDS
    assert retire_models.ENDPOINT_TAG == ENDPOINT_TAG
    assert "{}-errors" in alarm_names()["errors"]


def test_a_laptop_waits_less_and_never_longer() -> None:
    """Waits become short, limits and strategy stay; what is shorter already stays too."""
    settings = parse_settings("deployment: {alarms: {max_error_share: 0.3}}").deployment
    here = on_a_laptop(settings)
    assert (here.bake_seconds, here.alarms.period_seconds, here.alarms.datapoints) == (3, 10, 1)
    assert (here.strategy, here.instance_count, here.alarms.max_error_share) == ("canary", 2, 0.3)
    assert on_a_laptop(here) == here


def test_nothing_of_the_account_is_in_it() -> None:
    """The definition names no account, region or bucket."""
    text = json.dumps(build_deploy_workflow(load_settings()))
    assert "us-east-1" not in text and "123456789012" not in text
