"""The settings file: read as written, and every mistake named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from pipelines.settings import DEFAULT_SETTINGS_PATH, PipelineSettings, load_settings, parse_settings
from topic_model.algorithms import ALGORITHMS, algorithm
from topic_model.errors import SettingsError


def refusal(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, name="mine.yaml")
    return str(caught.value)


def test_the_shipped_file_says_the_defaults() -> None:
    """What pipelines/settings.yaml says and what a file that leaves everything out means are the same.

    If a default has changed on purpose, say it in pipelines/settings.yaml and run ``topic-model pipeline render``.
    """
    assert load_settings() == parse_settings("")


def test_the_shipped_file_has_every_setting() -> None:
    """No setting is hidden: each field of each section stands in the shipped file."""
    missing = _missing(load_settings(), DEFAULT_SETTINGS_PATH.read_text())
    assert missing == []


def _missing(model: BaseModel, text: str) -> list[str]:
    missing = [name for name in type(model).model_fields if not re.search(rf"^ *{name}:", text, re.MULTILINE)]
    for name in type(model).model_fields:
        inner = getattr(model, name)
        if isinstance(inner, BaseModel):
            missing += [f"{name}.{leaf}" for leaf in _missing(inner, text)]
    return missing


def test_every_line_of_the_shipped_file_is_explained() -> None:
    """Each setting has a comment on its line, but for sections whose keys say it all."""
    lines = DEFAULT_SETTINGS_PATH.read_text().splitlines()
    bare = [line for line in lines if line.strip() and "#" not in line and not line.rstrip().endswith(":")]
    assert bare == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("corpus:\n  min_dff: 3", "mine.yaml, line 2: unknown key 'corpus.min_dff'; did you mean 'min_df'?"),
        ("corpuss: {}", "mine.yaml, line 1: unknown key 'corpuss'; did you mean 'corpus'?"),
        ("jobs:\n  train:\n    qqq: 1", "mine.yaml, line 3: unknown key 'jobs.train.qqq'; expected one of"),
        ("corpus:\n  min_df: yes", "line 2: 'corpus.min_df' is True; expected: Input should be a valid integer"),
        ("corpus:\n  min_df: '3'", "'corpus.min_df' is '3'"),
        ("corpus:\n  min_df: 0", "'corpus.min_df' is 0; expected: Input should be greater than or equal to 1"),
        ("corpus:\n  max_df: .nan", "'corpus.max_df' is nan"),
        ("corpus: 3", "mine.yaml, line 1: 'corpus' is 3"),
        ("[]", "mine.yaml holds []"),
        ("a: [", "mine.yaml, line 1, column 5 is not YAML"),
        ("corpus: {}\n\ncorpus: {}", "mine.yaml, line 3: 'corpus' is said twice (first in line 1)"),
        ("corpus:\n  seed: 1\n  seed: 2", "'corpus.seed' is said twice"),
        ("x: 2026-99-99", "mine.yaml: a value cannot be read"),
        ("? [1, 2]\n: 3", "is not YAML"),
        ("a: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("a: " + "[" * 5_000, "mine.yaml"),
        ("deployment:\n  strategy: rolling", "'deployment.strategy' is 'rolling'; expected: Input"),
        ("deployment: {instance_count: 1}", "'deployment': strategy 'canary' moves the traffic of step_instances 1"),
        ("deployment: {bake_seconds: 90}", "less than the 120 s in which an alarm has the datapoints"),
        ("deployment: {alarms: {period_seconds: 45}}", "CloudWatch has 10, 30 and multiples of 60"),
        ("deployment: {timeout_seconds: 600}", "a good deployment takes up to 1800: 2 bakes"),
        ("jobs:\n  prepare:\n    instance_type: m5.large", "'jobs.prepare.instance_type' is 'm5.large'"),
        ("jobs:\n  train:\n    max_wait_seconds: 60", "'jobs.train': max_wait_seconds is 60, less than"),
        ("jobs: {score: {max_payload_mb: 99}}", "over the 100 MB"),
        ("tuning:\n  max_jobs: 1", "max_parallel_jobs is 2, more than max_jobs 1"),
        (
            "tuning:\n  ranges: {alfa: {type: integer, min: 1, max: 2}}",
            "line 2: 'tuning.ranges.alfa': lda has no hyperparameter 'alfa'; did you mean 'alpha'?",
        ),
        ("tuning:\n  ranges: {alpha: {type: continuous, min: 2, max: 1}}", "min is 2 and max is 1"),
        ("tuning:\n  ranges: {alpha: {type: continuous, min: -2, max: 1}}", "a value that training refuses"),
        ("tuning:\n  ranges: {alpha: {type: continuous, mim: 1, max: 2}}", "'tuning.ranges.alpha.mim'; did you mean"),
        ("tuning:\n  ranges: {num_topics: {type: integer, min: 1.5, max: 2}}", "both ends must be whole numbers"),
        ("tuning:\n  ranges: {start: {type: categorical, values: [nmf, rnd]}}", "a value that training refuses"),
        ("tuning:\n  ranges: {}", "name at least one hyperparameter"),
        ("deployment: {timeout_seconds: 28_800}", "raise poll_seconds"),
        ("algorithm: {name: ldaa}", "'algorithm.name' is 'ldaa'; expected: unknown algorithm 'ldaa'; did you mean"),
        ("algorithm: {name: 3}", "'algorithm.name' is 3"),
        ("algorithm: {name: [lda]}", "'algorithm.name' is ['lda']"),
        ("algorithm: {hyperparameters: 3}", "'algorithm.hyperparameters' is 3"),
        ("algorithm:\n  hyperparameters: {passs: 3}", "line 2: unknown key 'algorithm.hyperparameters.passs'; did you"),
        ("algorithm: {hyperparameters: {num_topics: '9'}}", "'algorithm.hyperparameters.num_topics' is '9'"),
        (
            "algorithm: {name: lda-gensim, hyperparameters: {gamma_treshold: 1}}",
            "'algorithm.hyperparameters.gamma_treshold'; did you mean 'gamma_threshold'?",
        ),
        (
            "algorithm: {name: lda-gensim}\ntuning: {ranges: {chunk: {type: integer, min: 1, max: 9}}}",
            "line 2: 'tuning.ranges.chunk': lda-gensim has no hyperparameter 'chunk'; did you mean 'chunksize'?",
        ),
    ],
)
def test_each_mistake_is_named(text: str, told: str) -> None:
    """The message names the file, the key, the value given and what was expected."""
    assert told in refusal(text)


def test_all_mistakes_are_told_at_once() -> None:
    """A file with two mistakes is not corrected one run at a time."""
    message = refusal("corpus:\n  min_dff: 3\nprepare:\n  max_rejected_share: 7")
    assert "min_dff" in message and "max_rejected_share" in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message says which file is not there."""
    with pytest.raises(SettingsError, match=r"no settings file .*nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", None])
