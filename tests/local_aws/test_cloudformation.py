"""Stacks on a real local AWS: what is made, changed, rolled back, refused and deleted."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.core.request import Request
from werkzeug.test import EnvironBuilder

from local_aws import lifecycle
from local_aws.cloudformation_api import SERVICE, CloudFormation, Service
from local_aws.cloudformation_providers import ResourceError
from local_aws.config import ACCOUNT, LocalConfig
from tests.local_aws.cloudformation_stacks import (
    create,
    delete,
    events,
    failures,
    inventory,
    parameters,
    resources,
    settled,
    update,
)
from tests.local_aws.conftest import kill_and_restart, running, start

TOPIC: dict[str, Any] = {"Type": "AWS::SNS::Topic"}
MISSING_ROLE = "arn:aws:iam::123456789012:role/nobody"
ATTEMPTS = 5
"""How often a server is stopped to catch it at an operation; on a loaded machine the operation may end before."""
KINDS = ("parameters", "queues", "rules", "topics")
ALL_TYPES = Path(__file__).with_name("cloudformation_all_types.yaml")
NESTED = {
    "Parameters": {"Size": {"Type": "String"}},
    "Resources": {"Topic": {**TOPIC, "Properties": {"DisplayName": {"Ref": "Size"}}}},
    "Outputs": {"TopicArn": {"Value": {"Ref": "Topic"}}},
}


def failing(after: str) -> dict[str, Any]:
    """A resource that its service refuses, behind another one."""
    return {
        "Type": "AWS::Events::Rule",
        "DependsOn": after,
        "Properties": {"ScheduleExpression": "every blue moon"},
    }


def topics(config: LocalConfig) -> set[str]:
    return {one["TopicArn"] for one in config.client("sns").list_topics()["Topics"]}


def test_creation_that_fails_leaves_nothing(shared_aws: LocalConfig) -> None:
    """A stack of which one resource is refused is rolled back, says why, and nothing of it stays."""
    before = inventory(shared_aws, *KINDS)
    template = {
        "Resources": {
            "Topic": TOPIC,
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Kept": {**TOPIC, "DeletionPolicy": "RetainExceptOnCreate"},
            "Broken": failing("Queue"),
        }
    }
    stack = create(shared_aws, "fails", template)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "ValidationException" in failures(shared_aws, "fails")["Broken"]
    told = {(one["LogicalResourceId"], one["ResourceStatus"]): one for one in events(shared_aws, "fails")}
    assert told["fails", "ROLLBACK_IN_PROGRESS"]["ResourceStatusReason"] == (
        "The following resource(s) failed to create: [Broken]. Rollback requested by user."
    )
    assert ("Kept", "DELETE_COMPLETE") in told
    assert inventory(shared_aws, *KINDS) == before
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        update(shared_aws, "fails", {"Resources": {"Topic": TOPIC}})


def test_update_that_fails_goes_back(shared_aws: LocalConfig) -> None:
    """An update of which one resource is refused ends in what was there before: same ids and settings, nothing new."""

    def ids() -> dict[str, str]:
        return {name: one["PhysicalResourceId"] for name, one in resources(shared_aws, "goes-back").items()}

    queue = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 10}}
    named = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/goes-back/a", "Type": "String", "Value": "1"}}
    template = {"Resources": {"Queue": queue, "Named": named, "Gone": TOPIC}}
    create(shared_aws, "goes-back", template)
    before = (
        inventory(shared_aws, *KINDS),
        {name: one["PhysicalResourceId"] for name, one in resources(shared_aws, "goes-back").items()},
    )
    changed = {
        "Queue": {**queue, "Properties": {"VisibilityTimeout": 20}},
        "Named": {**named, "Properties": {**named["Properties"], "Name": "/goes-back/b"}},  # type: ignore[dict-item]
        "New": TOPIC,
        "Broken": {**failing("Queue"), "DependsOn": ["Queue", "Named", "New"]},
    }
    stack = update(shared_aws, "goes-back", {"Resources": changed})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    after = (
        inventory(shared_aws, *KINDS),
        {name: one["PhysicalResourceId"] for name, one in resources(shared_aws, "goes-back").items()},
    )
    assert after == before
    attributes = shared_aws.client("sqs").get_queue_attributes(
        QueueUrl=before[1]["Queue"], AttributeNames=["VisibilityTimeout"]
    )
    assert attributes["Attributes"] == {"VisibilityTimeout": "10"}
    assert delete(shared_aws, "goes-back")["StackStatus"] == "DELETE_COMPLETE"


def test_replacement_is_made_before_the_old_one_goes(shared_aws: LocalConfig) -> None:
    """A property that cannot be changed makes a new resource; what refers to it follows, and the old one goes last."""

    def template(name: str) -> dict[str, Any]:
        queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}
        target = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": {"Ref": "Queue"}}}
        return {"Resources": {"Queue": queue, "Target": target}}

    create(shared_aws, "replaces", template("old-queue"))
    update(shared_aws, "replaces", template("new-queue"))
    found = resources(shared_aws, "replaces")
    assert found["Queue"]["PhysicalResourceId"].endswith("/new-queue")
    value = shared_aws.client("ssm").get_parameter(Name=found["Target"]["PhysicalResourceId"])["Parameter"]["Value"]
    assert value == found["Queue"]["PhysicalResourceId"]
    assert not shared_aws.client("sqs").list_queues(QueueNamePrefix="old-queue").get("QueueUrls")
    told = [(one["LogicalResourceId"], one["ResourceStatus"]) for one in events(shared_aws, "replaces")]
    assert told.index(("Target", "UPDATE_COMPLETE")) < told.index(("Queue", "DELETE_COMPLETE"))
    delete(shared_aws, "replaces")


@pytest.mark.slow
def test_creation_may_be_given_up(shared_aws: LocalConfig) -> None:
    """Deleting a stack ends in its deletion, even while it is made."""
    client = shared_aws.client("cloudformation")
    many = {"Resources": {f"Topic{number}": TOPIC for number in range(100)}}
    stack = client.create_stack(StackName="given-up", TemplateBody=json.dumps(many))["StackId"]
    client.delete_stack(StackName="given-up")
    assert settled(shared_aws, stack)["StackStatus"] == "DELETE_COMPLETE"
    assert not any("given-up" in arn for arn in topics(shared_aws))


def test_two_operations_at_once(tmp_path: Path) -> None:
    """While a stack is made, it can be neither updated nor made again, in AWS's words."""
    released = threading.Event()

    def hold(service: str, role: str | None) -> Any:
        if service == "sns":
            released.wait(60)
            raise ResourceError("there is no SNS")

    def ask(action: str, **fields: str) -> str:
        request = Request(EnvironBuilder(method="POST", data={"Action": action, **fields}).get_environ())
        return str(CloudFormation.dispatch(request, "http://127.0.0.1/", dict(request.headers))[2])

    service = Service(LocalConfig(tmp_path, 1), hold)
    SERVICE[:] = [service]
    try:
        asked = {"StackName": "busy", "TemplateBody": json.dumps({"Resources": {"Topic": TOPIC}})}
        assert "<StackId>" in ask("CreateStack", **asked)
        again = ask("CreateStack", **asked)
        assert "<Code>AlreadyExistsException</Code>" in again
        assert "Stack [busy] already exists" in again
        for action in ("UpdateStack", "CreateChangeSet"):
            refused = ask(action, **asked, **({"ChangeSetName": "c"} if action == "CreateChangeSet" else {}))
            assert "is in CREATE_IN_PROGRESS state and can not be updated." in refused
    finally:
        released.set()
        service.engine.stop()
        SERVICE.clear()


