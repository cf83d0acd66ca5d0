"""The model servers of an endpoint: one process an instance of each variant, traffic by weight, the dead restarted."""

from __future__ import annotations

import itertools
import logging
import math
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from local_aws.config import LocalConfig
from local_aws.data_capture import DataCapture
from local_aws.iam_enforcement import acting_as
from local_aws.iam_identities import AssumeRoleRefusedError
from local_aws.job_errors import JobFailedError
from local_aws.job_logs import LogShipper
from local_aws.model_server import STARTUP_SECONDS, ModelContainer, ModelServer, ModelServerError
from local_aws.runner import SERVE_GRACE_SECONDS, Runner

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_MOST_PAUSE_SECONDS = 30.0
_STARTS_AT_ONCE = 4
_DRAIN_SECONDS = 60.0  # an invocation takes no longer
_ROUNDING = 1e-9


@dataclass(frozen=True)
class VariantPlan:
    """A production variant as its endpoint configuration has it."""

    name: str
    model: ModelContainer
    weight: float
    instances: int
    startup_seconds: float = STARTUP_SECONDS

    def to_state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**vars(self), "model": self.model.to_state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> VariantPlan:
        """The inverse of :meth:`to_state`."""
        return cls(**{**state, "model": ModelContainer(**state["model"])})


@dataclass(frozen=True)
class FleetPlan:
    """What an endpoint is to serve: its configuration's name and variants."""

    config_name: str
    variants: tuple[VariantPlan, ...]
    capture: Mapping[str, Any] | None = None
    """The configuration's ``DataCaptureConfig``."""

    def to_state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "config_name": self.config_name,
            "variants": [variant.to_state() for variant in self.variants],
            "capture": self.capture,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FleetPlan:
        """The inverse of :meth:`to_state`."""
        variants = tuple(VariantPlan.from_state(variant) for variant in state["variants"])
        return cls(state["config_name"], variants, state.get("capture"))


class Variant:
    """A variant's running instances."""

    def __init__(self, plan: VariantPlan) -> None:
        self.plan = plan
        self.servers: list[ModelServer] = []
        self._turns = itertools.count()

    def next_ready(self, *, share: float = 1.0, without: ModelServer | None = None) -> ModelServer | None:
        """The next healthy instance, in turn, of those that take traffic: the first ``share`` of them.

        Where none of those is healthy any other may take it; never ``without``, which has just failed.
        """
        active = self.servers[: math.ceil(share * len(self.servers) - _ROUNDING)]
        for candidates in (active, self.servers):
            ready = [server for server in candidates if server.ready and server.alive and server is not without]
            if ready:
                return ready[next(self._turns) % len(ready)]
        return None


