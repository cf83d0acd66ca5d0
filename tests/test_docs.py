"""The documents and the commands agree: what is there is told, and what is told is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from topic_model_cli.reference import REFERENCE_PATH, cli_reference, commands

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MAKE_TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMANDS = dict(commands())
GROUPS = {name.rpartition(" ")[0] for name in COMMANDS}


def _written(document: Path, program: str) -> list[str]:
    """The lines of code in a document, in blocks or between backticks, that call a program."""
    text = document.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for line in blocks.splitlines()] + re.findall(r"`([^`\n]+)`", prose)
    return [line for line in lines if line.split(" ", 1)[0] == program]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_help(name: str) -> None:
    """A command or option without a word of help cannot be found out."""
    command = COMMANDS[name]

    assert command.help
    for option in command.params:
        assert option.name == "help" or option.help, f"{name} {option.opts[0]} has no help"


def test_the_command_reference_is_fresh() -> None:
    """``docs/cli.md`` is what ``make docs`` writes."""
    assert (ROOT / REFERENCE_PATH).read_text(encoding="utf-8") == cli_reference(), "stale; renew it with `make docs`"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_documents(name: str) -> None:
    """The README or a document names each command."""
    assert any(name in document.read_text(encoding="utf-8") for document in DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_commands_that_exist(document: Path) -> None:
    """Every ``topic-model …`` in a document is a command with the options that it names."""
    for line in _written(document, "topic-model"):
        words = shlex.split(line, comments=True)
        named = [word for word in words if re.fullmatch(r"[a-z-]+", word)]
        name = next((" ".join(named[:count]) for count in (3, 2) if " ".join(named[:count]) in COMMANDS), None)
        if name is None:
            general = " ".join(named[:2]) in GROUPS or set(words[1:]) <= {"--help", "--version", "--debug"}
            assert general or "|" in line, f"{document.name}: there is no command {line!r}"
            continue
        known = {word for option in COMMANDS[name].params for word in [*option.opts, *option.secondary_opts]}
        options = {word.split("=", 1)[0] for word in words if word.startswith("--")}
        assert options <= known | {"--help"}, f"{document.name}: {line!r}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_make_targets_that_exist(document: Path) -> None:
    """Every ``make …`` in a document is a target of the Makefile."""
    for line in _written(document, "make"):
        for word in shlex.split(line, comments=True)[1:]:
            if "=" in word or word.startswith("-"):
                continue
            exists = word in MAKE_TARGETS or re.fullmatch(r"bench-([a-z-]+|NAME|\*|…)", word)
            assert exists, f"{document.name}: there is no target {word!r}"


def test_every_make_target_says_what_it_does() -> None:
    """``make help`` lists them all: a target is either a file or has its line of help."""
    told = set(re.findall(r"^([a-z%-]+):.*## \S", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert told >= MAKE_TARGETS
