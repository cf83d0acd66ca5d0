"""SageMaker endpoints that serve: created, updated blue/green, rolled back, and asked through ``sagemaker-runtime``."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeEndpointConfig
from moto.sagemaker.responses import SageMakerResponse

from local_aws import endpoint_invocations, sagemaker_tags
from local_aws.config import LocalConfig
from local_aws.docker_mode import DockerRunner
from local_aws.endpoint_fleet import Fleet, FleetPlan, VariantPlan
from local_aws.job_errors import JobFailedError
from local_aws.model_server import STARTUP_SECONDS, ModelServerError, model_container
from local_aws.process_identity import kill_left_over
from local_aws.requests_validation import validated_request
from local_aws.runner import Runner, release_runner, shared_runner
from local_aws.saved_state import now, read_state, write_state

logger = logging.getLogger(__name__)

_USER = "sagemaker_endpoints"
_ARN_PART = "endpoint/"
_SHUTDOWN_GRACE_SECONDS = 3.0
_RESTORE_WAIT_SECONDS = 60.0
_CHANGING = frozenset({"Creating", "Updating", "SystemUpdating", "Deleting"})


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
        self._lock = threading.RLock()
        self._new_fleet: Fleet | None = None
        self._deleted = False

    @property
    def arn(self) -> str:
        """The endpoint's ARN."""
        return self._book.arn(self.name)

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
                shown["ProductionVariants"] = [
                    {
                        "VariantName": variant.plan.name,
                        "DeployedImages": [
                            {"SpecifiedImage": variant.plan.model.image, "ResolvedImage": variant.plan.model.image}
                        ],
                        "CurrentWeight": variant.plan.weight,
                        "DesiredWeight": variant.plan.weight,
                        "CurrentInstanceCount": len(variant.servers),
                        "DesiredInstanceCount": variant.plan.instances,
                    }
                    for variant in self.fleet.variants.values()
                ]
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

    def deploy(self, plan: FleetPlan, *, status: str) -> None:
        """Starts a new fleet, swaps it in and ends the old one, in the background.

        A new fleet that does not become healthy is ended: the old one goes on serving, with the failure's reason.
        """
        with self._lock:
            self.status, self.coming, self.reason = status, plan, None
            self.config_name = self.config_name or plan.config_name
            self.modified = now()
            self.settled.clear()
            self.save()
            self._new_fleet = Fleet(
                self._book.config, self._book.runner, self.name, plan, self.folder, self._save_if_there
            )
        self._book.background(lambda: self._deploy(plan))

    def _deploy(self, plan: FleetPlan) -> None:
        new = self._new_fleet
        if new is None:
            return
        try:
            new.start()
        except (ModelServerError, JobFailedError) as error:
            self._roll_back(new, str(error))
        except Exception as error:
            logger.exception("endpoint %s", self.name)
            self._roll_back(new, f"InternalServerError: {error!r}")
        else:
            self._swap(new, plan)

    def _roll_back(self, new: Fleet, reason: str) -> None:
        new.stop()
        with self._lock:
            self._new_fleet = None
            if self._deleted or self._book.closing:
                return
            self.reason = reason[:1024]
            self._settle("InService" if self.fleet else "Failed")

    def _swap(self, new: Fleet, plan: FleetPlan) -> None:
        with self._lock:
            self._new_fleet = None
            if self._deleted or self._book.closing:
                old: Fleet | None = new
            else:
                old, self.fleet = self.fleet, new
                self.config_name, self.last_plan = plan.config_name, plan
                self._settle("InService")
        if old:
            old.stop()

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
        for fleet in (self._new_fleet, self.fleet):
            if fleet:
                if grace_seconds is None:
                    fleet.stop()
                else:
                    fleet.stop(grace_seconds)

    # ------------------------------------------------------------------ its state on disk

    def save(self) -> None:
        """Writes ``endpoint.json``."""
        with self._lock:
            servers = [server for fleet in (self.fleet, self._new_fleet) if fleet for server in fleet.servers]
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
            if coming and self.status != "Failed" and state["status"] == "Updating":
                self.reason = f"the local AWS was stopped during the update to {coming['config_name']}"
        elif coming:
            self.deploy(FleetPlan.from_state(coming), status="Creating")
        else:
            self.settled.set()


