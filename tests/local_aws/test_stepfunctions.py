"""State machines on the local AWS behave as on AWS: errors, retries, the context object, and the API's answers."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import json
import re
import time
import uuid
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws.config import LocalConfig
from tests.local_aws.conftest import kill_and_restart

ROLE = "arn:aws:iam::123456789012:role/r"
SERVICE = "arn:aws:states:::"
States = Mapping[str, Any]


def unique(prefix: str = "n") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def begin(config: LocalConfig, states: States, data: Any = None, **machine: Any) -> str:
    """Start an execution of a new state machine; its first state is where it starts."""
    client = config.client("stepfunctions")
    definition = json.dumps({"StartAt": next(iter(states)), "States": states, **machine})
    created = client.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
    started = client.start_execution(
        stateMachineArn=created["stateMachineArn"], name=unique("run"), input=json.dumps(data or {})
    )
    return str(started["executionArn"])


def finish(config: LocalConfig, execution: str, seconds: float = 40) -> dict[str, Any]:
    """The description of an execution that has ended."""
    deadline = time.monotonic() + seconds
    while True:
        described: dict[str, Any] = config.client("stepfunctions").describe_execution(executionArn=execution)
        if described["status"] != "RUNNING":
            return described
        assert time.monotonic() < deadline, "the execution did not end in time"
        time.sleep(0.02)


def run(config: LocalConfig, states: States, data: Any = None, **machine: Any) -> dict[str, Any]:
    return finish(config, begin(config, states, data, **machine))


def output(config: LocalConfig, states: States, data: Any = None) -> Any:
    """The output of an execution that must succeed."""
    described = run(config, states, data)
    assert described["status"] == "SUCCEEDED", (described.get("error"), described.get("cause"))
    return json.loads(described["output"])


def events(config: LocalConfig, execution: str) -> list[str]:
    found = config.client("stepfunctions").get_execution_history(executionArn=execution)["events"]
    return [event["type"] for event in found]


def task(resource: str, parameters: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": SERVICE + resource, "Parameters": parameters, "End": True, **more}


def job(name: str | None, code: str, **more: Any) -> dict[str, Any]:
    """A Processing job's Task that runs Python code; without a name, ``ProcessingJobName.$`` must be given."""
    parameters: dict[str, Any] = {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["python3", "-c", code]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        **({"ProcessingJobName": name} if name else {}),
        **more.pop("parameters", {}),
    }
    return task("sagemaker:createProcessingJob.sync", parameters, **more)


SLEEP = "import time; time.sleep(600)"


def job_status(config: LocalConfig, name: str) -> str | None:
    try:
        return str(config.client("sagemaker").describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])
    except ClientError:
        return None


def wait_for_status(config: LocalConfig, name: str, status: str) -> None:
    deadline = time.monotonic() + 30
    while job_status(config, name) != status:
        assert time.monotonic() < deadline, f"{name} is {job_status(config, name)}, not {status}"
        time.sleep(0.05)


# SageMaker jobs


def test_a_job_is_waited_for_and_described(shared_aws: LocalConfig) -> None:
    """``.sync`` returns what describe says of the completed job, with times as epoch milliseconds."""
    name = unique("job")
    described = output(shared_aws, {"job": job(name, "print('done')")})
    assert (described["ProcessingJobName"], described["ProcessingJobStatus"]) == (name, "Completed")
    assert abs(described["CreationTime"] / 1000 - time.time()) < 600


def test_a_failed_job_is_states_task_failed_with_its_description(shared_aws: LocalConfig) -> None:
    """The error is catchable as States.TaskFailed, and its cause is the job's description with the FailureReason."""
    states = {
        "job": job(
            unique("job"), "raise SystemExit(3)", Catch=[{"ErrorEquals": ["States.TaskFailed"], "Next": "read"}]
        ),
        "read": {"Type": "Pass", "Parameters": {"job.$": "States.StringToJson($.Cause)"}, "End": True},
    }
    caught = output(shared_aws, states)["job"]
    assert caught["ProcessingJobStatus"] == "Failed"
    assert "3" in caught["FailureReason"]


def test_a_jobs_name_used_twice_is_resource_in_use(shared_aws: LocalConfig) -> None:
    """The second creation fails with SageMaker.ResourceInUseException."""
    name = unique("job")
    output(shared_aws, {"job": job(name, "pass")})
    assert run(shared_aws, {"job": job(name, "pass")})["error"] == "SageMaker.ResourceInUseException"


