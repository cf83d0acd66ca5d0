"""SageMaker endpoints that serve: created, updated blue/green, rolled back, and asked through ``sagemaker-runtime``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeEndpointConfig
from moto.sagemaker.responses import SageMakerResponse

from local_aws import cloudwatch, endpoint_invocations, sagemaker_tags
from local_aws.config import LocalConfig
from local_aws.endpoint import Endpoint
from local_aws.endpoint_fleet import Fleet, FleetPlan, VariantPlan
from local_aws.endpoint_traffic import Traffic, TrafficPolicy
from local_aws.model_server import STARTUP_SECONDS, model_container
from local_aws.requests_validation import validated_request
from local_aws.runner import Runner, release_runner, shared_runner
from local_aws.saved_state import read_state

logger = logging.getLogger(__name__)

_USER = "sagemaker_endpoints"
_ARN_PART = "endpoint/"
_SCALED = "sagemaker:variant:DesiredInstanceCount"
_SHUTDOWN_GRACE_SECONDS = 3.0
_RESTORE_WAIT_SECONDS = 60.0


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
        return FleetPlan(config_name, variants, settings.get("DataCaptureConfig") or None)

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


def _serving(name: str) -> tuple[Traffic | None, str]:
    """Who answers for an endpoint, and the endpoint's status; waits for one that a restart is bringing back."""
    endpoint = current_book().find(name)
    if endpoint.status == "SystemUpdating":
        endpoint.settled.wait(_RESTORE_WAIT_SECONDS)
    return endpoint.traffic, endpoint.status


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
        plan = _within_scalable_targets(book.config, endpoint.name, plan)
        settings = request.get("DeploymentConfig") or (
            endpoint.deployment_config if request.get("RetainDeploymentConfig") else None
        )
        policy = TrafficPolicy.of(settings, plan)
        _check_update(endpoint, plan, policy)
        endpoint.deployment_config = settings
        endpoint.deploy(plan, status="Updating", policy=policy)
    return ActionResult({"EndpointArn": endpoint.arn})


def _check_update(endpoint: Endpoint, plan: FleetPlan, policy: TrafficPolicy) -> None:
    """Refuses what could not be rolled back.

    AWS documents no refusal for an alarm that fires already; it could only be rolled back at once.
    """
    if endpoint.fleet and len(policy.shares) > 1:
        gone = sorted({*endpoint.fleet.variants} - {variant.name for variant in plan.variants})
        if gone:
            raise ValidationError(
                message=f"the variants {gone} of endpoint {endpoint.name} are not in {plan.config_name}; an update "
                "that shifts traffic keeps the variants' names"
            )
    for name, state in cloudwatch.alarm_states(policy.alarms).items():
        if state is None:
            raise ValidationError(message=f"the alarm {name!r} of AutoRollbackConfiguration does not exist")
        if state == "ALARM":
            raise ValidationError(
                message=f"the alarm {name!r} of AutoRollbackConfiguration is in ALARM already; a deployment begins "
                "with alarms that do not fire"
            )


def _retained(plan: FleetPlan, fleet: Fleet, excluded: set[str]) -> FleetPlan:
    """The plan with the weights and counts that the variants of the same names have now, and the same capture."""
    variants = []
    for variant in plan.variants:
        present = fleet.variants.get(variant.name)
        same: dict[str, Any] = {}
        if present and "DesiredWeight" not in excluded:
            same["weight"] = present.plan.weight
        if present and "DesiredInstanceCount" not in excluded:
            same["instances"] = present.plan.instances
        variants.append(replace(variant, **same))
    capture = plan.capture if "DataCaptureConfig" in excluded else fleet.plan.capture
    return FleetPlan(plan.config_name, tuple(variants), capture)


def _within_scalable_targets(config: LocalConfig, endpoint: str, plan: FleetPlan) -> FleetPlan:
    """The plan with counts that application autoscaling would leave alone: within its target's capacities."""
    targets = applicationautoscaling_backends[config.account][config.region].targets.get(_SCALED, {})

    def scaled(variant: VariantPlan) -> VariantPlan:
        target = targets.get(f"endpoint/{endpoint}/variant/{variant.name}")
        if target is None:
            return variant
        return replace(variant, instances=min(max(variant.instances, target.min_capacity), target.max_capacity))

    return replace(plan, variants=tuple(map(scaled, plan.variants)))


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
