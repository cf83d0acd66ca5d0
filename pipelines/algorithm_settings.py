"""The sections of the settings file that depend on the algorithm: its hyperparameters, and the search for them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, SerializeAsAny, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.base import AlgorithmSettings
from topic_model.errors import SettingsError
from topic_model.settings import StrictSettings

Seconds = Annotated[int, Field(ge=60, le=432_000)]


class AlgorithmSection(StrictSettings):
    """Which algorithm trains, and with what."""

    name: str = Field(DEFAULT_ALGORITHM, description="one of topic_model.algorithms.ALGORITHMS")
    hyperparameters: SerializeAsAny[AlgorithmSettings] = Field(None, validate_default=True)

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            algorithm(name)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return name

    @field_validator("hyperparameters", mode="plain")
    @classmethod
    def _are_those_of_the_algorithm(cls, values: Any, info: ValidationInfo) -> AlgorithmSettings:
        # Where the name is wrong, that is the mistake to tell.
        kind = algorithm(info.data["name"]).settings_class if "name" in info.data else None
        if kind is None:
            return AlgorithmSettings()
        found: AlgorithmSettings = kind.model_validate({} if values is None else values, strict=True)
        return found


class RangeSettings(StrictSettings):
    """The values of one hyperparameter that tuning tries: between ``min`` and ``max``, or one of ``values``."""

    type: Literal["integer", "continuous", "categorical"]
    min: int | float | None = None
    max: int | float | None = None
    scale: Literal["linear", "logarithmic"] = "linear"
    values: list[str] | None = None

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        if self.type == "categorical":
            if not self.values or self.min is not None or self.max is not None:
                raise ValueError("a categorical range takes 'values' (a list of strings) and neither 'min' nor 'max'")
            return self
        if self.min is None or self.max is None or self.values is not None:
            raise ValueError(f"a range of type {self.type!r} takes 'min' and 'max' and no 'values'")
        if not self.min < self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min must be the smaller")
        if self.type == "integer" and not (float(self.min).is_integer() and float(self.max).is_integer()):
            raise ValueError(f"an integer range from {self.min} to {self.max}; both ends must be whole numbers")
        if self.scale == "logarithmic" and self.min <= 0:
            raise ValueError(f"a logarithmic range from {self.min}; its min must be above 0")
        return self


class TuningSettings(StrictSettings):
    """Whether hyperparameters are searched for, and how. All objectives are maximised.

    Without ``ranges`` those of the algorithm are searched (``tuning_ranges`` of its settings).
    """

    enabled: bool = False
    objective: Literal["c_npmi", "topic_diversity", "held_out_bound"] = "c_npmi"
    strategy: Literal["Bayesian", "Random"] = "Bayesian"
    max_jobs: int = Field(20, ge=1, le=750)
    max_parallel_jobs: int = Field(2, ge=1, le=100)
    timeout_seconds: Seconds = 86_400
    ranges: dict[str, RangeSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _trials_fit(self) -> Self:
        if self.max_parallel_jobs > self.max_jobs:
            raise ValueError(f"max_parallel_jobs is {self.max_parallel_jobs}, more than max_jobs {self.max_jobs}")
        return self


def settings_of_the_algorithm(values: dict[str, Any]) -> type[AlgorithmSettings] | None:
    """The settings class of the algorithm that raw values name; None where they name none that there is."""
    section = values.get("algorithm", {})
    name = section.get("name", DEFAULT_ALGORITHM) if isinstance(section, dict) else None
    if not isinstance(name, str):
        return None
    try:
        kind: type[AlgorithmSettings] = algorithm(name).settings_class
    except SettingsError:
        return None
    return kind


def range_mistakes(section: AlgorithmSection, ranges: Mapping[str, RangeSettings]) -> list[InitErrorDetails]:
    """What is wrong with ranges for an algorithm: unknown hyperparameters, and values that training would refuse."""
    if not ranges:
        return [_mistake((), "ranges is empty; name at least one hyperparameter to tune")]
    kind = type(section.hyperparameters)
    mistakes = []
    for name, ends in ranges.items():
        if name not in kind.model_fields:
            mistakes.append(_mistake((name,), f"{section.name} has no hyperparameter {name!r}{hint(name, kind)}"))
            continue
        for value in ends.values if ends.values else [ends.min, ends.max]:
            try:
                kind.from_strings({name: str(value)}, what="hyperparameter")
            except SettingsError as error:
                message = f"the range of {name!r} holds a value that training refuses: {error}"
                mistakes.append(_mistake((name,), message))
    return mistakes


def _mistake(place: tuple[str, ...], message: str) -> InitErrorDetails:
    """A mistake in the ranges, told where it stands."""
    # As a parameter, because a message's own braces would be read as places to fill in.
    kind = PydanticCustomError("tuning_range", "{message}", {"message": message})
    return InitErrorDetails(type=kind, loc=("tuning", "ranges", *place), input={})


def hint(name: str, model: type[BaseModel]) -> str:
    """The end of a message on an unknown name: the nearest known one, or all."""
    known = list(model.model_fields)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; expected one of {sorted(known)}"
