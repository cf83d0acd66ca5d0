"""A buildspec's phases: what runs, what ends them, and which files they leave."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from topic_model_cli.deliver_build import BuildPlan, artifacts_of, read_buildspec, run_build
from topic_model_cli.deliver_errors import ActionFailedError


def plan(folder: Path, phases: dict[str, Any], **more: Any) -> BuildPlan:
    return BuildPlan(
        folder=folder,
        buildspec={"version": 0.2, "phases": phases, **more},
        variables={"CHECKS": "given"},
        environment=dict(os.environ),
        log=folder / "log" / "build.log",
        timeout_seconds=60,
    )


def nothing(_text: str) -> None:
    pass


def test_commands_share_a_shell_and_the_pipelines_variables_go_first(tmp_path: Path) -> None:
    """As CodeBuild's version 0.2 has it: what a command exports the next one sees."""
    phases = {"build": {"commands": ["export MADE=1", 'echo "$MADE $CHECKS $OWN" > said']}}
    run_build(plan(tmp_path, phases, env={"variables": {"CHECKS": "default", "OWN": "own"}}), nothing)
    assert (tmp_path / "said").read_text() == "1 given own\n"


def test_the_first_command_that_fails_ends_the_build_and_is_named(tmp_path: Path) -> None:
    """With the end of the log; ``finally`` and ``post_build`` run all the same."""
    phases = {
        "build": {"commands": ["echo why it fails; exit 3", "touch never"], "finally": ["touch finally"]},
        "post_build": {"commands": ['echo "$CODEBUILD_BUILD_SUCCEEDING" > after']},
    }
    with pytest.raises(ActionFailedError, match="phase build: `echo why it fails; exit 3` exited with 3") as failed:
        run_build(plan(tmp_path, phases), nothing)
    assert "why it fails" in str(failed.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after", "finally", "log"]
    assert (tmp_path / "after").read_text() == "0\n"


def test_a_failed_install_builds_nothing(tmp_path: Path) -> None:
    """Nor does it run what comes behind the build."""
    phases = {
        "install": {"commands": ["false"]},
        "build": {"commands": ["touch built"]},
        "post_build": {"commands": ["touch after"]},
    }
    with pytest.raises(ActionFailedError, match="phase install"):
        run_build(plan(tmp_path, phases), nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_secondary_artifacts_are_packed_from_their_folders(tmp_path: Path) -> None:
    """Each is a zip of its own, its names relative to its base directory."""
    (tmp_path / "dist" / "parameters").mkdir(parents=True)
    (tmp_path / "dist" / "template.json").write_text("{}")
    (tmp_path / "dist" / "parameters" / "test.json").write_text("{}")
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "a.csv").write_text("a")
    secondary = {
        "Package": {"base-directory": "dist", "files": ["template.json", "parameters/*.json"]},
        "Sample": {"base-directory": "sample", "files": ["**/*"]},
    }
    made = artifacts_of(plan(tmp_path, {}, artifacts={"secondary-artifacts": secondary}), ["Package", "Sample"])
    names = {name: zipfile.ZipFile(io.BytesIO(content)).namelist() for name, content in made.items()}
    assert names == {"Package": ["parameters/test.json", "template.json"], "Sample": ["a.csv"]}


def test_files_that_were_not_made_are_no_artifact(tmp_path: Path) -> None:
    """CodeBuild fails then, and says the pattern."""
    with pytest.raises(ActionFailedError, match=r"no matching artifact paths found for template\.json"):
        artifacts_of(plan(tmp_path, {}, artifacts={"files": ["template.json"]}), ["Package"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 0.1\nphases: {build: {}}", "no version 0.2"),
        ("version: 0.2\nphases: {bulid: {}}", "bulid"),
        ("version: 0.2", "missing"),
        ("version: [", "no YAML"),
    ],
)
def test_what_is_no_buildspec_is_told(tmp_path: Path, text: str, told: str) -> None:
    """By the file's name and what is wrong with it."""
    (tmp_path / "buildspec.yml").write_text(text)
    with pytest.raises(ActionFailedError, match=told):
        read_buildspec(tmp_path / "buildspec.yml")


def test_the_projects_buildspec_calls_make_alone() -> None:
    """What CodeBuild runs is what a laptop runs."""
    spec = read_buildspec(Path("buildspec.yml"))
    commands = [command for phase in spec["phases"].values() for command in phase.get("commands", [])]
    assert commands
    assert all(command.startswith("make ") for command in commands)
