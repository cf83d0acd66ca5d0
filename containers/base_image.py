"""``python -m containers.base_image``: a base image for machines that reach Debian's packages but no image registry.

``debootstrap`` unpacks Debian bookworm with its own Python 3.11 (signatures checked against the machine's Debian
keyring), and ``docker import`` makes it one layer. It needs root, because a root file system is made. Standard library
only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

DEFAULT_TAG = "topic-model-base:bookworm"
SUITE = "bookworm"
# python3-venv needs the virtual package of distutils, which debootstrap does not resolve by itself.
PACKAGES = ("python3", "python3-venv", "python3-distutils")
CHANGES = ("ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", 'CMD ["python"]')
# What no program of the image reads; copyright files stay.
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/man", "usr/share/info", "usr/share/locale")


class BaseImageError(Exception):
    """The base image cannot be made; the message names the remedy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the image; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m containers.base_image", description=__doc__)
    parser.add_argument("--tag", default=DEFAULT_TAG, help=f"the image's name (default {DEFAULT_TAG})")
    parser.add_argument("--mirror", help="the Debian mirror; by default debootstrap's own")
    options = parser.parse_args(arguments)
    try:
        make_base_image(options.tag, mirror=options.mirror)
    except BaseImageError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's message
        return 1
    return 0


def make_base_image(tag: str, *, mirror: str | None = None) -> None:
    """Bootstraps Debian into a folder of its own and imports it as ``tag``.

    Raises:
        BaseImageError: a program is missing, this is not root, or a step failed.
    """
    for program in ("debootstrap", "docker", "tar"):
        if shutil.which(program) is None:
            raise BaseImageError(f"there is no program {program!r}; on Debian and Ubuntu: apt-get install {program}")
    if os.geteuid() != 0:
        raise BaseImageError("debootstrap makes a root file system and needs root; run it with sudo")
    with tempfile.TemporaryDirectory(prefix="base-image-") as folder:
        root = Path(folder) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
        _run([*command, mirror] if mirror else command)
        trim(root)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3.11")
        archive = Path(folder) / "root.tar"
        _run(
            ["tar", "--create", "--numeric-owner", "--one-file-system", f"--file={archive}", f"--directory={root}", "."]
        )
        changes = [part for change in CHANGES for part in ("--change", change)]
        _run(["docker", "import", *changes, str(archive), tag])


def trim(root: Path) -> None:
    """Removes package lists, caches, logs, manuals and translations, and documents but copyright files."""
    for name in _LEFT_OUT:
        folder = root / name
        if folder.is_dir():
            shutil.rmtree(folder)
            folder.mkdir()
    for path in sorted((root / "usr/share/doc").rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name != "copyright":
            path.unlink()


def _run(command: Sequence[str]) -> None:
    finished = subprocess.run(command, check=False)  # noqa: S603 - names made here and a tag that docker checks
    if finished.returncode:
        raise BaseImageError(f"{command[0]} failed with exit code {finished.returncode}; see what it said above")


if __name__ == "__main__":
    sys.exit(main())
