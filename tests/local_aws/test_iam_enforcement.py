"""IAM enforced: who callers are, what they are refused, and in which words."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws.config import LocalConfig
from local_aws.iam_administrator import CREDENTIALS_FILE
from local_aws.iam_decisions import read_decisions, without
from local_aws.iam_enforcement import wrap
from local_aws.iam_policies import StatementId, parse_policy
from local_aws.iam_unenforced import NOT_ENFORCED
from tests.local_aws.conftest import running
from tests.local_aws.toy_server import wait_for
from tests.test_least_privilege import NOT_EXERCISED, NOT_EXERCISED_ACTIONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "decisions" / "0021-least-privilege.md"
READS = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "arn:aws:s3:::open*"}
PUBLISHES = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}
FAILS = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Mine", "Cause": 'it is "so"'}}}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A local AWS that enforces IAM, as its administrator sees it, with two buckets."""
    with running(tmp_path_factory.mktemp("iam") / "aws", enforce_iam=True) as config:
        for bucket in ("open", "shut"):
            config.client("s3").create_bucket(Bucket=bucket)
            config.client("s3").put_object(Bucket=bucket, Key="there", Body=b"x")
        yield config


def role(aws: LocalConfig, name: str, *statements: Any, service: str = "lambda.amazonaws.com") -> str:
    """The ARN of a new role that a service, and the account, may assume."""
    principal = {"Service": service, "AWS": f"arn:aws:iam::{aws.account}:root"}
    trust = {"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]}
    iam = aws.client("iam")
    arn = str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"])
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document_of(*statements))
    return arn


def document_of(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def session(aws: LocalConfig, role_arn: str) -> boto3.Session:
    """A session that the administrator assumes a role for."""
    keys = aws.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test")["Credentials"]
    return boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=aws.region)


def refusal(call: Any, **parameters: Any) -> tuple[str, str]:
    """Code and message of a call that is refused."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


def test_a_refusal_is_in_awss_words(aws: LocalConfig) -> None:
    """Who, what, on which resource, and why; with each service's own code."""
    limited = session(aws, role(aws, "limited", READS))
    user = f"User: arn:aws:sts::{aws.account}:assumed-role/limited/test is not authorized to perform: "

    def refused(service: str, method: str, **parameters: Any) -> tuple[str, str]:
        return refusal(getattr(limited.client(service, endpoint_url=aws.endpoint_url), method), **parameters)

    assert refused("s3", "put_object", Bucket="open", Key="k", Body=b"x") == (
        "AccessDenied",
        f"{user}s3:PutObject on resource: arn:aws:s3:::open/k because no identity-based policy allows the s3:PutObject "
        "action",
    )
    codes = {
        ("dynamodb", "list_tables"): "AccessDeniedException",
        ("sagemaker", "list_models"): "AccessDeniedException",
        ("lambda", "list_functions"): "AccessDeniedException",
        ("apigateway", "get_rest_apis"): "AccessDeniedException",
        ("iam", "list_roles"): "AccessDenied",
        ("sns", "list_topics"): "AuthorizationError",
        ("cloudwatch", "list_metrics"): "AccessDenied",
    }
    for (service, method), code in codes.items():
        found, message = refused(service, method)
        assert (found, message.startswith(user)) == (code, True), message
    assert "has not mapped ec2:DescribeInstances" in refused("ec2", "describe_instances")[1]


def test_what_is_allowed_is_done(aws: LocalConfig) -> None:
    """On the resources that the policy names and on no others."""
    s3 = session(aws, role(aws, "reader", READS)).client("s3", endpoint_url=aws.endpoint_url)
    assert s3.get_object(Bucket="open", Key="there")["Body"].read() == b"x"
    assert refusal(s3.get_object, Bucket="shut", Key="there")[0] == "AccessDenied"


def test_managed_policies_and_boundaries_count_as_their_default_versions_say(aws: LocalConfig) -> None:
    """An attached policy allows, a new default version of it no longer does, and a boundary limits an inline one."""
    iam, name = aws.client("iam"), "managed"
    s3 = session(aws, role(aws, name)).client("s3", endpoint_url=aws.endpoint_url)
    policy = iam.create_policy(PolicyName="reads", PolicyDocument=document_of(READS))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    assert s3.get_object(Bucket="open", Key="there")["Body"].read() == b"x"
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=document_of(PUBLISHES), SetAsDefault=True)
    assert refusal(s3.get_object, Bucket="open", Key="there")[0] == "AccessDenied"
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document_of(READS))
    assert s3.get_object(Bucket="open", Key="there")["Body"].read() == b"x"
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=policy)
    assert "no permissions boundary allows" in refusal(s3.get_object, Bucket="open", Key="there")[1]


