"""The journal: what changed the control planes is there after ``kill -9``, and its file neither lies nor grows."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws import lifecycle
from local_aws.config import LocalAwsError, LocalConfig
from local_aws.journal import Entry, Journal, is_journalled
from tests.local_aws.conftest import kill_and_restart, running, start

ROLE = "arn:aws:iam::123456789012:role/workflow"
DEFINITION = json.dumps({"StartAt": "only", "States": {"only": {"Type": "Succeed"}}})


def zipped(code: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", code)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A server that was killed after changes to every service that is kept, started again."""
    with running(tmp_path_factory.mktemp("survived") / "aws") as config:
        clients = {name: config.client(name) for name in _SERVICES}
        for name, change in _SERVICES.items():
            change(clients[name], config)
        # Twice: the second start reads the file as the first one rewrote it.
        yield kill_and_restart(kill_and_restart(config))


def _change_iam(iam: Any, _config: LocalConfig) -> None:
    iam.create_role(RoleName="workflow", AssumeRolePolicyDocument="{}")
    iam.create_role(RoleName="dropped", AssumeRolePolicyDocument="{}")
    iam.delete_role(RoleName="dropped")


def _change_sns(sns: Any, _config: LocalConfig) -> None:
    sns.create_topic(Name="notices")


def _change_lambda(functions: Any, config: LocalConfig) -> None:
    s3 = config.client("s3")
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="app.zip", Body=zipped("def handler(event, context): return 1"))
    functions.create_function(
        FunctionName="app",
        Runtime="python3.11",
        Role=ROLE,
        Handler="app.handler",
        Code={"S3Bucket": "code", "S3Key": "app.zip"},
        Environment={"Variables": {"A": "b"}},
    )
    s3.delete_object(Bucket="code", Key="app.zip")


def _change_dynamodb(tables: Any, _config: LocalConfig) -> None:
    for name in ("rows", "dropped"):
        tables.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    for first in range(0, 100, 25):
        puts = [{"PutRequest": {"Item": _item(number)}} for number in range(first, first + 25)]
        tables.batch_write_item(RequestItems={"rows": puts})
    tables.put_item(TableName="dropped", Item=_item(1))
    tables.delete_table(TableName="dropped")
    tables.delete_item(TableName="rows", Key={"id": {"S": "7"}})
    tables.update_item(
        TableName="rows",
        Key={"id": {"S": "8"}},
        UpdateExpression="SET n = n + :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


def _item(number: int) -> dict[str, Any]:
    return {
        "id": {"S": str(number)},
        "n": {"N": str(number)},
        "b": {"B": b"\x00\xff"},
        "l": {"L": [{"BOOL": True}]},
        "m": {"M": {"x": {"SS": ["p"]}, "y": {"B": b"\xfe"}}},
    }


def _change_states(states: Any, _config: LocalConfig) -> None:
    created = states.create_state_machine(name="machine", definition=DEFINITION, roleArn=ROLE)
    states.update_state_machine(stateMachineArn=created["stateMachineArn"], definition=DEFINITION.replace("only", "u"))
    dropped = states.create_state_machine(name="dropped", definition=DEFINITION, roleArn=ROLE)
    states.delete_state_machine(stateMachineArn=dropped["stateMachineArn"])


def _change_sagemaker(sagemaker: Any, _config: LocalConfig) -> None:
    for name in ("kept", "dropped"):
        sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": "image", "ModelDataUrl": "s3://code/model.tar.gz"},
        )
    sagemaker.delete_model(ModelName="dropped")
    # Its tag must not be played without it.
    variant = {"VariantName": "all", "ModelName": "kept", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    made = sagemaker.create_endpoint_config(EndpointConfigName="dropped", ProductionVariants=[variant])
    sagemaker.add_tags(ResourceArn=made["EndpointConfigArn"], Tags=[{"Key": "served", "Value": "once"}])
    sagemaker.delete_endpoint_config(EndpointConfigName="dropped")


def _change_logs(logs: Any, _config: LocalConfig) -> None:
    for name in ("access", "dropped"):
        logs.create_log_group(logGroupName=name)
        logs.put_retention_policy(logGroupName=name, retentionInDays=7)
    logs.delete_log_group(logGroupName="dropped")


_SERVICES = {
    "iam": _change_iam,
    "sns": _change_sns,
    "lambda": _change_lambda,
    "dynamodb": _change_dynamodb,
    "stepfunctions": _change_states,
    "sagemaker": _change_sagemaker,
    "logs": _change_logs,
}


def test_roles_and_topics_survive(survived: LocalConfig) -> None:
    """Roles and topics are there with their ARNs; deleted ones are not."""
    assert [role["Arn"] for role in survived.client("iam").list_roles()["Roles"]] == [ROLE]
    topics = survived.client("sns").list_topics()["Topics"]
    assert topics == [{"TopicArn": "arn:aws:sns:us-east-1:123456789012:notices"}]


def test_a_function_survives_the_object_it_came_from(survived: LocalConfig) -> None:
    """A function made from an object in S3 keeps its code when the object is gone, as on AWS."""
    function = survived.client("lambda").get_function(FunctionName="app")["Configuration"]
    assert function["Environment"]["Variables"] == {"A": "b"}
    assert function["CodeSize"] == len(zipped("def handler(event, context): return 1"))


def test_tables_and_rows_survive(survived: LocalConfig) -> None:
    """Rows of all types are there as last written, and deleted rows and tables are not."""
    tables = survived.client("dynamodb")
    assert tables.list_tables()["TableNames"] == ["rows"]
    rows = {row["id"]["S"]: row for row in tables.scan(TableName="rows")["Items"]}
    expected = {str(number): _item(number) for number in range(100) if number != 7}
    expected["8"]["n"] = {"N": "9"}
    assert rows == expected


def test_state_machines_survive(survived: LocalConfig) -> None:
    """A state machine has its updated definition; a deleted one is gone."""
    states = survived.client("stepfunctions")
    (machine,) = states.list_state_machines()["stateMachines"]
    described = states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])
    assert described["definition"] == DEFINITION.replace("only", "u")