class EndpointBook:
    """The endpoints of one local AWS."""

    def __init__(self, config: LocalConfig, runner: Runner) -> None:
        self.config = config
        self.runner = runner
        self.endpoints: dict[str, Endpoint] = {}
        self.lock = threading.RLock()
        self.closing = False
        self._threads: list[threading.Thread] = []

    @property
    def root(self) -> Path:
        """The folder that holds a folder an endpoint."""
        return self.config.root.resolve() / "sagemaker" / "endpoints"

    def arn(self, name: str) -> str:
        """The ARN of the endpoint of that name."""
        return f"arn:aws:sagemaker:{self.config.region}:{self.config.account}:endpoint/{name}"

    def find(self, name: str) -> Endpoint:
        """The endpoint of that name.

        Raises:
            ValidationError: there is none.
        """
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            raise ValidationError(message=f'Could not find endpoint "{self.arn(name)}".')
        return endpoint

    def background(self, work: Callable[[], None]) -> None:
        """Runs work that :meth:`close` waits for."""
        thread = threading.Thread(target=work, name="endpoint-change", daemon=True)
        with self.lock:
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()

    def plan(self, config_name: str) -> FleetPlan:
        """What an endpoint configuration asks for.

        Raises:
            ValidationError: it, or a model of its, is not there or cannot be served here.
        """
        sagemaker = self.config.client("sagemaker")
        try:
            settings = sagemaker.describe_endpoint_config(EndpointConfigName=config_name)
        except sagemaker.exceptions.ClientError as error:
            raise ValidationError(message=f'Could not find endpoint configuration "{config_name}".') from error
        variants = tuple(
            VariantPlan(
                name=variant["VariantName"],
                model=model_container(self.config, variant["ModelName"]),
                weight=float(variant.get("InitialVariantWeight", 1.0)),
                instances=int(variant.get("InitialInstanceCount", 1)),
                startup_seconds=float(variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or STARTUP_SECONDS),
            )
            for variant in settings["ProductionVariants"]
        )
        return FleetPlan(config_name, variants)

    def close(self) -> None:
        """Ends all servers; the endpoints stay on disk for the next start."""
        self.closing = True
        endpoints = list(self.endpoints.values())
        if endpoints:
            with ThreadPoolExecutor(len(endpoints)) as pool:
                list(pool.map(lambda endpoint: endpoint.stop(_SHUTDOWN_GRACE_SECONDS), endpoints))
        for thread in list(self._threads):
            thread.join(_SHUTDOWN_GRACE_SECONDS + 2)


_book: list[EndpointBook] = []  # at most one: the local AWS that this process serves
_moto: dict[str, Callable[[Any], ActionResult]] = {}


def install(config: LocalConfig) -> None:
    """Puts the endpoints' API in moto's place."""
    _book[:] = [EndpointBook(config, shared_runner(config, _USER))]
    # moto's list of instance types is years old and refuses ml.m6i; botocore's own list is checked instead.
    FakeEndpointConfig.validate_instance_type = lambda *_: None
    for name in ("create_model", "create_endpoint_config"):
        _moto.setdefault(name, getattr(SageMakerResponse, name))
    for handler in (_create_model, _create_endpoint_config, _create_endpoint, _update_endpoint, _describe_endpoint,
                    _list_endpoints, _delete_endpoint, _update_endpoint_weights_and_capacities):  # fmt: skip
        setattr(SageMakerResponse, handler.__name__.removeprefix("_"), handler)
    endpoint_invocations.install(_serving)
    sagemaker_tags.install()
    sagemaker_tags.register(_ARN_PART, lambda arn: current_book().endpoints.get(arn.rpartition("/")[2]))


def restore(config: LocalConfig) -> None:  # noqa: ARG001 - the plug contract's
    """Brings back the endpoints of earlier servers; their servers start in the background."""
    book = current_book()
    for path in sorted(book.root.glob("*/endpoint.json")):
        state = read_state(path)
        if state is None:
            continue
        try:
            endpoint = Endpoint(book, state["name"])
            endpoint.load(state)
        except (LookupError, TypeError) as error:
            logger.warning("%s is passed over: %r", path, error)
        else:
            book.endpoints[endpoint.name] = endpoint
    sagemaker_tags.restored(_ARN_PART)


def shutdown() -> None:
    """Ends all servers; idempotent."""
    while _book:
        book = _book.pop()
        book.close()
        release_runner(book.config, _USER)


def current_book() -> EndpointBook:
    """The endpoints of the local AWS that this process serves."""
    if not _book:
        raise ValidationError(message="the local AWS is stopping")
    return _book[0]


def _serving(name: str) -> tuple[Fleet | None, str]:
    """The fleet that serves an endpoint and the endpoint's status; waits for one that a restart is bringing back."""
    endpoint = current_book().find(name)
    if endpoint.status == "SystemUpdating":
        endpoint.settled.wait(_RESTORE_WAIT_SECONDS)
    return endpoint.fleet, endpoint.status


def _create_model(self: Any) -> ActionResult:
    request = validated_request(self.body, "CreateModel")
    if request["ModelName"] in self.sagemaker_backend._models:
        raise ValidationError(message=f"Cannot create already existing model {request['ModelName']!r}")
    return _moto["create_model"](self)


