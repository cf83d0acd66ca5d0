"""The definitions as text, and the committed copies of them: ``python -m pipelines.render`` renews the copies."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipelines.settings import DEFAULT_SETTINGS_PATH, PipelineSettings, load_settings
from pipelines.workflows import TRAINING, WORKFLOWS, Workflow

RENDERED_PATH = TRAINING.rendered_path


def render_definition(settings: PipelineSettings, workflow: Workflow = TRAINING) -> str:
    """A workflow's definition as JSON: the same settings, the same bytes."""
    return json.dumps(workflow.build(settings), indent=2, ensure_ascii=False) + "\n"


def write_definition(text: str, path: Path = RENDERED_PATH) -> Path:
    """Write a rendered definition, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


if __name__ == "__main__":
    shipped = load_settings(DEFAULT_SETTINGS_PATH)
    for each in WORKFLOWS.values():
        write_definition(render_definition(shipped, each), each.rendered_path)