class Fleet:
    """All instances of one deployment of an endpoint."""

    def __init__(
        self,
        config: LocalConfig,
        runner: Runner,
        endpoint: str,
        plan: FleetPlan,
        folder: Path,
        on_change: Callable[[], None],
    ) -> None:
        self._config = config
        self._runner = runner
        self._endpoint = endpoint
        self._folder = folder / uuid.uuid4().hex[:8]
        self._on_change = on_change
        self.config_name = plan.config_name
        self.role_arn = plan.variants[0].model.role_arn
        self.capture = DataCapture(config, endpoint, plan.capture, self.role_arn) if plan.capture else None
        self.variants = {variant.name: Variant(variant) for variant in plan.variants}
        self._shippers: dict[ModelServer, LogShipper] = {}
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"fleet-{endpoint[:30]}", daemon=True)

    @property
    def plan(self) -> FleetPlan:
        """The plan with the present weights and counts."""
        capture = self.capture.settings if self.capture else None
        return FleetPlan(self.config_name, tuple(variant.plan for variant in self.variants.values()), capture)

    @property
    def servers(self) -> list[ModelServer]:
        """All instances."""
        return [server for variant in self.variants.values() for server in variant.servers]

    def start(self) -> None:
        """Starts every instance and returns once all are healthy.

        Raises:
            ModelServerError: an instance did not become healthy.
            JobFailedError: a model's artifact cannot be had.
        """
        wanted = [(variant, variant.plan.instances) for variant in self.variants.values()]
        self._add(wanted)
        self._watcher.start()

    def _add(self, wanted: Sequence[tuple[Variant, int]]) -> None:
        new = []
        for variant, count in wanted:
            for _ in range(count):
                server = self._new_server(variant)
                variant.servers.append(server)
                new.append((variant, server))
        with ThreadPoolExecutor(_STARTS_AT_ONCE) as pool:
            list(pool.map(lambda pair: self._start_server(*pair), new))

    def _new_server(self, variant: Variant) -> ModelServer:
        number = uuid.uuid4().hex[:8]
        folder = self._folder / f"{variant.plan.name}-{number}"
        folder.mkdir(parents=True)
        name = f"{self._endpoint}-{variant.plan.name}"
        server = ModelServer(self._caller(variant.plan), self._runner, variant.plan.model, folder, name=name)
        server.on_launch = lambda _: self._on_change()
        group, stream = f"/aws/sagemaker/Endpoints/{self._endpoint}", f"{variant.plan.name}/local-{number}"
        self._shippers[server] = LogShipper(self._caller(variant.plan), server.log_path, group=group, stream=stream)
        self._shippers[server].start()
        return server

    def _caller(self, plan: VariantPlan) -> LocalConfig:
        """The local AWS as a variant's role sees it.

        Raises:
            ModelServerError: SageMaker may not assume the role.
        """
        try:
            return acting_as(self._config, plan.model.role_arn, "sagemaker.amazonaws.com", "SageMaker")
        except AssumeRoleRefusedError as error:
            raise ModelServerError(str(error)) from error

    def _start_server(self, variant: Variant, server: ModelServer) -> None:
        if self._stopping.is_set():
            raise ModelServerError("the endpoint was deleted or the local AWS stopped")
        server.prepare()
        server.start(timeout_seconds=variant.plan.startup_seconds)

    def _watch(self) -> None:
        """Restarts instances that ended, waiting longer after every failure."""
        waiting: dict[ModelServer, tuple[float, float]] = {}  # not before this moment; the pause that led to it
        while not self._stopping.wait(_LOOK_SECONDS):
            for variant in list(self.variants.values()):
                for server in list(variant.servers):
                    moment, pause = waiting.get(server, (0.0, 0.5))
                    if server.alive or time.monotonic() < moment or self._stopping.is_set():
                        continue
                    if self._restart(variant, server):
                        waiting.pop(server, None)
                    else:
                        pause = min(2 * pause, _MOST_PAUSE_SECONDS)
                        waiting[server] = (time.monotonic() + pause, pause)

    def _restart(self, variant: Variant, server: ModelServer) -> bool:
        """Starts an instance anew; returns whether it became healthy."""
        if self._stopping.is_set() or server not in variant.servers:
            return True
        code = server.container.poll() if server.container else None
        note = f"local AWS: the model server ended with exit code {code} and is started again\n"
        logger.warning("endpoint %s, variant %s: %s", self._endpoint, variant.plan.name, note.strip())
        with server.log_path.open("a", encoding="utf-8") as log:
            log.write(note)
        try:
            server.start(timeout_seconds=variant.plan.startup_seconds)
        except ModelServerError as error:
            logger.warning("endpoint %s: %s", self._endpoint, error)
            return False
        if self._stopping.is_set():  # it was stopped while this one started
            server.stop(grace_seconds=0)
        return True

    def pick(self, target: str | None) -> Variant:
        """The variant that answers: the one asked for, else one by weight.

        Raises:
            KeyError: there is no such variant.
        """
        if target is not None:
            return self.variants[target]
        variants = list(self.variants.values())
        weights = [variant.plan.weight for variant in variants]
        if not any(weights):
            weights = [1.0] * len(variants)
        return random.choices(variants, weights)[0]  # noqa: S311 - traffic, no secret

    def set_weight(self, name: str, weight: float) -> None:
        """Changes a variant's share of the traffic, at once."""
        variant = self.variants[name]
        variant.plan = replace(variant.plan, weight=weight)

    def resize(self, name: str, count: int) -> None:
        """Adds or ends instances; returns once the new ones are healthy.

        Raises:
            ModelServerError: a new instance did not become healthy; it is ended and the others stay.
            JobFailedError: the model's artifact cannot be had.
        """
        variant = self.variants[name]
        present = len(variant.servers)
        try:
            self._add([(variant, max(0, count - present))])
        except (ModelServerError, JobFailedError):
            self._end(variant.servers[present:], variant)
            raise
        self._end(variant.servers[count:], variant)
        variant.plan = replace(variant.plan, instances=count)

    def _end(self, servers: Sequence[ModelServer], variant: Variant) -> None:
        leaving = list(servers)
        variant.servers = [server for server in variant.servers if server not in leaving]
        self._drain(leaving)
        self._stop_servers(leaving, SERVE_GRACE_SECONDS)

    def retire(self) -> None:
        """Ends every instance once the requests in flight are answered; nothing may be routed here any more."""
        self._drain(self.servers)
        self.stop()

    def _drain(self, servers: Sequence[ModelServer]) -> None:
        if servers:
            with ThreadPoolExecutor(len(servers)) as pool:
                list(pool.map(lambda server: server.drain(_DRAIN_SECONDS), servers))

    def _stop_servers(self, servers: Sequence[ModelServer], grace_seconds: float) -> None:
        if not servers:
            return
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(lambda server: server.stop(grace_seconds=grace_seconds), servers))
        for server in servers:
            if shipper := self._shippers.pop(server, None):
                shipper.close()
            server.remove()

    def stop(self, grace_seconds: float = SERVE_GRACE_SECONDS) -> None:
        """Ends every instance and deletes their folders; idempotent."""
        self._stopping.set()
        if self._watcher.ident is not None and self._watcher is not threading.current_thread():
            # It may be waiting for a restarted instance's health: ending the instances ends that wait.
            for server in self.servers:
                server.stop(grace_seconds=grace_seconds)
            self._watcher.join()
        self._stop_servers(self.servers, grace_seconds)
        if self.capture:
            self.capture.close()
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()
