"""Shows moto's defects as moto comes, in a process of its own; prints what it saw as JSON.

Run by ``test_stepfunctions_stock.py``: a change here means that moto changed, and that a patch of ``local_aws`` may go.
"""

from __future__ import annotations

import io
import json
import logging
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import boto3
import moto.s3.models
from moto import mock_aws

ROLE = "arn:aws:iam::123456789012:role/r"
SERVICE = "arn:aws:states:::"


def main() -> None:
    """Run every probe against one in-process moto."""
    logging.disable(logging.CRITICAL)
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        states = boto3.client("stepfunctions", region_name="us-east-1")
        seen = {name: outcome(probe, states) for name, probe in PROBES.items()}
    print(json.dumps(seen, default=str))


def outcome(probe: Callable[[Any], Any], states: Any) -> Any:
    """What a probe returned, or its error."""
    try:
        return probe(states)
    except Exception as error:  # noqa: BLE001 - whatever moto raises is what is to be shown
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        return f"{type(error).__name__}:{code}:{error}"


def machine(states: Any, definition: dict[str, Any]) -> str:
    """A new state machine of these states, the first being where it starts."""
    text = json.dumps({"StartAt": next(iter(definition)), "States": definition})
    created = states.create_state_machine(name=f"m{uuid.uuid4().hex}", definition=text, roleArn=ROLE)
    return str(created["stateMachineArn"])


def begin(states: Any, definition: dict[str, Any], data: Any = None) -> str:
    """A started execution."""
    started = states.start_execution(
        stateMachineArn=machine(states, definition), name=uuid.uuid4().hex, input=json.dumps(data or {})
    )
    return str(started["executionArn"])


def finish(states: Any, execution: str, seconds: float = 10) -> dict[str, Any]:
    """The description of an execution once it has ended, or after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        described: dict[str, Any] = states.describe_execution(executionArn=execution)
        if described["status"] != "RUNNING" or time.monotonic() > deadline:
            return {name: described.get(name) for name in ("status", "output", "error", "cause")}
        time.sleep(0.02)


def run(states: Any, definition: dict[str, Any], data: Any = None) -> dict[str, Any]:
    """An execution from start to end."""
    return finish(states, begin(states, definition, data))


def task(resource: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Task state that ends its machine."""
    return {"Type": "Task", "Resource": SERVICE + resource, "Parameters": parameters, "End": True, **more}


def no_name(states: Any) -> Any:
    """The name of an execution started without one."""
    arn = machine(states, {"a": {"Type": "Succeed"}})
    return states.start_execution(stateMachineArn=arn)["executionArn"].rsplit(":", 1)[1]


def error_code(states: Any) -> Any:
    """An invalid definition."""
    return states.create_state_machine(name="bad", definition="{}", roleArn=ROLE)


def times_in_output(states: Any) -> Any:
    """An output with a time in it."""
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=f"b{uuid.uuid4().hex}")
    return run(states, {"a": task("aws-sdk:s3:listBuckets", {})})


def history_paging(states: Any) -> Any:
    """Ids of the events when the last one is asked for."""
    execution = begin(states, {"a": {"Type": "Pass", "End": True}})
    finish(states, execution)
    found = states.get_execution_history(executionArn=execution, maxResults=1, reverseOrder=True)
    return [event["id"] for event in found["events"]]


def failed_task_cause(states: Any) -> Any:
    """The error of a task that was failed with a cause."""
    sqs = boto3.client("sqs", region_name="us-east-1")
    queue = sqs.create_queue(QueueName=f"q{uuid.uuid4().hex}")["QueueUrl"]
    body = {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}}
    execution = begin(states, {"a": task("sqs:sendMessage.waitForTaskToken", body)})
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=queue).get("Messages", []):
            token = json.loads(message["Body"])["token"]
            states.send_task_failure(taskToken=token, error="E", cause="C")
            return finish(states, execution)
        time.sleep(0.05)
    return "no token"


def branch_states_error(states: Any) -> Any:
    """A branch that fails with States.Timeout, caught."""
    branch = {"StartAt": "f", "States": {"f": {"Type": "Fail", "Error": "States.Timeout", "Cause": "c"}}}
    return run(
        states,
        {
            "p": {
                "Type": "Parallel",
                "Branches": [branch],
                "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "caught"}],
                "End": True,
            },
            "caught": {"Type": "Pass", "Result": "caught", "End": True},
        },
    )["output"]


def sdk_case(states: Any) -> Any:
    """A parameter whose own name begins in lower case."""
    arn = machine(states, {"a": {"Type": "Succeed"}})
    return run(states, {"a": task("aws-sdk:sfn:describeStateMachine", {"StateMachineArn": arn})})["status"]


def sagemaker_sync(states: Any) -> Any:
    """The optimised SageMaker integration."""
    return run(states, {"a": task("sagemaker:createProcessingJob.sync", {"ProcessingJobName": "j"})})


def stop_fields(states: Any) -> Any:
    """Error and cause given to StopExecution."""
    execution = begin(states, {"a": {"Type": "Wait", "Seconds": 60, "End": True}})
    time.sleep(0.3)
    states.stop_execution(executionArn=execution, error="E", cause="C")
    return finish(states, execution)


