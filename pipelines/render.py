"""The definition as text, and the committed copy of it: ``python -m pipelines.render`` renews the copy."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipelines.settings import DEFAULT_SETTINGS_PATH, PipelineSettings, load_settings
from pipelines.training import build_training_workflow

RENDERED_PATH = Path(__file__).with_name("rendered") / "training.asl.json"


def render_definition(settings: PipelineSettings) -> str:
    """The training workflow's definition as JSON: the same settings, the same bytes."""
    return json.dumps(build_training_workflow(settings), indent=2, ensure_ascii=False) + "\n"


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
    write_definition(render_definition(load_settings(DEFAULT_SETTINGS_PATH)))