def test_absence_is_told_to_those_who_may_list(aws: LocalConfig) -> None:
    """To others an object that is not there is a refusal, as on S3."""
    get_only = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::open/*"}
    lists = session(aws, role(aws, "lists", READS)).client("s3", endpoint_url=aws.endpoint_url)
    gets = session(aws, role(aws, "gets", get_only)).client("s3", endpoint_url=aws.endpoint_url)
    assert refusal(lists.get_object, Bucket="open", Key="gone")[0] == "NoSuchKey"
    assert refusal(gets.get_object, Bucket="open", Key="gone")[0] == "AccessDenied"


def test_nobodys_key_is_refused(aws: LocalConfig) -> None:
    """And so are a session's keys without its token, and a request that is not signed."""
    stranger = boto3.Session("AKIASTRANGER", "x", region_name=aws.region)
    keys = aws.client("sts").assume_role(RoleArn=role(aws, "tokenless", READS), RoleSessionName="test")["Credentials"]
    tokenless = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], region_name=aws.region)
    for caller in (stranger, tokenless):
        code, _ = refusal(caller.client("dynamodb", endpoint_url=aws.endpoint_url).list_tables)
        assert code == "UnrecognizedClientException"


def test_a_function_acts_under_its_role(aws: LocalConfig) -> None:
    """Its process has the role's session; what the role may not, the function may not; an untrusting role runs none."""
    code = "import boto3\ndef f(event, context):\n    return [boto3.client('sts').get_caller_identity()['Arn'], "
    code += "boto3.client('s3').get_object(Bucket=event, Key='there')['ETag']]\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("code.py", code)
    functions = aws.client("lambda")
    made = {"Runtime": "python3.12", "Handler": "code.f", "Code": {"ZipFile": buffer.getvalue()}, "Timeout": 30}
    functions.create_function(FunctionName="reads", Role=role(aws, "function", READS), **made)

    answer = json.loads(functions.invoke(FunctionName="reads", Payload=b'"open"')["Payload"].read())
    refused = json.loads(functions.invoke(FunctionName="reads", Payload=b'"shut"')["Payload"].read())

    assert answer[0] == f"arn:aws:sts::{aws.account}:assumed-role/function/reads"
    assert "is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::shut/there" in refused["errorMessage"]
    others = role(aws, "others", READS, service="sagemaker.amazonaws.com")
    assert refusal(functions.create_function, FunctionName="none", Role=others, **made) == (
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    )


def test_a_bucket_policy_denies_the_administrator_too(aws: LocalConfig) -> None:
    """An explicit deny wins over everything; the administrator may still take it away."""
    aws.client("s3").create_bucket(Bucket="denied")
    denial = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::denied/*"}
    aws.client("s3").put_bucket_policy(Bucket="denied", Policy=json.dumps({"Statement": [denial]}))
    code, message = refusal(aws.client("s3").put_object, Bucket="denied", Key="k", Body=b"x")
    assert code == "AccessDenied" and message.endswith("with an explicit deny in a resource-based policy")
    aws.client("s3").delete_bucket_policy(Bucket="denied")
    aws.client("s3").put_object(Bucket="denied", Key="k", Body=b"x")


def test_a_failed_execution_is_told_of_as_the_topics_policy_says(aws: LocalConfig) -> None:
    """With a condition on EventBridge, or under a role, a topic hears nothing: the message lies in the queue."""
    sqs, sns, events = aws.client("sqs"), aws.client("sns"), aws.client("events")
    queues = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("heard", "letters")}
    arns = {name: f"arn:aws:sqs:{aws.region}:{aws.account}:{name}" for name in queues}
    events_may = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}}
    from_rules = {"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:events:{aws.region}:{aws.account}:rule/*"}}}
    allow = {**events_may, "Action": "sqs:SendMessage", "Resource": arns["letters"], **from_rules}
    sqs.set_queue_attributes(QueueUrl=queues["letters"], Attributes={"Policy": json.dumps({"Statement": [allow]})})
    topic = sns.create_topic(Name="told")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["heard"], Attributes={"RawMessageDelivery": "true"})
    publish = {**events_may, "Action": "sns:Publish", "Resource": topic}
    states = aws.client("stepfunctions")
    machine = states.create_state_machine(
        name="fails",
        definition=json.dumps(FAILS),
        roleArn=role(aws, "machine", PUBLISHES, service="states.amazonaws.com"),
    )["stateMachineArn"]
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ["FAILED"]}}
    template = {"InputPathsMap": {"cause": "$.detail.cause"}, "InputTemplate": '{"cause": <cause>}'}
    letters = {"Arn": arns["letters"]}
    target = {"Id": "t", "Arn": topic, "InputTransformer": template, "DeadLetterConfig": letters}
    events.put_rule(Name="failures", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="failures", Targets=[target])

    def let(statement: Mapping[str, Any]) -> None:
        policy = json.dumps({"Statement": [statement]})
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    def received(queue: str) -> list[Any]:
        return [json.loads(one["Body"]) for one in sqs.receive_message(QueueUrl=queues[queue]).get("Messages", [])]

    def fail_once(queue: str) -> list[Any]:
        heard: list[Any] = []
        states.start_execution(stateMachineArn=machine)
        wait_for(lambda: bool(heard.extend(received(queue)) or heard))
        return heard

    told = [{"cause": 'it is "so"'}]
    let(publish)
    assert fail_once("heard") == told
    for condition in (from_rules, {"Condition": {"StringEquals": {"aws:SourceAccount": aws.account}}}):
        let({**publish, **condition})
        assert fail_once("letters") == told
    let(publish)
    teller = role(aws, "teller", PUBLISHES, service="events.amazonaws.com")
    events.put_targets(Rule="failures", Targets=[{**target, "RoleArn": teller}])
    assert fail_once("letters") == told


def test_a_keys_tags_and_aliases_are_conditions(aws: LocalConfig) -> None:
    """A stack's key is known by its tag, or by its alias as long as that is there."""
    kms = aws.client("kms")
    tagged = kms.create_key(Tags=[{"TagKey": "stack", "TagValue": "t-1"}])["KeyMetadata"]["KeyId"]
    named = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/t-1", TargetKeyId=named)
    by_tag = {"StringLike": {"aws:ResourceTag/stack": "t-*"}}
    by_alias = {"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/t-*"}}
    allow = {"Effect": "Allow", "Resource": "*"}
    own = session(aws, role(aws, "keys", {**allow, "Action": "kms:DescribeKey", "Condition": by_tag},
                            {**allow, "Action": "kms:GetKeyPolicy", "Condition": by_alias}))  # fmt: skip
    client = own.client("kms", endpoint_url=aws.endpoint_url)
    client.describe_key(KeyId=tagged)
    client.get_key_policy(KeyId=named, PolicyName="default")
    assert refusal(client.describe_key, KeyId=named)[0] == "AccessDeniedException"
    assert refusal(client.get_key_policy, KeyId=tagged, PolicyName="default")[0] == "AccessDeniedException"


def test_decisions_are_recorded_with_the_statement_that_allowed(aws: LocalConfig) -> None:
    """So that what a role would lack without it can be told without doing it again."""
    arn = role(aws, "recorded", {**READS, "Action": "s3:ListBucket"}, {**READS, "Action": "s3:GetObject"})
    s3 = session(aws, arn).client("s3", endpoint_url=aws.endpoint_url)
    s3.get_object(Bucket="open", Key="there")

    recorded = [one for one in read_decisions(aws.root) if one.caller.role_arn == arn]
    document = aws.client("iam").get_role_policy(RoleName="recorded", PolicyName="own")["PolicyDocument"]
    statements = parse_policy(json.dumps(document), arn, "own")

    assert [one.decision.by for one in recorded] == [(StatementId(arn, "own", 1),)]
    lost = [without(statement.id, recorded, statements) for statement in statements]
    assert [len(requests) for requests in lost] == [0, 1]


def test_without_the_option_nothing_is_in_a_requests_way() -> None:
    """Not even a function around the application."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        return []

    assert wrap(app, is_open=lambda _: False) is app


def test_the_administrators_keys_are_the_owners_alone(aws: LocalConfig) -> None:
    """Nobody else on the machine may read them, and the health route does not tell them."""
    path = aws.root / CREDENTIALS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert aws.credentials is not None and aws.credentials.secret_access_key not in repr(aws)
    assert aws.credentials.access_key_id not in (aws.root / "server.json").read_text()


def test_the_document_says_what_is_not_proved() -> None:
    """Each statement that nothing asks for, and all that is not enforced, stands in what a reader is given."""
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    actions = {reason for reasons in NOT_EXERCISED_ACTIONS.values() for reason in reasons.values()}
    listed = {*NOT_EXERCISED.values(), *actions, *NOT_ENFORCED, *NOT_ENFORCED.values()}
    assert [reason for reason in listed if reason not in text] == []
