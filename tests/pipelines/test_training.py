"""The training workflow as a value."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import jobs
from pipelines.checks import check_definition
from pipelines.render import RENDERED_PATH, render_definition
from pipelines.settings import PipelineSettings, load_settings, parse_settings
from pipelines.states import all_states
from pipelines.training import build_training_workflow


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    return build_training_workflow(load_settings())


def test_the_rendered_file_is_up_to_date() -> None:
    """What is deployed is what the builder makes; renew it with ``topic-model pipeline render``."""
    assert RENDERED_PATH.read_text(encoding="utf-8") == render_definition(load_settings()), (
        "pipelines/rendered/training.asl.json is stale: run `python -m pipelines.render`"
    )


def test_the_definition_passes_every_check(definition: dict[str, Any]) -> None:
    """Nothing that can be found without running it is wrong with the shipped definition."""
    assert check_definition(definition) == []


@pytest.mark.parametrize(
    "text",
    [
        "tuning: {enabled: true}",
        "tuning: {enabled: true, ranges: {start: {type: categorical, values: [nmf, random]}}}",
        "jobs: {train: {spot: false}}",
        "workflow: {job_retries: 0}",
        "gates: {min_c_npmi: null}",
        "algorithm: {hyperparameters: {num_topics: 12}}",
    ],
)
def test_other_settings_pass_every_check(text: str) -> None:
    """Whatever the settings turn on or off, the definition stays valid."""
    assert check_definition(build_training_workflow(parse_settings(text))) == []


def test_an_instance_type_that_a_job_cannot_have_is_found() -> None:
    """The settings only know what a type looks like; the definition's check knows each job's."""
    settings = parse_settings("jobs: {evaluate: {instance_type: ml.m5.tiny}}")
    assert any("'ml.m5.tiny'" in finding for finding in check_definition(build_training_workflow(settings)))


def test_the_environment_does_not_matter(tmp_path: Path) -> None:
    """The same bytes come out whatever AWS configuration the reader has: even a profile that is not there."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = cn-north-1\n")
    surroundings = {
        **os.environ,
        "AWS_PROFILE": "no-such-profile",
        "AWS_CONFIG_FILE": str(config),
        "AWS_DEFAULT_REGION": "cn-north-1",
        "PYTHONHASHSEED": "7",
    }
    code = (
        "import logging; logging.getLogger().setLevel(15)\n"
        "from pipelines.render import render_definition\nfrom pipelines.settings import load_settings\n"
        "print(render_definition(load_settings()), end='')\n"
        "assert logging.getLogger().level == 15, 'the root logger was changed'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == RENDERED_PATH.read_text(encoding="utf-8")
    assert done.stderr == ""


def test_every_state_of_the_architecture_is_there(definition: dict[str, Any]) -> None:
    """The states that ARCHITECTURE.md promises exist under those names."""
    states = {name.rpartition("/")[2] for name, _ in all_states(definition)}
    promised = {
        *("ValidateRequest", "Prepare", "BuildCorpus", "Tune?", "Tune", "Train", "Evaluate", "Accept?", "Rejected"),
        *("CreateScoringModel", "ScoreCampaigns", "BuildNeighbours", "CreateLookupModel", "CheckLookups", "Deploy?"),
        *("Deploy", "SmokeTest", "PublishLookups", "Notify", "NotifyFailure"),
    }
    assert promised <= states


def test_lookups_are_published_after_the_endpoint_serves_their_model(definition: dict[str, Any]) -> None:
    """A failed deployment comes to its end without PublishLookups."""
    states = definition["States"]
    (with_endpoint,) = states["Deploy?"]["Choices"]
    way = [with_endpoint["Next"]]
    while "Next" in states[way[-1]]:
        way.append(states[way[-1]]["Next"])
    assert way[:4] == ["Deploy", "SmokeTest", "PublishLookups", "Notify"]
    for step in ("Deploy", "SmokeTest"):
        (caught,) = states[step]["Catch"]
        assert "PublishLookups" not in reached(states, caught["Next"])


def test_lookups_of_a_model_that_was_not_deployed_are_published_by_the_plan(definition: dict[str, Any]) -> None:
    """ValidateRequest's word decides; where it is never, the run ends well without them."""
    states = definition["States"]
    assert states[states["Deploy?"]["Default"]]["Next"] == "Publish?"
    (never,) = states["Publish?"]["Choices"]
    assert (never["Variable"], never["StringEquals"]) == ("$.plan.publish", "never")
    assert "PublishLookups" not in reached(states, never["Next"]) and "Done" in reached(states, never["Next"])
    assert states["Publish?"]["Default"] == "PublishLookups"
    assert states["PublishLookups"]["Parameters"]["Payload"]["publish.$"] == "$.plan.publish"


def reached(states: dict[str, Any], name: str) -> set[str]:
    """The states behind one, itself included, if none fails."""
    state, found = states[name], {name}
    choices = [choice["Next"] for choice in state.get("Choices", [])]
    for following in filter(None, [state.get("Next"), state.get("Default"), *choices]):
        found |= reached(states, following)
    return found


def test_a_channels_folder_is_read_and_not_those_that_begin_alike(definition: dict[str, Any]) -> None:
    """Inputs that are folders end in a slash: S3 prefixes match names, and google-ads begins with google."""
    folders = []
    for name, state in all_states(definition):
        for entry in state.get("Parameters", {}).get("ProcessingInputs", []):
            folders.append((name, entry["InputName"], entry["S3Input"]["S3Uri.$"]))
    loose = [entry for entry in folders if entry[1] != "model" and not entry[2].startswith("States.Format('{}/'")]
    assert len(folders) == 7
    assert loose == []


def test_processing_jobs_run_the_images_own_entry_point(definition: dict[str, Any]) -> None:
    """The image's entry point takes ``process <step>``; the SDK must not put one in its place."""
    for name, state in all_states(definition):
        application = state.get("Parameters", {}).get("AppSpecification")
        if application is None:
            continue
        assert "ContainerEntrypoint" not in application, name
        words = application.get("ContainerArguments") or re.findall(r"'([^']*)'", application["ContainerArguments.$"])
        assert words[0] == "process"


def test_the_settings_reach_the_jobs() -> None:
    """A setting in the file is an argument of its job, by its name with dashes."""
    changed = build_training_workflow(
        parse_settings("corpus: {min_df: 7}\ntext: {keep_numbers: true}\nalgorithm: {hyperparameters: {passes: 9}}")
    )
    states = dict(all_states(changed))
    arguments = states["BuildCorpus"]["Parameters"]["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--min-df") + 1] == "7"
    assert "'--keep-numbers', 'true'" in json.dumps(states["Prepare/PrepareChannel"])
    assert states["Settings"]["Result"]["hyperparameters"]["passes"] == "9"


