"""A CodeBuild build: the phases of a buildspec in a checkout, in processes or in the build image's container.

What CodeBuild does, as far as a buildspec that calls make targets needs it: a phase's commands run in one shell, one
after the other; the first that fails ends the phase (``finally`` still runs); a failed ``install`` or ``pre_build``
ends the build, and behind ``build`` the phase ``post_build`` runs either way. ``runtime-versions`` are not installed:
here they are what the machine has.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from topic_model_cli.deliver_errors import ActionFailedError

PHASES = ("install", "pre_build", "build", "post_build")
_ENDS_THE_BUILD = frozenset({"install", "pre_build"})
_POLL_SECONDS = 0.2
_SHOWN_LINES = 25
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class BuildPlan:
    """One build: where, with which variables, and where its log goes."""

    folder: Path
    buildspec: Mapping[str, Any]
    variables: Mapping[str, str]
    """CodeBuild's, the project's and the action's; they go before the buildspec's own."""
    environment: Mapping[str, str]
    """The process's surroundings, such as PATH; what the others do not name."""
    log: Path
    timeout_seconds: float
    image: str | None = None
    """A Docker image to build in, or none for processes."""


def read_buildspec(path: Path) -> dict[str, Any]:
    """A buildspec.

    Raises:
        ActionFailedError: it is not there, or is none that CodeBuild takes.
    """
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ActionFailedError(
            f"YAML_FILE_ERROR: {path.name} does not exist in the source ({error.strerror})"
        ) from error
    except yaml.YAMLError as error:
        raise ActionFailedError(f"YAML_FILE_ERROR: {path.name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(spec, dict) or str(spec.get("version")) != "0.2":
        raise ActionFailedError(f"YAML_FILE_ERROR: {path.name} has no version 0.2")
    unknown = sorted(set(spec.get("phases") or {}) - set(PHASES))
    if unknown or not spec.get("phases"):
        raise ActionFailedError(
            f"YAML_FILE_ERROR: {path.name} has phases {unknown or 'missing'}; expected {list(PHASES)}"
        )
    return spec


def run_build(plan: BuildPlan, note: Callable[[str], None]) -> None:
    """Run the phases; ``note`` gets what runs now.

    Raises:
        ActionFailedError: a command failed, with the end of its log.
    """
    variables = {**_texts(plan.buildspec.get("env", {}).get("variables", {})), **plan.variables}
    deadline = time.monotonic() + plan.timeout_seconds
    failure: str | None = None
    plan.log.parent.mkdir(parents=True, exist_ok=True)
    with plan.log.open("wb") as log:
        for name in PHASES:
            phase = plan.buildspec["phases"].get(name)
            if phase is None or (failure is not None and name != "post_build"):
                continue
            status = {"CODEBUILD_BUILD_SUCCEEDING": "0" if failure else "1"}
            failed = _run_phase(plan, name, phase, {**variables, **status}, log, deadline, note)
            failure = failure or failed
            if failed and name in _ENDS_THE_BUILD:
                break
    if failure:
        raise ActionFailedError(f"{failure}\n{_end_of(plan.log)}\n  log: {plan.log}")


def artifacts_of(plan: BuildPlan, names: Sequence[str]) -> dict[str, bytes]:
    """The build's artifacts as zips, by name: one is the buildspec's ``artifacts``, several its secondary ones.

    Raises:
        ActionFailedError: the buildspec does not say one of them, or its files were not made.
    """
    said = plan.buildspec.get("artifacts", {})
    specs = {names[0]: said} if len(names) == 1 else dict(said.get("secondary-artifacts", {}))
    if missing := [name for name in names if name not in specs]:
        raise ActionFailedError(
            f"buildspec.yml has no secondary artifact {missing[0]!r}, which the pipeline takes from it"
        )
    return {name: _packed(plan.folder, name, specs[name]) for name in names}


def _packed(folder: Path, name: str, spec: Mapping[str, Any]) -> bytes:
    base = folder / spec.get("base-directory", ".")
    found: dict[str, Path] = {}
    for pattern in spec.get("files", []):
        matched = [path for path in _matching(base, pattern) if path.is_file()]
        if not matched:
            raise ActionFailedError(f"CLIENT_ERROR: no matching artifact paths found for {pattern} of artifact {name}")
        found |= {str(path.relative_to(base)): path for path in matched}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for relative in sorted(found):
            entry = zipfile.ZipInfo(relative, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = found[relative].stat().st_mode << 16
            archive.writestr(entry, found[relative].read_bytes())
    return packed.getvalue()


def _matching(base: Path, pattern: str) -> Iterator[Path]:
    # CodeBuild's **/* is all files below; pathlib's is too.
    return base.rglob("*") if pattern == "**/*" else base.glob(pattern)


def _run_phase(
    plan: BuildPlan,
    name: str,
    phase: Mapping[str, Any],
    variables: Mapping[str, str],
    log: Any,
    deadline: float,
    note: Callable[[str], None],
) -> str | None:
    """What failed, or None."""
    script = _script(name, phase.get("commands", []), phase.get("finally", []))
    command, environment = _command(plan, script, variables)
    process = subprocess.Popen(  # noqa: S603 - the commit's own build, which is what was asked for
        command,
        cwd=plan.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        while process.poll() is None:
            note(_running(plan.log))
            if time.monotonic() > deadline:
                raise ActionFailedError(f"BUILD_TIMED_OUT in phase {name}\n{_end_of(plan.log)}\n  log: {plan.log}")
            time.sleep(_POLL_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode == 0:
        return None
    return f"COMMAND_EXECUTION_ERROR: phase {name}: `{_running(plan.log)}` exited with {process.returncode}"


_MARK = "[Container] Running command "


def _script(phase: str, commands: Sequence[str], last: Sequence[str]) -> str:
    """A shell program for a phase: commands share one shell, and the first that fails ends it."""
    lines = [f"printf '%s\\n' {shlex.quote(f'[Container] Entering phase {phase}')}"]
    if last:
        cleanup = "; ".join(f"eval {shlex.quote(str(command))}" for command in last)
        lines.append(f"trap {shlex.quote(cleanup)} EXIT")
    for command in commands:
        lines.append(f"printf '%s\\n' {shlex.quote(_MARK + str(command))}")
        lines.append(f"eval {shlex.quote(str(command))} || exit $?")
    return "\n".join(lines)


def _command(plan: BuildPlan, script: str, variables: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    if plan.image is None:
        return ["/bin/sh", "-c", script], {**plan.environment, **variables}
    command = ["docker", "run", "--rm", "--network", "host", "--volume", f"{plan.folder}:/codebuild/src"]
    command += ["--workdir", "/codebuild/src", *(part for name in sorted(variables) for part in ("--env", name))]
    return [*command, plan.image, "/bin/sh", "-c", script], {**plan.environment, **variables}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items()}


def _running(log: Path) -> str:
    """The command that runs, or ran last."""
    marks = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.startswith(_MARK)]
    return marks[-1].removeprefix(_MARK) if marks else ""


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_SHOWN_LINES:])
