"""``topic-model checklist``: every line is met by what is there, and by nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from topic_model_cli.checklist_evidence import alarm_names, alarms_explained, built, commit, delivered, encrypted
from topic_model_cli.checklist_lines import LINES
from topic_model_cli.main import app

ROOT = Path(__file__).parents[2]
BUILT = {"a bill of materials, no older than the commit", "the package to deploy, no older than the commit"}
"""Lines that a build meets, and a clone does not."""


def test_an_empty_folder_meets_nothing(tmp_path: Path) -> None:
    """No line is ticked by itself, and each says what to do."""
    told = CliRunner().invoke(app, ["checklist", "--folder", str(tmp_path), "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert len(found) == len(LINES) and not any(each["evidence"] for each in found)
    assert all(each["remedy"] for each in found)
    assert CliRunner().invoke(app, ["checklist", "--folder", str(tmp_path), "--strict"]).exit_code == 1


def test_this_checkout_has_its_artefacts_and_documentation() -> None:
    """What is missing is a process that only an owner can begin, or what a build makes."""
    found = json.loads(CliRunner().invoke(app, ["checklist", "--folder", str(ROOT), "--json"]).stdout)
    missing = {each["what"] for each in found if not each["evidence"] and each["group"] != "Processes"}
    assert missing <= BUILT


def test_every_alarm_is_explained_in_the_guide(tmp_path: Path) -> None:
    """A new alarm of the template without a word in the guide takes the line away."""
    names = alarm_names(ROOT)
    assert len(names) > 5 and alarms_explained(ROOT)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "template.yaml", tmp_path)
    guide = (ROOT / "docs/operating.md").read_text()
    (tmp_path / "docs/operating.md").write_text(guide.replace(f"`{names[0]}`", "`something-else`"))
    assert alarms_explained(tmp_path) is None


def test_only_a_delivery_of_this_commit_that_succeeded_counts(repository: Path) -> None:
    """One that failed, one of another commit, or a report that was cut, is no evidence."""
    head = commit(repository, "%H")
    for name, text in (
        ("a", f'{{"status": "Failed", "commit": "{head}"}}'),
        ("b", '{"status"'),
        ("c", '{"status": "Succeeded", "commit": "0123"}'),
    ):
        (repository / f"runs/delivery-{name}").mkdir(parents=True)
        (repository / f"runs/delivery-{name}/delivery.json").write_text(text)
    assert delivered(repository) is None
    (repository / "runs/delivery-a/delivery.json").write_text(f'{{"status": "Succeeded", "commit": "{head}"}}')
    assert delivered(repository) == "`runs/delivery-a/delivery.json`"


def test_a_build_of_an_earlier_commit_is_no_evidence(repository: Path) -> None:
    """Every file of a build is younger than the commit that is checked out."""
    look, made = built("dist/*.json"), int(commit(repository, "%ct"))
    assert look(repository) is None
    for name, age in (("a", 5), ("b", -5)):
        (repository / "dist").mkdir(exist_ok=True)
        (repository / f"dist/{name}.json").write_text("{}")
        os.utime(repository / f"dist/{name}.json", (made + age, made + age))
        assert (look(repository) is None) == (age < 0)


def test_what_keeps_data_in_the_clear_takes_the_line_away(tmp_path: Path) -> None:
    """One table without a key among many with one."""
    shutil.copy(ROOT / "template.yaml", tmp_path)
    assert encrypted(tmp_path)
    text = (ROOT / "template.yaml").read_text()
    assert "      SSESpecification: *by-the-key\n" in text
    (tmp_path / "template.yaml").write_text(text.replace("      SSESpecification: *by-the-key\n", "", 1))
    assert encrypted(tmp_path) is None


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one commit."""
    who = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    for command in (["init", "--quiet"], [*who, "commit", "--quiet", "--allow-empty", "--message", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path
