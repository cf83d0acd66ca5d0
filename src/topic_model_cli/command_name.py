"""How the reader of a hint types the command, whether or not its environment is activated."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def command_name() -> str:
    """``topic-model`` where the shell finds it, else its path from the working folder."""
    beside_python = Path(sys.executable).parent / "topic-model"
    if shutil.which("topic-model") or not beside_python.exists():
        return "topic-model"
    return os.path.relpath(beside_python)
