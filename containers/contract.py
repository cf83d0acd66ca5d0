"""SageMaker's container contract: paths, hyperparameters, arguments, the failure file and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

import orjson

from topic_model.errors import SettingsError, TopicModelError
from topic_model.settings import StrictSettings

Kind = TypeVar("Kind", bound=StrictSettings)
EXIT_FAILURE = 1
EXIT_TERMINATED = 128 + signal.SIGTERM
MAX_FAILURE_CHARACTERS = 1_024
# Names that SageMaker's tuner and SDK add to a job's own hyperparameters.
_PLATFORM_PREFIXES = ("sagemaker_", "_tuning_")


def base_folder() -> Path:
    """``/opt/ml``, or the folder that stands for it where a container is run as a plain process."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def input_folder(name: str) -> Path:
    """A processing job's input.

    Raises:
        SettingsError: the job has no such input.
    """
    return _existing(f"processing/input/{name}", f"the processing job has no input {name!r}")


def output_folder(name: str) -> Path:
    """A processing job's output."""
    return base_folder() / "processing" / "output" / name


def channel_folder(name: str) -> Path:
    """A training job's channel.

    Raises:
        SettingsError: the job has no such channel.
    """
    return _existing(f"input/data/{name}", f"the training job has no channel {name!r}")


def _existing(place: str, otherwise: str) -> Path:
    folder = base_folder() / place
    if not folder.is_dir():
        raise SettingsError(f"{otherwise}; expected a folder {place}")
    return folder


def read_hyperparameters() -> dict[str, str]:
    """The job's hyperparameters, every one a string, without those the platform adds.

    Raises:
        SettingsError: the file is not a JSON object of strings.
    """
    path = base_folder() / "input" / "config" / "hyperparameters.json"
    try:
        found = orjson.loads(path.read_bytes()) if path.exists() else {}
    except orjson.JSONDecodeError as error:
        raise SettingsError(f"hyperparameters.json is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SettingsError("hyperparameters.json must be an object of strings, as SageMaker writes it")
    return {name: value for name, value in found.items() if not name.startswith(_PLATFORM_PREFIXES)}


def parse_arguments(arguments: Sequence[str], *kinds: type[StrictSettings], extra: Sequence[str] = ()) -> Parsed:
    """Settings and extra values from ``--name value`` pairs; each name belongs to one settings class or to ``extra``.

    Raises:
        SettingsError: an unknown, repeated or incomplete argument, or a value out of range.
    """
    values: dict[str, str] = {}
    for position in range(0, len(arguments), 2):
        name = arguments[position]
        if not name.startswith("--") or position + 1 == len(arguments):
            raise SettingsError(f"argument {name!r} is not of the form --name value")
        key = name[2:].replace("-", "_")
        if key in values:
            raise SettingsError(f"argument {name} is given twice; give it once")
        values[key] = arguments[position + 1]
    known = {name for kind in kinds for name in kind.model_fields} | set(extra)
    if unknown := sorted(set(values) - known):
        expected = ", ".join("--" + name.replace("_", "-") for name in sorted(known))
        raise SettingsError(f"unknown argument --{unknown[0].replace('_', '-')}; expected one of {expected}")
    if missing := [name for name in extra if name not in values]:
        raise SettingsError(f"argument --{missing[0].replace('_', '-')} is missing")
    settings = {
        kind: kind.from_strings(
            {name: value for name, value in values.items() if name in kind.model_fields}, what="argument"
        )
        for kind in kinds
    }
    return Parsed(settings, {name: values[name] for name in extra})


class Parsed:
    """Parsed arguments: settings by class, extra values by name."""

    def __init__(self, settings: Mapping[type[StrictSettings], StrictSettings], extra: Mapping[str, str]) -> None:
        self._settings = settings
        self.extra = extra

    def of(self, kind: type[Kind]) -> Kind:
        """The settings of a class."""
        found = self._settings[kind]
        assert isinstance(found, kind)  # noqa: S101 - narrows the type; the mapping is built by class
        return found


class Termination:
    """Notes SIGTERM, so that work can stop at a safe point instead of in the middle of a file."""

    def __init__(self) -> None:
        self.requested = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


def run_reporting_failure(work: Callable[[], int]) -> int:
    """Run a job's work; what goes wrong becomes ``output/failure`` and a non-zero exit code.

    A user's mistake leaves its message alone; a defect leaves its traceback in the log as well.
    """
    try:
        return work()
    except TopicModelError as error:
        message = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the contract: whatever it is, SageMaker is told
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - a container's log is its standard error
    failure = base_folder() / "output" / "failure"
    try:
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(message[:MAX_FAILURE_CHARACTERS], encoding="utf-8", errors="replace")
    except OSError as error:
        print(f"the failure file could not be written: {error}", file=sys.stderr, flush=True)  # noqa: T201
    return EXIT_FAILURE
