"""The platform's contract: roles, arguments, the failure file, exit codes."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from containers.contract import parse_arguments, read_hyperparameters, run_reporting_failure
from tests.containers.conftest import Job
from topic_model.errors import SettingsError
from topic_model.settings import CorpusSettings, TextSettings


@pytest.mark.parametrize("arguments", [(), ("dance",)])
def test_an_unknown_role_is_refused(arguments: tuple[str, ...], job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure file names the roles, the exit code is not 0."""
    assert job.call(monkeypatch, *arguments) == 1
    assert "expected one of train, serve, process" in job.failure


def test_a_users_mistake_has_no_traceback(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message alone is in the log."""
    job.call(monkeypatch, "dance")
    captured = capsys.readouterr().err
    assert captured.startswith("SettingsError: ") and "Traceback" not in captured


def test_a_defect_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no user can mend is traced in the log; the failure file has its name and at most 1,024 characters."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))

    def work() -> int:
        raise RuntimeError("boom " * 1_000)

    assert run_reporting_failure(work) == 1
    failure = (tmp_path / "output" / "failure").read_text(encoding="utf-8")
    assert failure.startswith("RuntimeError: boom") and len(failure) == 1_024
    assert "Traceback" in capsys.readouterr().err


def test_success_leaves_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 and no file."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    assert run_reporting_failure(lambda: 0) == 0
    assert not (tmp_path / "output").exists()


def test_arguments_become_settings_of_their_classes() -> None:
    """Dashes become underscores; each name goes to the class that has it."""
    parsed = parse_arguments(
        ["--min-df", "3", "--keep-numbers", "true", "--channel", "google"],
        CorpusSettings,
        TextSettings,
        extra=["channel"],
    )
    assert parsed.of(CorpusSettings) == CorpusSettings(min_df=3)
    assert parsed.of(TextSettings) == TextSettings(keep_numbers=True)
    assert parsed.extra == {"channel": "google"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--min-fd", "3"], "unknown argument --min-fd; expected one of .*--min-df"),
        (["--min-df"], "'--min-df' is not of the form --name value"),
        (["min-df", "3"], "'min-df' is not of the form --name value"),
        (["--min-df", "3", "--min-df", "4"], "--min-df is given twice"),
        (["--min-df", "three"], "argument 'min_df' is 'three'"),
        (["--min-df", "0"], "argument 'min_df' is '0'"),
        ([], "argument --channel is missing"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], message: str) -> None:
    """Unknown, incomplete, repeated, mistyped, out of range or missing."""
    with pytest.raises(SettingsError, match=message):
        parse_arguments(arguments, CorpusSettings, extra=["channel"] if not arguments else [])


def _hyperparameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> dict[str, str]:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    (tmp_path / "input" / "config").mkdir(parents=True)
    (tmp_path / "input" / "config" / "hyperparameters.json").write_bytes(content)
    return read_hyperparameters()


def test_the_platforms_own_hyperparameters_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tuner and SDK add is not ours."""
    content = orjson.dumps({"passes": "3", "_tuning_objective_metric": "c_npmi", "sagemaker_region": '"eu"'})
    assert _hyperparameters(tmp_path, monkeypatch, content) == {"passes": "3"}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"passes": 3}', b"{"])
def test_hyperparameters_that_are_no_strings_are_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SageMaker writes an object of strings; anything else is an error that says so."""
    with pytest.raises(SettingsError, match=r"hyperparameters\.json"):
        _hyperparameters(tmp_path, monkeypatch, content)


def test_no_hyperparameters_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job may have none."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    assert read_hyperparameters() == {}