def test_change_set_creates_and_updates(shared_aws: LocalConfig) -> None:
    """A change set shows what it would do, does it once, and one without changes fails with AWS's reason."""
    client = shared_aws.client("cloudformation")
    first = json.dumps({"Resources": {"Topic": TOPIC}, "Outputs": {"Arn": {"Value": {"Ref": "Topic"}}}})
    client.create_change_set(StackName="changed", ChangeSetName="make", ChangeSetType="CREATE", TemplateBody=first)
    assert client.describe_stacks(StackName="changed")["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    client.execute_change_set(StackName="changed", ChangeSetName="make")
    client.get_waiter("stack_create_complete").wait(StackName="changed", WaiterConfig={"Delay": 1})
    stack = client.describe_stacks(StackName="changed")["Stacks"][0]
    assert stack["Outputs"][0]["OutputValue"] in topics(shared_aws)

    client.create_change_set(StackName="changed", ChangeSetName="same", TemplateBody=first)
    same = client.describe_change_set(StackName="changed", ChangeSetName="same")
    assert (same["Status"], same["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in same["StatusReason"]
    with pytest.raises(ClientError, match="No updates are to be performed"):
        client.update_stack(StackName="changed", TemplateBody=first)

    second = json.dumps({"Resources": {"Topic": {**TOPIC, "Properties": {"DisplayName": "d"}}}})
    made = client.create_change_set(StackName="changed", ChangeSetName="more", TemplateBody=second)
    described = client.describe_change_set(ChangeSetName=made["Id"])
    assert [one["ResourceChange"]["Action"] for one in described["Changes"]] == ["Modify"]
    client.execute_change_set(ChangeSetName=made["Id"])
    assert settled(shared_aws, "changed")["StackStatus"] == "UPDATE_COMPLETE"
    with pytest.raises(ClientError, match=r"execution status of \[EXECUTE_COMPLETE\]"):
        client.execute_change_set(ChangeSetName=made["Id"])
    delete(shared_aws, "changed")


def test_unknown_property_is_refused(shared_aws: LocalConfig) -> None:
    """A property that the type does not have fails the resource, with its name."""
    create(shared_aws, "typo", {"Resources": {"Topic": {**TOPIC, "Properties": {"DisplayNaem": "d"}}}})
    assert "extraneous key [DisplayNaem] is not permitted" in failures(shared_aws, "typo")["Topic"]


@pytest.mark.slow
def test_named_resource_of_another_is_left_alone(shared_aws: LocalConfig) -> None:
    """A name that is taken fails the creation, and the rollback does not touch what has the name."""
    shared_aws.client("cloudwatch").put_dashboard(DashboardName="theirs", DashboardBody="{}")
    mine = {
        "Type": "AWS::CloudWatch::Dashboard",
        "Properties": {"DashboardName": "theirs", "DashboardBody": '{"a": 1}'},
    }
    assert create(shared_aws, "taken", {"Resources": {"Mine": mine}})["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "already exists" in failures(shared_aws, "taken")["Mine"]
    assert shared_aws.client("cloudwatch").get_dashboard(DashboardName="theirs")["DashboardBody"] == "{}"


@pytest.mark.slow
def test_exports_hold_their_stack(shared_aws: LocalConfig) -> None:
    """An export that another stack imports is neither taken away nor deleted with its stack."""
    output = {"Arn": {"Value": {"Ref": "Topic"}, "Export": {"Name": "shared-topic"}}}
    exporting = {"Resources": {"Topic": TOPIC}, "Outputs": output}
    create(shared_aws, "exporter", exporting)
    parameter = {
        "Type": "AWS::SSM::Parameter",
        "Properties": {"Type": "String", "Value": {"Fn::ImportValue": "shared-topic"}},
    }
    create(shared_aws, "importer", {"Resources": {"P": parameter}})
    with pytest.raises(ClientError, match="Export shared-topic cannot be deleted as it is in use by importer"):
        delete(shared_aws, "exporter")
    without = update(shared_aws, "exporter", {"Resources": {"Topic": TOPIC}})
    assert without["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    delete(shared_aws, "importer")
    assert delete(shared_aws, "exporter")["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.slow
def test_deletion_that_fails_can_be_tried_again(shared_aws: LocalConfig) -> None:
    """A bucket that is not empty fails the deletion and keeps what it stands on; retained, the rest goes."""
    template = {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "DependsOn": "Topic"}, "Topic": TOPIC}}
    create(shared_aws, "full", template)
    bucket = resources(shared_aws, "full")["Bucket"]["PhysicalResourceId"]
    shared_aws.client("s3").put_object(Bucket=bucket, Key="k", Body=b"1")
    assert delete(shared_aws, "full")["StackStatus"] == "DELETE_FAILED"
    assert "not empty" in failures(shared_aws, "full")["Bucket"]
    assert delete(shared_aws, "full", RetainResources=["Bucket"])["StackStatus"] == "DELETE_COMPLETE"
    shared_aws.client("s3").head_bucket(Bucket=bucket)


@pytest.mark.slow
def test_secrets_are_not_kept(shared_aws: LocalConfig) -> None:
    """A dynamic reference is resolved for the service alone; NoEcho parameters are shown as asterisks."""
    shared_aws.client("secretsmanager").create_secret(Name="db", SecretString='{"password": "hush-hush"}')
    template = {
        "Parameters": {"Key": {"Type": "String", "NoEcho": True}},
        "Resources": {
            "P": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Type": "String", "Value": "{{resolve:secretsmanager:db:SecretString:password}}"},
            }
        },
    }
    stack = create(shared_aws, "quiet", template, Parameters=parameters(Key="quite-quiet"))
    name = resources(shared_aws, "quiet")["P"]["PhysicalResourceId"]
    assert shared_aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "hush-hush"
    assert stack["Parameters"] == [{"ParameterKey": "Key", "ParameterValue": "****"}]
    kept = [path.read_text() for path in (shared_aws.root / "cloudformation").rglob("*") if path.is_file()]
    assert kept
    assert not any("hush-hush" in text for text in kept)


def test_requests_refused(shared_aws: LocalConfig) -> None:
    """IAM's resources want a capability; no stack, no template, and what there is not are told in AWS's words."""
    client = shared_aws.client("cloudformation")
    trust = {"Version": "2012-10-17", "Statement": []}
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}}
    with pytest.raises(ClientError, match=r"Requires capabilities : \[CAPABILITY_IAM\]") as refused:
        client.create_stack(StackName="iam", TemplateBody=json.dumps({"Resources": {"Role": role}}))
    assert refused.value.response["Error"]["Code"] == "InsufficientCapabilitiesException"
    with pytest.raises(ClientError, match="Stack with id nowhere does not exist"):
        client.describe_stacks(StackName="nowhere")
    with pytest.raises(ClientError, match="less than or equal to 51200"):
        client.create_stack(StackName="large", TemplateBody=json.dumps({"Resources": {}, "Description": "x" * 51_200}))
    with pytest.raises(ClientError, match=r"S3 error: .* does not exist"):
        client.create_stack(StackName="far", TemplateURL="https://no-bucket.s3.us-east-1.amazonaws.com/t.json")
    with pytest.raises(ClientError, match="has no CreateStackSet"):
        client.create_stack_set(StackSetName="set")
    client.delete_stack(StackName="nowhere")  # nothing to do


@pytest.mark.slow
def test_every_type(local_aws: LocalConfig) -> None:
    """A resource of each type is made, changed, found again after a kill, and deleted; nothing of it stays."""
    storage = local_aws.client("s3")
    storage.create_bucket(Bucket="templates")
    storage.put_object(Bucket="templates", Key="nested.json", Body=json.dumps(NESTED).encode())
    before = inventory(local_aws)
    given = {"NestedTemplate": f"{local_aws.endpoint_url}/templates/nested.json"}
    stack = create(local_aws, "all", ALL_TYPES.read_text(), Parameters=parameters(Size=1, **given))
    assert stack["StackStatus"] == "CREATE_COMPLETE", failures(local_aws, "all")
    made = resources(local_aws, "all")
    recorded = {name for name, one in made.items() if "not emulated" in one.get("ResourceStatusReason", "")}
    assert recorded == {
        "CompositeAlarm",
        "Connection",
        "Handle",
        "OldConnection",
        "Spend",
        "SpendTold",
        "Told",
        "WebAcl",
    }

    client = local_aws.client("cloudformation")
    client.update_stack(StackName="all", UsePreviousTemplate=True, Capabilities=["CAPABILITY_NAMED_IAM"],
                        Parameters=parameters(Size=2, **given))  # fmt: skip
    assert settled(local_aws, "all")["StackStatus"] == "UPDATE_COMPLETE", failures(local_aws, "all")
    listed = inventory(local_aws)

    again = kill_and_restart(local_aws)
    assert inventory(again).keys() == listed.keys()
    outputs = {one["OutputKey"]: one["OutputValue"] for one in settled(again, "all")["Outputs"]}
    assert again.client("kms").describe_key(KeyId="alias/all-types")["KeyMetadata"]["Arn"] == outputs["KeyArn"]
    again.client("secretsmanager").describe_secret(SecretId=outputs["SecretId"])
    again.client("ec2").describe_subnets(SubnetIds=[outputs["SubnetId"]])
    gone = delete(again, "all")
    assert gone["StackStatus"] == "DELETE_COMPLETE", failures(again, gone["StackId"])
    assert inventory(again) == before


@pytest.mark.slow
@pytest.mark.parametrize("resource", [3, 40])
def test_killed_while_creating(local_aws: LocalConfig, resource: int) -> None:
    """A local AWS killed while it makes a stack takes it back at the next start, and nothing of it stays."""
    storage = local_aws.client("s3")
    storage.create_bucket(Bucket="templates")
    storage.put_object(Bucket="templates", Key="nested.json", Body=json.dumps(NESTED).encode())
    before = inventory(local_aws)
    again = local_aws
    for _ in range(ATTEMPTS):
        client = again.client("cloudformation")
        given = parameters(Size=1, NestedTemplate=f"{again.endpoint_url}/templates/nested.json")
        request = {"TemplateBody": ALL_TYPES.read_text(), "Parameters": given}
        stack = client.create_stack(StackName="all", Capabilities=["CAPABILITY_NAMED_IAM"], **request)["StackId"]
        while len(client.describe_stack_resources(StackName=stack)["StackResources"]) < resource:
            status = client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
            assert status in ("CREATE_IN_PROGRESS", "CREATE_COMPLETE"), failures(again, stack)
            time.sleep(0.01)
        again = kill_and_restart(again)
        if settled(again, stack)["StackStatus"] != "CREATE_COMPLETE":
            break
        delete(again, "all")  # it was ready before the kill
    assert settled(again, stack)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert inventory(again) == before


@pytest.mark.slow
def test_deletion_goes_on_after_a_stop(local_aws: LocalConfig) -> None:
    """A local AWS that is stopped while it deletes a stack goes on with it at the next start."""
    again = local_aws
    for _ in range(ATTEMPTS):
        create(again, "many", {"Resources": {f"Topic{number}": TOPIC for number in range(150)}})
        client = again.client("cloudformation")
        stack = client.describe_stacks(StackName="many")["Stacks"][0]["StackId"]
        client.delete_stack(StackName="many")
        lifecycle.down(again.root)
        stopped = dt.datetime.now(dt.UTC)
        again = start(again.root)
        assert settled(again, stack)["StackStatus"] == "DELETE_COMPLETE"
        assert not topics(again)
        deleted = [one["Timestamp"] > stopped for one in events(again, stack) if one["ResourceType"] == TOPIC["Type"]]
        if any(deleted):
            break  # else it had ended before the stop
    assert any(deleted)


@pytest.mark.slow
def test_stack_of_a_role(tmp_path: Path) -> None:
    """Where IAM is enforced, a stack's role makes its resources: what the role may not do fails the resource."""
    with running(tmp_path / "aws", enforce_iam=True) as config:
        iam = config.client("iam")
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudformation.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        role = iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        allowed = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "sns:*", "Resource": f"arn:aws:sns:us-east-1:{ACCOUNT}:as-role-*"}
            ],
        }
        iam.put_role_policy(RoleName="deployer", PolicyName="topics", PolicyDocument=json.dumps(allowed))
        stack = create(config, "as-role", {"Resources": {"Topic": TOPIC}}, RoleARN=role)
        assert stack["StackStatus"] == "CREATE_COMPLETE", failures(config, "as-role")
        queue = {"Type": "AWS::SQS::Queue", "DependsOn": "Topic"}
        refused = update(config, "as-role", {"Resources": {"Topic": TOPIC, "Queue": queue}})
        assert refused["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
        assert "not authorized to perform: sqs:" in failures(config, "as-role")["Queue"]
        with pytest.raises(ClientError, match="no such role"):
            create(config, "no-role", {"Resources": {"Topic": TOPIC}}, RoleARN=MISSING_ROLE)
        assert delete(config, "as-role")["StackStatus"] == "DELETE_COMPLETE"
