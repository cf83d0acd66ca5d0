"""The lookup API's Lambda function as a zip: the application and its dependencies, in the versions of the lock.

boto3 is in it although the runtime has one: the runtime's changes without a deployment, and what was tested is what
should run. Of botocore's service descriptions, most of its size, only those of the services that are called go along.

The modules are compiled where the Python that packages is the runtime's: the function's folder is read-only, so
otherwise every start would compile them again, which takes longer than all the rest of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import lookup_api
import topic_model
from topic_model.errors import TopicModelError
from workflow_functions.package import write_zip

RUNTIME_PYTHON = "3.12"
"""Of the runtime that ``template.yaml`` names (python3.12, on Amazon Linux 2023, with glibc 2.34)."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""Wheels that run there: the template's architecture is x86_64."""
REQUIREMENTS = Path("requirements/lookup-api.txt")
MAX_UNPACKED_BYTES = 250 << 20
"""Lambda's limit on a function's files, unpacked."""

_SERVICES = frozenset({"dynamodb", "sagemaker-runtime", "secretsmanager"})
_SHARED_MODULES = ("__init__.py", "errors.py", "published.py")
_OF_AN_INSTALLATION = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
_TASK_FOLDER = "/var/task"  # where Lambda unpacks the zip; what tracebacks name
_PIP_SECONDS = 600


class PackageError(TopicModelError):
    """The package could not be made."""


def package_lookup_api(out: Path, requirements: Path = REQUIREMENTS, *, python: str = RUNTIME_PYTHON) -> Path:
    """Write the lookup API's zip for a Python version to ``out`` and answer it.

    Raises:
        PackageError: a dependency is not to be had, or the function is larger than Lambda takes.
    """
    if not requirements.is_file():
        raise PackageError(f"{requirements} is missing; package in the repository's folder")
    with tempfile.TemporaryDirectory(prefix="topic-model-lookup-api-") as folder:
        site = Path(folder)
        _install(requirements, site, python)
        _copy("lookup_api", Path(lookup_api.__file__).parent, site)
        for name in _SHARED_MODULES:
            _copy_file(Path(topic_model.__file__).parent / name, site / "topic_model" / name)
        files = {str(path.relative_to(site)): path for path in site.rglob("*") if _is_packaged(path, site)}
        if python == f"{sys.version_info.major}.{sys.version_info.minor}":
            files |= _compiled(files, site)
        unpacked = sum(path.stat().st_size for path in files.values())
        if unpacked > MAX_UNPACKED_BYTES:
            raise PackageError(f"the lookup API has {unpacked:,} bytes unpacked; Lambda takes {MAX_UNPACKED_BYTES:,}")
        return write_zip(files, out)


def _install(requirements: Path, site: Path, python: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    # Wheels alone: building one would be for this machine, not for the function's.
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [f"--platform={platform}" for platform in PLATFORMS]
    command += ["--target", str(site), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PIP_SECONDS)  # noqa: S603
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or [done.stderr.strip()]
        raise PackageError(
            f"the dependencies in {requirements} could not be downloaded for Python {python} on x86_64: {told[-1]}; "
            "the package index must be reachable and have a wheel of each"
        )


def _copy(package: str, folder: Path, site: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            _copy_file(path, site / package / path.relative_to(folder))


def _copy_file(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(path.read_bytes())


def _is_packaged(path: Path, site: Path) -> bool:
    parts = path.relative_to(site).parts
    if not path.is_file() or parts[0] == "bin" or path.suffix == ".pyc":
        return False
    if parts[:2] == ("botocore", "data") and len(parts) > 3:
        return parts[2] in _SERVICES
    return not (parts[0].endswith(".dist-info") and path.name in _OF_AN_INSTALLATION)


def _compiled(files: dict[str, Path], site: Path) -> dict[str, Path]:
    """The modules' bytecode, which the function's Python takes without looking at the sources' times."""
    command = [sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(site), "-p", _TASK_FOLDER, "-i", "-"]
    modules = sorted(str(path) for name, path in files.items() if name.endswith(".py"))
    # Beside the sources, whatever this environment says of where bytecode is kept.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}
    done = subprocess.run(  # noqa: S603
        command, input="\n".join(modules), capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise PackageError(f"a module of the lookup API does not compile: {done.stdout.strip()}")
    return {str(path.relative_to(site)): path for path in site.rglob("*.pyc")}
