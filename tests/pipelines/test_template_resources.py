"""What every resource of the stack keeps to: encrypted, tagged, watched, with a reason for all that is allowed."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from moto.events.models import EventPattern

from lookup_api.settings import ApiSettings
from tests.pipelines.rendered_stack import RESOURCES, ROOT, TEMPLATE, parameters, rendered
from topic_model.errors import SettingsError
from topic_model_cli.packaged_template import read_template

KEY = {"Fn::GetAtt": ["Key", "Arn"]}


def of_type(*kinds: str) -> dict[str, dict[str, Any]]:
    """The properties of the resources of some types."""
    return {name: one.get("Properties", {}) for name, one in RESOURCES.items() if one["Type"] in kinds}


def many(value: Any) -> list[Any]:
    """One or more, as a list."""
    return value if isinstance(value, list) else [value]


def services(statement: dict[str, Any]) -> list[str]:
    """Those whom a resource's policy lets in by this statement."""
    principal = statement.get("Principal")
    return many(principal["Service"]) if isinstance(principal, dict) and "Service" in principal else []


# ---- Policies


def documents(resources: Mapping[str, Any] = RESOURCES) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every policy document, of roles, of resources and of who may assume a role."""

    def inside(name: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, dict):
            if "Statement" in value:
                yield name, value
            for inner in value.values():
                yield from inside(name, inner)
        elif isinstance(value, list):
            for inner in value:
                yield from inside(name, inner)

    for name, resource in resources.items():
        yield from inside(name, resource.get("Properties", {}))


STATEMENTS = [(name, statement) for name, document in documents() for statement in document["Statement"]]


def test_every_statement_has_a_name() -> None:
    """And another than the others of its document, so that what is refused or idle can be told by it."""
    for name, document in documents():
        sids = [statement.get("Sid", "") for statement in document["Statement"]]
        assert all(re.fullmatch("[A-Z][A-Za-z0-9]+", sid) for sid in sids), name
        assert len(set(sids)) == len(sids), name


def test_every_statement_says_why() -> None:
    """In a comment above it, or behind its anchor."""
    lines = (ROOT / "template.yaml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\s*(- )?Sid: \w+", line):
            assert lines[number - 1].lstrip().startswith("#"), f"line {number + 1}: {line.strip()} gives no reason"


WITHOUT_RESOURCE = {
    *("cloudwatch:GetMetricData", "cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"),
    *("ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups"),
    *("ec2:DescribeSubnets", "ec2:DescribeVpcs", "sagemaker:ListEndpointConfigs"),
    *("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies"),
    *("logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"),
    *("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"),
}
"""Actions that take no resource, by the Service Authorization Reference."""


def test_nothing_is_allowed_on_everything() -> None:
    """All resources only where an action takes none; all actions nowhere. A key's policy means the key by "*"."""
    endpoints = of_type("AWS::EC2::VPCEndpoint")
    for name, statement in STATEMENTS:
        if statement["Effect"] == "Deny" or name in ("Key", *endpoints):
            continue
        actions = set(many(statement["Action"]))
        assert not [action for action in actions if "*" in action], (name, statement["Sid"])
        if "*" in many(statement.get("Resource", [])):
            assert actions <= WITHOUT_RESOURCE, (name, statement["Sid"])


def test_what_a_vpc_lets_out_stays_in_the_account() -> None:
    """An endpoint's policy allows this account's people on this account's things alone."""
    for name, properties in of_type("AWS::EC2::VPCEndpoint").items():
        (statement,) = properties["PolicyDocument"]["Statement"]
        account = {"Ref": "AWS::AccountId"}
        assert statement["Condition"] == {
            "StringEquals": {"aws:PrincipalAccount": account, "aws:ResourceAccount": account}
        }, name


