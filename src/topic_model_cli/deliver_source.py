"""What is delivered: a commit, and nothing that lies uncommitted beside it."""

from __future__ import annotations

import io
import re
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from topic_model_cli.deliver_errors import DeliveryError

PIPELINE = "delivery/pipeline.yaml"
_LONGEST_SUBJECT = 100


@dataclass(frozen=True)
class Commit:
    """A commit of a repository."""

    repository: Path
    id: str
    """40 hex digits."""
    subject: str
    branch: str
    date: str
    """ISO 8601."""
    uncommitted: int
    """Files of the work tree that differ from it; 0 where another commit than the work tree's is delivered."""

    def archive(self) -> bytes:
        """Its files as a zip, as CodePipeline's ``CODE_ZIP`` has them: without ``.git``."""
        return _git(self.repository, "archive", "--format=zip", self.id)

    def execution_mode(self) -> str:
        """The execution mode of the commit's pipeline, which says whether two deliveries may wait for each other.

        Raises:
            DeliveryError: the commit has no pipeline.
        """
        try:
            text = _git(self.repository, "show", f"{self.id}:{PIPELINE}").decode()
        except DeliveryError as error:
            raise DeliveryError(f"commit {self.id[:8]} has no {PIPELINE}: there is no pipeline to carry out") from error
        found = re.search(r"^ +ExecutionMode: *(\w+)", text, re.MULTILINE)
        return found[1] if found else "SUPERSEDED"  # CodePipeline's own default

    def variables(self) -> dict[str, str]:
        """What a source action tells."""
        return {
            "CommitId": self.id,
            "CommitMessage": self.subject,
            "BranchName": self.branch,
            "AuthorDate": self.date,
            "FullRepositoryName": self.repository.name,
        }


def find_commit(repository: Path, revision: str) -> Commit:
    """The commit that a revision of a repository names.

    Raises:
        DeliveryError: there is no repository or no such commit.
    """
    try:
        top = Path(_git(repository, "rev-parse", "--show-toplevel").decode().strip())
    except DeliveryError as error:
        raise DeliveryError(f"{repository} is no git repository; what is delivered is a commit: {error}") from error
    try:
        commit = _git(top, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    except DeliveryError as error:
        raise DeliveryError(f"{top} has no commit {revision!r}; name a branch, a tag or a commit") from error
    shown = _git(top, "show", "--no-patch", "--format=%s%n%cI", commit).decode().splitlines()
    head = _git(top, "rev-parse", "HEAD").decode().strip()
    branch = _git(top, "rev-parse", "--abbrev-ref", "HEAD").decode().strip()
    changes = _git(top, "status", "--porcelain").decode().splitlines() if head == commit else []
    return Commit(top, commit, shown[0][:_LONGEST_SUBJECT], branch, shown[1], len(changes))


def unpack(archive: bytes, folder: Path) -> None:
    """Lay an artifact's files out; modes are kept, since scripts among them run."""
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        packed.extractall(folder)  # zipfile keeps members inside the folder
        for member in packed.infolist():
            if not member.is_dir() and (mode := member.external_attr >> 16 & 0o777):
                (folder / member.filename).chmod(mode)


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - git, with arguments made here
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - on PATH
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise DeliveryError("there is no program 'git'; what is delivered is a commit") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise DeliveryError(said[-1] if said else f"git {arguments[0]} failed")
    return done.stdout
