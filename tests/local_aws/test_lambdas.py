"""Lambda functions that execute: through boto3, in processes of their own."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws.config import LocalConfig
from tests.local_aws.toy_server import log_text, processes_naming, toy_aws, wait_for

HANDLERS = """
import os, sys, time
import helper
calls = 0

def echo(event, context):
    global calls
    calls += 1
    print("asked", event)
    return {"event": event, "pid": os.getpid(), "calls": calls, "colour": os.environ.get("COLOUR"),
            "name": context.function_name, "helped": helper.VALUE, "left": context.get_remaining_time_in_millis(),
            "folder": os.path.basename(os.path.dirname(os.getcwd())), "endpoint": os.environ["AWS_ENDPOINT_URL"]}

def buckets(event, context):
    import boto3
    return [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]

def fail(event, context):
    raise ValueError("the event is " + event["colour"])

def leave(event, context):
    sys.exit(5)

def sleep(event, context):
    time.sleep(event.get("seconds", 60))
    return os.getpid()

def unserialisable(event, context):
    return {1, 2}
"""


def package(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    with toy_aws(tmp_path_factory.mktemp("lambdas") / "root") as config:
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
        config.client("iam").create_role(RoleName="toy", AssumeRolePolicyDocument=json.dumps(trust))
        config.client("s3").create_bucket(Bucket="one")
        for name in ("echo", "buckets", "fail", "leave", "sleep", "unserialisable", "absent"):
            create(config, name, f"handlers.{name}")
        yield config


def create(aws: LocalConfig, name: str, handler: str, *, code: bytes | None = None, **fields: Any) -> None:
    aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role="arn:aws:iam::123456789012:role/toy",
        Handler=handler,
        Code={"ZipFile": code or package(handlers=HANDLERS, helper="VALUE = 42")},
        Environment={"Variables": {"COLOUR": "red"}},
        **({"Timeout": 10} | fields),
    )


def call(aws: LocalConfig, name: str, event: Any = None, **fields: Any) -> tuple[Any, dict[str, Any]]:
    answer = aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event or {}), **fields)
    return json.loads(answer["Payload"].read()), answer


def test_a_function_runs_from_its_archive(aws: LocalConfig) -> None:
    """The handler gets event, context and variables, and imports what lies beside it."""
    result, answer = call(aws, "echo", {"k": [1, "ü"]})
    assert answer["StatusCode"] == 200 and "FunctionError" not in answer
    assert result["event"] == {"k": [1, "ü"]} and result["helped"] == 42
    assert (result["colour"], result["name"], result["folder"]) == ("red", "echo", "echo")
    assert 0 < result["left"] <= 10_000 and result["endpoint"] == aws.endpoint_url


def test_a_functions_boto3_reaches_the_local_aws(aws: LocalConfig) -> None:
    """Without a word in the code of where it runs."""
    assert call(aws, "buckets")[0] == ["one"]


def test_the_process_stays_warm(aws: LocalConfig) -> None:
    """The second call is answered by the first one's process, which remembers."""
    first, _ = call(aws, "echo")
    second, _ = call(aws, "echo")
    assert second["pid"] == first["pid"] and second["calls"] == first["calls"] + 1


def test_concurrent_calls_have_processes_of_their_own(aws: LocalConfig) -> None:
    """A process answers one event at a time."""
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: call(aws, "sleep", {"seconds": 1}), range(3)))
    assert len({pid for pid, _ in answers}) == 3


def test_new_code_and_new_variables_are_run(aws: LocalConfig) -> None:
    """An update is never answered by an old process."""
    create(aws, "changing", "handlers.echo")
    assert call(aws, "changing")[0]["helped"] == 42
    client = aws.client("lambda")
    client.update_function_code(FunctionName="changing", ZipFile=package(handlers=HANDLERS, helper="VALUE = 43"))
    assert call(aws, "changing")[0]["helped"] == 43
    client.update_function_configuration(FunctionName="changing", Environment={"Variables": {"COLOUR": "blue"}})
    assert call(aws, "changing")[0]["colour"] == "blue"