def test_policies_of_aws_are_not_used() -> None:
    """They allow more than is needed, and change; API Gateway alone asks for one by its name."""
    attached = {
        name: re.findall(r"iam::aws:policy/[\w/-]+", json.dumps(properties["ManagedPolicyArns"]))
        for name, properties in of_type("AWS::IAM::Role").items()
        if "ManagedPolicyArns" in properties
    }
    assert {name: arns for name, arns in attached.items() if arns} == {
        "ApiGatewayLogsRole": ["iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"]
    }


def test_the_key_is_used_through_services_alone() -> None:
    """Nobody decrypts by hand, and a role only through the services whose encrypted things it uses."""
    through: dict[str, set[str]] = {}
    for name, statement in STATEMENTS:
        if name == "Key" or not any(action.startswith("kms:") for action in many(statement["Action"])):
            continue
        services = many(statement["Condition"]["StringEquals"]["kms:ViaService"])
        through.setdefault(name, set()).update(one["Fn::Sub"].split(".")[0] for one in services)
    used = {"s3": "s3", "dynamodb": "dynamodb", "sns": "sns", "sqs": "sqs", "secretsmanager": "secretsmanager"}
    needed: dict[str, set[str]] = {}
    for name, statement in STATEMENTS:
        if RESOURCES[name]["Type"] != "AWS::IAM::Role":
            continue
        for action in many(statement["Action"]):
            service = action.split(":")[0]
            if service in used and action not in ("s3:ListBucket", "s3:GetBucketLocation"):
                needed.setdefault(name, set()).add(used[service])
    exports = through.pop("ExportsKeyPolicy")
    assert exports == {"s3"}
    assert through == needed


# ---- What is kept


def test_everything_is_encrypted_with_the_stacks_key() -> None:
    """But for the access logs, which S3 delivers to buckets with its own key only, and the account's job logs."""
    by_key = {
        **{
            name: one["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"].get(
                "KMSMasterKeyID"
            )
            for name, one in of_type("AWS::S3::Bucket").items()
        },
        **{name: one["SSESpecification"]["KMSMasterKeyId"] for name, one in of_type("AWS::DynamoDB::Table").items()},
        **{name: one.get("KmsKeyId") for name, one in of_type("AWS::Logs::LogGroup").items()},
        **{name: one["KmsKeyId"] for name, one in of_type("AWS::SecretsManager::Secret").items()},
        **{name: one["KmsMasterKeyId"] for name, one in of_type("AWS::SNS::Topic", "AWS::SQS::Queue").items()},
        **{
            name: one["KmsKeyArn"]
            for name, one in of_type("AWS::Lambda::Function").items()
            if "Environment" in one  # what is encrypted of a function
        },
    }
    otherwise = {name for name, key in by_key.items() if key not in (KEY, {"Ref": "Key"})}
    assert otherwise == {"AccessLogsBucket", "TrainingJobLogs", "ProcessingJobLogs", "TransformJobLogs"}
    assert len(by_key) > 15
    key = RESOURCES["Key"]
    assert key["Properties"]["EnableKeyRotation"] is True
    assert key["DeletionPolicy"] == "RetainExceptOnCreate"  # what outlives the stack can be read


def test_the_key_lets_each_log_group_of_the_stack_use_it() -> None:
    """A group whose name the key does not know could not be made."""
    resources = rendered(parameters("production"))
    statements = {one["Sid"]: one for one in resources["Key"]["Properties"]["KeyPolicy"]["Statement"]}
    logs = statements["LogGroupsOfThisStack"]
    patterns = logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Logs::LogGroup":
            arn = f"arn:aws:logs:eu-west-1:123456789012:log-group:{resource['Properties']['LogGroupName']}"
            assert any(re.fullmatch(one.replace("*", ".*"), arn) for one in patterns), name


