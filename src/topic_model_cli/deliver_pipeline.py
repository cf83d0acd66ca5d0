"""A CodePipeline definition as values: its stages and actions in order, checked before anything runs.

What CodePipeline itself would refuse is refused here, and so is what this laptop's pipeline cannot carry out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from topic_model.errors import TopicModelError

PROVIDERS = frozenset(
    {
        ("Source", "CodeStarSourceConnection"),
        ("Source", "CodeCommit"),
        ("Build", "CodeBuild"),
        ("Deploy", "CloudFormation"),
        ("Deploy", "S3"),
        ("Invoke", "Lambda"),
        ("Invoke", "StepFunctions"),
        ("Approval", "Manual"),
    }
)
"""Category and provider of the actions that are carried out here."""
EXECUTION_MODES = ("QUEUED", "SUPERSEDED")
DEFAULT_TIMEOUT_MINUTES = 60
_VARIABLE = re.compile(r"#\{([A-Za-z0-9@_-]+)\.([A-Za-z0-9@_-]+)\}")
_OF_THE_PIPELINE = "codepipeline"


class PipelineDefinitionError(TopicModelError):
    """The pipeline cannot be carried out; the message names the stage and the action."""


class UnknownVariableError(TopicModelError):
    """An action's configuration names a variable that no action before it set."""


@dataclass(frozen=True)
class Action:
    """One action of a stage."""

    stage: str
    name: str
    category: str
    provider: str
    run_order: int
    configuration: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    namespace: str | None
    timeout_minutes: int

    @property
    def label(self) -> str:
        """``Stage/Action``."""
        return f"{self.stage}/{self.name}"


@dataclass(frozen=True)
class Stage:
    """One stage; ``rolls_back`` says that a failure deploys the last delivery again that passed it."""

    name: str
    actions: tuple[Action, ...]
    rolls_back: bool

    def groups(self) -> Iterator[tuple[Action, ...]]:
        """The actions in their order; those of a group have the same ``runOrder`` and may run at once."""
        ordered = sorted(self.actions, key=lambda action: action.run_order)
        for _, group in itertools.groupby(ordered, key=lambda action: action.run_order):
            yield tuple(group)


@dataclass(frozen=True)
class Pipeline:
    """A pipeline as ``GetPipeline`` answers it."""

    name: str
    execution_mode: str
    bucket: str
    stages: tuple[Stage, ...]

    @property
    def actions(self) -> list[Action]:
        """All actions in the order in which they run."""
        return [action for stage in self.stages for group in stage.groups() for action in group]


def pipeline_of(definition: Mapping[str, Any]) -> Pipeline:
    """The pipeline that a definition (``GetPipeline``'s ``pipeline``) says.

    Raises:
        PipelineDefinitionError: it is not one that CodePipeline takes, or that can be carried out here.
    """
    stages = tuple(
        Stage(
            name=str(stage["name"]),
            actions=tuple(_action(str(stage["name"]), action) for action in stage["actions"]),
            rolls_back=stage.get("onFailure", {}).get("result") == "ROLLBACK",
        )
        for stage in definition["stages"]
    )
    pipeline = Pipeline(
        name=str(definition["name"]),
        execution_mode=str(definition.get("executionMode", "SUPERSEDED")),
        bucket=str(definition["artifactStore"]["location"]),
        stages=stages,
    )
    _check(pipeline)
    return pipeline


def substituted(text: str, variables: Mapping[str, Mapping[str, str]], where: str) -> str:
    """A text with the values of its ``#{namespace.name}``.

    Raises:
        UnknownVariableError: there is no such variable; ``where`` is told.
    """

    def value(found: re.Match[str]) -> str:
        namespace, name = found[1], found[2]
        if namespace not in variables:
            raise UnknownVariableError(f"{where}: {found[0]}: no action before it has the namespace {namespace!r}")
        if name not in variables[namespace]:
            raise UnknownVariableError(
                f"{where}: {found[0]}: {namespace!r} has no variable {name!r}; it has {sorted(variables[namespace])}"
            )
        return variables[namespace][name]

    return _VARIABLE.sub(value, text)


def _action(stage: str, given: Mapping[str, Any]) -> Action:
    kind = given["actionTypeId"]
    return Action(
        stage=stage,
        name=str(given["name"]),
        category=str(kind["category"]),
        provider=str(kind["provider"]),
        run_order=int(given.get("runOrder", 1)),
        configuration={name: str(value) for name, value in given.get("configuration", {}).items()},
        inputs=tuple(artifact["name"] for artifact in given.get("inputArtifacts", [])),
        outputs=tuple(artifact["name"] for artifact in given.get("outputArtifacts", [])),
        namespace=given.get("namespace"),
        timeout_minutes=int(given.get("timeoutInMinutes") or DEFAULT_TIMEOUT_MINUTES),
    )


def _check(pipeline: Pipeline) -> None:
    if pipeline.execution_mode not in EXECUTION_MODES:
        raise PipelineDefinitionError(
            f"the execution mode is {pipeline.execution_mode!r}; expected one of {list(EXECUTION_MODES)}: deliveries "
            "that pass each other could bring production back to an older commit"
        )
    if len(pipeline.stages) < 2:
        raise PipelineDefinitionError(
            f"the pipeline has {len(pipeline.stages)} stage(s); CodePipeline takes 2 and more"
        )
    _once([stage.name for stage in pipeline.stages], "stages")
    for stage in pipeline.stages:
        _once([action.name for action in stage.actions], f"actions of stage {stage.name}")
    produced: set[str] = set()
    namespaces = {_OF_THE_PIPELINE}
    for number, stage in enumerate(pipeline.stages):
        for group in stage.groups():
            for action in group:
                _check_action(action, produced, namespaces, is_first_stage=number == 0)
            # Actions that run at once see nothing of each other.
            produced |= {name for action in group for name in action.outputs}
            namespaces |= {action.namespace for action in group if action.namespace}


def _check_action(action: Action, produced: set[str], namespaces: set[str], *, is_first_stage: bool) -> None:
    if (action.category, action.provider) not in PROVIDERS:
        known = ", ".join(sorted(f"{category}/{provider}" for category, provider in PROVIDERS))
        raise PipelineDefinitionError(
            f"{action.label} is of {action.category}/{action.provider}, which is not carried out here; expected {known}"
        )
    if is_first_stage != (action.category == "Source"):
        where = "the first stage" if is_first_stage else "a later stage"
        raise PipelineDefinitionError(
            f"{action.label} is a {action.category} action in {where}; sources come first, alone"
        )
    if missing := [name for name in action.inputs if name not in produced]:
        raise PipelineDefinitionError(f"{action.label} takes artifact {missing[0]!r}, which no action before it makes")
    if again := [name for name in action.outputs if name in produced]:
        raise PipelineDefinitionError(f"{action.label} makes artifact {again[0]!r}, which another action made before")
    if action.namespace in namespaces:
        raise PipelineDefinitionError(f"{action.label} has namespace {action.namespace!r}, which another action has")
    for name, value in action.configuration.items():
        for found in _VARIABLE.finditer(value):
            if found[1] not in namespaces:
                raise PipelineDefinitionError(
                    f"{action.label}: {name} names {found[0]}, but no action before it has the namespace {found[1]!r}"
                )


def _once(names: Sequence[str], what: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PipelineDefinitionError(f"two {what} are called {twice[0]!r}")