def test_a_refused_request_is_amazon_sagemaker_exception(shared_aws: LocalConfig) -> None:
    """A request that SageMaker does not take fails with what it said and SageMaker.AmazonSageMakerException."""
    described = run(shared_aws, {"job": task("sagemaker:createProcessingJob.sync", {"ProcessingJobName": "x"})})
    assert described["error"] == "SageMaker.AmazonSageMakerException"
    assert "RoleArn" in described["cause"]


def test_a_retry_makes_a_new_job_under_a_new_name(shared_aws: LocalConfig) -> None:
    """Names from the retry count and fresh digits differ at each attempt; MaxAttempts counts the retries."""
    prefix = unique("again")
    digits = "States.ArrayGetItem(States.StringSplit(States.UUID(), '-'), 0)"
    name = f"States.Format('{{}}-{{}}-{{}}', $.plan.prefix, $$.State.RetryCount, {digits})"
    retry = [
        {
            "ErrorEquals": ["States.TaskFailed"],
            "IntervalSeconds": 1,
            "MaxAttempts": 2,
            "MaxDelaySeconds": 2,
            "JitterStrategy": "FULL",
        }
    ]
    states = {"job": job(None, "raise SystemExit(1)", parameters={"ProcessingJobName.$": name}, Retry=retry)}
    assert run(shared_aws, states, {"plan": {"prefix": prefix}})["status"] == "FAILED"
    jobs = shared_aws.client("sagemaker").list_processing_jobs(NameContains=prefix)["ProcessingJobSummaries"]
    names = sorted(found["ProcessingJobName"] for found in jobs)
    assert [re.fullmatch(rf"{prefix}-(\d)-[0-9a-f]{{8}}", found)[1] for found in names] == ["0", "1", "2"]  # type: ignore[index]


def test_stopping_an_execution_stops_its_jobs(shared_aws: LocalConfig) -> None:
    """Jobs in a Parallel within a Map are stopped; nothing is retried, caught or said to have succeeded."""
    names = [unique("job") for _ in range(3)]
    handlers: dict[str, Any] = {
        "Retry": [{"ErrorEquals": ["States.ALL"]}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "caught"}],
    }
    caught = {"caught": {"Type": "Pass", "End": True}}
    inner = job(None, SLEEP, parameters={"ProcessingJobName.$": "$.name"}, **handlers)
    branch = {"StartAt": "job", "States": {"job": inner, **caught}}
    processor = {
        "StartAt": "both",
        "States": {"both": {"Type": "Parallel", "Branches": [branch], "End": True, **handlers}, **caught},
    }
    states = {
        "each": {
            "Type": "Map",
            "ItemsPath": "$",
            "MaxConcurrency": 2,
            "ItemProcessor": processor,
            "End": True,
            **handlers,
        },
        **caught,
    }
    execution = begin(shared_aws, states, [{"name": name} for name in names])
    for name in names[:2]:
        wait_for_status(shared_aws, name, "InProgress")
    answer = shared_aws.client("stepfunctions").stop_execution(executionArn=execution, error="Mine", cause="enough")
    described = finish(shared_aws, execution)
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Mine", "enough")
    assert answer["stopDate"] == described["stopDate"]
    for name in names[:2]:
        wait_for_status(shared_aws, name, "Stopped")
    assert job_status(shared_aws, names[2]) is None
    seen = events(shared_aws, execution)
    assert seen[-1] == "ExecutionAborted"
    assert not {event for event in seen if event.endswith("Succeeded")}


def test_a_state_that_times_out_stops_its_job(shared_aws: LocalConfig) -> None:
    """TimeoutSeconds fails the state with States.Timeout and stops the job."""
    name = unique("job")
    states = {
        "job": job(name, SLEEP, TimeoutSeconds=1, Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "caught"}]),
        "caught": {"Type": "Pass", "Result": "caught", "End": True},
    }
    assert output(shared_aws, states) == "caught"
    wait_for_status(shared_aws, name, "Stopped")


def test_an_execution_that_times_out_stops_its_job(shared_aws: LocalConfig) -> None:
    """The state machine's own TimeoutSeconds makes the execution TIMED_OUT and stops the job."""
    name = unique("job")
    described = run(shared_aws, {"job": job(name, SLEEP)}, TimeoutSeconds=1)
    assert described["status"] == "TIMED_OUT"
    assert described["stopDate"] >= described["startDate"]
    wait_for_status(shared_aws, name, "Stopped")


