"""The definition against asl-validator, which knows the Amazon States Language's schema and paths (npm ci)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.render import RENDERED_PATH
from pipelines.workflows import WORKFLOWS, Workflow

VALIDATOR = Path(__file__).parents[2] / "node_modules" / ".bin" / "asl-validator"

pytestmark = pytest.mark.skipif(
    not VALIDATOR.exists() or shutil.which("node") is None,
    reason="asl-validator is not installed: run `npm ci` (needs Node.js)",
)


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([VALIDATOR, "--json-path", path], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=lambda workflow: workflow.name)
def test_a_rendered_definition_is_valid(workflow: Workflow) -> None:
    """Schema, transitions, JSONPaths and intrinsic functions, as another tool reads the language."""
    done = validate(workflow.rendered_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("Train", "Next", "Nowhere"), ("Train", "ResultPath", "training"), ("Accept?", "Type", "Chioce")],
)
def test_a_broken_definition_is_not(tmp_path: Path, name: str, field: str, value: str) -> None:
    """The tool does find faults, so its silence says something."""
    definition = json.loads(RENDERED_PATH.read_text(encoding="utf-8"))
    definition["States"][name][field] = value
    broken = tmp_path / "broken.asl.json"
    broken.write_text(json.dumps(definition))
    assert validate(broken).returncode != 0
