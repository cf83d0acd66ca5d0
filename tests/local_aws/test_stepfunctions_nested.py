"""Executions that start executions and wait for them, on a running local AWS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_aws.config import LocalConfig
from pipelines.failures import failure_cause
from pipelines.sdk import Task, graph, steps
from tests.local_aws.test_stepfunctions import ROLE, begin, finish, output, run, task, unique
from tests.local_aws.toy_server import wait_for


def child(config: LocalConfig, states: dict[str, Any]) -> str:
    """The ARN of a state machine."""
    definition = json.dumps({"StartAt": next(iter(states)), "States": states})
    created = config.client("stepfunctions").create_state_machine(
        name=unique("child"), definition=definition, roleArn=ROLE
    )
    return str(created["stateMachineArn"])


def nested(machine: str, **more: Any) -> dict[str, Any]:
    parameters = {"StateMachineArn": machine, "Name.$": "States.Format('c-{}', States.UUID())", "Input.$": "$"}
    return task("states:startExecution.sync:2", parameters, **more)


def test_a_childs_output_is_json(shared_aws: LocalConfig) -> None:
    """The parent waits, and gets DescribeExecution's answer with the child's output as a value and not as text."""
    doubled = {"a": {"Type": "Pass", "Parameters": {"sum.$": "States.MathAdd($.x, $.x)"}, "End": True}}
    found = output(shared_aws, {"Call": nested(child(shared_aws, doubled))}, {"x": 21})
    assert (found["Status"], found["Output"], found["Input"]) == ("SUCCEEDED", {"sum": 42}, {"x": 21})
    assert found["ExecutionArn"].startswith("arn:aws:states:us-east-1:123456789012:execution:child-")


def test_a_failed_child_fails_the_task_with_its_description(shared_aws: LocalConfig) -> None:
    """States.TaskFailed can be caught, and its cause holds the child's own error and cause."""
    fails = {"a": {"Type": "Fail", "Error": "TooSlow", "Cause": "the alarm fired"}}
    catch = [{"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.error", "Next": "Parse"}]
    found = output(
        shared_aws,
        {
            "Call": nested(child(shared_aws, fails), Catch=catch),
            "Parse": {"Type": "Pass", "Parameters": {"cause.$": "States.StringToJson($.error.Cause)"}, "End": True},
        },
    )
    assert (found["cause"]["Status"], found["cause"]["Error"]) == ("FAILED", "TooSlow")
    assert found["cause"]["Cause"] == "the alarm fired"


def test_the_workflows_own_failure_states_find_a_childs_cause(shared_aws: LocalConfig) -> None:
    """What the training workflow tells of a failed deployment is the deployment's own sentence."""
    fails = {"a": {"Type": "Fail", "Error": "DeploymentRolledBack", "Cause": 'alarm "x" fired'}}
    done = steps.Succeed("Done")
    call = Task("Call", resource="arn:aws:states:::states:startExecution.sync:2", result_path=None,
                parameters={"StateMachineArn": child(shared_aws, fails), "Input": {}})  # fmt: skip
    cause = failure_cause("", then=done)
    call.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.error", next_step=cause))
    call.next(done)
    assert output(shared_aws, graph(call)["States"])["failure_cause"] == {"text": 'alarm "x" fired'}


@pytest.mark.parametrize("how", ["stopped", "timed out"])
def test_a_child_ends_with_its_parent(shared_aws: LocalConfig, how: str) -> None:
    """Stopping the parent, or its state's time limit, stops the child."""
    machine = child(shared_aws, {"a": {"Type": "Wait", "Seconds": 300, "End": True}})
    states = shared_aws.client("stepfunctions")
    if how == "stopped":
        execution = begin(shared_aws, {"Call": nested(machine)})
        wait_for(lambda: states.list_executions(stateMachineArn=machine)["executions"])
        states.stop_execution(executionArn=execution)
        assert finish(shared_aws, execution)["status"] == "ABORTED"
    else:
        assert run(shared_aws, {"Call": nested(machine, TimeoutSeconds=1)})["error"] == "States.Timeout"
    wait_for(lambda: states.list_executions(stateMachineArn=machine)["executions"][0]["status"] == "ABORTED", 10)