def test_an_unreadable_file_is_named(tmp_path: Path, data: bytes | None) -> None:
    """A file in another encoding, or a folder, is a settings error."""
    path = tmp_path / "mine.yaml"
    path.mkdir() if data is None else path.write_bytes(data)
    with pytest.raises(SettingsError, match=r"mine\.yaml"):
        load_settings(path)


def test_one_setting_changes_one_setting() -> None:
    """A file with one key has that value and the defaults for the rest."""
    changed = parse_settings("algorithm:\n  hyperparameters:\n    num_topics: 30\n")
    assert changed.algorithm.hyperparameters.num_topics == 30
    assert changed.model_copy(update={"algorithm": parse_settings("").algorithm}) == parse_settings("")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_can_be_named_alone(name: str) -> None:
    """Its hyperparameters have their defaults, and tuning searches its own ranges."""
    settings = parse_settings(f"algorithm: {{name: {name}}}")
    kind = algorithm(name).settings_class
    assert settings.algorithm.hyperparameters == kind()
    assert set(settings.tuning.ranges) == set(kind.tuning_ranges)


def test_a_gate_can_be_turned_off() -> None:
    """Null is a value of its own: the gate is off, and not at its default."""
    assert parse_settings("gates: {min_c_npmi: null}").gates.min_c_npmi is None


def test_settings_are_frozen() -> None:
    """A definition and the settings it was made from cannot drift apart."""
    with pytest.raises(ValueError, match="frozen"):
        PipelineSettings.from_mapping({}).workflow.job_retries = 0
