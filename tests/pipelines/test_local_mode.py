"""SageMaker's local mode asks for the jobs that the workflow's definition asks for."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipelines import local_mode
from pipelines.jobs import hyperparameters
from pipelines.settings import PipelineSettings
from pipelines.training import build_training_workflow
from topic_model.errors import SettingsError

SETTINGS = PipelineSettings()


@pytest.fixture(scope="module")
def states() -> dict[str, Any]:
    """The definition's states by name, those of the Map with them."""
    found: dict[str, Any] = build_training_workflow(SETTINGS)["States"]
    return found | found["Prepare"]["ItemProcessor"]["States"]


REQUESTS = {
    "PrepareChannel": local_mode.prepare(SETTINGS, "$.channel.name", exports="s3://e", prepared="s3://p", scoring="s3://s"),
    "BuildCorpus": local_mode.build_corpus(SETTINGS, prepared="s3://p", corpus="s3://c"),
    "Evaluate": local_mode.evaluate(SETTINGS, model="s3://m", corpus="s3://c", evaluation="s3://e"),
    "BuildNeighbours": local_mode.build_neighbours(
        SETTINGS, model="s3://m", prepared="s3://p", fingerprints="s3://f", lookups="s3://l", lookup_model="s3://k"
    ),
}  # fmt: skip


@pytest.mark.parametrize("state", REQUESTS)
def test_processing_jobs_are_those_of_the_definition(state: str, states: dict[str, Any]) -> None:
    """The same step, arguments, inputs and outputs."""
    request, parameters = REQUESTS[state], states[state]["Parameters"]
    asked = parameters["AppSpecification"]
    words = asked.get("ContainerArguments") or [
        literal or path for literal, path in re.findall(r"'([^']*)'|(\$\.[\w.]+)", asked["ContainerArguments.$"])
    ]
    assert ["process", request.step, *request.words] == words
    assert list(request.inputs) == [each["InputName"] for each in parameters["ProcessingInputs"]]
    outputs = parameters["ProcessingOutputConfig"]["Outputs"]
    assert list(request.outputs) == [each["OutputName"] for each in outputs]


def test_hyperparameters_are_those_of_the_definition(states: dict[str, Any]) -> None:
    """What local mode trains with is what the workflow's settings say."""
    assert states["Settings"]["Result"]["hyperparameters"] == hyperparameters(SETTINGS)


def test_tuning_is_refused() -> None:
    """Local mode has no tuning jobs; training without saying so would make another model."""
    tuning = SETTINGS.tuning.model_copy(update={"enabled": True})
    with pytest.raises(SettingsError, match=r"tuning\.enabled"):
        local_mode.LocalMode(None, "image", "role", SETTINGS.model_copy(update={"tuning": tuning}))


def test_the_entry_point_is_the_images() -> None:
    """Local mode has to name it for processing jobs."""
    from tests.containers.test_dockerfile import ROOT

    assert (
        f"ENTRYPOINT {list(local_mode.ENTRY_POINT)}".replace("'", '"') in (ROOT / "containers/Dockerfile").read_text()
    )
