"""One blue/green update of an endpoint, as SageMaker does it.

The new (green) fleet is started and healthy before it gets traffic. Traffic moves to it in steps; after each the
update bakes while the alarms are watched, after the last one too. Then the old (blue) fleet stands by for the
termination wait and ends. An alarm that fires, or a new fleet that does not start, sends all traffic back to blue at
once: the endpoint is ``RollingBack`` until green has answered what it was asked, and ``InService`` on the old
configuration behind that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from local_aws import cloudwatch
from local_aws.endpoint_fleet import Fleet, FleetPlan
from local_aws.endpoint_traffic import Traffic, TrafficPolicy
from local_aws.iam_enforcement import role_may
from local_aws.job_errors import JobFailedError
from local_aws.model_server import ModelServerError
from local_aws.saved_state import now

if TYPE_CHECKING:
    from local_aws.endpoint import Endpoint

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1


class DeploymentFailedError(Exception):
    """The new fleet may not serve; the message says why."""


class Cancelled(Exception):  # noqa: N818 - no error: the endpoint was deleted, or the local AWS stops
    """Nothing of the deployment is wanted any more."""


class Deployment:
    """The change of an endpoint to a new fleet, under way."""

    def __init__(self, endpoint: Endpoint, plan: FleetPlan, policy: TrafficPolicy, make: Callable[[], Fleet]) -> None:
        self._endpoint = endpoint
        self.plan = plan
        self._policy = policy
        self.green = make()
        self.stage = "Creating"
        """The new variants' status, in DescribeEndpoint's words."""
        self.started = self.stage_since = now()
        self._deadline = time.monotonic() + policy.timeout_seconds
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ends it without a result; who cancels ends the fleets."""
        self._cancelled.set()

    def run(self) -> None:
        """Carries it out; returns when the endpoint is settled and what is no longer needed has ended."""
        endpoint, blue = self._endpoint, self._endpoint.fleet
        try:
            self._start()
            if blue is not None:
                for share in self._policy.shares:
                    self._shift(blue, share)
            endpoint.promote(self)
            if blue is not None:
                self._wait(self._policy.termination_wait_seconds)
        except Cancelled:
            self.green.stop()
            return
        except DeploymentFailedError as error:
            endpoint.roll_back(self, str(error))
            return
        endpoint.settle_on(self)
        if blue is not None:
            blue.retire()
            endpoint.forget(blue)

    def _start(self) -> None:
        try:
            self.green.start()
        except (ModelServerError, JobFailedError) as error:
            self._check_wanted()
            raise DeploymentFailedError(str(error)) from error
        except Exception as error:
            logger.exception("endpoint %s", self._endpoint.name)
            raise DeploymentFailedError(f"InternalServerError: {error!r}") from error
        self._check_wanted()

    def _shift(self, blue: Fleet, share: float) -> None:
        self._set_stage("ActivatingTraffic")
        self._endpoint.route(Traffic(blue, self.green, share))
        self._set_stage("Baking")
        self._wait(self._policy.bake_seconds, watching=True)

    def _set_stage(self, stage: str) -> None:
        self.stage, self.stage_since = stage, now()

    def _wait(self, seconds: float, *, watching: bool = False) -> None:
        end = time.monotonic() + seconds
        while True:
            self._check_wanted()
            if watching:
                self._check_alarms()
            left = end - time.monotonic()
            if left <= 0:
                return
            self._cancelled.wait(min(left, _LOOK_SECONDS))

    def _check_wanted(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        if time.monotonic() > self._deadline:
            raise DeploymentFailedError(
                f"the deployment took longer than MaximumExecutionTimeoutInSeconds ({self._policy.timeout_seconds:g})"
            )

    def _check_alarms(self) -> None:
        for name in self._policy.alarms:
            if not role_may(self.green.role_arn, ("cloudwatch:DescribeAlarms",), self._endpoint.alarm_arn(name)):
                raise DeploymentFailedError(f"{self.green.role_arn} may not look at the alarm {name}")
        fired = [name for name, state in cloudwatch.alarm_states(self._policy.alarms).items() if state == "ALARM"]
        if fired:
            # Our words: AWS does not document its own, and may leave FailureReason empty.
            raise DeploymentFailedError(
                f"One or more alarms of the AutoRollbackConfiguration went into ALARM during the deployment: "
                f"{', '.join(fired)}. Traffic went back to the endpoint configuration "
                f"{self._endpoint.config_name}."
            )

    def pending_summary(self, variants: Callable[[Fleet], list[dict[str, Any]]]) -> dict[str, Any]:
        """DescribeEndpoint's ``PendingDeploymentSummary``."""
        status = [{"Status": self.stage, "StartTime": self.stage_since}]
        return {
            "EndpointConfigName": self.plan.config_name,
            "ProductionVariants": [{**shown, "VariantStatus": status} for shown in variants(self.green)],
            "StartTime": self.started,
        }
