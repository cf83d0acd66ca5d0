"""Images in ECR: by digest, and a commit's once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from delivery import images

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture
def ecr(account: None) -> Any:
    client = boto3.client("ecr")
    for name in ("topic-model", "topic-model-acceptance"):
        client.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    return client


def not_built(tag: str) -> None:
    raise AssertionError(f"{tag} is built")


def test_a_commits_image_is_pushed_once_and_named_by_digest(ecr: Any) -> None:
    """A build that is tried again deploys what the first one pushed, whatever it would build now."""
    first = images.push(f"{REGISTRY}/topic-model", "c1", sources="1", build=not_built, stand_in=True)
    again = images.push(f"{REGISTRY}/topic-model", "c1", sources="2", build=not_built, stand_in=True)
    other = images.push(f"{REGISTRY}/topic-model", "c2", sources="2", build=not_built, stand_in=True)
    assert first == again != other
    assert first.startswith(f"{REGISTRY}/topic-model@sha256:")


def test_the_command_writes_what_the_package_is_made_with(ecr: Any, tmp_path: Path) -> None:
    """Both images, as ``make package`` puts them into the parameter files."""
    out = tmp_path / "images.json"
    repositories = ["--repository", f"{REGISTRY}/topic-model", "--acceptance-repository"]
    options = [*repositories, f"{REGISTRY}/topic-model-acceptance", "--commit", "c1", "--stand-in", "--out", str(out)]
    assert images.main(options) == 0
    assert set(json.loads(out.read_text())) == {"application", "acceptance"}


def test_what_is_no_repository_is_told(ecr: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A repository is a registry and a name; one that is not there is ECR's to tell."""
    options = ["--repository", "topic-model", "--acceptance-repository", "x/y", "--commit", "c1", "--stand-in"]
    assert images.main(options) == 1
    assert "expected <registry>/<name>" in capsys.readouterr().err


def test_a_build_without_its_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which options are missing; the pipeline's project has them all."""
    for name in ("IMAGE_REPOSITORY", "ACCEPTANCE_REPOSITORY", "COMMIT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit):
        images.main([])
    assert "--repository, --acceptance-repository, --commit is missing" in capsys.readouterr().err
