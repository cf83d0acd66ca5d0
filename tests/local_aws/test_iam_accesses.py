"""What a call asks permission for: requests as boto3 really sends them, and AWS's actions and ARNs for them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config

from local_aws.config import ACCOUNT, REGION, LocalConfig
from local_aws.iam_access import UnmappedError
from local_aws.iam_accesses import accesses_of, mapped
from local_aws.iam_calls import call_of, key_of, needs_body

CONFIG = LocalConfig(Path("unused"), 1)
SESSION = boto3.Session("AKIAEXAMPLE", "secret", region_name=REGION)
_STATES = f"arn:aws:states:{REGION}:{ACCOUNT}"
_SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
_ROLE = f"arn:aws:iam::{ACCOUNT}:role/jobs"
_EVENTS = [{"timestamp": 1, "message": "m"}]
_TAGS = [{"Key": "a", "Value": "b"}]
_LAMBDA = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:validate"


class CaughtError(Exception):
    """A request that would have been sent."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


@cache
def _client(service: str) -> Any:
    made: Any = SESSION.client(
        service, endpoint_url="http://127.0.0.1:1", config=Config(retries={"total_max_attempts": 1})
    )

    def catch(request: AWSPreparedRequest, **_: Any) -> None:
        raise CaughtError(request)

    made.meta.events.register("before-send", catch)
    return made


def sent(service: str, method: str, **parameters: Any) -> dict[str, Any]:
    """The WSGI environment of a call, as boto3 sends it."""
    client = _client(service)
    with pytest.raises(CaughtError) as caught:
        getattr(client, method)(**parameters)
    request = caught.value.request
    parts = urlsplit(request.url)
    headers = {
        name: value.decode() if isinstance(value, bytes) else str(value) for name, value in request.headers.items()
    }
    body = request.body.encode() if isinstance(request.body, str) else request.body
    if not isinstance(body, bytes):
        body = b"" if body is None else b"a stream"
    return {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": parts.path,
        "RAW_URI": f"{parts.path}?{parts.query}",
        "QUERY_STRING": parts.query,
        "CONTENT_TYPE": headers.get("Content-Type", ""),
        "body": body,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }


def asked(service: str, method: str, **parameters: Any) -> list[tuple[str, str]]:
    """Actions and resources of a call."""
    environ = sent(service, method, **parameters)
    call = call_of(environ, environ["body"] if needs_body(environ) else b"")
    return [(access.action, access.resource) for access in accesses_of(call, CONFIG)]


