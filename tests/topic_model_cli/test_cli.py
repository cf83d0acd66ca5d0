"""The command line as a whole: help everywhere and at once, mistakes as messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.topic_model_cli.conftest import Command
from topic_model_cli.main import app
from topic_model_cli.reference import commands

HEAVY = ("boto3", "botocore", "sagemaker", "stepfunctions", "pydantic", "numpy", "moto", "spacy", "gensim", "sklearn")


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_says_what_it_does(command: Command, name: str) -> None:
    """Help of every command prints its text and every option's."""
    _, *words = name.split()

    done = command(*words, "--help")

    assert done.returncode == 0
    assert f"Usage: {name}" in done.stdout or f"main {' '.join(words)}" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    """That is what makes help instant, so it is held rather than a time."""
    script = f"""
import sys
from topic_model_cli.main import app
try:
    app(["--help"])
except SystemExit:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)

    assert "Commands" in done.stdout
    assert done.stderr.strip() == "[]"


def test_a_mistake_has_a_traceback_only_with_debug(command: Command) -> None:
    """The same mistake, as a message and as a traceback."""
    plain = command("run", "--input", "nowhere")
    debug = command("--debug", "run", "--input", "nowhere")

    assert (plain.returncode, debug.returncode) == (1, 1)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr


def test_an_unknown_option_is_a_usage_error(command: Command) -> None:
    """Exit code 2 and the option's name."""
    done = command("run", "--inptu", "x")

    assert done.returncode == 2
    assert "--inptu" in done.stderr


def test_without_arguments_the_help_is_shown(command: Command) -> None:
    """A newcomer who types the bare command sees what there is."""
    done = command()

    assert "Commands" in done.stdout + done.stderr


def test_the_version_is_the_packages(command: Command) -> None:
    """``--version`` prints it."""
    import topic_model

    assert command("--version").stdout.strip() == f"topic-model {topic_model.__version__}"


def test_the_local_aws_need_not_run_to_be_asked(command: Command, tmp_path: Path) -> None:
    """Status and down say that it does not run, questions say how to start it."""
    assert "down" in command("local", "status").stdout
    assert "was not up" in command("local", "down").stdout
    assert "topic-model local up --root else/where" in command("local", "status", "--root", "else/where").stdout
    asked = command("similar", "--keywords", "tea")
    assert asked.returncode == 1
    assert "'topic-model local up'" in asked.stderr
    asked = command("similar", "--keywords", "tea", "--root", "else/where")
    assert "'topic-model local up --root else/where'" in asked.stderr


def test_a_sample_is_the_same_twice(command: Command, tmp_path: Path) -> None:
    """Same seed, same bytes, at another place."""
    for out in ("one", "two"):
        assert command("sample", "--out", out, "--campaigns", "40", "--seed", "3").returncode == 0

    def content(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_stale_definition_is_told(tmp_path: Path) -> None:
    """``render --check`` fails on another file and passes on the one just written."""
    runner, out = CliRunner(), tmp_path / "training.asl.json"
    out.write_text("{}")

    stale = runner.invoke(app, ["pipeline", "render", "--check", "--out", str(out)])
    runner.invoke(app, ["pipeline", "render", "--out", str(out)])
    fresh = runner.invoke(app, ["pipeline", "render", "--check", "--out", str(out)])

    assert (stale.exit_code, fresh.exit_code) == (1, 0)
    assert "stale" in stale.stderr


def test_the_definition_keeps_its_rules() -> None:
    """``pipeline check`` passes on the project's own settings."""
    done = CliRunner().invoke(app, ["pipeline", "check"])

    assert done.exit_code == 0, done.output


def test_settings_that_break_no_type_may_still_be_refused(tmp_path: Path) -> None:
    """A settings file with a mistake is told by ``pipeline check`` too."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("jobs:\n  train:\n    instance_type: laptop\n")

    done = CliRunner().invoke(app, ["pipeline", "check", "--settings", str(settings)])

    assert done.exit_code == 1
    assert "instance_type" in done.stderr
