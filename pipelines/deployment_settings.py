"""Settings of the endpoint and of how a new model takes it over."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from topic_model.settings import StrictSettings

MAX_ENDPOINT_POLLS = 1_000
"""Polls of one deployment: some eighteen history events each, of the 25,000 that an execution may have."""
STARTUP_SECONDS = 300
"""Of a deployment's time limit, for the new fleet's machines to start."""


class AlarmSettings(StrictSettings):
    """What ends a deployment: limits on the new fleet alone, watched while it bakes."""

    period_seconds: int = 60
    datapoints: int = Field(2, ge=1, le=10)
    min_requests: int = Field(10, ge=1, le=1_000_000)
    max_error_share: float = Field(0.02, ge=0, lt=1)
    max_latency_p99_ms: int = Field(150, ge=1, le=60_000)
    max_low_confidence_share: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _has_a_period_that_cloudwatch_has(self) -> Self:
        period = self.period_seconds
        if period not in (10, 30) and (period < 60 or period % 60 or period > 3_600):
            raise ValueError(f"period_seconds is {period}; CloudWatch has 10, 30 and multiples of 60, here up to 3600")
        return self

    @property
    def shortest_bake_seconds(self) -> int:
        """A bake that is shorter ends before an alarm has the datapoints that it asks for."""
        return self.period_seconds * self.datapoints


class DeploymentSettings(StrictSettings):
    """The endpoint, and how a new model takes it over."""

    instance_type: Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")] = "ml.m5.large"
    instance_count: int = Field(2, ge=1, le=100)
    keep_instance_count: bool = False
    strategy: Literal["canary", "linear", "all-at-once"] = "canary"
    step_instances: int = Field(1, ge=1, le=50)
    bake_seconds: int = Field(600, ge=0, le=3_600)
    termination_wait_seconds: int = Field(300, ge=0, le=3_600)
    retained_models: int = Field(3, ge=1, le=20)
    capture_percent: int = Field(100, ge=0, le=100)
    alarms: AlarmSettings = Field(default_factory=lambda: AlarmSettings.from_mapping({}))
    poll_seconds: int = Field(10, ge=1, le=60)
    timeout_seconds: int = Field(3_600, ge=600, le=28_800)

    @property
    def steps(self) -> int:
        """Steps in which the traffic moves, each with a bake behind it."""
        if self.strategy == "canary":
            return 2
        return math.ceil(self.instance_count / self.step_instances) if self.strategy == "linear" else 1

    @property
    def max_polls(self) -> int:
        """Polls after which a deployment counts as stuck."""
        return math.ceil(self.timeout_seconds / self.poll_seconds)

    @property
    def probes_per_poll(self) -> int:
        """Probes at each poll, so that a canary without other requests gets twice what its alarms ask for.

        A probe goes to the endpoint, and the canary has its share of it. Whether a laptop's bake or a period is the
        shorter, the requests must be there within it; a poll takes a second more than its wait.
        """
        share = 1.0 if self.strategy == "all-at-once" else self.step_instances / self.instance_count
        alarms = self.alarms
        window = min(alarms.period_seconds, self.bake_seconds // alarms.datapoints or alarms.period_seconds)
        polls = max(1, window // (self.poll_seconds + 1))
        return math.ceil(2 * alarms.min_requests / share / polls)

    @model_validator(mode="after")
    def _steps_are_parts_of_the_fleet(self) -> Self:
        if self.strategy != "all-at-once" and 2 * self.step_instances > self.instance_count:
            raise ValueError(
                f"strategy {self.strategy!r} moves the traffic of step_instances {self.step_instances} at first, which "
                f"may be half of instance_count {self.instance_count} at most; raise instance_count"
            )
        return self

    @model_validator(mode="after")
    def _bakes_long_enough_for_its_alarms(self) -> Self:
        shortest = self.alarms.shortest_bake_seconds
        if self.bake_seconds < shortest and not (self.strategy == "all-at-once" and self.bake_seconds == 0):
            raise ValueError(
                f"bake_seconds is {self.bake_seconds}, less than the {shortest} s in which an alarm has the datapoints "
                "that it asks for (period_seconds times datapoints): no alarm could stop a deployment"
            )
        return self

    @model_validator(mode="after")
    def _ends_in_time(self) -> Self:
        needed = STARTUP_SECONDS + self.steps * self.bake_seconds + self.termination_wait_seconds
        if self.timeout_seconds < needed:
            raise ValueError(
                f"timeout_seconds is {self.timeout_seconds}; a good deployment takes up to {needed}: {self.steps} "
                f"bakes, the termination wait and {STARTUP_SECONDS} s for machines to start"
            )
        if self.max_polls > MAX_ENDPOINT_POLLS:
            raise ValueError(
                f"timeout_seconds {self.timeout_seconds} at a poll every {self.poll_seconds} s is {self.max_polls} "
                f"polls; at most {MAX_ENDPOINT_POLLS} fit an execution's history: raise poll_seconds"
            )
        return self


_ON_A_LAPTOP = {"bake_seconds": 3, "termination_wait_seconds": 1, "poll_seconds": 1, "timeout_seconds": 900}
_ALARMS_ON_A_LAPTOP = {"period_seconds": 10, "datapoints": 1}


def on_a_laptop(settings: DeploymentSettings) -> DeploymentSettings:
    """The same deployment with shorter waits, never longer than the settings'.

    On the local AWS machines start in a second, and alarms are looked at every second over what they have of their
    period, so one can fire within a bake that would be too short for CloudWatch's minutes.
    """

    def shorter(section: DeploymentSettings | AlarmSettings, waits: dict[str, int]) -> dict[str, int]:
        return {name: min(value, getattr(section, name)) for name, value in waits.items()}

    alarms = settings.alarms.model_copy(update=shorter(settings.alarms, _ALARMS_ON_A_LAPTOP))
    return settings.model_copy(update={**shorter(settings, _ON_A_LAPTOP), "alarms": alarms})
