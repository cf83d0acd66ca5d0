"""``topic-model checklist``: every line is met by what is there, and by nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from topic_model_cli.checklist_evidence import alarm_names, alarms_explained, delivered
from topic_model_cli.checklist_lines import LINES
from topic_model_cli.main import app

ROOT = Path(__file__).parents[2]
BUILT = {"a bill of materials of this build", "the package to deploy"}
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


def test_only_a_delivery_that_succeeded_counts(tmp_path: Path) -> None:
    """One that failed, or a report that was cut, is no evidence."""
    for name, text in (("a", '{"status": "Failed"}'), ("b", '{"status"')):
        (tmp_path / f"runs/delivery-{name}").mkdir(parents=True)
        (tmp_path / f"runs/delivery-{name}/delivery.json").write_text(text)
    assert delivered(tmp_path) is None
    (tmp_path / "runs/delivery-a/delivery.json").write_text('{"status": "Succeeded"}')
    assert delivered(tmp_path) == "`runs/delivery-a/delivery.json`"
