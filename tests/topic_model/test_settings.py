"""Settings: typos are named, strings round trip, values out of range are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from topic_model.algorithms.lda_gensim import GensimLdaSettings
from topic_model.errors import SettingsError
from topic_model.settings import (
    CorpusSettings,
    EvaluationSettings,
    NeighbourSettings,
    PrepareSettings,
    StrictSettings,
    TextSettings,
)

ALL = [TextSettings, PrepareSettings, CorpusSettings, GensimLdaSettings, NeighbourSettings, EvaluationSettings]


def test_a_typo_names_the_nearest_setting() -> None:
    """A misspelt hyperparameter is refused and the right name is offered."""
    with pytest.raises(SettingsError, match=r"unknown hyperparameter 'num_topic'; did you mean 'num_topics'\?"):
        GensimLdaSettings.from_strings({"num_topic": "20"}, what="hyperparameter")


def test_an_unknown_name_like_no_other_lists_the_known_ones() -> None:
    """Where nothing is near, the message lists every name that could have been meant."""
    with pytest.raises(SettingsError) as caught:
        GensimLdaSettings.from_strings({"xyzzy": "1"})
    assert all(name in str(caught.value) for name in GensimLdaSettings.model_fields)


@pytest.mark.parametrize("kind", ALL)
def test_defaults_survive_the_trip_through_strings(kind: type[StrictSettings]) -> None:
    """What to_strings writes, from_strings reads back as the same settings."""
    assert kind.from_strings(kind().to_strings()) == kind()


@pytest.mark.parametrize(
    "settings",
    [
        TextSettings(keep_numbers=True),
        GensimLdaSettings(num_topics=12, alpha=0.1 + 0.2, start="random"),
        NeighbourSettings(num_clusters=7, topic_weight=1, latent_weight=0),
        EvaluationSettings(min_c_npmi=None, max_perplexity_ratio=None),
        CorpusSettings(max_df=1e-7),
    ],
)
def test_other_values_survive_the_trip_through_strings(settings: StrictSettings) -> None:
    """Booleans, unions, long floats and gates that are off keep their values, and every string is a string."""
    strings = settings.to_strings()
    assert all(isinstance(value, str) for value in strings.values())
    assert type(settings).from_strings(strings) == settings


def test_a_gate_is_switched_off_by_null() -> None:
    """The word of JSON and YAML for absence works as a container argument."""
    assert EvaluationSettings.from_strings({"min_c_npmi": "null"}).min_c_npmi is None


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (GensimLdaSettings, "passes", "0"),
        (GensimLdaSettings, "alpha", "0"),
        (GensimLdaSettings, "alpha", "nan"),
        (GensimLdaSettings, "eta", "inf"),
        (GensimLdaSettings, "num_topics", "many"),
        (GensimLdaSettings, "passes", "2.5"),
        (GensimLdaSettings, "passes", "null"),
        (GensimLdaSettings, "start", "warm"),
        (GensimLdaSettings, "seed", "-1"),
        (CorpusSettings, "max_df", "1.5"),
        (CorpusSettings, "held_out_share", "1"),
        (NeighbourSettings, "topic_weight", "1.01"),
        (EvaluationSettings, "min_coverage", "2"),
        (TextSettings, "keep_numbers", "perhaps"),
    ],
)
def test_a_wrong_value_is_refused_by_name(kind: type[StrictSettings], name: str, value: str) -> None:
    """A value out of range or of another type is refused; the message has the name and the value."""
    with pytest.raises(SettingsError, match=f"'{name}' is '{value}': "):
        kind.from_strings({name: value})


def test_every_mistake_is_told_at_once() -> None:
    """Two mistakes make one error that names both: no guessing a mistake at a time."""
    with pytest.raises(SettingsError, match=r"(?s)num_topic.*passes|passes.*num_topic"):
        GensimLdaSettings.from_strings({"num_topic": "2", "passes": "-1"})


def test_settings_cannot_be_changed() -> None:
    """Settings are values."""
    with pytest.raises(ValidationError):
        GensimLdaSettings().passes = 3  # type: ignore[misc]
