"""What tests of stacks share: how to wait for one, and what a local AWS has by its services' own lists."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from local_aws.config import ACCOUNT, LocalConfig

SETTLE_SECONDS = 240.0


def parameters(**values: object) -> list[dict[str, str]]:
    """Parameters as requests have them."""
    return [{"ParameterKey": name, "ParameterValue": str(value)} for name, value in values.items()]


def settled(config: LocalConfig, stack: str) -> dict[str, Any]:
    """The stack, once no operation is under way."""
    client = config.client("cloudformation")
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.describe_stacks(StackName=stack)["Stacks"][0]
        if not found["StackStatus"].endswith("_IN_PROGRESS"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"stack {stack} is still {found['StackStatus']} after {SETTLE_SECONDS:.0f} s")


def create(config: LocalConfig, name: str, template: Mapping[str, Any] | str, **settings: Any) -> dict[str, Any]:
    """A new stack, settled."""
    body = template if isinstance(template, str) else json.dumps(template)
    settings.setdefault("Capabilities", ["CAPABILITY_NAMED_IAM"])
    config.client("cloudformation").create_stack(StackName=name, TemplateBody=body, **settings)
    return settled(config, name)


def update(config: LocalConfig, name: str, template: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """A stack after an update."""
    settings.setdefault("Capabilities", ["CAPABILITY_NAMED_IAM"])
    config.client("cloudformation").update_stack(StackName=name, TemplateBody=json.dumps(template), **settings)
    return settled(config, name)


def delete(config: LocalConfig, name: str, **settings: Any) -> dict[str, Any]:
    """A stack after its deletion."""
    client = config.client("cloudformation")
    identity = client.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    client.delete_stack(StackName=name, **settings)
    return settled(config, identity)


def events(config: LocalConfig, stack: str) -> list[dict[str, Any]]:
    """Its events, the oldest first."""
    pages = config.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack)
    return [event for page in pages for event in page["StackEvents"]][::-1]


def failures(config: LocalConfig, stack: str) -> dict[str, str]:
    """The reasons of what failed, by logical id; the first of each."""
    found: dict[str, str] = {}
    for event in events(config, stack):
        if event["ResourceStatus"].endswith("_FAILED"):
            found.setdefault(event["LogicalResourceId"], event.get("ResourceStatusReason", ""))
    return found


def resources(config: LocalConfig, stack: str) -> dict[str, dict[str, Any]]:
    """Its resources by logical id."""
    pages = config.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return {one["LogicalResourceId"]: one for page in pages for one in page["StackResourceSummaries"]}


def inventory(config: LocalConfig, *kinds: str) -> dict[str, list[str]]:
    """What there is of these kinds, or of every kind that stacks make, by the services' own lists.

    Every kind is some thirty services, each of which moto loads when it is first asked: seconds.
    """
    return {kind: sorted(found) for kind in kinds or _LISTERS if (found := list(_LISTERS[kind](config.client)))}


def _usable(key: Mapping[str, Any]) -> bool:
    return bool(key["KeyMetadata"]["KeyState"] != "PendingDeletion")


_Client = Callable[[str], Any]
_LISTERS: Mapping[str, Callable[[_Client], Any]] = {
    "alarms": lambda c: [a["AlarmName"] for a in c("cloudwatch").describe_alarms()["MetricAlarms"]],
    "api keys": lambda c: [a["id"] for a in c("apigateway").get_api_keys()["items"]],
    "apis": lambda c: [a["id"] for a in c("apigateway").get_rest_apis()["items"]],
    "buckets": lambda c: [b["Name"] for b in c("s3").list_buckets()["Buckets"]],
    "budgets": lambda c: [b["BudgetName"] for b in c("budgets").describe_budgets(AccountId=ACCOUNT).get("Budgets", [])],
    "clusters": lambda c: [
        one["clusterArn"]
        for one in c("ecs").describe_clusters(clusters=c("ecs").list_clusters()["clusterArns"])["clusters"]
        if one["status"] == "ACTIVE"
    ],
    "dashboards": lambda c: [d["DashboardName"] for d in c("cloudwatch").list_dashboards()["DashboardEntries"]],
    "endpoints": lambda c: [
        e["VpcEndpointId"] for e in c("ec2").describe_vpc_endpoints()["VpcEndpoints"] if e["State"] != "deleted"
    ],
    "flow logs": lambda c: [f["FlowLogId"] for f in c("ec2").describe_flow_logs()["FlowLogs"]],
    "functions": lambda c: [f["FunctionName"] for f in c("lambda").list_functions()["Functions"]],
    "gateways": lambda c: [g["InternetGatewayId"] for g in c("ec2").describe_internet_gateways()["InternetGateways"]],
    "keys": lambda c: [
        key["KeyId"] for key in c("kms").list_keys()["Keys"] if _usable(c("kms").describe_key(KeyId=key["KeyId"]))
    ],
    "log groups": lambda c: [g["logGroupName"] for g in c("logs").describe_log_groups()["logGroups"]],
    "machines": lambda c: [m["name"] for m in c("stepfunctions").list_state_machines()["stateMachines"]],
    "model package groups": lambda c: [
        g["ModelPackageGroupName"] for g in c("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    ],
    "parameters": lambda c: [p["Name"] for p in c("ssm").describe_parameters()["Parameters"]],
    "pipelines": lambda c: [p["name"] for p in c("codepipeline").list_pipelines()["pipelines"]],
    "policies": lambda c: [p["PolicyName"] for p in c("iam").list_policies(Scope="Local")["Policies"]],
    "projects": lambda c: c("codebuild").list_projects()["projects"],
    "queues": lambda c: c("sqs").list_queues().get("QueueUrls", []),
    "repositories": lambda c: [r["repositoryName"] for r in c("ecr").describe_repositories()["repositories"]],
    "roles": lambda c: [r["RoleName"] for r in c("iam").list_roles()["Roles"]],
    "rules": lambda c: [r["Name"] for r in c("events").list_rules()["Rules"]],
    "schedules": lambda c: [s["Name"] for s in c("scheduler").list_schedules()["Schedules"]],
    "secrets": lambda c: [s["Name"] for s in c("secretsmanager").list_secrets()["SecretList"]],
    "security groups": lambda c: [
        g["GroupId"] for g in c("ec2").describe_security_groups()["SecurityGroups"] if g["GroupName"] != "default"
    ],
    "tables": lambda c: c("dynamodb").list_tables()["TableNames"],
    "task definitions": lambda c: c("ecs").list_task_definitions()["taskDefinitionArns"],
    "topics": lambda c: [t["TopicArn"] for t in c("sns").list_topics()["Topics"]],
    "usage plans": lambda c: [p["id"] for p in c("apigateway").get_usage_plans()["items"]],
    "vpcs": lambda c: [v["VpcId"] for v in c("ec2").describe_vpcs()["Vpcs"] if not v["IsDefault"]],
}
