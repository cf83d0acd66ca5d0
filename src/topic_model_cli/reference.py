"""Writes ``docs/cli.md`` from the commands' own help: ``make docs``; a test says when the file is stale."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

REFERENCE_PATH = Path("docs/cli.md")

_HEAD = """# The `topic-model` command

Written by `make docs` from the commands' own help; change it there.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command's full name and the object that the command line parser makes of it, groups left out."""
    from topic_model_cli.main import app

    waiting = [("topic-model", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop(0)
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            waiting = [(f"{name} {child}", found) for child, found in inner.items()] + waiting


def cli_reference() -> str:
    """The reference as Markdown: each command, what it does, and its options."""
    parts = [_HEAD]
    for name, command in commands():
        parts.append(f"## `{name}`\n\n{_one_paragraph(command.help)}\n")
        rows = [_option_row(option) for option in command.params if option.name != "help"]
        if rows:
            parts.append("| option | meaning | default |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _one_paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


def _option_row(option: Any) -> str:
    names = " / ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    meaning = _one_paragraph(option.help)
    if isinstance(option.default, Enum):
        meaning += f" One of {', '.join(f'`{choice.value}`' for choice in type(option.default))}."
    meaning = meaning.replace("<", "&lt;").replace("|", "\\|")
    return f"| {names} | {meaning} | {_default(option)} |"


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return f"`{option.show_default}`"
    value = option.default
    if value is None or value is False:
        return ""
    if value is True:
        return f"`{option.opts[0]}`"
    return f"`{getattr(value, 'value', value)}`"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE_PATH
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(cli_reference(), encoding="utf-8")
