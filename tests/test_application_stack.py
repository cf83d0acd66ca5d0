"""The application's stack on the local AWS: template.yaml, packaged, is created, used, changed, broken and deleted."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local_aws.config import ACCOUNT, LocalConfig
from tests.local_aws.cloudformation_stacks import delete, failures, inventory, parameters, resources, settled
from tests.local_aws.conftest import running

pytestmark = pytest.mark.slow

STACK = "topic-model-test"
BUCKET = "artifacts"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/topic-model@sha256:{'a' * 64}"
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A fresh local AWS with the package in a bucket."""
    folder = tmp_path_factory.mktemp("application")
    with running(folder / "aws") as config:
        config.client("s3").create_bucket(Bucket=BUCKET)
        command = [sys.executable, "-m", "topic_model_cli.main", "package", "--out", str(folder / "dist")]
        subprocess.run([*command, "--bucket", BUCKET, "--laptop"], cwd=REPOSITORY, check=True, timeout=300,
                       env={**os.environ, **config.environment()})  # fmt: skip
        config.client("s3").upload_file(str(folder / "dist" / "template.json"), BUCKET, "template.json")
        yield config


def requested(**given: object) -> dict[str, Any]:
    """A request for the test environment, with some parameters given otherwise."""
    values = {"Environment": "test", "ImageUri": IMAGE, "LogRetentionDays": 30, **given}
    return {"StackName": STACK, "Parameters": parameters(**values), "Capabilities": ["CAPABILITY_NAMED_IAM"]}


def described(config: LocalConfig, stack: str) -> dict[str, Any]:
    """The settings of some resources, by their services' own describe calls."""
    made = {name: one["PhysicalResourceId"] for name, one in resources(config, stack).items()}
    machines = {
        name: config.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
        for name, arn in made.items()
        if ":stateMachine:" in arn
    }
    groups = config.client("logs").describe_log_groups()["logGroups"]
    stage = config.client("apigateway").get_stage(restApiId=made["LookupApi"], stageName=made["LookupApiStage"])
    function = config.client("lambda").get_function(FunctionName=made["LookupApiFunction"])
    table = config.client("dynamodb").describe_table(TableName=made["LookupTable"])["Table"]
    return {
        "ids": made,
        "machines": {name: (one["definition"], one["roleArn"]) for name, one in machines.items()},
        "retention": {one["logGroupName"]: one.get("retentionInDays") for one in groups},
        "stage": {
            name: stage.get(name) for name in ("deploymentId", "variables", "methodSettings", "cacheClusterEnabled")
        },
        "function": {
            name: function["Configuration"][name] for name in ("Handler", "MemorySize", "Environment", "CodeSha256")
        },
        "concurrency": function.get("Concurrency"),
        "table": (table["TableStatus"], table["KeySchema"], table.get("SSEDescription", {}).get("Status")),
        "alarms": [
            {name: alarm.get(name) for name in ("AlarmName", "Threshold", "MetricName", "Metrics", "AlarmActions")}
            for alarm in config.client("cloudwatch").describe_alarms()["MetricAlarms"]
        ],
    }


def test_life_of_the_stack(local_aws: LocalConfig) -> None:
    """Created whole, it answers; a change set changes it; a failed update changes nothing; deleted, only data stays."""
    client = local_aws.client("cloudformation")
    before = inventory(local_aws)
    url = f"https://{BUCKET}.s3.us-east-1.amazonaws.com/template.json"
    client.create_stack(TemplateURL=url, **requested())
    client.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    stack = settled(local_aws, STACK)
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    _check_what_is_there(local_aws, outputs)
    _check_health(local_aws, outputs)

    first = described(local_aws, STACK)
    client.create_change_set(ChangeSetName="retention", UsePreviousTemplate=True, **requested(LogRetentionDays=90))
    planned = client.describe_change_set(StackName=STACK, ChangeSetName="retention")["Changes"]
    # Of the buckets, what holds access logs keeps them as long.
    assert {one["ResourceChange"]["ResourceType"] for one in planned} == {"AWS::Logs::LogGroup", "AWS::S3::Bucket"}
    assert {one["ResourceChange"]["Replacement"] for one in planned} == {"False"}
    client.execute_change_set(StackName=STACK, ChangeSetName="retention")
    assert settled(local_aws, STACK)["StackStatus"] == "UPDATE_COMPLETE", failures(local_aws, STACK)
    second = described(local_aws, STACK)
    assert {days for group, days in second["retention"].items() if days} == {90}
    assert {**second, "retention": None} == {**first, "retention": None}

    _break(local_aws, requested(LogRetentionDays=365))
    assert described(local_aws, STACK) == second

    gone = delete(local_aws, STACK)
    assert gone["StackStatus"] == "DELETE_COMPLETE", failures(local_aws, gone["StackId"])
    template = _template(local_aws)
    kept = {
        one["PhysicalResourceId"].rpartition("/")[2].rpartition(":")[2]
        for name, one in resources(local_aws, gone["StackId"]).items()
        if template["Resources"][name].get("DeletionPolicy", "Delete") != "Delete" and one["PhysicalResourceId"]
    }
    stayed = {name.rpartition("/")[2].rpartition(":")[2] for kind, names in inventory(local_aws).items()
              for name in names if name not in before.get(kind, [])}  # fmt: skip
    assert stayed <= kept
    assert resources(local_aws, gone["StackId"])["Bucket"]["ResourceStatus"] == "DELETE_SKIPPED"