def test_training_resumes_and_trials_do_not() -> None:
    """A retried training job finds its run's checkpoints; trials that shared a folder would resume each other."""
    states = dict(all_states(build_training_workflow(parse_settings("tuning: {enabled: true}"))))
    checkpoints = states["Train"]["Parameters"]["CheckpointConfig"]
    assert checkpoints == {"LocalPath": "/opt/ml/checkpoints", "S3Uri.$": "$.plan.uris.checkpoints"}
    assert "CheckpointConfig" not in states["Tune"]["Parameters"]["TrainingJobDefinition"]
    assert states["Settings"]["Result"]["tune"] is True


def test_a_tuned_hyperparameter_is_not_static_as_well() -> None:
    """SageMaker refuses a hyperparameter that is both in a range and given."""
    settings = parse_settings("tuning: {ranges: {alpha: {type: continuous, min: 0.01, max: 1, scale: logarithmic}}}")
    job = dict(all_states(build_training_workflow(settings)))["Tune"]["Parameters"]
    assert "alpha" not in job["TrainingJobDefinition"]["StaticHyperParameters"]
    assert job["TrainingJobDefinition"]["StaticHyperParameters"]["eta"] == "0.05"


def test_the_metric_expressions_read_the_lines_that_training_prints() -> None:
    """The lines are those of ARCHITECTURE.md; each metric has the figure of its own name."""
    lines = [
        "pass=3 seconds=1.21 train_bound=-6.412 held_out_bound=-6.530",
        "final c_npmi=0.12 topic_diversity=0.71 held_out_bound=-6.5",
        "pass=4 seconds=9 train_bound=-1e-05 held_out_bound=-7",
    ]
    read = {
        metric["Name"]: [float(found[1]) for line in lines if (found := re.search(metric["Regex"], line))]
        for metric in jobs.METRICS
    }
    assert read == {
        "train_bound": [-6.412, -1e-05],
        "held_out_bound": [-6.53, -6.5, -7.0],
        "c_npmi": [0.12],
        "topic_diversity": [0.71],
    }


def test_a_failed_request_is_not_retried(definition: dict[str, Any]) -> None:
    """Errors that our functions name are mistakes of the request; only Lambda's and the network's are tried again."""
    retriers = definition["States"]["ValidateRequest"]["Retry"]
    retried = {error for retrier in retriers for error in retrier["ErrorEquals"]}
    assert not retried & {"RequestError", "LookupRowsError", "SmokeTestError", "States.TaskFailed", "States.ALL"}


def test_arguments_with_quotes_survive_the_intrinsic() -> None:
    """A word with the characters that intrinsic strings escape comes out as it was."""
    words = jobs._words(["a'b", "c{d}", "e\\f", "$.channel.name"])
    assert words == r"States.Array('a\'b', 'c\{d\}', 'e\\f', $.channel.name)"


def test_arguments_are_the_settings_of_their_class() -> None:
    """Every field of a section is passed, so that a job's log says all that it ran with."""
    settings = PipelineSettings.from_mapping({})
    words = jobs.arguments(settings.neighbours)
    assert words[::2] == [f"--{name.replace('_', '-')}" for name in type(settings.neighbours).model_fields]
