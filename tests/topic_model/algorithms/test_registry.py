"""The registry: algorithms by name, each with settings of its own, and every mistake named."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from topic_model.algorithms import ALGORITHMS, DEFAULT_ALGORITHM, algorithm, parse_hyperparameters
from topic_model.algorithms.base import MAX_AUTO_THREADS, Algorithm, AlgorithmSettings, ThreadedSettings
from topic_model.errors import SettingsError


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_name_is_an_algorithm(name: str) -> None:
    """Each line of the registry leads to a class with settings whose defaults are valid, and at least one pass."""
    found: Algorithm[Any] = algorithm(name)
    assert issubclass(found.settings_class, AlgorithmSettings)
    assert found.num_passes(found.settings_class()) >= 1


@pytest.mark.parametrize("name", ALGORITHMS)
def test_settings_survive_the_trip_through_hyperparameters(name: str) -> None:
    """What SageMaker carries as strings is the same algorithm with the same settings."""
    settings = algorithm(name).settings_class(num_topics=12, seed=3)
    assert parse_hyperparameters({"algorithm": name, **settings.to_strings()}) == (name, settings)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_tuning_ranges_are_of_hyperparameters(name: str) -> None:
    """What tuning searches by default exists and accepts both ends."""
    kind = algorithm(name).settings_class
    for field, ends in kind.tuning_ranges.items():
        for value in ends.get("values") or [ends["min"], ends["max"]]:
            kind.from_strings({field: str(value)})


def test_no_algorithm_named_is_the_default() -> None:
    """Hyperparameters without ``algorithm`` are those of the default."""
    name, settings = parse_hyperparameters({"num_topics": "7"})
    assert name == DEFAULT_ALGORITHM
    assert settings.num_topics == 7


@pytest.mark.parametrize(
    ("hyperparameters", "told"),
    [
        ({"algorithm": "lda-gensin"}, r"unknown algorithm 'lda-gensin'; did you mean 'lda-gensim'\? expected one of"),
        ({"algorithm": "word2vec"}, r"unknown algorithm 'word2vec'; expected one of \['lda', "),
        ({"algoritm": "lda"}, r"unknown hyperparameter 'algoritm'; did you mean 'algorithm'\?"),
        ({"num_topic": "20"}, r"unknown hyperparameter 'num_topic'; did you mean 'num_topics'\?"),
        ({"algorithm": "lda-gensim", "gamma_treshold": "1"}, r"did you mean 'gamma_threshold'\?"),
        ({"algorithm": "lda-gensim", "threads": "2"}, "unknown hyperparameter 'threads'"),
        ({"num_topics": "many"}, "hyperparameter 'num_topics' is 'many'"),
        ({"seed": "-1"}, "hyperparameter 'seed' is '-1'"),
    ],
)
def test_a_mistake_is_named(hyperparameters: dict[str, str], told: str) -> None:
    """The message has what was given and what was expected."""
    with pytest.raises(SettingsError, match=told):
        parse_hyperparameters(hyperparameters)


def test_threads_are_the_machines_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """'auto' is the cores this process may use, at most 16."""
    assert ThreadedSettings(threads=3).num_threads == 3
    for cores, expected in [(1, 1), (8, 8), (96, MAX_AUTO_THREADS)]:
        monkeypatch.setattr("topic_model.algorithms.base.available_cores", lambda cores=cores: cores)
        assert ThreadedSettings().num_threads == expected


@pytest.mark.parametrize("threads", ["0", "-2", "2.5", "all", "1025"])
def test_impossible_threads_are_refused(threads: str) -> None:
    """A number of threads is a whole number from 1, or 'auto'."""
    with pytest.raises(SettingsError, match=f"'threads' is '{threads}'"):
        ThreadedSettings.from_strings({"threads": threads})


def test_settings_are_read_without_heavy_imports() -> None:
    """The pipelines and the command validate every algorithm's settings without Gensim, scikit-learn or numba."""
    code = (
        "import sys; from topic_model.algorithms import ALGORITHMS, algorithm; "
        "[algorithm(name).settings_class() for name in ALGORITHMS]; "
        "print(*sorted({'gensim', 'sklearn', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
