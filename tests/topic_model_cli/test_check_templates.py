"""``make check-templates``: checkov's findings stop it, and so do excuses that excuse nothing or give no reason."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from topic_model_cli.check_templates import CheckError, checkov_findings, lint_findings, main

CHECKOV = Path(__file__).parents[2] / "build" / "checks" / "bin" / "checkov"
LINTER = str(Path(sys.executable).with_name("cfn-lint"))

QUEUE: dict[str, Any] = {"Type": "AWS::SQS::Queue", "Properties": {"KmsMasterKeyId": "alias/aws/sqs"}}
OPEN: dict[str, Any] = {"Type": "AWS::SQS::Queue", "Properties": {"SqsManagedSseEnabled": False}}


def excused(resource: dict[str, Any], reason: str) -> dict[str, Any]:
    """A queue with an excuse for not being encrypted."""
    skip = [{"id": "CKV_AWS_27", "comment": reason}]
    return copy.deepcopy(resource) | {"Metadata": {"checkov": {"skip": skip}}}


@pytest.mark.slow
@pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not installed; make check-templates does it")
def test_what_checkov_finds_and_idle_excuses_are_findings() -> None:
    """A sound resource is none, nor is an excuse with a reason for what fails; all else is, by its name."""
    resources = {
        "Sound": QUEUE,
        "Open": OPEN,
        "Excused": excused(OPEN, "It holds what everybody may read."),
        "NoReason": excused(OPEN, "later"),
        "Idle": excused(QUEUE, "It holds what everybody may read."),
    }
    found = checkov_findings(str(CHECKOV), {"queues": {"Resources": resources}})
    assert [finding.split(":")[1].strip() for finding in found if "CKV_AWS_27" in finding][1:] == ["NoReason", "Idle"]
    assert "Open" in found[0]
    assert "mend it" in found[0]
    assert "say why it may fail" in found[1]
    assert "take the excuse away" in found[2]
    assert len(found) == 3


def test_a_checker_that_does_not_work_is_an_error(tmp_path: Path) -> None:
    """Never a clean bill: one that is missing, and one that answers something else than a report."""
    template = {"queues": {"Resources": {"Sound": QUEUE}}}
    with pytest.raises(CheckError, match=r"cannot be run .*make check-templates"):
        checkov_findings(str(tmp_path / "checkov"), template)
    with pytest.raises(CheckError, match="gave no report"):
        checkov_findings("/bin/echo", template)
    with pytest.raises(CheckError, match="failed"):
        lint_findings("/bin/false", ["template.yaml"])


def test_a_linters_findings_are_told(tmp_path: Path) -> None:
    """By file and line, warnings included."""
    path = tmp_path / "queue.yaml"
    path.write_text(
        "Resources:\n  Queue:\n    Type: AWS::SQS::Queue\n    Properties:\n      Lenght: 3\n", encoding="utf-8"
    )
    (found,) = lint_findings(LINTER, [str(path)])
    assert found.startswith(f"{path}:5:")
    assert "Lenght" in found


def test_a_template_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In a sentence, with the exit code of a mistake in the command."""
    assert main([LINTER, str(CHECKOV), str(tmp_path / "nothing.yaml")]) == 2
    assert "nothing.yaml cannot be read" in capsys.readouterr().err
    assert main([]) == 2
