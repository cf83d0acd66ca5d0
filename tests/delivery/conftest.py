"""A repository whose commits are delivered for real, with a build that takes seconds.

It is this checkout's own code and templates in a repository of their own. What is cheap about it is the build alone:
the package was made once, and the build uploads it; checks are one line of shell.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from moto import mock_aws

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("src", "pipelines", "containers", "delivery", "acceptance", "requirements", "setup.cfg", "pyproject.toml")
CAMPAIGNS = 500

MAKEFILE = """
check-quick:
\t@sh checks.sh
push:
\t@.venv/bin/python -m delivery.images $(IMAGE_ARGS)
sample:
\t@.venv/bin/topic-model sample --out build/sample --campaigns $(CAMPAIGNS)
package:
\t@.venv/bin/python upload.py
"""

UPLOAD = '''"""What `topic-model package` does behind the making of zips, which lie in prepared/ already."""
import json, os, pathlib, shutil
from topic_model_cli import package_command as package
from topic_model_cli.package_upload import Destination
from topic_model_cli.packaged_template import read_template
out, place = pathlib.Path("dist"), Destination.parse(os.environ["PACKAGES"])
shutil.copytree("prepared", out, dirs_exist_ok=True)
package._write(json.loads((out / "template.json").read_text()), out / "template.json", out, place)
package._write(read_template(package.ACCEPTANCE), out / "acceptance.json", package.ACCEPTANCE.parent, place)
package._write_parameters(out, out / "images.json")
'''


@dataclass(frozen=True)
class Repository:
    """The repository, and where its commits are delivered to."""

    folder: Path
    root: Path
    runs: Path

    def commit(self, subject: str) -> str:
        """Commit all that is changed; the commit."""
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        for arguments in (["add", "--force", "."], [*identity, "commit", "--quiet", "--message", subject]):
            subprocess.run(["git", "-C", str(self.folder), *arguments], check=True, capture_output=True)
        answer = subprocess.run(["git", "-C", str(self.folder), "rev-parse", "HEAD"], check=True, capture_output=True)
        return answer.stdout.decode().strip()

    def replace(self, path: str, pattern: str, new: str) -> None:
        """Change the one place of a file that a regular expression finds."""
        target = self.folder / path
        text, places = re.subn(pattern, new, target.read_text())
        assert places == 1, f"{path} has {pattern!r} {places} times"
        target.write_text(text)

    def deliver(self, *arguments: str, seconds: float = 1_800) -> subprocess.CompletedProcess[str]:
        """Deliver HEAD as a user does."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=seconds, check=False)

    def command(self, *arguments: str) -> list[str]:
        """The command that delivers HEAD."""
        options = ["--source", str(self.folder), "--root", str(self.root), "--runs", str(self.runs)]
        options += ["--campaigns", str(CAMPAIGNS), *arguments]
        return [sys.executable, "-m", "topic_model_cli.main", "deliver", *options]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "t")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    folder = tmp_path_factory.mktemp("repository")
    root = tmp_path_factory.mktemp("delivery")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / part)
    shutil.copy(ROOT / "buildspec.yml", folder)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "upload.py").write_text(UPLOAD)
    (folder / "checks.sh").write_text("echo the checks pass\n")
    (folder / ".gitignore").write_text("dist/\nbuild/\n.venv/\n__pycache__/\n")
    package = [sys.executable, "-m", "topic_model_cli.main", "package", "--laptop", "--out", str(folder / "prepared")]
    subprocess.run(package, cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["git", "-C", str(folder), "init", "--quiet", "--initial-branch=main"], check=True)
    made = Repository(folder, root / "root", root / "runs")
    made.commit("A good commit")
    yield made
    from local_aws import lifecycle

    lifecycle.reset(made.root / "aws")
