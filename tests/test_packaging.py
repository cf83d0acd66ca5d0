"""What is installed is what is there."""

from __future__ import annotations

import configparser
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_installed() -> None:
    """A folder of modules that setup.cfg does not list would be missing from the wheel, and only from it."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    folders = [path.parent.relative_to(ROOT / "src") for path in (ROOT / "src").glob("**/__init__.py")]
    assert listed == {".".join(folder.parts) for folder in folders} | {"pipelines", "containers"}
