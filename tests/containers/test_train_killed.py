"""Training jobs killed again and again, at moments that nobody chose: the model of an undisturbed run."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.containers.conftest import Job, Run, files
from topic_model.algorithms import ALGORITHMS

KILLS = 6
LONG = {
    "lda": {"passes": "500", "start": "random"},
    "lda-gibbs": {"passes": "1000"},
    "nmf": {"passes": "500"},
    "lda-gensim": {"passes": "150", "start": "random", "iterations": "20"},
}
"""Hyperparameters that keep each algorithm at work for some seconds, where it can be kept."""


def _killed(job: Job, delay: random.Random) -> bool:
    """Start the job and kill it within a second of its first pass; False if it ended before."""
    process = job.start("train")
    assert process.stdout is not None
    told = process.stdout.readline()
    if not told:
        _, err = process.communicate()
        raise AssertionError(err)
    try:
        process.wait(delay.uniform(0, 1))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_training_killed_again_and_again_ends_in_the_same_model(name: str, run: Run, tmp_path: Path) -> None:
    """SIGKILL at random moments, until the job is through: byte for byte the model of an undisturbed run."""
    hyperparameters = {"algorithm": name, "num_topics": "5", **LONG.get(name, {})}
    whole = Job(tmp_path / "whole").channel(run.corpus, hyperparameters)
    assert whole.run("train").returncode == 0
    killed = Job(tmp_path / "killed").channel(run.corpus, hyperparameters)
    delay = random.Random(7)  # noqa: S311 - moments, not secrets
    kills = sum(_killed(killed, delay) for _ in range(KILLS))
    if name in LONG:
        assert kills >= 2
    again = killed.run("train")
    assert again.returncode == 0, again.stderr
    assert files(killed.base / "model") == files(whole.base / "model")