def stop_in_retry(states: Any) -> Any:
    """Status a second after an execution was stopped while it waited for a retry."""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 5, "MaxAttempts": 1}]
    execution = begin(states, {"a": task("lambda:invoke", {"FunctionName": "missing"}, Retry=retry)})
    time.sleep(1)
    states.stop_execution(executionArn=execution)
    return finish(states, execution, seconds=1)["status"]


def start_time(states: Any) -> Any:
    """The start time in the context object, formatted."""
    return run(states, {"a": {"Type": "Pass", "Parameters": {"t.$": "$$.Execution.StartTime"}, "End": True}})


def stopped_parallel(states: Any) -> Any:
    """Events of an execution that was stopped within a Parallel state."""
    branch = {"StartAt": "w", "States": {"w": {"Type": "Wait", "Seconds": 60, "End": True}}}
    execution = begin(states, {"p": {"Type": "Parallel", "Branches": [branch], "End": True}})
    time.sleep(0.5)
    states.stop_execution(executionArn=execution)
    finish(states, execution)
    return [event["type"] for event in states.get_execution_history(executionArn=execution)["events"]]


def stopped_map_that_catches(states: Any) -> Any:
    """Status of an execution that was stopped within a Map state that catches everything."""
    processor = {"StartAt": "w", "States": {"w": {"Type": "Wait", "Seconds": 60, "End": True}}}
    execution = begin(
        states,
        {
            "m": {
                "Type": "Map",
                "ItemsPath": "$",
                "ItemProcessor": processor,
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "caught"}],
                "End": True,
            },
            "caught": {"Type": "Pass", "End": True},
        },
        [1],
    )
    time.sleep(0.5)
    states.stop_execution(executionArn=execution)
    return finish(states, execution)["status"]


def clients(_states: Any) -> Any:
    """Whether a task's client is made anew for every call."""
    from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

    return boto_client_for("us-east-1", "sns") is not boto_client_for("us-east-1", "sns")


def ranged_get(_states: Any) -> Any:
    """Bytes of a 1 MiB object that moto reads to answer a GET of 10 bytes."""
    stock = moto.s3.models.FakeKey.value
    read = []

    def value(self: Any) -> bytes:
        content: bytes = stock.fget(self)
        read.append(len(content))
        return content

    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="ranged")
    s3.put_object(Bucket="ranged", Key="k", Body=bytes(1 << 20))
    moto.s3.models.FakeKey.value = property(value, stock.fset)
    s3.get_object(Bucket="ranged", Key="k", Range="bytes=0-9")
    return sum(read)


def _cloudwatch() -> Any:
    client = boto3.client("cloudwatch", region_name="us-east-1")
    now = time.time()
    client.put_metric_data(
        Namespace="n", MetricData=[{"MetricName": "m", "Timestamp": now - 30, "Values": [1.0, 2.0, 9.0]}]
    )
    return client


def alarms(states: Any) -> Any:
    """A new alarm's state, its state once its metric is over the threshold, and its history."""
    del states
    client = _cloudwatch()
    client.put_metric_alarm(
        AlarmName="a", Namespace="n", MetricName="m", Statistic="Maximum", Period=60, EvaluationPeriods=1, Threshold=5,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    new = client.describe_alarms()["MetricAlarms"][0]["StateValue"]
    time.sleep(1.5)
    state = client.describe_alarms()["MetricAlarms"][0]["StateValue"]
    try:
        client.describe_alarm_history(AlarmName="a")
    except Exception as error:  # noqa: BLE001 - as outcome
        return [new, state, type(error).__name__]
    return [new, state, "answered"]


def statistics(states: Any) -> Any:
    """A percentile, and a rate by metric math."""
    del states
    client, now = _cloudwatch(), time.time()
    around = {"StartTime": now - 3_600, "EndTime": now + 3_600}
    of = {"Namespace": "n", "MetricName": "m"}
    points = client.get_metric_statistics(**of, **around, Period=7_200, ExtendedStatistics=["p50"])["Datapoints"]
    queries = [
        {"Id": "m", "MetricStat": {"Metric": of, "Period": 3_600, "Stat": "Sum"}, "ReturnData": False},
        {"Id": "twice", "Expression": "m * 2"},
    ]
    (found,) = client.get_metric_data(MetricDataQueries=queries, **around)["MetricDataResults"]
    return [points[0].get("ExtendedStatistics"), found["Values"]]


def nested(states: Any) -> Any:
    """Seconds between two looks at a child execution."""
    del states
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_callback

    return state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK


def logging_config(states: Any) -> Any:
    """What a function that was told where to log says of it."""
    del states
    iam, functions = boto3.client("iam"), boto3.client("lambda", region_name="us-east-1")
    role = iam.create_role(RoleName="logs", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("code.py", "")
    made = functions.create_function(
        FunctionName="f", Runtime="python3.12", Role=role, Handler="code.f", Code={"ZipFile": archive.getvalue()},
        LoggingConfig={"LogGroup": "/shared"},
    )  # fmt: skip
    return made.get("LoggingConfig")


PROBES = {
    probe.__name__: probe
    for probe in (
        no_name,
        error_code,
        times_in_output,
        history_paging,
        failed_task_cause,
        branch_states_error,
        sdk_case,
        sagemaker_sync,
        stop_fields,
        stop_in_retry,
        start_time,
        stopped_parallel,
        stopped_map_that_catches,
        clients,
        ranged_get,
        alarms,
        statistics,
        nested,
        logging_config,
    )
}


if __name__ == "__main__":
    main()
