"""Which instance of an endpoint answers a request: by the fleets' shares, the variants' weights, and health."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from local_aws.endpoint_fleet import Fleet, FleetPlan, Variant
from local_aws.model_server import ModelServer


@dataclass(frozen=True)
class Route:
    """An instance that may answer."""

    fleet: Fleet
    variant: Variant
    server: ModelServer


@dataclass(frozen=True)
class Traffic:
    """The fleet that serves and, during an update, the new one with its share of the traffic, in [0, 1]."""

    blue: Fleet
    green: Fleet | None = None
    share: float = 0.0

    def choose(self, target: str | None, without: ModelServer | None = None) -> Route | None:
        """The instance that answers the next request; None where no instance of any fleet is healthy.

        A fleet without a healthy instance leaves its request to the other one.

        Raises:
            KeyError: there is no variant ``target``.
        """
        order: list[tuple[Fleet, float]] = [(self.blue, 1.0)]
        if self.green is not None and self.share > 0:
            chosen = random.random() < self.share  # noqa: S311 - traffic, no secret
            order.insert(0 if chosen else 1, (self.green, self.share))
        for fleet, share in order:
            variant = fleet.pick(target)
            server = variant.next_ready(share=share, without=without)
            if server is not None:
                return Route(fleet, variant, server)
        return None


@dataclass(frozen=True)
class TrafficPolicy:
    """How an update moves the traffic; what a ``DeploymentConfig`` says."""

    shares: tuple[float, ...] = (1.0,)
    """Of the traffic that the new fleet has after each step."""
    bake_seconds: float = 0.0
    """After each step."""
    termination_wait_seconds: float = 0.0
    timeout_seconds: float = 28_800.0
    alarms: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None, plan: FleetPlan) -> TrafficPolicy:
        """The policy of a request's DeploymentConfig for a new fleet.

        A step is a number of instances of the new fleet, or a percentage that is rounded up to whole instances; the
        share of the traffic is theirs of the fleet. (AWS does not say how it rounds.)

        Raises:
            ValidationError: it cannot be carried out.
        """
        settings = settings or {}
        if "RollingUpdatePolicy" in settings:
            raise ValidationError(message="the local AWS has blue/green updates and no RollingUpdatePolicy")
        policy = settings.get("BlueGreenUpdatePolicy") or {}
        routing = policy.get("TrafficRoutingConfiguration") or {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
        return cls(
            shares=_shares(routing, min(variant.instances for variant in plan.variants)),
            bake_seconds=float(routing["WaitIntervalInSeconds"]),
            termination_wait_seconds=float(policy.get("TerminationWaitInSeconds") or 0),
            timeout_seconds=float(policy.get("MaximumExecutionTimeoutInSeconds") or cls.timeout_seconds),
            alarms=tuple(
                alarm["AlarmName"] for alarm in (settings.get("AutoRollbackConfiguration") or {}).get("Alarms") or ()
            ),
        )


def _shares(routing: Mapping[str, Any], instances: int) -> tuple[float, ...]:
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return (1.0,)
    name = "CanarySize" if kind == "CANARY" else "LinearStepSize"
    size = routing.get(name)
    if size is None:
        raise ValidationError(message=f"TrafficRoutingConfiguration of type {kind} needs {name}")
    number, unit = int(size["Value"]), size["Type"]
    by_percent = unit == "CAPACITY_PERCENT"
    if (number > 50) if by_percent else (2 * number > instances):
        limit = "50 percent" if by_percent else f"half of the {instances} instance(s) of the new fleet"
        raise ValidationError(message=f"{name} is {number} ({unit}); it must not be more than {limit}")
    step = math.ceil(instances * number / 100) if by_percent else number
    if kind == "CANARY":
        return (step / instances, 1.0) if step < instances else (1.0,)
    return tuple(min(1.0, done / instances) for done in range(step, instances + step, step))
