"""The application stack's template, in step with the definitions that it deploys and the code that it runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import PipelineSettings
from pipelines.states import all_states
from pipelines.substitutions import DEPLOY_SUBSTITUTIONS, SUBSTITUTIONS, VPC_SUBSTITUTIONS, names_used, substitute
from pipelines.workflows import DEPLOY, TRAINING, Workflow
from topic_model.errors import SettingsError
from workflow_functions.validate_request import job_prefix

ROOT = Path(__file__).parents[2]


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, each as ``{"!Name": value}``."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {f"!{suffix}": loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {f"!{suffix}": loader.construct_sequence(node, deep=True)}
    raise TypeError(node)


_Loader.add_multi_constructor("!", _function)


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    # A loader for one template of our own, with no constructor that runs anything.
    template = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    found: dict[str, Any] = template["Resources"]
    return found


def rendered(workflow: Workflow) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(workflow.rendered_path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    return rendered(TRAINING)


MACHINES = {"TrainingWorkflow": TRAINING, "DeployWorkflow": DEPLOY}


@pytest.mark.parametrize(("machine", "workflow"), MACHINES.items())
def test_the_stack_gives_every_name_that_a_definition_uses(
    resources: dict[str, Any], machine: str, workflow: Workflow
) -> None:
    """A name that one of them lacks would deploy a definition with ``${Name}`` in it."""
    given = set(resources[machine]["Properties"]["DefinitionSubstitutions"]) - set(VPC_SUBSTITUTIONS)
    assert given == names_used(rendered(workflow)) == set(workflow.substitutions)


@pytest.mark.parametrize("workflow", MACHINES.values(), ids=lambda workflow: workflow.name)
def test_jobs_in_a_vpc_have_the_stacks_network(resources: dict[str, Any], workflow: Workflow) -> None:
    """With network.vpc the definition still keeps every rule, and the stack gives the names that it then has."""
    settings = PipelineSettings.model_validate({"network": {"vpc": True}, "tuning": {"enabled": True}})
    definition = workflow.build(settings)
    assert workflow.check(definition) == []
    in_a_vpc = {name for name, state in all_states(definition) if "VpcConfig" in json.dumps(state)}
    created = {"Prepare", "Prepare/PrepareChannel", "BuildCorpus", "Tune", "Train", "Evaluate", "BuildNeighbours"}
    created |= {"CreateScoringModel", "CreateLookupModel"}
    assert in_a_vpc == (created if workflow is TRAINING else set())  # an endpoint is where its model is
    machine = next(name for name, one in MACHINES.items() if one is workflow)
    assert names_used(definition) <= set(resources[machine]["Properties"]["DefinitionSubstitutions"])


@pytest.mark.parametrize(("machine", "workflow"), MACHINES.items())
def test_the_stack_deploys_the_rendered_definitions(
    resources: dict[str, Any], machine: str, workflow: Workflow
) -> None:
    """The committed files are what is deployed, not copies."""
    assert ROOT / resources[machine]["Properties"]["DefinitionS3Location"] == workflow.rendered_path


def test_every_function_is_in_the_package(resources: dict[str, Any]) -> None:
    """Each of the workflows' functions has a handler that is a module of ours, and a role of its own."""
    functions = {name: r["Properties"] for name, r in resources.items() if r["Type"] == "AWS::Lambda::Function"}
    functions = {name: function for name, function in functions.items() if function["Code"] == "dist/functions.zip"}
    names = {*SUBSTITUTIONS, *DEPLOY_SUBSTITUTIONS}
    assert set(functions) == {name.removesuffix("Arn") for name in names if name.endswith("FunctionArn")}
    for properties in functions.values():
        module, _, handler = properties["Handler"].rpartition(".")
        assert (ROOT / "src" / f"{module.replace('.', '/')}.py").is_file()
        assert handler == "handler"
    assert len({json.dumps(properties["Role"]) for properties in functions.values()}) == len(functions)


@pytest.mark.parametrize("workflow", MACHINES.values(), ids=lambda workflow: workflow.name)
def test_a_state_waits_longer_than_its_function_may_take(resources: dict[str, Any], workflow: Workflow) -> None:
    """Otherwise the state would time out while its function still writes."""
    for name, state in all_states(rendered(workflow)):
        function = state.get("Parameters", {}).get("FunctionName", "")
        if function:
            limit = resources[function[2:-4]]["Properties"]["Timeout"]
            assert state["TimeoutSeconds"] > limit, name


@pytest.mark.parametrize(("role", "workflow"), [("WorkflowRole", TRAINING), ("DeployRole", DEPLOY)])
def test_a_workflow_may_call_what_its_states_call(resources: dict[str, Any], role: str, workflow: Workflow) -> None:
    """Each call of a state is allowed by the workflow's role, and so are describing and stopping what it waits for."""
    (policy,) = resources[role]["Properties"]["Policies"]
    allowed = {
        action
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    calls = set()
    for _, state in all_states(rendered(workflow)):
        found = re.fullmatch(r"arn:aws:states:::(?:aws-sdk:)?(\w+):(\w+?)(\.sync(?::2)?)?", state.get("Resource", ""))
        if found is None:
            continue
        service, action = found[1], found[2][0].upper() + found[2][1:]
        calls.add(f"lambda:{action}Function" if service == "lambda" else f"{service}:{action}")
        if found[3]:
            verb = "Start" if service == "states" else "Create"
            calls |= {f"{service}:{action.replace(verb, waiting, 1)}" for waiting in ("Describe", "Stop")}
    assert calls <= allowed
    assert len(calls) > 5


def test_the_workflows_may_only_touch_names_of_their_own(resources: dict[str, Any]) -> None:
    """What an execution creates begins with what the roles' resources are held to."""
    roles = ("WorkflowRole", "DeployRole", "RetireModelsRole", "ExplainDeploymentRole")
    text = json.dumps([resources[role] for role in roles])
    patterns = re.findall(r"(?:-job/|model/|endpoint-config/|alarm:)([^\"]*)", text)
    assert len(patterns) == 11
    assert set(patterns) == {"tm-*"}
    assert job_prefix("nightly").startswith("tm-")


def test_substituting_replaces_every_name(definition: dict[str, Any]) -> None:
    """The definition with its names is plain JSON without ``${…}``, whatever characters a name has."""
    names = {name: f'{name}-"quoted"\\x' for name in SUBSTITUTIONS}
    done = substitute(definition, names)
    assert names_used(done) == set()
    assert done["States"]["ValidateRequest"]["Parameters"]["Payload"]["bucket"] == 'Bucket-"quoted"\\x'
    assert definition["States"]["ValidateRequest"]["Parameters"]["Payload"]["bucket"] == "${Bucket}"


def test_substituting_refuses_missing_and_unknown_names(definition: dict[str, Any]) -> None:
    """A definition with a hole in it, or a name that goes nowhere, is a mistake that is told."""
    names = dict.fromkeys(SUBSTITUTIONS, "x")
    with pytest.raises(SettingsError, match="needs a value for \\['ImageUri'\\]"):
        substitute(definition, {name: value for name, value in names.items() if name != "ImageUri"})
    with pytest.raises(SettingsError, match="needs a value for \\['Bucket'\\]"):
        substitute(definition, names | {"Bucket": ""})
    with pytest.raises(SettingsError, match="no place for \\['Imageuri'\\]"):
        substitute(definition, names | {"Imageuri": "x"})
