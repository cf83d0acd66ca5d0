"""The Python environment of a commit: the one at hand, where the commit locks the same versions, with its own code."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from topic_model_cli.deliver_errors import DeliveryError

LOCKS = ("requirements/development.txt", "requirements/run.txt", "setup.cfg")
STAMPS = (".ready-to-run", ".ready-to-develop")
_COMMANDS = {"topic-model": "topic_model_cli.main", "mypy": "mypy"}
_PROGRAMS = ("ruff", "uv")  # no Python: they run where they are


def borrowed_environment(checkout: Path, own: Path) -> bool:
    """Make ``checkout/.venv`` of this installation, if it has the versions that the checkout locks.

    ``own`` is the checkout that this installation was made for. The libraries are this environment's, the code is the
    checkout's, and the stamps say to make that all is installed. Where the locks differ nothing is made, and the first
    make target installs the commit's own versions.

    Returns whether it was made.
    """
    if any(_hash(checkout / name) != _hash(own / name) for name in LOCKS):
        return False
    environment = checkout / ".venv"
    made = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-m", "venv", "--without-pip", str(environment)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise DeliveryError(f"no Python environment can be made in {environment}: {made.stderr.strip()[-300:]}")
    site = Path(_site_packages(environment))
    # A path in a .pth file is searched, but its own .pth files are not read: this installation's code stays out.
    lines = [
        str(checkout / "src"),
        str(checkout),
        *dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib")),
    ]
    (site / "commit.pth").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for name, module in _COMMANDS.items():
        command = environment / "bin" / name
        command.write_text(
            f"#!{environment / 'bin' / 'python'}\nimport runpy, sys\nsys.argv[0] = {name!r}\n"
            f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n",
            encoding="utf-8",
        )
        command.chmod(0o755)
    for name in _PROGRAMS:
        program = Path(sysconfig.get_path("scripts")) / name
        if program.exists():
            (environment / "bin" / name).symlink_to(program)
    for stamp in STAMPS:
        (environment / stamp).touch()
    return True


def python_of(checkout: Path) -> Path:
    """The checkout's interpreter: its own environment's, or this one where it has none yet."""
    own = checkout / ".venv" / "bin" / "python"
    return own if own.exists() else Path(sys.executable)


def _site_packages(environment: Path) -> str:
    return sysconfig.get_path("purelib", "venv", vars={"base": str(environment), "platbase": str(environment)})


def _hash(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def clean_variables() -> dict[str, str]:
    """This process's variables without those of AWS, of Python's paths and of make."""
    left_out = ("AWS_", "PYTHONPATH", "PYTHONHOME", "MAKE", "MFLAGS", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
