"""What is delivered: the commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from topic_model_cli.deliver_errors import DeliveryError
from topic_model_cli.deliver_source import find_commit, unpack


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "A first commit")
    return folder


def test_uncommitted_files_are_not_delivered_and_are_told(repository: Path, tmp_path: Path) -> None:
    """The archive is the commit's; modes stay."""
    (repository / "run.sh").write_text("changed")
    (repository / "new").write_text("")
    commit = find_commit(repository, "HEAD")
    unpack(commit.archive(), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.sh"]
    assert (tmp_path / "out" / "run.sh").read_text() == "#!/bin/sh\n"
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o100
    assert (commit.subject, commit.branch, commit.uncommitted) == ("A first commit", "main", 2)


def test_a_commit_that_is_not_there_is_told(repository: Path) -> None:
    """With what could be named."""
    with pytest.raises(DeliveryError, match="has no commit 'v2'; name a branch, a tag or a commit"):
        find_commit(repository, "v2")


def test_a_folder_that_is_no_repository_is_told(tmp_path: Path) -> None:
    """What is delivered is a commit."""
    with pytest.raises(DeliveryError, match="is no git repository"):
        find_commit(tmp_path, "HEAD")


def test_the_pipeline_of_the_commit_says_how_deliveries_wait(repository: Path) -> None:
    """CodePipeline's own default where it says nothing; a commit without a pipeline is told."""
    with pytest.raises(DeliveryError, match=r"has no delivery/pipeline\.yaml"):
        find_commit(repository, "HEAD").execution_mode()
    (repository / "delivery").mkdir()
    for text, mode in (("Resources: {}\n", "SUPERSEDED"), ("      ExecutionMode: QUEUED\n", "QUEUED")):
        (repository / "delivery" / "pipeline.yaml").write_text(text)
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "--message", mode)
        assert find_commit(repository, "HEAD").execution_mode() == mode