def test_models_survive(survived: LocalConfig) -> None:
    """A model is described as it was made; a deleted one is gone."""
    sagemaker = survived.client("sagemaker")
    assert [model["ModelName"] for model in sagemaker.list_models()["Models"]] == ["kept"]
    described = sagemaker.describe_model(ModelName="kept")
    assert described["PrimaryContainer"]["ModelDataUrl"] == "s3://code/model.tar.gz"


def test_log_groups_survive(survived: LocalConfig) -> None:
    """A group that was made is there with its retention, so that an access log goes on being written into it."""
    groups = survived.client("logs").describe_log_groups()["logGroups"]
    found = {group["logGroupName"]: group.get("retentionInDays") for group in groups}
    assert found["access"] == 7 and "dropped" not in found


def test_the_journal_does_not_grow_with_what_was_rewritten(survived: LocalConfig) -> None:
    """After a restart the file has the rows once, nothing of deleted tables and models, and no key that signed."""
    entries = [Entry.from_line(line) for line in (survived.root / "journal.jsonl").read_bytes().splitlines(True)]
    written = [entry for entry in entries if entry.service == "dynamodb" and entry.action != "CreateTable"]
    puts = sum(len(puts) for entry in written for puts in entry.document()["RequestItems"].values())
    assert puts == 99
    names = {entry.document().get(field) for entry in entries for field in ("ModelName", "TableName", "logGroupName")}
    assert "dropped" not in names
    assert all("Signature=0" in entry.headers["Authorization"] for entry in entries)


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    """A line that the end of the server cut in the middle is dropped, and the next entry is whole."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    entry = Entry("iam", "CreateRole", "POST", "/", "", {}, "Action=CreateRole&ä".encode())
    journal.append(entry)
    journal.append(Entry("lambda", "POST /x", "POST", "/x", "", {}, b"\xff\x00"))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    again = Journal(path)
    again.append(entry)
    again.close()
    assert path.read_bytes() == whole + entry.to_line()
    assert [Entry.from_line(line) for line in whole.splitlines(True)][1].body == b"\xff\x00"


@pytest.mark.parametrize("damage", [b"no json\n", b"{}\n", b'{"service": "s3", "surprise": 1, "body": ""}\n'])
def test_damage_in_the_middle_is_a_clear_error(tmp_path: Path, damage: bytes) -> None:
    """A damaged line that is not torn names the file, the line and the remedy; nothing is thrown away."""
    path = tmp_path / "journal.jsonl"
    line = Entry("iam", "CreateRole", "POST", "/", "", {}, b"").to_line()
    path.write_bytes(line + damage + line)
    with pytest.raises(LocalAwsError, match=r"journal\.jsonl is damaged at line 2 .*topic-model local reset"):
        Journal(path)
    assert path.read_bytes() == line + damage + line


def test_a_damaged_journal_keeps_the_server_from_starting(tmp_path: Path) -> None:
    """`up` passes the journal's message on, and does not start with half of the state."""
    root = tmp_path / "aws"
    with running(root):
        pass
    (root / "journal.jsonl").write_bytes(b"?\n?\n")
    with pytest.raises(LocalAwsError, match="damaged at line 1"):
        start(root)
    lifecycle.reset(root)
    assert not root.exists()


@pytest.mark.parametrize(
    ("service", "action", "expected"),
    [
        ("sagemaker", "CreateModel", True),
        ("sagemaker", "CreateTrainingJob", False),
        ("sagemaker", "CreateEndpoint", False),
        ("states", "CreateStateMachine", True),
        ("states", "StartExecution", False),
        ("states", "SendTaskSuccess", False),
        ("dynamodb", "BatchWriteItem", True),
        ("dynamodb", "BatchGetItem", False),
        ("sns", "Publish", False),
        ("sns", "Subscribe", True),
        ("s3", "PUT /bucket", True),
        ("s3", "PUT /bucket/key", False),
        ("s3", "POST /bucket", False),
        ("lambda", "POST /2015-03-31/functions", True),
        ("lambda", "POST /2015-03-31/functions/f/invocations", False),
        ("monitoring", "PutMetricData", False),
        ("logs", "PutLogEvents", False),
        ("logs", "CreateLogGroup", True),
    ],
)
def test_only_changes_of_control_planes_are_journalled(service: str, action: str, expected: bool) -> None:
    """What keeps its own state (objects, jobs, endpoints, executions) and what is only an event stay out."""
    assert is_journalled(service, action) is expected
