"""Containers run as SageMaker runs them: real processes over a folder that stands for /opt/ml."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from containers.__main__ import main
from tests.topic_model.conftest import score, themed_campaigns, write_exports
from topic_model.artifact import pack, read_artifact, read_model
from topic_model.lookups import build_lookups
from topic_model.settings import NeighbourSettings

ROOT = Path(__file__).resolve().parents[2]
HYPERPARAMETERS = {"num_topics": "5", "passes": "3"}


@dataclass
class Job:
    """One container's folder; ``run`` starts it as a process, ``call`` runs the same entry point in this one."""

    base: Path
    environment: dict[str, str] = field(default_factory=dict)

    def inputs(self, **folders: Path) -> Job:
        """Lay out a processing job's inputs; underscores stand for dashes."""
        for name, source in folders.items():
            shutil.copytree(source, self.base / "processing" / "input" / name.replace("_", "-"))
        return self

    def channel(self, corpus: Path, hyperparameters: Any = HYPERPARAMETERS) -> Job:
        """Lay out a training job."""
        shutil.copytree(corpus, self.base / "input" / "data" / "corpus")
        config = self.base / "input" / "config"
        config.mkdir(parents=True)
        content = hyperparameters if isinstance(hyperparameters, bytes) else orjson.dumps(hyperparameters)
        (config / "hyperparameters.json").write_bytes(content)
        return self

    def output(self, name: str) -> Path:
        """A processing job's output folder."""
        return self.base / "processing" / "output" / name

    @property
    def failure(self) -> str:
        """What SageMaker shows as the job's FailureReason."""
        return (self.base / "output" / "failure").read_text(encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``python -m containers …``."""
        return subprocess.Popen(
            [sys.executable, "-m", "containers", *arguments],
            cwd=ROOT,
            env={**os.environ, "SAGEMAKER_BASE_DIR": str(self.base), "OMP_NUM_THREADS": "1", **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def call(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        """The exit code of the entry point, called in this process: as good for refusals, and much faster."""
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(self.base))
        handler = signal.getsignal(signal.SIGTERM)
        try:
            return main(arguments)
        finally:
            signal.signal(signal.SIGTERM, handler)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "ml")


@dataclass(frozen=True)
class Run:
    """What the jobs of one small workflow left: folders, and what training printed."""

    exports: Path
    prepared: Path
    scoring: Path
    corpus: Path
    training_output: str
    model: Path
    model_archive: Path


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Prepare of two channels, build-corpus and train, each as a process of its own."""
    folder = tmp_path_factory.mktemp("run")
    exports = write_exports(themed_campaigns(60), folder / "exports")
    starts = {}
    for channel in sorted(exports.iterdir()):
        preparing = Job(folder / f"prepare-{channel.name}").inputs(exports=channel)
        starts[channel.name] = preparing, preparing.start("process", "prepare", "--channel", channel.name)
    for name, (preparing, process) in starts.items():
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        for output in ("prepared", "scoring"):
            shutil.copytree(preparing.output(output), folder / output / name)
    building = Job(folder / "build-corpus").inputs(prepared=folder / "prepared")
    built = building.run("process", "build-corpus", "--min-df", "2")
    assert built.returncode == 0, built.stderr
    training = Job(folder / "train").channel(building.output("corpus"))
    trained = training.run("train")
    assert trained.returncode == 0, trained.stderr
    archive = folder / "packed" / "model.tar.gz"
    archive.parent.mkdir()
    pack(training.base / "model", archive)
    return Run(
        exports,
        folder / "prepared",
        folder / "scoring",
        building.output("corpus"),
        trained.stdout,
        training.base / "model",
        archive,
    )


@pytest.fixture(scope="session")
def lookup_model(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lookup model's artifact folder."""
    artifact = read_artifact(run.model)
    folder = tmp_path_factory.mktemp("lookup-model")
    fingerprints = score(read_model(artifact), artifact.model_version, run.scoring, folder / "fingerprints")
    lookups = build_lookups(artifact, run.prepared, fingerprints, NeighbourSettings())
    lookups.write(folder / "lookups", folder / "packed")
    shutil.unpack_archive(folder / "packed" / "model.tar.gz", folder / "model", filter="data")
    return folder / "model"