def test_a_failed_branch_stops_the_jobs_of_the_others(shared_aws: LocalConfig) -> None:
    """One failing branch fails the Parallel state with its own error, and the other branch's job is stopped."""
    name = unique("job")
    failing = {"wait": {"Type": "Wait", "Seconds": 1, "Next": "fail"}, "fail": {"Type": "Fail", "Error": "My.Error"}}
    branches = [
        {"StartAt": "job", "States": {"job": job(name, SLEEP)}},
        {"StartAt": "wait", "States": failing},
    ]
    assert run(shared_aws, {"both": {"Type": "Parallel", "Branches": branches, "End": True}})["error"] == "My.Error"
    wait_for_status(shared_aws, name, "Stopped")


def test_models_are_made_and_unknown_actions_refused(shared_aws: LocalConfig) -> None:
    """createModel answers with the ARN; ``.sync`` where AWS has none and unknown actions are refused at creation."""
    container = {"Image": "image", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    model = {"ModelName": unique("model"), "ExecutionRoleArn": ROLE, "PrimaryContainer": container}
    assert output(shared_aws, {"m": task("sagemaker:createModel", model)})["ModelArn"].endswith(model["ModelName"])
    for resource in ("sagemaker:createEndpoint.sync", "sagemaker:createNothing"):
        with pytest.raises(ClientError) as refused:
            begin(shared_aws, {"a": task(resource, {})})
        assert refused.value.response["Error"]["Code"] == "InvalidDefinition"


# Other services


def test_sdk_calls_take_and_give_the_services_own_names(shared_aws: LocalConfig) -> None:
    """PascalCase parameters reach a camelCase service, blobs are bytes, times are text, errors carry AWS's names."""
    shared_aws.client("s3").create_bucket(Bucket="sdk")
    output(shared_aws, {"put": task("aws-sdk:s3:putObject", {"Bucket": "sdk", "Key": "k", "Body": {"a": 1}})})
    assert shared_aws.client("s3").get_object(Bucket="sdk", Key="k")["Body"].read() == b'{"a":1}'
    machines = output(shared_aws, {"list": task("aws-sdk:sfn:listStateMachines", {"MaxResults": 1})})["StateMachines"]
    assert dt.datetime.fromisoformat(machines[0]["CreationDate"]).tzinfo is not None
    missing = run(shared_aws, {"d": task("aws-sdk:sagemaker:describeProcessingJob", {"ProcessingJobName": "none"})})
    assert missing["error"] == "SageMaker.ResourceNotFoundException"


def test_a_functions_error_is_named_by_its_type(shared_aws: LocalConfig) -> None:
    """lambda:invoke returns the payload; an exception's class name is the error, its message in the cause."""
    shared_aws.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    code = """
class MyError(Exception):
    pass

def handler(event, context):
    if event["fail"]:
        raise MyError("m")
    return event
"""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", code)
    shared_aws.client("lambda").create_function(
        FunctionName="fn", Runtime="python3.11", Role=ROLE, Handler="app.handler", Code={"ZipFile": buffer.getvalue()}
    )
    call = task("lambda:invoke", {"FunctionName": "fn", "Payload.$": "$"}, ResultSelector={"p.$": "$.Payload"})
    assert output(shared_aws, {"call": call}, {"fail": False}) == {"p": {"fail": False}}
    failed = run(shared_aws, {"call": call}, {"fail": True})
    assert (failed["error"], json.loads(failed["cause"])["errorMessage"]) == ("MyError", "m")


def test_a_topic_is_told(shared_aws: LocalConfig) -> None:
    """sns:publish reaches a subscribed queue with subject and message; a missing topic is SNS.NotFoundException."""
    sns, sqs = shared_aws.client("sns"), shared_aws.client("sqs")
    topic = sns.create_topic(Name="told")["TopicArn"]
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    message = {"TopicArn": topic, "Subject": "s", "Message.$": "States.Format('{}!', $.x)"}
    output(shared_aws, {"tell": task("sns:publish", message)}, {"x": "hello"})
    (received,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    body = json.loads(received["Body"])
    assert (body["Subject"], body["Message"]) == ("s", "hello!")
    missing = run(shared_aws, {"tell": task("sns:publish", {"TopicArn": topic + "x", "Message": "m"})})
    assert missing["error"].startswith("SNS.NotFound")


def test_a_failed_callback_keeps_its_cause(shared_aws: LocalConfig) -> None:
    """SendTaskFailure's error and cause are the task's."""
    sqs = shared_aws.client("sqs")
    queue = sqs.create_queue(QueueName="tokens")["QueueUrl"]
    body = {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}}
    execution = begin(shared_aws, {"ask": task("sqs:sendMessage.waitForTaskToken", body)})
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    token = json.loads(message["Body"])["token"]
    shared_aws.client("stepfunctions").send_task_failure(taskToken=token, error="Rejected", cause="no")
    described = finish(shared_aws, execution)
    assert (described["error"], described["cause"]) == ("Rejected", "no")


# The language


def test_a_branchs_states_error_is_catchable(shared_aws: LocalConfig) -> None:
    """A branch or an iteration that fails with a ``States.`` error is caught by name."""
    failing = {"StartAt": "f", "States": {"f": {"Type": "Fail", "Error": "States.Timeout"}}}
    catch = [{"ErrorEquals": ["States.Timeout"], "Next": "caught"}]
    caught = {"caught": {"Type": "Pass", "Result": "caught", "End": True}}
    parallel = {"Type": "Parallel", "Branches": [failing], "Catch": catch, "End": True}
    each = {"Type": "Map", "ItemsPath": "$", "ItemProcessor": failing, "Catch": catch, "End": True}
    assert output(shared_aws, {"p": parallel, **caught}) == "caught"
    assert output(shared_aws, {"m": each, **caught}, [1]) == "caught"


def test_the_context_object(shared_aws: LocalConfig) -> None:
    """Name, input and start time of the execution, the state's name, and the item of a Map are text and values."""
    parameters = {
        "name.$": "$$.Execution.Name",
        "input.$": "$$.Execution.Input.x",
        "start.$": "States.Format('{}', $$.Execution.StartTime)",
        "state.$": "$$.State.Name",
        "machine.$": "$$.StateMachine.Name",
    }
    execution = begin(shared_aws, {"see": {"Type": "Pass", "Parameters": parameters, "End": True}}, {"x": 7})
    described = finish(shared_aws, execution)
    seen = json.loads(described["output"])
    assert (seen["name"], seen["input"], seen["state"]) == (described["name"], 7, "see")
    assert dt.datetime.fromisoformat(seen["start"]) == described["startDate"]
    assert described["stateMachineArn"].endswith(seen["machine"])


def test_a_map_keeps_the_order_and_selects_items(shared_aws: LocalConfig) -> None:
    """ItemSelector sees index and value; results are in the items' order whatever the concurrency."""
    each = {
        "Type": "Map",
        "ItemsPath": "$.list",
        "MaxConcurrency": 3,
        "ItemSelector": {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value", "all.$": "$.shared"},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "INLINE"},
            "StartAt": "pass",
            "States": {"pass": {"Type": "Pass", "End": True}},
        },
        "End": True,
    }
    seen = output(shared_aws, {"each": each}, {"list": list("abcdefgh"), "shared": "s"})
    assert seen == [{"i": index, "v": value, "all": "s"} for index, value in enumerate("abcdefgh")]


def test_intrinsic_functions(shared_aws: LocalConfig) -> None:
    """The intrinsic functions that the workflows use, nested ones too, give what the language defines."""
    parameters = {
        "format.$": "States.Format('{}/{}', $.a, States.ArrayGetItem(States.StringSplit($.dashed, '-'), 1))",
        "hash.$": "States.Hash($.a, 'SHA-256')",
        "merged.$": "States.JsonMerge($.o, States.StringToJson('{\"q\": 1}'), false)",
        "text.$": "States.JsonToString($.o)",
        "sum.$": "States.MathAdd($.n, 1)",
        "length.$": "States.ArrayLength(States.Array(1, 2, 3))",
        "uuid.$": "States.UUID()",
    }
    data = {"a": "A", "dashed": "x-y-z", "o": {"k": 1}, "n": 4}
    seen = output(shared_aws, {"see": {"Type": "Pass", "Parameters": parameters, "End": True}}, data)
    assert uuid.UUID(seen.pop("uuid")).version == 4
    assert seen == {
        "format": "A/y",
        "hash": "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd",
        "merged": {"k": 1, "q": 1},
        "text": '{"k":1}',
        "sum": 5,
        "length": 3,
    }


def test_a_stop_interrupts_a_retrys_delay(shared_aws: LocalConfig) -> None:
    """An execution that waits an hour for its next attempt is aborted at once."""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 3600}]
    execution = begin(shared_aws, {"call": task("lambda:invoke", {"FunctionName": "missing"}, Retry=retry)})
    deadline = time.monotonic() + 20
    while "TaskFailed" not in events(shared_aws, execution):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    shared_aws.client("stepfunctions").stop_execution(executionArn=execution)
    assert finish(shared_aws, execution, seconds=10)["status"] == "ABORTED"