def _template(config: LocalConfig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        config.client("s3").get_object(Bucket=BUCKET, Key="template.json")["Body"].read()
    )
    return found


def _check_what_is_there(config: LocalConfig, outputs: dict[str, str]) -> None:
    """Every resource is complete, and a service describes it with what the template says."""
    made = resources(config, STACK)
    assert {one["ResourceStatus"] for one in made.values()} == {"CREATE_COMPLETE"}
    recorded = {one["ResourceType"] for one in made.values() if "not emulated" in one.get("ResourceStatusReason", "")}
    assert recorded <= {"AWS::CE::AnomalyMonitor", "AWS::CE::AnomalySubscription", "AWS::CloudWatch::CompositeAlarm"}
    for name, one in made.items():
        _check_one(config, one["ResourceType"], one["PhysicalResourceId"], name)
    machine = config.client("stepfunctions").describe_state_machine(stateMachineArn=outputs["TrainingWorkflowArn"])
    assert IMAGE in machine["definition"]
    assert "${" not in machine["definition"]
    assert machine["roleArn"].endswith(made["WorkflowRole"]["PhysicalResourceId"])
    encryption = config.client("s3").get_bucket_encryption(Bucket=outputs["BucketName"])
    assert encryption["ServerSideEncryptionConfiguration"]["Rules"]
    policy = json.loads(config.client("s3").get_bucket_policy(Bucket=outputs["BucketName"])["Policy"])
    assert policy["Statement"][0]["Effect"] == "Deny"


def _check_one(config: LocalConfig, kind: str, identity: str, name: str) -> None:
    """Ask the service about a resource: what it says is true of one that was really made."""
    described = _DESCRIBED.get(kind.removeprefix("AWS::"))
    assert identity, name
    assert described is None or described(config.client, identity), name


_DESCRIBED: Mapping[str, Callable[[Callable[[str], Any], str], Any]] = {
    "ApiGateway::UsagePlan": lambda c, one: c("apigateway").get_usage_plan(usagePlanId=one)["apiStages"],
    "CloudWatch::Alarm": lambda c, one: c("cloudwatch").describe_alarms(AlarmNames=[one])["MetricAlarms"],
    "CloudWatch::Dashboard": lambda c, one: json.loads(
        c("cloudwatch").get_dashboard(DashboardName=one)["DashboardBody"]
    )["widgets"],
    "DynamoDB::Table": lambda c, one: c("dynamodb").describe_table(TableName=one)["Table"]["TableStatus"] == "ACTIVE",
    "Events::Rule": lambda c, one: c("events").list_targets_by_rule(Rule=one)["Targets"],
    "IAM::Role": lambda c, one: c("iam").get_role(RoleName=one)["Role"]["AssumeRolePolicyDocument"]["Statement"],
    "KMS::Key": lambda c, one: c("kms").get_key_rotation_status(KeyId=one)["KeyRotationEnabled"],
    "Lambda::Function": lambda c, one: c("lambda").get_function(FunctionName=one)["Configuration"]["State"] == "Active",
    "Logs::LogGroup": lambda c, one: (
        c("logs").describe_log_groups(logGroupNamePrefix=one)["logGroups"][0]["retentionInDays"] == 30
    ),
    "S3::Bucket": lambda c, one: c("s3").get_bucket_encryption(Bucket=one),
    "SNS::Topic": lambda c, one: c("sns").get_topic_attributes(TopicArn=one)["Attributes"]["Policy"],
    "SQS::Queue": lambda c, one: c("sqs").get_queue_attributes(QueueUrl=one, AttributeNames=["All"])["Attributes"],
    "StepFunctions::StateMachine": lambda c, one: c("stepfunctions").describe_state_machine(stateMachineArn=one),
}


def _check_health(config: LocalConfig, outputs: dict[str, str]) -> None:
    """The API answers at its stage, by API Gateway and the stack's function."""
    api = outputs["LookupApiUrl"].split("//")[1].split(".")[0]
    gateway = config.client("apigateway")
    key = gateway.create_api_key(name="tester", enabled=True)
    gateway.create_usage_plan_key(usagePlanId=outputs["AnalystsUsagePlanId"], keyId=key["id"], keyType="API_KEY")
    connection = http.client.HTTPConnection("127.0.0.1", config.port, timeout=120)
    connection.request("GET", f"/restapis/{api}/test/_user_request_/health", headers={"x-api-key": key["value"]})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    # The function's own answer, by gateway, key and tables: nothing is published yet.
    assert (answer.status, said["detail"]) == (503, "no lookups are published yet")
    gateway.delete_api_key(apiKey=key["id"])


def _break(config: LocalConfig, request: dict[str, Any]) -> None:
    """Update the stack with one resource more that its service refuses, and see it go back."""
    template = _template(config)
    template["Resources"]["Broken"] = {
        "Type": "AWS::Events::Rule",
        "DependsOn": ["LookupApiStage", "TrainingWorkflow", "LookupApiLogs"],
        "Properties": {"ScheduleExpression": "every blue moon"},
    }
    template["Resources"]["LookupApiFunction"]["Properties"]["MemorySize"] = 2048
    config.client("s3").put_object(Bucket=BUCKET, Key="broken.json", Body=json.dumps(template).encode())
    url = f"https://{BUCKET}.s3.us-east-1.amazonaws.com/broken.json"
    config.client("cloudformation").update_stack(TemplateURL=url, **request)
    stack = settled(config, STACK)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", failures(config, STACK)
    assert "Broken" in failures(config, STACK)