def test_nothing_is_public_or_in_the_clear() -> None:
    """Buckets refuse public access and plain HTTP; so do topic and queue."""
    for name, properties in of_type("AWS::S3::Bucket").items():
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}, name
    refusing = {
        name
        for name, statement in STATEMENTS
        if statement["Effect"] == "Deny" and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert refusing == {"BucketPolicy", "AccessLogsBucketPolicy", "NotificationTopicPolicy", "DeadLettersPolicy"}


def test_data_outlive_the_stack_and_can_be_had_back() -> None:
    """Buckets and tables are retained; tables to any second of a month, objects for a month."""
    for name in of_type("AWS::S3::Bucket", "AWS::DynamoDB::Table"):
        assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate", name
    for name, properties in of_type("AWS::DynamoDB::Table").items():
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name
    bucket = RESOURCES["Bucket"]["Properties"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert rules["earlier-versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    # Clients' texts are gone when they are said to be, versions included.
    assert rules["captured-requests"]["ExpirationInDays"] == 90
    assert rules["captured-requests"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


def test_everything_that_takes_tags_has_those_of_its_costs() -> None:
    """By CloudFormation's own schemas: what is left out would be in no budget."""
    untagged = set()
    for name, resource in RESOURCES.items():
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource["Type"]).schema
        tagging = schema.get("tagging", {})
        key = tagging.get("tagProperty", "/properties/Tags").rpartition("/")[2]
        takes = key in schema["properties"] and tagging.get("taggable", True)
        tags = {tag["Key"] for tag in resource["Properties"].get(key, [])}
        if takes and not {"topic-model:stack", "topic-model:environment"} <= tags:
            untagged.add(name)
    assert untagged == set()


def test_what_functions_are_told_is_what_their_code_reads() -> None:
    """Every variable that is set is read, and every one that must be there is set."""
    for name, properties in of_type("AWS::Lambda::Function").items():
        variables = set(properties.get("Environment", {}).get("Variables", {}))
        package = properties["Handler"].split(".")[0]
        if package == "lookup_api":
            continue
        read = {
            node.attr
            for path in (ROOT / "src" / package).glob("*.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
        }
        assert (variables, read) == (set(), set()), name
    told = dict.fromkeys(RESOURCES["LookupApiFunction"]["Properties"]["Environment"]["Variables"], "a-name")
    told |= {"FEEDBACK_DAYS": "30", "CACHE_MB": "512"}
    ApiSettings.from_environment(told)
    required = {"LOOKUP_TABLE", "CLIENTS_TABLE", "FEEDBACK_TABLE", "ENDPOINT_NAME"}
    for name in required:
        with pytest.raises(SettingsError, match=name):
            ApiSettings.from_environment({key: value for key, value in told.items() if key != name})
    # Without it no feedback is taken.
    assert told.keys() == required | {"FEEDBACK_DAYS", "CACHE_MB", "ANSWER_KEY_SECRET"}


# ---- What is watched


def test_every_log_is_kept_for_a_time() -> None:
    """Of functions, workflows, the API and the endpoint: in a group of the stack with a retention."""
    groups = of_type("AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())
    for name, properties in of_type("AWS::Lambda::Function").items():
        assert properties["LoggingConfig"]["LogGroup"]["Ref"] in groups, name
    for name, properties in of_type("AWS::StepFunctions::StateMachine").items():
        (destination,) = properties["LoggingConfiguration"]["Destinations"]
        assert destination["CloudWatchLogsLogGroup"]["LogGroupArn"]["Fn::GetAtt"][0] in groups, name
        assert properties["TracingConfiguration"] == {"Enabled": True}, name
    names = {json.dumps(group["LogGroupName"]) for group in groups.values()}
    assert json.dumps({"Fn::Sub": "/aws/sagemaker/Endpoints/${AWS::StackName}"}) in names


def alarm_metrics() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Alarm, namespace, metric and dimensions of all that alarms look at."""
    for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
        parts = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one] or [alarm]
        for part in parts:
            namespace = part["Namespace"] if isinstance(part["Namespace"], str) else part["Namespace"]["Fn::Sub"]
            dimensions = {one["Name"]: one["Value"] for one in part.get("Dimensions", [])}
            yield name, namespace, part["MetricName"], dimensions


def test_alarms_are_on_things_that_are_made() -> None:
    """An alarm on a name that nothing has would never fire: each dimension is a resource's own name."""
    stack, functions = {"Ref": "AWS::StackName"}, of_type("AWS::Lambda::Function")
    machines = of_type("AWS::StepFunctions::StateMachine")
    stage = RESOURCES["LookupApiStage"]["Properties"]["StageName"]
    seen = set()
    for name, namespace, metric, dimensions in alarm_metrics():
        seen.add(metric)
        match namespace:
            case "AWS/States":
                assert dimensions["StateMachineArn"]["Ref"] in machines, name
            case "AWS/Lambda":
                assert dimensions["FunctionName"]["Ref"] in functions, name
            case "AWS/ApiGateway":
                assert dimensions == {"ApiName": RESOURCES["LookupApi"]["Properties"]["Name"], "Stage": stage}, name
            case "AWS/SageMaker":
                assert dimensions == {"EndpointName": stack, "VariantName": "AllTraffic"}, name
            case "AWS/Events":
                assert dimensions == {"RuleName": {"Ref": "FailedJobs"}}, name
            case "AWS/SQS":
                assert dimensions == {"QueueName": {"Fn::GetAtt": ["DeadLetters", "QueueName"]}}, name
            case _:
                (written,) = RESOURCES["LookupApiRefused"]["Properties"]["MetricTransformations"]
                assert (namespace, metric) == (written["MetricNamespace"]["Fn::Sub"], written["MetricName"]), name
    assert {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "TriggeredRules"} <= seen
    assert {"Invocation5XXErrors", "ModelLatency", "5XXError", "Latency", "Errors", "Throttles"} <= seen
    assert "ApproximateNumberOfMessagesVisible" in seen


def test_every_function_and_workflow_is_watched() -> None:
    """By an alarm on its errors: one that is added is not forgotten."""
    watched: dict[str, set[str]] = {}
    for _, _, metric, dimensions in alarm_metrics():
        for value in dimensions.values():
            watched.setdefault(metric, set()).add(value.get("Ref", "") if isinstance(value, dict) else value)
    for metric in ("Errors", "Throttles"):
        assert watched[metric] == set(of_type("AWS::Lambda::Function")), metric
    for metric in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"):
        assert watched[metric] == set(of_type("AWS::StepFunctions::StateMachine")), metric


def test_alarms_tell_the_topic_and_say_what_to_do() -> None:
    """When they begin and when they end; the topic lets them by the beginning of their names."""
    begins = RESOURCES["NotificationTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"][1]
    assert json.dumps(begins["Condition"]).endswith('alarm:${AWS::StackName}-*"}}}')
    for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "NotificationTopic"}], name
        assert alarm["AlarmName"]["Fn::Sub"].startswith("${AWS::StackName}-"), name
        assert alarm["TreatMissingData"] == "notBreaching", name
        assert len(alarm["AlarmDescription"]) > 60, name


def test_the_dashboard_shows_every_alarm() -> None:
    """It is JSON once the stack's names are in it, and each alarm of the stack is on it."""
    resources = rendered(parameters("production"))
    widgets = json.loads(resources["Dashboard"]["Properties"]["DashboardBody"])["widgets"]
    (alarms,) = (widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm")
    assert set(alarms) == {f"<{name}.Arn>" for name in of_type("AWS::CloudWatch::Alarm")}
    assert {widget["type"] for widget in widgets} == {"alarm", "metric"}
    places = {(widget["x"], widget["y"]) for widget in widgets}
    assert len(places) == len(widgets)


def event(kind: str, **detail: Any) -> dict[str, Any]:
    """What EventBridge gets of a job, as far as a rule looks at it."""
    return {"source": "aws.sagemaker", "detail-type": f"SageMaker {kind} State Change", "detail": detail}


EVENTBRIDGE = "events.amazonaws.com"
OURS, THEIRS = "<JobRole.Arn>", "arn:aws:iam::123456789012:role/other"


@pytest.mark.parametrize(
    ("told", "job"),
    [
        (True, event("Training Job", TrainingJobStatus="Failed", RoleArn=OURS)),
        (False, event("Training Job", TrainingJobStatus="Completed", RoleArn=OURS)),
        (False, event("Training Job", TrainingJobStatus="Failed", RoleArn=THEIRS)),
        (True, event("Processing Job", ProcessingJobStatus="Failed", RoleArn=OURS)),
        (False, event("Processing Job", ProcessingJobStatus="Failed", RoleArn=THEIRS)),
        (
            True,
            event("Transform Job", TransformJobStatus="Failed", TransformOutput={"S3OutputPath": "s3://<Bucket>/r"}),
        ),
        (False, event("Transform Job", TransformJobStatus="Failed", TransformOutput={"S3OutputPath": "s3://other/r"})),
        (
            True,
            event(
                "HyperParameter Tuning Job",
                HyperParameterTuningJobStatus="Failed",
                TrainingJobDefinition={"RoleArn": OURS},
            ),
        ),
        (False, event("Endpoint", EndpointStatus="Failed", RoleArn=OURS)),
    ],
)
def test_a_job_that_failed_is_told_of(told: bool, job: dict[str, Any]) -> None:
    """Of the stack's own alone, whatever became of the execution that started it."""
    pattern = rendered(parameters("test"))["FailedJobs"]["Properties"]["EventPattern"]
    assert EventPattern(None, pattern).matches_event(job) is told  # type: ignore[arg-type]


def test_what_cannot_be_delivered_is_kept() -> None:
    """Every rule and schedule has the queue for it, and may put something in."""
    rules = of_type("AWS::Events::Rule")
    targets = [target for properties in rules.values() for target in properties["Targets"]]
    targets += [properties["Target"] for properties in of_type("AWS::Scheduler::Schedule").values()]
    queue = {"Fn::GetAtt": ["DeadLetters", "Arn"]}
    assert len(targets) == 3
    assert all(target["DeadLetterConfig"] == {"Arn": queue} for target in targets)
    statement = RESOURCES["DeadLettersPolicy"]["Properties"]["PolicyDocument"]["Statement"][1]
    sources = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert {source["Fn::GetAtt"][0] for source in sources} == set(rules)


@pytest.mark.parametrize("template", ["template.yaml", "delivery/pipeline.yaml"])
def test_rules_tell_topics_as_eventbridges_guide_has_it(template: str) -> None:
    """Under no role, and by policies of topic and key without a condition: with either a notice may never come."""
    resources = read_template(ROOT / template)["Resources"]
    rules = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::Events::Rule"]
    topics = [{"Ref": name} for name, one in resources.items() if one["Type"] == "AWS::SNS::Topic"]
    told = [target for rule in rules for target in rule["Targets"] if target["Arn"] in topics]
    assert told and not any("RoleArn" in target for target in told)
    may = [
        set(many(one["Action"]))
        for _, document in documents(resources)
        for one in document["Statement"]
        if "Condition" not in one and EVENTBRIDGE in services(one)
    ]
    assert {"sns:Publish"} in may
    assert {"kms:Decrypt", "kms:GenerateDataKey*"} in may


def test_training_by_itself_is_off() -> None:
    """A stack trains when it is told to, until a schedule is given."""
    assert TEMPLATE["Parameters"]["RetrainingSchedule"]["Default"] == ""
    for environment in ("test", "production"):
        assert "Retraining" not in rendered(parameters(environment))
    scheduled = {"RetrainingSchedule": "rate(7 days)", "RetrainingExports": "s3://exports-of-ours/weekly/"}
    target = rendered(parameters("production") | scheduled)["Retraining"]["Properties"]["Target"]
    assert json.loads(target["Input"]) == {"exports": "s3://exports-of-ours/weekly/"}