# The API


def test_names_of_executions(shared_aws: LocalConfig) -> None:
    """A missing name becomes a UUID; a used one is an error, but the same start again while it runs is the same one."""
    client = shared_aws.client("stepfunctions")
    wait = {"StartAt": "w", "States": {"w": {"Type": "Wait", "Seconds": 60, "End": True}}}
    machine = client.create_state_machine(name=unique(), definition=json.dumps(wait), roleArn=ROLE)["stateMachineArn"]
    unnamed = [client.start_execution(stateMachineArn=machine)["executionArn"] for _ in range(2)]
    assert len({uuid.UUID(arn.rsplit(":", 1)[1]) for arn in unnamed}) == 2
    first = client.start_execution(stateMachineArn=machine, name="used", input='{"a": 1}')
    again = client.start_execution(stateMachineArn=machine, name="used", input='{"a": 1}')
    assert (first["executionArn"], first["startDate"]) == (again["executionArn"], again["startDate"])
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=machine, name="used", input="{}")
    client.stop_execution(executionArn=first["executionArn"])
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=machine, name="used", input='{"a": 1}')
    for bad in ("a b", "a/b", "x" * 81):
        with pytest.raises((client.exceptions.InvalidName, ClientError)):
            client.start_execution(stateMachineArn=machine, name=bad)
    for arn in unnamed:
        client.stop_execution(executionArn=arn)