def test_an_exception_is_told_as_lambda_tells_it(aws: LocalConfig) -> None:
    """errorType, errorMessage and the handler's own stack trace, and the process goes on."""
    result, answer = call(aws, "fail", {"colour": "red"})
    assert answer["FunctionError"] == "Unhandled" and answer["StatusCode"] == 200
    assert (result["errorType"], result["errorMessage"]) == ("ValueError", "the event is red")
    assert len(result["stackTrace"]) == 1 and "handlers.py" in result["stackTrace"][0]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("leave", "Runtime.ExitError", "exit status 5"),
        ("absent", "Runtime.HandlerNotFound", "'absent' missing on module 'handlers'"),
        ("unserialisable", "Runtime.MarshalError", "set is not JSON serializable"),
    ],
)
def test_what_goes_wrong_around_the_handler_has_lambdas_names(
    aws: LocalConfig, name: str, kind: str, message: str
) -> None:
    """A process that ends, a handler that is not there, a result that is no JSON; the next call is the same."""
    for _ in range(2):
        result, answer = call(aws, name)
        assert answer["FunctionError"] == "Unhandled"
        assert result["errorType"] == kind and message in result["errorMessage"]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"handlers": "import not_there"}, "Runtime.ImportModuleError"),
        ({"other": ""}, "Runtime.ImportModuleError"),
        ({"handlers": "def ("}, "Runtime.UserCodeSyntaxError"),
        ({"handlers": "1 / 0"}, "ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told(aws: LocalConfig, files: dict[str, str], kind: str) -> None:
    """As Lambda's own runtime names it."""
    name = f"broken-{abs(hash(str(files)))}"
    create(aws, name, "handlers.echo", code=package(**files))
    assert call(aws, name)[0]["errorType"] == kind


def test_a_function_that_takes_too_long_is_ended(aws: LocalConfig) -> None:
    """Sandbox.Timedout after its own timeout, and its process is gone."""
    create(aws, "slow", "handlers.sleep", Timeout=1)
    result, answer = call(aws, "slow")
    assert answer["FunctionError"] == "Unhandled"
    assert result["errorType"] == "Sandbox.Timedout" and "timed out after 1.00 seconds" in result["errorMessage"]
    wait_for(lambda: not processes_naming(f"{aws.root}/lambda/slow/"))


def test_what_is_printed_is_in_the_log(aws: LocalConfig) -> None:
    """In the answer's tail where asked for, and in the function's log group."""
    _, answer = call(aws, "echo", {"note": "log me"}, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "asked {'note': 'log me'}" in tail and tail.startswith("START RequestId")
    assert "asked {'note': 'log me'}" in log_text(aws, "/aws/lambda/echo")


def test_a_function_logs_where_it_is_told_to(aws: LocalConfig) -> None:
    """Into the group of its LoggingConfig, which Describe shows, from its creation on and after an update."""
    create(aws, "chatty", "handlers.echo", LoggingConfig={"LogFormat": "JSON", "LogGroup": "/shared/functions"})
    call(aws, "chatty", {"note": "first"})
    aws.client("lambda").update_function_configuration(FunctionName="chatty", LoggingConfig={"LogGroup": "/other"})
    call(aws, "chatty", {"note": "second"})
    assert "first" in log_text(aws, "/shared/functions") and "second" in log_text(aws, "/other")
    shown = aws.client("lambda").get_function_configuration(FunctionName="chatty")["LoggingConfig"]
    assert shown["LogGroup"] == "/other"
    assert log_text(aws, "/aws/lambda/chatty") == ""


def test_an_event_call_returns_at_once_and_runs(aws: LocalConfig) -> None:
    """202, and the function has run a little later; a dry run is 204 and runs nothing."""
    began = time.monotonic()
    answer = aws.client("lambda").invoke(FunctionName="sleep", InvocationType="Event", Payload=b'{"seconds": 2}')
    assert answer["StatusCode"] == 202
    assert time.monotonic() - began < 2
    aws.client("lambda").invoke(FunctionName="echo", InvocationType="Event", Payload=b'{"note": "later"}')
    wait_for(lambda: "'later'" in log_text(aws, "/aws/lambda/echo"))
    dry = aws.client("lambda").invoke(FunctionName="echo", InvocationType="DryRun", Payload=b'{"note": "dry"}')
    assert dry["StatusCode"] == 204 and "'dry'" not in log_text(aws, "/aws/lambda/echo")


def test_a_payload_that_is_no_json_is_refused(aws: LocalConfig) -> None:
    """InvalidRequestContentException, as AWS names it."""
    with pytest.raises(ClientError) as caught:
        aws.client("lambda").invoke(FunctionName="echo", Payload=b"{")
    assert caught.value.response["Error"]["Code"] == "InvalidRequestContentException"


def test_no_function_outlives_the_server(tmp_path: Any) -> None:
    """Warm processes end with it."""
    root = tmp_path / "root"
    with toy_aws(root) as config:
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
        config.client("iam").create_role(RoleName="toy", AssumeRolePolicyDocument=json.dumps(trust))
        create(config, "echo", "handlers.echo")
        call(config, "echo")
        assert processes_naming(f"{root}/lambda/echo/")
    wait_for(lambda: not processes_naming(str(root)))
