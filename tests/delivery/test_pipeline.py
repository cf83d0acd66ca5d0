"""Reading a pipeline's definition: order, artifacts, variables, and what is refused before anything runs."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from topic_model_cli.deliver_pipeline import (
    PipelineDefinitionError,
    UnknownVariableError,
    pipeline_of,
    substituted,
)


def action(name: str, provider: str = "CloudFormation", category: str = "Deploy", **more: Any) -> dict[str, Any]:
    kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
    return {"name": name, "actionTypeId": kind, "runOrder": 1, "configuration": {}, **more}


DEFINITION: dict[str, Any] = {
    "name": "topic-model",
    "executionMode": "QUEUED",
    "artifactStore": {"type": "S3", "location": "artifacts"},
    "stages": [
        {
            "name": "Source",
            "actions": [
                action(
                    "Commit", "CodeStarSourceConnection", "Source", outputArtifacts=[{"name": "Source"}], namespace="S"
                )
            ],
        },
        {
            "name": "Test",
            "actions": [
                action("Last", runOrder=2, configuration={"StackName": "t-#{E.Name}"}),
                action("First", inputArtifacts=[{"name": "Source"}], namespace="E"),
                action("Beside", inputArtifacts=[{"name": "Source"}]),
            ],
            "onFailure": {"result": "ROLLBACK"},
        },
    ],
}


def changed(change: Any) -> dict[str, Any]:
    definition = copy.deepcopy(DEFINITION)
    change(definition)
    return definition


def test_actions_run_by_run_order_and_those_of_one_order_together() -> None:
    """Not in the order in which they are written."""
    stage = pipeline_of(DEFINITION).stages[1]
    assert [[one.name for one in group] for group in stage.groups()] == [["First", "Beside"], ["Last"]]


def test_a_stage_says_whether_it_rolls_back() -> None:
    """Its ``onFailure`` does."""
    assert [stage.rolls_back for stage in pipeline_of(DEFINITION).stages] == [False, True]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda d: d["stages"][1]["actions"][1]["actionTypeId"].update(provider="Jenkins"),
            "Test/First is of Deploy/Jenkins",
        ),
        (
            lambda d: d["stages"][1]["actions"][1].update(inputArtifacts=[{"name": "Package"}]),
            "takes artifact 'Package'",
        ),
        (
            lambda d: d["stages"][1]["actions"][1].update(outputArtifacts=[{"name": "Source"}]),
            "makes artifact 'Source'",
        ),
        (lambda d: d["stages"][1]["actions"][1].update(namespace="S"), "has namespace 'S'"),
        (
            lambda d: d["stages"][1]["actions"][0]["configuration"].update(StackName="#{Nobody.Id}"),
            "namespace 'Nobody'",
        ),
        (lambda d: d["stages"][1]["actions"][2]["configuration"].update(StackName="#{E.Name}"), "namespace 'E'"),
        (lambda d: d["stages"][1]["actions"][1].update(name="Beside"), "two actions of stage Test are called 'Beside'"),
        (lambda d: d["stages"].append(copy.deepcopy(d["stages"][1])), "two stages are called 'Test'"),
        (lambda d: d["stages"].reverse(), "in the first stage"),
        (lambda d: d["stages"].pop(), "has 1 stage"),
        (lambda d: d.update(executionMode="PARALLEL"), "execution mode is 'PARALLEL'"),
    ],
)
def test_what_codepipeline_would_refuse_is_refused_by_name(change: Any, told: str) -> None:
    """Before anything runs; actions of one group see nothing of each other."""
    with pytest.raises(PipelineDefinitionError, match=told.replace("(", r"\(")):
        pipeline_of(changed(change))


def test_variables_are_put_in() -> None:
    """Several in one text, and the pipeline's own."""
    variables = {"codepipeline": {"PipelineExecutionId": "1"}, "E": {"Name": "n"}}
    assert substituted("#{E.Name}-#{codepipeline.PipelineExecutionId}", variables, "here") == "n-1"


@pytest.mark.parametrize(
    ("text", "told"), [("#{X.Name}", "namespace 'X'"), ("#{E.Other}", r"no variable 'Other'; it has \['Name'\]")]
)
def test_a_variable_that_nobody_set_is_told(text: str, told: str) -> None:
    """With the place, and with what there is."""
    with pytest.raises(UnknownVariableError, match=f"Test/Last: StackName.*{told}"):
        substituted(text, {"E": {"Name": "n"}}, "Test/Last: StackName")