def test_an_input_that_is_no_json_is_refused(shared_aws: LocalConfig) -> None:
    """StartExecution answers InvalidExecutionInput and starts nothing."""
    client = shared_aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "s", "States": {"s": {"Type": "Succeed"}}})
    machine = client.create_state_machine(name=unique(), definition=definition, roleArn=ROLE)["stateMachineArn"]
    with pytest.raises(client.exceptions.InvalidExecutionInput):
        client.start_execution(stateMachineArn=machine, input="{")
    assert client.list_executions(stateMachineArn=machine)["executions"] == []


def test_the_history_comes_in_pages_from_both_ends(shared_aws: LocalConfig) -> None:
    """Pages of three put together are the whole history, forwards and backwards; a foreign token is refused."""
    states: dict[str, Any] = {f"s{number}": {"Type": "Pass", "Next": f"s{number + 1}"} for number in range(5)}
    execution = begin(shared_aws, {**states, "s5": {"Type": "Succeed"}})
    finish(shared_aws, execution)
    client = shared_aws.client("stepfunctions")
    whole = client.get_execution_history(executionArn=execution)["events"]
    assert [event["id"] for event in whole] == list(range(1, 15))
    assert all(first["timestamp"] <= second["timestamp"] for first, second in itertools.pairwise(whole))
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=execution, reverseOrder=True, PaginationConfig={"PageSize": 3}
    )
    assert [event for page in pages for event in page["events"]] == whole[::-1]
    with pytest.raises(client.exceptions.InvalidToken):
        client.get_execution_history(executionArn=execution, nextToken="else")


# After a restart


def test_executions_outlive_the_server(local_aws: LocalConfig) -> None:
    """Finished ones are described as before with their history; one that ran has failed, and says why."""
    client = local_aws.client("stepfunctions")
    good = begin(local_aws, {"s": {"Type": "Pass", "Result": {"ü": 1}, "End": True}}, {"in": [1]})
    bad = begin(local_aws, {"f": {"Type": "Fail", "Error": "E", "Cause": "C"}})
    endless = begin(local_aws, {"w": {"Type": "Wait", "Seconds": 600, "End": True}})
    before = {arn: (finish(local_aws, arn), client.get_execution_history(executionArn=arn)) for arn in (good, bad)}
    deadline = time.monotonic() + 20
    while "WaitStateEntered" not in events(local_aws, endless):
        assert time.monotonic() < deadline
    again = kill_and_restart(local_aws)
    client = again.client("stepfunctions")
    for arn, (described, history) in before.items():
        assert _without_metadata(client.describe_execution(executionArn=arn)) == _without_metadata(described)
        assert client.get_execution_history(executionArn=arn)["events"] == history["events"]
    lost = client.describe_execution(executionArn=endless)
    assert (lost["status"], lost["error"]) == ("FAILED", "LocalAws.ServerStopped")
    assert "the local AWS ended while the execution ran" in lost["cause"]
    assert events(again, endless) == ["ExecutionStarted", "WaitStateEntered", "ExecutionFailed"]
    listed = client.list_executions(stateMachineArn=lost["stateMachineArn"])["executions"]
    assert [(found["executionArn"], found["status"]) for found in listed] == [(endless, "FAILED")]
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=lost["stateMachineArn"], name=lost["name"], input="{}")


def _without_metadata(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}
