"""The functions' zip: it is the same each time, and it is enough."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from topic_model_cli.stack import FUNCTIONS
from workflow_functions.package import package_functions

HANDLERS = tuple(FUNCTIONS.values())

_IMPORT_FROM_ZIP = """
import sys
archive, name = sys.argv[1:]

class OnlyWhatLambdaHas:
    allowed = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six", "workflow_functions",
               "topic_model"} | sys.stdlib_module_names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed:
            raise ImportError(f"{name} is not there in Lambda's runtime")

sys.meta_path.insert(0, OnlyWhatLambdaHas())
sys.path[:0] = [archive]
import importlib
module = importlib.import_module(f"workflow_functions.{name}")
assert module.__file__.startswith(archive), module.__file__
assert callable(module.handler)
"""


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    """A stack must not change because the zip was made at another time."""
    first = package_functions(tmp_path / "a.zip")
    os.utime(Path(sys.modules["workflow_functions"].__file__ or ""), (1, 1))
    assert first.read_bytes() == package_functions(tmp_path / "deeper" / "b.zip").read_bytes()


@pytest.mark.parametrize("name", HANDLERS)
def test_each_handler_imports_from_the_zip_alone(tmp_path: Path, name: str) -> None:
    """Nothing is needed that is neither in the zip nor in Lambda's Python runtime."""
    archive = package_functions(tmp_path / "functions.zip")
    subprocess.run([sys.executable, "-c", _IMPORT_FROM_ZIP, str(archive), name], check=True, cwd=tmp_path, timeout=60)


def test_a_failure_leaves_no_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip is there whole or not at all."""

    def no_space(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", no_space)
    with pytest.raises(OSError, match="no space"):
        package_functions(tmp_path / "functions.zip")
    assert list(tmp_path.iterdir()) == []
