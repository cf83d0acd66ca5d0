"""Whether a stack's resources are really there: each is looked up by its own service, not by CloudFormation's word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model_cli.deliver_errors import ActionFailedError

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

_CALLS: dict[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "AWS::ApiGateway::RestApi": ("apigateway", "get_rest_api", lambda one: {"restApiId": one}),
    "AWS::ApiGateway::UsagePlan": ("apigateway", "get_usage_plan", lambda one: {"usagePlanId": one}),
    "AWS::CloudWatch::Alarm": ("cloudwatch", "describe_alarms", lambda one: {"AlarmNames": [one]}),
    "AWS::CloudWatch::Dashboard": ("cloudwatch", "get_dashboard", lambda one: {"DashboardName": one}),
    "AWS::DynamoDB::Table": ("dynamodb", "describe_table", lambda one: {"TableName": one}),
    "AWS::Events::Rule": ("events", "describe_rule", lambda one: {"Name": one.rpartition("/")[2]}),
    "AWS::IAM::Role": ("iam", "get_role", lambda one: {"RoleName": one}),
    "AWS::KMS::Key": ("kms", "describe_key", lambda one: {"KeyId": one}),
    "AWS::Lambda::Function": ("lambda", "get_function", lambda one: {"FunctionName": one}),
    "AWS::Logs::LogGroup": ("logs", "describe_log_groups", lambda one: {"logGroupNamePrefix": one}),
    "AWS::S3::Bucket": ("s3", "head_bucket", lambda one: {"Bucket": one}),
    "AWS::SNS::Topic": ("sns", "get_topic_attributes", lambda one: {"TopicArn": one}),
    "AWS::SQS::Queue": ("sqs", "get_queue_attributes", lambda one: {"QueueUrl": one}),
    "AWS::SageMaker::ModelPackageGroup": (
        "sagemaker",
        "describe_model_package_group",
        lambda one: {"ModelPackageGroupName": one.rpartition("/")[2]},
    ),
    "AWS::SecretsManager::Secret": ("secretsmanager", "describe_secret", lambda one: {"SecretId": one}),
    "AWS::StepFunctions::StateMachine": (
        "stepfunctions",
        "describe_state_machine",
        lambda one: {"stateMachineArn": one},
    ),
}
_EMPTY = {"describe_alarms": "MetricAlarms", "describe_log_groups": "logGroups"}
"""Calls that answer an empty list about what is not there."""


def verify_resources(config: LocalConfig, stack: str) -> str:
    """Look resources up, and say in a sentence how many are there; kinds that are parts of others are not asked for.

    Raises:
        ActionFailedError: CloudFormation says that a resource is there, and its service does not.
    """
    pages = config.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    found = unknown = 0
    for resource in (one for page in pages for one in page["StackResourceSummaries"]):
        kind, physical = resource["ResourceType"], resource.get("PhysicalResourceId", "")
        if kind not in _CALLS:
            unknown += 1
            continue
        service, call, parameters = _CALLS[kind]
        try:
            answer = getattr(config.client(service), call)(**parameters(physical))
        except ClientError as error:
            raise ActionFailedError(f"stack {stack} says that {physical} is there, but {call} says: {error}") from error
        if call in _EMPTY and not answer[_EMPTY[call]]:
            raise ActionFailedError(f"stack {stack} says that {physical} is there, but {call} knows none")
        found += 1
    return f"{found} of {found + unknown} resources looked up by their own services, and there"
