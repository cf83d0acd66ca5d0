"""Which environments the teardown removes; that it removes them is shown by whole deliveries."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from delivery.functions import teardown
from pipelines import deployment_alarms
from workflow_functions import explain_deployment

ID = "0a1b2c3d-0000-4000-8000-000000000001"
TEMPLATE = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'


@pytest.fixture
def formation(account: None) -> Any:
    return boto3.client("cloudformation")


def found(given: dict[str, Any]) -> list[str]:
    environments = teardown.handler({"step": "find", "input": given}, None)["environments"]
    return [environment["execution"] for environment in environments]


def test_a_delivery_is_named_by_its_id() -> None:
    """Whether or not it came to make an environment."""
    assert found({"execution": ID}) == [ID]


@pytest.mark.parametrize("given", [{"execution": "production"}, {"execution": ""}, {}, {"older_than_hours": 0}])
def test_what_names_no_delivery_is_refused(given: dict[str, Any]) -> None:
    """Nothing that could be another stack's name gets through."""
    with pytest.raises(teardown.TeardownError, match="expected"):
        found(given)


def test_what_nobody_removed_is_found_by_its_age(formation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments of deliveries alone: neither production, nor a stack that a person made, nor a young one."""
    for name in (f"topic-model-t-{ID}", "topic-model-production", "topic-model-t-mine", f"topic-model-acceptance-{ID}"):
        formation.create_stack(StackName=name, TemplateBody=TEMPLATE)
    assert found({"older_than_hours": 12}) == []

    later = SimpleNamespace(now=lambda tz: dt.datetime.now(tz) + dt.timedelta(hours=13))
    monkeypatch.setattr(teardown, "dt", SimpleNamespace(datetime=later, UTC=dt.UTC, timedelta=dt.timedelta))
    assert found({"older_than_hours": 12}) == [ID]


def test_keys_that_killed_acceptance_runs_left_go_by_their_age(formation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Production is never torn down. Keys of people, and of a run under way, stay."""
    del formation
    gateway = boto3.client("apigateway")
    for name in ("topic-model-production-acceptance-0a1b2c3d", "topic-model-production-partner", "other"):
        gateway.create_api_key(name=name)
    assert found({"older_than_hours": 12}) == [] and len(gateway.get_api_keys()["items"]) == 3

    later = SimpleNamespace(now=lambda tz: dt.datetime.now(tz) + dt.timedelta(hours=13))
    monkeypatch.setattr(teardown, "dt", SimpleNamespace(datetime=later, UTC=dt.UTC, timedelta=dt.timedelta))
    assert found({"older_than_hours": 12}) == []
    assert {key["name"] for key in gateway.get_api_keys()["items"]} == {"topic-model-production-partner", "other"}


def test_an_environment_that_was_never_made_is_gone(formation: Any) -> None:
    """A delivery whose build failed has none, and the rule asks for its teardown all the same."""
    answer = teardown.handler({"step": "remove", "environment": {"execution": ID}}, None)
    assert (answer["gone"], answer["left"], answer["data"]) == (True, [], [])


def remove(environment: dict[str, Any]) -> dict[str, Any]:
    return teardown.handler({"step": "remove", "environment": environment}, None)


def test_the_alarms_are_those_that_the_workflow_makes() -> None:
    """A deployment makes one of each kind; the teardown's package cannot import the workflow's."""
    assert set(teardown.ALARMS) == set(explain_deployment.ALARM_KINDS) == set(deployment_alarms.alarm_names())


def test_nothing_is_removed_before_it_is_known_what_outlives_the_stack(formation: Any) -> None:
    """A round's answer is what is remembered: the first one only says it, the second one deletes."""
    name = f"topic-model-t-{ID}"
    template = '{"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "kept"}}}}'
    formation.create_stack(StackName=name, TemplateBody=template)
    known = remove({"execution": ID})
    assert (known["gone"], known["data"]) == (False, [["AWS::S3::Bucket", "kept"]])
    assert formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    remove(known)
    with pytest.raises(ClientError, match="does not exist"):
        formation.describe_stacks(StackName=name)


def test_what_outlived_a_stack_that_somebody_deleted_goes(formation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation still knows what the deleted stack had and did not delete."""
    formation.create_stack(StackName=f"topic-model-t-{ID}", TemplateBody=TEMPLATE)
    gone = formation.describe_stacks()["Stacks"][0]["StackId"]
    formation.delete_stack(StackName=gone)
    boto3.client("s3").create_bucket(Bucket="kept")
    kept = {"ResourceType": "AWS::S3::Bucket", "PhysicalResourceId": "kept", "ResourceStatus": "DELETE_SKIPPED"}
    real = teardown._client

    def client(service: str) -> Any:
        made = real(service)
        if service == "cloudformation":  # moto keeps no resources of stacks that are gone
            pages = {gone: [{"StackResourceSummaries": [kept]}]}
            listing = SimpleNamespace(paginate=lambda StackName: pages[StackName])  # noqa: N803 - boto3's name
            paginator = made.get_paginator
            made.get_paginator = lambda name: listing if name == "list_stack_resources" else paginator(name)
        return made

    monkeypatch.setattr(teardown, "_client", client)
    assert remove({"execution": ID})["gone"] is True
    assert boto3.client("s3").list_buckets()["Buckets"] == []


def test_a_stack_that_cannot_be_deleted_is_tried_again_and_then_told(
    formation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in its way may be gone by the next round; not for ever."""
    stuck = {
        "StackId": f"arn:aws:cloudformation:us-east-1:1:stack/topic-model-t-{ID}/1",
        "StackStatus": "DELETE_FAILED",
        "StackStatusReason": "the bucket is not empty",
    }
    deleted: list[str] = []
    monkeypatch.setattr(teardown, "_stack", lambda name: stuck if name.startswith(teardown.ENVIRONMENT) else None)
    monkeypatch.setattr(teardown, "_resources", lambda _: iter(()))
    real = teardown._client

    def client(service: str) -> Any:
        made = real(service)
        if service == "cloudformation":
            made.delete_stack = lambda **given: deleted.append(given["StackName"])
        return made

    monkeypatch.setattr(teardown, "_client", client)
    environment = remove({"execution": ID})
    with pytest.raises(teardown.TeardownError, match="the bucket is not empty"):
        for _ in range(10):
            environment = remove(environment)
    assert len(deleted) == 2


def test_an_environment_that_stays_too_long_is_told(formation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the execution's own time is over, which nobody would be told of."""
    formation.create_stack(StackName=f"topic-model-t-{ID}", TemplateBody=TEMPLATE)
    monkeypatch.setattr(teardown, "_without_endpoint", lambda name: iter([f"endpoint {name}"]))
    environment = remove({"execution": ID})
    assert remove(environment)["left"] == [f"endpoint topic-model-t-{ID}"]
    with pytest.raises(teardown.TeardownError, match="after 2 hours there is still endpoint"):
        remove({**environment, "until": 1})