@pytest.mark.parametrize(
    ("service", "method", "parameters", "expected"),
    [
        ("s3", "get_object", {"Bucket": "b-1", "Key": "runs/a b/ü"}, [("s3:GetObject", "arn:aws:s3:::b-1/runs/a b/ü")]),
        ("s3", "head_object", {"Bucket": "b-1", "Key": "k"}, [("s3:GetObject", "arn:aws:s3:::b-1/k")]),
        ("s3", "list_objects_v2", {"Bucket": "b-1", "Prefix": "runs/"}, [("s3:ListBucket", "arn:aws:s3:::b-1")]),
        ("s3", "head_bucket", {"Bucket": "b-1"}, [("s3:ListBucket", "arn:aws:s3:::b-1")]),
        ("s3", "put_object", {"Bucket": "b-1", "Key": "k", "Body": b"x", "Tagging": "a=b"},
         [("s3:PutObject", "arn:aws:s3:::b-1/k"), ("s3:PutObjectTagging", "arn:aws:s3:::b-1/k")]),
        ("s3", "copy_object", {"Bucket": "b-1", "Key": "k", "CopySource": {"Bucket": "b-2", "Key": "o ü"}},
         [("s3:PutObject", "arn:aws:s3:::b-1/k"), ("s3:GetObject", "arn:aws:s3:::b-2/o ü")]),
        ("s3", "create_multipart_upload", {"Bucket": "b-1", "Key": "k"}, [("s3:PutObject", "arn:aws:s3:::b-1/k")]),
        ("s3", "abort_multipart_upload", {"Bucket": "b-1", "Key": "k", "UploadId": "u"},
         [("s3:AbortMultipartUpload", "arn:aws:s3:::b-1/k")]),
        ("s3", "delete_objects", {"Bucket": "b-1", "Delete": {"Objects": [{"Key": "a&b"}, {"Key": "c"}]}},
         [("s3:DeleteObject", "arn:aws:s3:::b-1/a&b"), ("s3:DeleteObject", "arn:aws:s3:::b-1/c")]),
        ("s3", "get_bucket_location", {"Bucket": "b-1"}, [("s3:GetBucketLocation", "arn:aws:s3:::b-1")]),
        ("s3", "put_bucket_versioning", {"Bucket": "b-1", "VersioningConfiguration": {"Status": "Enabled"}},
         [("s3:PutBucketVersioning", "arn:aws:s3:::b-1")]),
        ("lambda", "invoke", {"FunctionName": _LAMBDA, "Qualifier": "live"},
         [("lambda:InvokeFunction", f"{_LAMBDA}:live")]),
        ("lambda", "invoke", {"FunctionName": "validate"}, [("lambda:InvokeFunction", _LAMBDA)]),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e", "Body": b"{}"},
         [("sagemaker:InvokeEndpoint", f"{_SAGEMAKER}:endpoint/e")]),
        ("sagemaker", "create_endpoint", {"EndpointName": "e", "EndpointConfigName": "c", "Tags": _TAGS},
         [("sagemaker:CreateEndpoint", f"{_SAGEMAKER}:endpoint/e"),
          ("sagemaker:CreateEndpoint", f"{_SAGEMAKER}:endpoint-config/c"),
          ("sagemaker:AddTags", f"{_SAGEMAKER}:endpoint/e")]),
        ("sagemaker", "create_model", {"ModelName": "m", "ExecutionRoleArn": _ROLE},
         [("sagemaker:CreateModel", f"{_SAGEMAKER}:model/m"), ("iam:PassRole", _ROLE), ("sts:AssumeRole", _ROLE)]),
        ("sagemaker", "describe_hyper_parameter_tuning_job", {"HyperParameterTuningJobName": "t"},
         [("sagemaker:DescribeHyperParameterTuningJob", f"{_SAGEMAKER}:hyper-parameter-tuning-job/t")]),
        ("stepfunctions", "start_execution", {"stateMachineArn": f"{_STATES}:stateMachine:m"},
         [("states:StartExecution", f"{_STATES}:stateMachine:m")]),
        ("stepfunctions", "stop_execution", {"executionArn": f"{_STATES}:execution:m:e"},
         [("states:StopExecution", f"{_STATES}:execution:m:e")]),
        ("dynamodb", "get_item", {"TableName": "t", "Key": {"k": {"S": "a"}}},
         [("dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t")]),
        ("dynamodb", "query", {"TableName": "t", "IndexName": "index", "KeyConditionExpression": "k = :a"},
         [("dynamodb:Query", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/index/index")]),
        ("dynamodb", "batch_write_item", {"RequestItems": {"t": [{"DeleteRequest": {"Key": {"k": {"S": "a"}}}}]}},
         [("dynamodb:BatchWriteItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t")]),
        ("cloudwatch", "describe_alarms", {"AlarmNames": ["a", "b"]},
         [("cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:a"),
          ("cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:b")]),
        ("cloudwatch", "put_metric_data", {"Namespace": "n", "MetricData": []}, [("cloudwatch:PutMetricData", "*")]),
        ("sns", "publish", {"TopicArn": "arn:aws:sns:x:1:t", "Message": "m"}, [("sns:Publish", "arn:aws:sns:x:1:t")]),
        ("logs", "put_log_events", {"logGroupName": "/g", "logStreamName": "s", "logEvents": _EVENTS},
         [("logs:PutLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/g:log-stream:s")]),
        ("events", "put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": "arn:aws:sns:x:1:t", "RoleArn": _ROLE}]},
         [("events:PutTargets", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r"), ("iam:PassRole", _ROLE),
          ("sts:AssumeRole", _ROLE)]),
        ("iam", "create_role", {"RoleName": "r", "AssumeRolePolicyDocument": "{}", "Tags": _TAGS},
         [("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/r"), ("iam:TagRole", f"arn:aws:iam::{ACCOUNT}:role/r")]),
        ("apigateway", "get_stage", {"restApiId": "a1", "stageName": "s"},
         [("apigateway:GET", f"arn:aws:apigateway:{REGION}::/restapis/a1/stages/s")]),
    ],
)  # fmt: skip
def test_a_call_asks_for_what_aws_documents(service: str, method: str, parameters: Any, expected: Any) -> None:
    """Whatever its protocol; a role that is passed on, tags and sources of copies are permissions of their own."""
    assert asked(service, method, **parameters) == expected


