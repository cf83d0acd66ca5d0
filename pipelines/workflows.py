"""The workflows that are deployed, each with all that is said of it: its builder, its copy, its names, its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.check_graph import EXECUTION_INPUT
from pipelines.checks import check_definition
from pipelines.deployment import DEPLOY_INPUT, build_deploy_workflow
from pipelines.settings import PipelineSettings
from pipelines.substitutions import DEPLOY_SUBSTITUTIONS, SUBSTITUTIONS
from pipelines.training import build_training_workflow

_RENDERED = Path(__file__).with_name("rendered")


@dataclass(frozen=True)
class Workflow:
    """One state machine."""

    name: str
    build: Callable[[PipelineSettings], dict[str, Any]]
    substitutions: tuple[str, ...]
    execution_input: Mapping[str, Any]
    """The keys that every execution's input has; None where nothing is known of a value."""

    @property
    def rendered_path(self) -> Path:
        """The committed copy of its definition, which the stack deploys."""
        return _RENDERED / f"{self.name}.asl.json"

    def check(self, definition: Mapping[str, Any]) -> list[str]:
        """The findings of every check."""
        return check_definition(definition, self.substitutions, self.execution_input)


TRAINING = Workflow("training", build_training_workflow, SUBSTITUTIONS, EXECUTION_INPUT)
DEPLOY = Workflow("deploy", build_deploy_workflow, DEPLOY_SUBSTITUTIONS, DEPLOY_INPUT)
WORKFLOWS = {workflow.name: workflow for workflow in (TRAINING, DEPLOY)}
"""Every workflow by its name; the training workflow starts the others."""
