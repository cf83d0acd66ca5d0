# ruff: noqa: E501 (a table of faults, a line each)
"""Each check finds the fault that it is for: the shipped definition with one thing broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.checks import CHECKS, check_definition
from pipelines.render import RENDERED_PATH

State = dict[str, Any]


def states(definition: State) -> State:
    found: State = definition["States"]
    return found


def edit(name: str, change: Callable[[State], Any]) -> Callable[[State], None]:
    """A mutation of one state."""

    def mutate(definition: State) -> None:
        change(states(definition)[name])

    return mutate


def inner(change: Callable[[State], Any]) -> Callable[[State], None]:
    """A mutation of the state inside the Map."""

    def mutate(definition: State) -> None:
        change(states(definition)["Prepare"]["ItemProcessor"]["States"]["PrepareChannel"])

    return mutate


def set_in(path: str, value: Any) -> Callable[[State], None]:
    """Set one value, by the keys on the way to it."""

    def change(state: State) -> None:
        *way, last = path.split("/")
        place: Any = state
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[last] = value

    return change


def drop(path: str) -> Callable[[State], None]:
    def change(state: State) -> None:
        *way, last = path.split("/")
        place: Any = state
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        del place[last]

    return change


FAULTS: list[tuple[str, str, Callable[[State], None]]] = [
    ("resilience", "no TimeoutSeconds", edit("Train", drop("TimeoutSeconds"))),
    ("resilience", "no Retry", edit("Evaluate", drop("Retry"))),
    ("resilience", "without jitter", edit("Evaluate", drop("Retry/0/JitterStrategy"))),
    ("resilience", "MaxDelaySeconds", edit("Evaluate", drop("Retry/0/MaxDelaySeconds"))),
    ("resilience", "States.ALL also retries", edit("Evaluate", set_in("Retry/0/ErrorEquals", ["States.ALL"]))),
    ("resilience", "told to nobody", edit("SmokeTest", drop("Catch"))),
    ("resilience", "replaces the execution's data", edit("SmokeTest", drop("Catch/0/ResultPath"))),
    ("resilience", "a Map without Catch", edit("Prepare", drop("Catch"))),
    ("resilience", "no TimeoutSeconds", inner(drop("TimeoutSeconds"))),
    ("placeholders", "object at 0x", edit("Train", set_in("Parameters/HyperParameters", "<X object at 0x7f>"))),
    ("expressions", "stays text", edit("Train", set_in("Parameters/OutputDataConfig", {"S3OutputPath": "$.plan.run"}))),
    ("expressions", "neither a JSONPath", edit("Notify", set_in("Parameters/Message.$", "plan.run"))),
    ("expressions", "no intrinsic", edit("Notify", set_in("Parameters/Message.$", "States.Fromat('{}', $.plan.run)"))),
    ("parameters", "unknown parameter S3Url", inner(set_in("Parameters/ProcessingInputs/0/S3Input/S3Url", "s3://x/y"))),
    ("parameters", "lacks RoleArn", edit("Train", drop("Parameters/RoleArn"))),
    ("parameters", "expected integer", edit("Train", set_in("Parameters/ResourceConfig/InstanceCount", "1"))),
    ("parameters", "none of the values", edit("ScoreCampaigns", set_in("Parameters/BatchStrategy", "MultiRecords"))),
    ("parameters", "does not match", edit("Train", set_in("Parameters/TrainingJobName", "a_b"))),
    ("parameters", "outside", edit("ScoreCampaigns", set_in("Parameters/MaxConcurrentTransforms", -1))),
    ("parameters", "does not take RetryStrategy", edit("Train", set_in("Parameters/RetryStrategy", {"MaximumRetryAttempts": 2}))),
    ("parameters", "no optimised", edit("Train", set_in("Resource", "arn:aws:states:::sagemaker:createTrial"))),
    ("parameters", "has no .sync", edit("CreateScoringModel", set_in("Resource", "arn:aws:states:::sagemaker:createModel.sync"))),
    ("parameters", "no service integration", edit("Train", set_in("Resource", "arn:aws:lambda:x"))),
    ("parameters", "has no action", edit("Notify", set_in("Resource", "arn:aws:states:::aws-sdk:sns:shout"))),
    ("parameters", "aws-sdk integrations have no", edit("Notify", set_in("Resource", "arn:aws:states:::aws-sdk:sns:publish.sync"))),
    ("parameters", "lacks stateMachineArn", edit("Deploy", drop("Parameters/StateMachineArn"))),
    ("parameters", "does not take Nmae", edit("Deploy", set_in("Parameters/Nmae", "x"))),
    ("parameters", "an execution's description has no Outputs", edit("Deploy", set_in("ResultSelector/config.$", "$.Outputs.endpoint_config.name"))),
    ("parameters", "answers no ModelArtefacts", edit("Train", set_in("ResultSelector/model.$", "$.ModelArtefacts.S3ModelArtifacts"))),
    ("graph", "is no state here", edit("Train", set_in("Next", "Evalute"))),
    ("graph", "Evaluate: cannot be reached", edit("Train", set_in("Next", "ReadEvaluation"))),
    ("graph", "without Default", edit("Accept?", drop("Default"))),
    ("graph", "needs either Next or an end", edit("BuildCorpus", drop("Next"))),
    ("graph", "never comes to an end", edit("NotifyFailure", lambda state: state.update(Next="TellFailure", Catch=[]))),
    ("graph", "StartAt", lambda definition: definition.update(StartAt="Begin")),
    ("paths", "$.plan.uris.corpora", edit("Train", set_in("Parameters/OutputDataConfig/S3OutputPath.$", "$.plan.uris.corpora"))),
    ("paths", "$.training.model", edit("Train", set_in("ResultPath", "$.trained"))),
    ("paths", "$.training.model", edit("Train", drop("ResultSelector/model.$"))),
    ("paths", "$.evaluation.accepted", edit("ReadEvaluation", set_in("ResultPath", None))),
    ("paths", "$.plan", edit("ValidateRequest", set_in("ResultPath", "$"))),
    ("paths", "$.channel.exports", edit("Prepare", drop("ItemSelector/channel/exports.$"))),
    ("paths", "$$.Execution.Nmae", edit("Notify", set_in("Parameters/Message.$", "States.Format('{}', $$.Execution.Nmae)"))),
    ("paths", "$.tuning.best", edit("Train", set_in("Parameters/HyperParameters.$", "$.tuning.best"))),
    ("paths", "$.published.model_version", edit("PublishLookups", set_in("ResultPath", "$.lookups"))),
    ("names", "has 35 characters", edit("Tune", set_in("Parameters/HyperParameterTuningJobName.$", "States.Format('{}-tuning1-{}', $.plan.prefix, States.UUID())"))),
    ("names", "same at the next attempt", edit("Train", set_in("Parameters/TrainingJobName.$", "States.Format('{}-train', $.plan.prefix)"))),
    ("names", "characters that SageMaker refuses", edit("Train", set_in("Parameters/TrainingJobName.$", "States.Format('{}_train_{}', $.plan.prefix, States.UUID())"))),
    ("payloads", "passes its whole result", edit("Train", drop("ResultSelector"))),
    ("payloads", "bytes of parameters", edit("Notify", set_in("Parameters/Message", "x" * 10_000))),
    ("payloads", "whole of the execution's data", edit("SmokeTest", set_in("Parameters/Payload.$", "$"))),
    ("payloads", "the definition has", lambda definition: definition.update(Comment="x" * (1 << 20))),
    ("substitutions", "${Buckett} is no name", edit("ValidateRequest", set_in("Parameters/Payload/bucket", "${Buckett}"))),
    ("substitutions", "${Bucket} is given by the stack and not used", edit("ValidateRequest", set_in("Parameters/Payload/bucket", "mine"))),
    ("substitutions", "ARN of one account", edit("Notify", set_in("Parameters/TopicArn", "arn:aws:sns:us-east-1:123456789012:t"))),
]  # fmt: skip


@pytest.fixture(scope="module")
def rendered() -> State:
    definition: State = json.loads(RENDERED_PATH.read_text(encoding="utf-8"))
    return definition


@pytest.mark.parametrize(("check", "told", "mutate"), FAULTS, ids=[f"{fault[0]}-{fault[1]}" for fault in FAULTS])
def test_a_seeded_fault_is_found(rendered: State, check: str, told: str, mutate: Callable[[State], None]) -> None:
    """The check that is for a fault finds it in the shipped definition, which is otherwise without findings."""
    assert CHECKS[check](rendered) == []
    broken = copy.deepcopy(rendered)
    mutate(broken)
    findings = CHECKS[check](broken)
    assert any(told in finding for finding in findings), findings


def test_every_check_has_a_fault_that_it_finds() -> None:
    """A check without a seeded fault might find nothing at all."""
    assert {check for check, _, _ in FAULTS} == set(CHECKS)


def test_findings_say_which_check_found_them(rendered: State) -> None:
    """The command prints findings of all checks together."""
    broken = copy.deepcopy(rendered)
    del states(broken)["Train"]["TimeoutSeconds"]
    assert check_definition(broken) == [
        "resilience: Train: no TimeoutSeconds; a lost task would hold the execution for a year"
    ]