def test_conditions_are_about_what_the_call_says() -> None:
    """A listing's prefix, a metric's namespace, a new thing's tags, who a role is passed to."""

    def contexts(service: str, method: str, **parameters: Any) -> list[Any]:
        environ = sent(service, method, **parameters)
        call = call_of(environ, environ["body"] if needs_body(environ) else b"")
        return [access.context for access in accesses_of(call, CONFIG)]

    assert contexts("s3", "list_objects_v2", Bucket="b-1", Prefix="p/", Delimiter="/") == [
        {"s3:prefix": ("p/",), "s3:delimiter": ("/",)}
    ]
    assert contexts("cloudwatch", "put_metric_data", Namespace="n", MetricData=[]) == [{"cloudwatch:namespace": ("n",)}]
    made, passed, assumed, tagged = contexts(
        "sagemaker", "create_model", ModelName="m", ExecutionRoleArn=_ROLE, Tags=[{"Key": "Team", "Value": "ads"}]
    )
    assert made == tagged == {"aws:requesttag/team": ("ads",), "aws:tagkeys": ("Team",)}
    for one in contexts("kms", "create_key", Tags=[{"TagKey": "Team", "TagValue": "ads"}]):
        assert one == made
    assert passed == {"iam:passedtoservice": ("sagemaker.amazonaws.com",)}
    assert assumed == {}


def test_a_state_machine_needs_its_role_to_manage_rules_and_logs() -> None:
    """As Step Functions checks when the machine is made: for each kind of job that it waits for."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync", "End": True}
    definition = json.dumps({"StartAt": "T", "States": {"T": task}})
    logging = {"level": "ERROR", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:x:1:g:*"}}]}
    environ = sent("stepfunctions", "create_state_machine", name="m", definition=definition, roleArn=_ROLE,
                   loggingConfiguration=logging)  # fmt: skip
    found = accesses_of(call_of(environ, environ["body"]), CONFIG)
    of_the_role = {access.action for access in found if access.role_arn == _ROLE}
    assert {"events:PutRule", "events:PutTargets", "events:DescribeRule", "logs:CreateLogDelivery"} <= of_the_role
    assert {access.resource.rpartition("/")[2] for access in found if access.action == "events:PutRule"} == {
        "StepFunctionsGetEventsForSageMakerTrainingJobsRule"
    }


def test_what_is_not_mapped_is_said() -> None:
    """An operation nobody has thought of is an error, by its name, and not a permission that everyone has."""
    with pytest.raises(UnmappedError, match="ec2:DescribeInstances"):
        asked("ec2", "describe_instances")
    with pytest.raises(UnmappedError, match="sagemaker:ListDomains"):
        asked("sagemaker", "list_domains")
    assert "CreateTrainingJob" in mapped()["sagemaker"]


def test_a_presigned_url_is_its_signers() -> None:
    """The key stands in the query there."""
    url = SESSION.client("s3").generate_presigned_url("get_object", Params={"Bucket": "b-1", "Key": "k"})
    environ = {"QUERY_STRING": urlsplit(url).query}
    assert key_of(environ) == ("AKIAEXAMPLE", "")
