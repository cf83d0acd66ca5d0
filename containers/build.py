"""``python -m containers.build``: builds the image with the machine's Docker; what ``make images`` calls.

It adds to ``docker build`` what a machine behind a mirror or a proxy needs: pip's settings from the environment become
build arguments of the first stage, and the bundle of certificates that the environment names is laid into the context
for it. Neither reaches the image. Works with BuildKit and with the classic builder. Standard library only: it runs
before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

DEFAULT_TAG = "topic-model:local"
ROOT = Path(__file__).resolve().parent.parent
CA_BUNDLE = Path("build", "image", "ca-bundle.pem")
PASSED_ON = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    # Docker knows these without a declaration and keeps them out of the image's history.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
SOURCES_LABEL = "topic-model.sources"
"""The image's label that says which sources it is of (:func:`sources_hash`)."""
_SOURCES = ("containers/Dockerfile", "requirements/container.txt", "containers/*.py", "src/topic_model/**/*")
_NOT_SOURCES = ("containers/build.py", "containers/base_image.py")  # .dockerignore leaves them out
CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


class BuildError(Exception):
    """The image cannot be built; the message names the remedy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the image; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m containers.build", description=__doc__)
    parser.add_argument("--tag", default=DEFAULT_TAG, help=f"the image's name (default {DEFAULT_TAG})")
    parser.add_argument("--base-image", help="an image with Python 3.11, best by digest (default: the Dockerfile's)")
    parser.add_argument("--network", help="docker build's --network, such as host behind a local mirror")
    parser.add_argument("--version", help="the version label (default: git's description of the work tree)")
    options = parser.parse_args(arguments)
    try:
        build(options.tag, base_image=options.base_image, network=options.network, version=options.version)
    except BuildError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's message
        return 1
    return 0


def build(tag: str, *, base_image: str | None = None, network: str | None = None, version: str | None = None) -> None:
    """Builds the image as ``tag``.

    Raises:
        BuildError: there is no docker, its daemon does not answer, or the build failed.
    """
    _check_docker()
    labels = {"org.opencontainers.image.version": version or _described(), SOURCES_LABEL: sources_hash(ROOT)}
    command = build_command(tag, base_image=base_image, network=network, labels=labels, environment=os.environ)
    with certificates(ROOT, os.environ):
        finished = subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603 - docker, with arguments made here
    if finished.returncode:
        raise BuildError(
            f"docker build failed with exit code {finished.returncode}. Where the base image could not be pulled, make "
            "one with 'python -m containers.base_image' and name it: make images BASE_IMAGE=topic-model-base:bookworm"
        )


def build_command(
    tag: str,
    *,
    base_image: str | None,
    network: str | None,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
) -> list[str]:
    """The ``docker build`` command; secrets of ``environment`` are named in it, not spelled out."""
    command = ["docker", "build", "--file", "containers/Dockerfile", "--tag", tag]
    if base_image:
        command += ["--build-arg", f"BASE_IMAGE={base_image}"]
    if network:
        command += ["--network", network]
    for name in (*PASSED_ON, *(name.lower() for name in PASSED_ON if name.endswith("PROXY"))):
        if environment.get(name):
            command += ["--build-arg", name]  # docker takes the value from its own environment
    for name, value in labels.items():
        command += ["--label", f"{name}={value}"]
    return [*command, "."]


def sources_hash(root: Path) -> str:
    """SHA-256 over the names and contents of what an image is built from but its base; of nothing outside a checkout.

    An image of other sources than the tree's may compute other figures; its label tells before that puzzles anybody.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _SOURCES for path in root.glob(pattern)}):
        name = path.relative_to(root).as_posix()
        if path.is_file() and "__pycache__" not in name and name not in _NOT_SOURCES:
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@contextmanager
def certificates(root: Path, environment: Mapping[str, str]) -> Iterator[Path | None]:
    """Lays the bundle that the environment names into the build's context for as long as the build runs.

    Raises:
        BuildError: the environment names a bundle that is not there.
    """
    named = [(name, environment[name]) for name in CA_VARIABLES if environment.get(name)]
    if not named:
        yield None
        return
    name, value = named[0]
    if not Path(value).is_file():
        raise BuildError(f"{name} names {value!r}, which is no file; name a bundle of certificates or unset it")
    target = root / CA_BUNDLE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_without_keys(Path(value).read_text(encoding="utf-8", errors="replace")), encoding="utf-8")
    try:
        yield target
    finally:
        target.unlink(missing_ok=True)


def _without_keys(bundle: str) -> str:
    """The certificates of a PEM file alone: some files hold a key beside them."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", bundle, re.DOTALL)
    return "\n".join(found) + "\n"


def _check_docker() -> None:
    if shutil.which("docker") is None:
        raise BuildError("there is no program 'docker'; install Docker, or run in process mode, which needs no image")
    answered = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)  # noqa: S607 - on PATH
    if answered.returncode:
        reason = answered.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise BuildError(f"Docker does not answer ({reason[0]}); start its daemon")


def _described() -> str:
    """The commit that the work tree is at, ``-dirty`` with changes; ``unknown`` outside git."""
    try:
        answered = subprocess.run(
            ["git", "describe", "--always", "--dirty"],  # noqa: S607 - on PATH
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answered.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
