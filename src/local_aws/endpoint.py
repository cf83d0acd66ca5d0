"""One SageMaker endpoint: the fleet that serves, the update under way, and its state on disk."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.sagemaker.exceptions import ValidationError

from local_aws.docker_mode import DockerRunner
from local_aws.endpoint_deployment import Deployment
from local_aws.endpoint_fleet import Fleet, FleetPlan
from local_aws.endpoint_traffic import Traffic, TrafficPolicy
from local_aws.job_errors import JobFailedError
from local_aws.model_server import ModelServerError
from local_aws.process_identity import kill_left_over
from local_aws.saved_state import now, write_state

if TYPE_CHECKING:
    from local_aws.sagemaker_endpoints import EndpointBook

_CHANGING = frozenset({"Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting"})


class Endpoint:
    """One endpoint: the fleet that serves, and the change under way, if any."""

    def __init__(self, book: EndpointBook, name: str) -> None:
        self._book = book
        self.name = name
        self.status = "Creating"
        self.config_name = ""
        self.fleet: Fleet | None = None
        self.coming: FleetPlan | None = None
        """What is being deployed."""
        self.last_plan: FleetPlan | None = None
        """What served last: what a later server starts again."""
        self.reason: str | None = None
        self.deployment_config: dict[str, Any] | None = None
        self.tags: list[dict[str, str]] = []
        self.created = self.modified = now()
        self.settled = threading.Event()
        self.traffic: Traffic | None = None
        """Who answers; replaced as a whole, so that a request sees one state of it."""
        self._lock = threading.RLock()
        self._deployment: Deployment | None = None
        self._leaving: list[Fleet] = []
        self._deleted = False

    @property
    def arn(self) -> str:
        """The endpoint's ARN."""
        return self._book.arn(self.name)

    def alarm_arn(self, name: str) -> str:
        """The ARN of an alarm beside the endpoint."""
        config = self._book.config
        return f"arn:aws:cloudwatch:{config.region}:{config.account}:alarm:{name}"

    @property
    def folder(self) -> Path:
        """The folder of its state and its servers."""
        return self._book.root / self.name

    def describe(self) -> dict[str, Any]:
        """The answer to ``DescribeEndpoint``."""
        with self._lock:
            shown: dict[str, Any] = {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "EndpointConfigName": self.config_name,
                "EndpointStatus": self.status,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
            }
            if self.fleet:
                shown["ProductionVariants"] = _variant_summaries(self.fleet)
                if self.fleet.capture:
                    shown["DataCaptureConfig"] = self.fleet.capture.summary
            if self._deployment and self.status == "Updating":
                shown["PendingDeploymentSummary"] = self._deployment.pending_summary(_variant_summaries)
            if self.reason:
                shown["FailureReason"] = self.reason
            if self.deployment_config:
                shown["LastDeploymentConfig"] = self.deployment_config
            return shown

    def check_changeable(self, *, deleting: bool = False) -> None:
        """Refuses a change while another is under way.

        Raises:
            ValidationError: as AWS says it.
        """
        if self.status in _CHANGING and not (deleting and self.status == "Creating"):
            raise ValidationError(message=f"Cannot update in-progress endpoint {self.arn!r} ({self.status})")
        if self.status == "Failed" and not deleting:
            raise ValidationError(message=f"Cannot update endpoint {self.arn!r}: it has failed and can only be deleted")

    def deploy(self, plan: FleetPlan, *, status: str, policy: TrafficPolicy | None = None) -> None:
        """Starts a new fleet, moves the traffic to it and ends the old one, in the background."""

        def make() -> Fleet:
            return Fleet(self._book.config, self._book.runner, self.name, plan, self.folder, self._save_if_there)

        with self._lock:
            self.status, self.coming, self.reason = status, plan, None
            self.config_name = self.config_name or plan.config_name
            self.modified = now()
            self.settled.clear()
            self.save()
            deployment = self._deployment = Deployment(self, plan, policy or TrafficPolicy(), make)
        self._book.background(deployment.run)

    # What a deployment does to its endpoint.

    def route(self, traffic: Traffic) -> None:
        """Requests go this way from now on."""
        with self._lock:
            self.traffic = traffic

    def promote(self, deployment: Deployment) -> None:
        """The new fleet takes all traffic and is what a later server starts; the old one stands by."""
        with self._lock:
            if self.fleet:
                self._leaving.append(self.fleet)
            self.fleet, self.last_plan = deployment.green, deployment.plan
            self.traffic = Traffic(deployment.green)

    def settle_on(self, deployment: Deployment) -> None:
        """The endpoint is in service on the new configuration."""
        with self._lock:
            self._deployment = None
            if not self._deleted and not self._book.closing:
                self.config_name = deployment.plan.config_name
                self._settle("InService")

    def roll_back(self, deployment: Deployment, reason: str) -> None:
        """All traffic goes to the old fleet at once; the new one answers what it was asked, and ends."""
        with self._lock:
            self.traffic = Traffic(self.fleet) if self.fleet else None
            if self.fleet and not self._deleted:
                self.status = "RollingBack"
            self.reason = reason[:1024]
        deployment.green.retire()
        with self._lock:
            self._deployment = None
            if not self._deleted and not self._book.closing:
                self._settle("InService" if self.fleet else "Failed")

    def forget(self, fleet: Fleet) -> None:
        """A fleet has ended."""
        with self._lock:
            if fleet in self._leaving:
                self._leaving.remove(fleet)

    def _settle(self, status: str) -> None:
        self.status, self.coming, self.modified = status, None, now()
        self.save()
        self.settled.set()

    def change(self, weights: Mapping[str, float], counts: Mapping[str, int]) -> None:
        """New weights at once, new instance counts in the background."""
        with self._lock:
            fleet = self.fleet
            if fleet is None:
                raise ValidationError(message=f"Endpoint {self.name} is not in service")
            unknown = ({*weights} | {*counts}) - {*fleet.variants}
            if unknown:
                raise ValidationError(message=f"Variant {min(unknown)!r} not found; it has {sorted(fleet.variants)}")
            for name, weight in weights.items():
                fleet.set_weight(name, weight)
            self.last_plan = fleet.plan
            resized = {name: count for name, count in counts.items() if count != len(fleet.variants[name].servers)}
            if not resized:
                self._settle("InService")
                return
            self.status = "Updating"
            self.settled.clear()
            self.save()
        self._book.background(lambda: self._resize(fleet, resized))

    def _resize(self, fleet: Fleet, counts: Mapping[str, int]) -> None:
        try:
            for name, count in counts.items():
                fleet.resize(name, count)
        except (ModelServerError, JobFailedError) as error:
            self.reason = str(error)[:1024]
        with self._lock:
            if not self._deleted:
                self.last_plan = fleet.plan
                self._settle("InService")

    def delete(self) -> None:
        """Forgets the endpoint, and ends its servers in the background."""
        with self._lock:
            self._deleted = True
            self.status = "Deleting"
            (self.folder / "endpoint.json").unlink(missing_ok=True)
            self.settled.set()

        def end() -> None:
            self.stop()
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # unless an endpoint of the same name was made meanwhile

        self._book.background(end)

    def stop(self, grace_seconds: float | None = None) -> None:
        """Ends its servers."""
        if self._deployment:
            self._deployment.cancel()
        for fleet in self._fleets():
            if grace_seconds is None:
                fleet.stop()
            else:
                fleet.stop(grace_seconds)

    def _fleets(self) -> list[Fleet]:
        with self._lock:
            green = [self._deployment.green] if self._deployment else []
            found = [*green, *([self.fleet] if self.fleet else []), *self._leaving]
        return list(dict.fromkeys(found))

    # ------------------------------------------------------------------ its state on disk

    def save(self) -> None:
        """Writes ``endpoint.json``."""
        with self._lock:
            servers = [server for fleet in self._fleets() for server in fleet.servers]
            running = [server.container for server in servers if server.container]
            state = {
                "name": self.name,
                "status": self.status,
                "config_name": self.config_name,
                "coming": self.coming.to_state() if self.coming else None,
                "last_plan": self.last_plan.to_state() if self.last_plan else None,
                "reason": self.reason,
                "deployment_config": self.deployment_config,
                "tags": self.tags,
                "created": self.created,
                "modified": self.modified,
                "processes": [
                    {"pid": process.pid, "identity": process.identity, "docker": process.docker_name}
                    for process in running
                ],
            }
            write_state(self.folder / "endpoint.json", state)

    def _save_if_there(self) -> None:
        with self._lock:
            if not self._deleted and not self._book.closing:
                self.save()

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes on the state of an earlier server and starts again what served then, in the background."""
        for left in state["processes"]:
            if left["docker"]:
                DockerRunner.remove(left["docker"])
            else:
                kill_left_over(left["pid"], left["identity"])
        for folder in self.folder.iterdir():
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
        self.status, self.config_name, self.reason = state["status"], state["config_name"], state["reason"]
        self.deployment_config, self.tags = state["deployment_config"], list(state["tags"])
        self.created, self.modified = state["created"], state["modified"]
        coming, last = state["coming"], state["last_plan"]
        if last:
            self.last_plan = FleetPlan.from_state(last)
            # SystemUpdating is AWS's word for maintenance: the endpoint is there and takes no change.
            self.deploy(self.last_plan, status="SystemUpdating")
            if coming and self.status != "Failed" and state["status"] in ("Updating", "RollingBack"):
                self.reason = f"the local AWS was stopped during the update to {coming['config_name']}"
        elif coming:
            self.deploy(FleetPlan.from_state(coming), status="Creating")
        else:
            self.settled.set()


def _variant_summaries(fleet: Fleet) -> list[dict[str, Any]]:
    """The variants of a fleet as DescribeEndpoint shows them."""
    return [
        {
            "VariantName": variant.plan.name,
            "DeployedImages": [{"SpecifiedImage": variant.plan.model.image, "ResolvedImage": variant.plan.model.image}],
            "CurrentWeight": variant.plan.weight,
            "DesiredWeight": variant.plan.weight,
            "CurrentInstanceCount": len(variant.servers),
            "DesiredInstanceCount": variant.plan.instances,
        }
        for variant in fleet.variants.values()
    ]