def _create_endpoint_config(self: Any) -> ActionResult:
    request = validated_request(self.body, "CreateEndpointConfig")
    if request["EndpointConfigName"] in self.sagemaker_backend.endpoint_configs:
        name = request["EndpointConfigName"]
        raise ValidationError(message=f"Cannot create already existing endpoint configuration {name!r}")
    names = [variant["VariantName"] for variant in request["ProductionVariants"]]
    if len(names) != len(set(names)):
        raise ValidationError(message=f"the variant names {names} are not distinct")
    for variant in request["ProductionVariants"]:
        if variant.get("ModelName") not in self.sagemaker_backend._models:
            raise ValidationError(message=f'Could not find model "{variant.get("ModelName")}".')
    return _moto["create_endpoint_config"](self)


def _create_endpoint(self: Any) -> ActionResult:
    request = validated_request(self.body, "CreateEndpoint")
    book, name = current_book(), request["EndpointName"]
    plan = book.plan(request["EndpointConfigName"])
    with book.lock:
        if name in book.endpoints:
            raise ValidationError(message=f'Cannot create already existing endpoint "{book.arn(name)}".')
        endpoint = book.endpoints[name] = Endpoint(book, name)
        endpoint.tags = list(request.get("Tags") or [])
        endpoint.deployment_config = request.get("DeploymentConfig")
    endpoint.deploy(plan, status="Creating")
    return ActionResult({"EndpointArn": endpoint.arn})


def _update_endpoint(self: Any) -> ActionResult:
    request = validated_request(self.body, "UpdateEndpoint")
    book = current_book()
    endpoint = book.find(request["EndpointName"])
    plan = book.plan(request["EndpointConfigName"])
    with book.lock:
        endpoint.check_changeable()
        if request.get("RetainAllVariantProperties") and endpoint.fleet:
            excluded = {entry["VariantPropertyType"] for entry in request.get("ExcludeRetainedVariantProperties", [])}
            plan = _retained(plan, endpoint.fleet, excluded)
        endpoint.deployment_config = request.get("DeploymentConfig") or (
            endpoint.deployment_config if request.get("RetainDeploymentConfig") else None
        )
        endpoint.deploy(plan, status="Updating")
    return ActionResult({"EndpointArn": endpoint.arn})


def _retained(plan: FleetPlan, fleet: Fleet, excluded: set[str]) -> FleetPlan:
    """The plan with the weights and counts that the variants of the same names have now."""
    variants = []
    for variant in plan.variants:
        present = fleet.variants.get(variant.name)
        state = vars(variant).copy()
        if present and "DesiredWeight" not in excluded:
            state["weight"] = present.plan.weight
        if present and "DesiredInstanceCount" not in excluded:
            state["instances"] = present.plan.instances
        variants.append(VariantPlan(**state))
    return FleetPlan(plan.config_name, tuple(variants))


def _describe_endpoint(self: Any) -> ActionResult:
    request = validated_request(self.body, "DescribeEndpoint")
    return ActionResult(current_book().find(request["EndpointName"]).describe())


def _list_endpoints(self: Any) -> ActionResult:
    request = validated_request(self.body, "ListEndpoints")
    found = [
        endpoint
        for endpoint in list(current_book().endpoints.values())
        if request.get("NameContains", "") in endpoint.name
        and request.get("StatusEquals", endpoint.status) == endpoint.status
    ]
    keys: Mapping[str, Callable[[Endpoint], Any]] = {
        "Name": lambda endpoint: endpoint.name,
        "Status": lambda endpoint: endpoint.status,
    }
    found.sort(
        key=keys.get(request.get("SortBy", ""), lambda endpoint: endpoint.created),
        reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    # A laptop has few endpoints: they all fit in the first page.
    return ActionResult({"Endpoints": [endpoint.describe() for endpoint in found]})


def _delete_endpoint(self: Any) -> ActionResult:
    request = validated_request(self.body, "DeleteEndpoint")
    book = current_book()
    with book.lock:
        endpoint = book.find(request["EndpointName"])
        endpoint.check_changeable(deleting=True)
        del book.endpoints[endpoint.name]
    endpoint.delete()
    return EmptyResult()


def _update_endpoint_weights_and_capacities(self: Any) -> ActionResult:
    request = validated_request(self.body, "UpdateEndpointWeightsAndCapacities")
    endpoint = current_book().find(request["EndpointName"])
    endpoint.check_changeable()
    asked = request["DesiredWeightsAndCapacities"]
    endpoint.change(
        {entry["VariantName"]: entry["DesiredWeight"] for entry in asked if "DesiredWeight" in entry},
        {entry["VariantName"]: entry["DesiredInstanceCount"] for entry in asked if "DesiredInstanceCount" in entry},
    )
    return ActionResult({"EndpointArn": endpoint.arn})
