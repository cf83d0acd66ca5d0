"""A request to a stage, from its first check to its answer, in API Gateway's order.

Which deployment (canary or not) → which method → API key and usage plan → throttles and quota → required parameters and
body → cache → Lambda function. What each step refuses never reaches the next one.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from moto.apigateway.models import apigateway_backends

from local_aws import apigateway_lambda as functions
from local_aws.apigateway_answers import RefusedError, error_context, gateway_response
from local_aws.apigateway_cache import Answer, Caches, CacheSettings, StageCache
from local_aws.apigateway_deployed import Route, Snapshot
from local_aws.apigateway_limits import Throttles, Usage, asker
from local_aws.apigateway_requests import StageRequest, proxy_event
from local_aws.config import LocalConfig

logger = logging.getLogger(__name__)

_FORBIDDEN = RefusedError("INVALID_API_KEY", "Forbidden")
_MISSING = RefusedError("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
_WARNING = "199 Cache-Control: max-age=0 is ignored: the request may not invalidate the cache"
_DEFECTS = frozenset({"API_CONFIGURATION_ERROR", "DEFAULT_5XX", "INTEGRATION_TIMEOUT"})
_MOST_AT_ONCE = 128
_MOST_OF_A_FUNCTION = 8
"""Events that a function is given at once; the others wait, and their time runs. As many processes are kept warm."""


@dataclass
class Call:
    """A request on its way: what is known of it so far, for its answer, its log line and its metrics."""

    request: StageRequest
    api: Any
    stage: Any
    snapshot: Snapshot
    variables: Mapping[str, str]
    canary: bool
    context: dict[str, Any]
    route: Route | None = None
    integration_seconds: float | None = None
    cache_hit: bool | None = None
    """None where the method is not cached."""
    extra_headers: list[tuple[str, str]] = field(default_factory=list)


class Gateway:
    """The stages of one local AWS, and what their requests share."""

    def __init__(self, config: LocalConfig) -> None:
        self.config = config
        self.throttles = Throttles()
        self.caches = Caches()
        self.usage = Usage(config.root.resolve() / "apigateway" / "usage.json")
        self._draws = random.Random()  # noqa: S311 - splits traffic
        self._workers = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="apigateway")
        self._turns: defaultdict[str, threading.BoundedSemaphore] = defaultdict(
            lambda: threading.BoundedSemaphore(_MOST_OF_A_FUNCTION)
        )

    @property
    def backend(self) -> Any:
        """moto's control plane."""
        return apigateway_backends[self.config.account][self.config.region]

    def begin(self, request: StageRequest) -> Call | None:
        """The call that a request is; None where there is no such stage."""
        api = self.backend.apis.get(request.api_id)
        stage = api.stages.get(request.stage) if api is not None else None
        if stage is None:
            return None
        settings = stage.canary
        canary = bool(settings) and self._draws.random() * 100 < settings["percentTraffic"]
        deployment = api.deployments[settings["deploymentId"] if canary else stage.deployment_id]
        variables = {**stage.variables, **(settings.get("stageVariableOverrides", {}) if canary else {})}
        context = {**request.context(), "accountId": self.config.account, "deploymentId": deployment.id}
        if settings:
            context["isCanaryRequest"] = "true" if canary else "false"
        return Call(request, api, stage, deployment.snapshot, variables, canary, context)

    def answer(self, call: Call) -> Answer:
        """The answer to a call, whatever comes of it."""
        request = call.request
        try:
            answered = self._answer(call)
        except RefusedError as refusal:
            call.context |= error_context(refusal)
            if refusal.kind in _DEFECTS:  # AWS says why in the execution log alone, and nothing to the client
                logger.warning("%s %s: %s: %s", request.method, call.context["path"], refusal.kind, refusal.detail)
            responses = call.snapshot.gateway_responses
            answered = gateway_response(refusal, responses, call.context, request.parameters())
        return Answer(answered.status, (*answered.headers, *call.extra_headers), answered.body)

    def _answer(self, call: Call) -> Answer:
        request = call.request
        found = call.snapshot.match(request.method, request.raw_path)
        if found is None:
            raise _MISSING
        call.route, request.path_parameters = found
        route = call.route
        call.context |= {"resourcePath": route.resource_path, "resourceId": route.resource_id}
        self._admit(call, route)
        body = request.body()
        if body is None:
            raise RefusedError("REQUEST_TOO_LARGE", "Request Too Long")
        _validate(request, route, body)
        settings = CacheSettings.of(call.stage, request.method, route.settings_key)
        if settings is None:
            return self._integrate(call, route, body)
        cache, key = self._cache(call), _cache_key(request, route)
        if not _renews(call, settings):
            cached = cache.get(key)
            call.cache_hit = cached is not None
            if cached is not None:
                return cached
        call.cache_hit = False
        answered = self._integrate(call, route, body)
        cache.put(key, answered, settings.ttl_seconds)
        return answered

    def _admit(self, call: Call, route: Route) -> None:
        """API key, throttles and quota: 403 or 429."""
        request, stage = call.request, call.stage
        method = f"{route.resource_path}/{route.method}"
        who = None
        if route.key_required:
            who = asker(self.backend, request.api_id, request.stage, request.value("header", "x-api-key"))
            if who is None:
                raise _FORBIDDEN
            call.context |= {"identity.apiKeyId": who.key_id, "identity.apiKey": who.key}
        limits = who.limits(request.api_id, request.stage, method) if who else []
        own = {**stage.method_settings.get("*/*", {}), **stage.method_settings.get(route.settings_key, {})}
        limit = {"rateLimit": own.get("throttlingRateLimit"), "burstLimit": own.get("throttlingBurstLimit")}
        limits.append((("stage", request.api_id, request.stage, method), limit))
        limits.append((("account",), self.backend.account.throttle_settings))
        if not self.throttles.admit(limits):
            raise RefusedError("THROTTLED", "Too Many Requests")
        if who and not self.usage.admit(who.plan.id, who.key_id, who.plan.quota):
            raise RefusedError("QUOTA_EXCEEDED", "Limit Exceeded")

    def _cache(self, call: Call) -> StageCache:
        own = call.canary and not call.stage.canary.get("useStageCache")
        return self.caches.of(call.request.api_id, call.request.stage, canary=own)

    def _integrate(self, call: Call, route: Route, body: bytes) -> Answer:
        """What the method's Lambda function answers."""
        request, snapshot = call.request, call.snapshot
        if route.integration_type != "AWS_PROXY":
            raise RefusedError(
                "API_CONFIGURATION_ERROR",
                "Internal server error",
                f"the local AWS serves AWS_PROXY integrations, not {route.integration_type}",
            )
        source = (
            f"arn:aws:execute-api:{self.config.region}:{self.config.account}:{request.api_id}/{request.stage}/"
            f"{route.method}{route.resource_path}"
        )
        function = functions.function_of(route.uri, call.variables, source)
        content = functions.event_body(body, request.header("Content-Type"), snapshot.binary_types)
        resource = (route.resource_path, route.resource_id)
        event = proxy_event(request, call.context, resource, call.variables, content)
        if len(content[0] or "") > functions.LARGEST_EVENT:
            raise RefusedError("REQUEST_TOO_LARGE", "Request Too Long", "an event holds at most 6 MiB")
        begun = time.perf_counter()
        # The function runs on when it is no longer waited for, as on AWS.
        pending = self._workers.submit(self._invoke, function, event, begun + route.timeout_seconds)
        try:
            payload, failed, _log = pending.result(route.timeout_seconds)
        except TimeoutError as error:
            detail = f"no answer in {route.timeout_seconds:g} s"
            raise RefusedError("INTEGRATION_TIMEOUT", "Endpoint request timed out", detail) from error
        finally:
            call.integration_seconds = time.perf_counter() - begun
        return functions.answer_of(payload, failed, request.header("Accept"), snapshot.binary_types)

    def _invoke(self, function: Any, event: Mapping[str, Any], until: float) -> tuple[str, bool, str]:
        """A function's payload, whether it failed, and its log."""
        turn = self._turns[function.function_arn]
        if not turn.acquire(timeout=max(0.0, until - time.perf_counter())):
            raise TimeoutError
        try:
            outcome: tuple[str, bool, str] = function._invoke_lambda(event)
            return outcome
        finally:
            turn.release()

    def close(self) -> None:
        """Wait for nothing, and write the usage of the plans; idempotent."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self.usage.close()


def _validate(request: StageRequest, route: Route, body: bytes) -> None:
    """Required parameters, then the body: 400."""
    missing = [name for place, name in route.required_parameters if not request.value(place, name)]
    if missing:
        raise RefusedError(
            "BAD_REQUEST_PARAMETERS", f"Missing required request parameters: [{', '.join(sorted(missing))}]"
        )
    if not route.bodies:
        return
    content_type = request.header("Content-Type").partition(";")[0].strip().lower() or "application/json"
    # A media type that no model is for is not validated; whether to take it is the application's affair.
    check = route.bodies.get(content_type) or route.bodies.get("$default")
    if check is not None and (fault := check.fault(body)) is not None:
        raise RefusedError("BAD_REQUEST_BODY", "Invalid request body", fault)


def _cache_key(request: StageRequest, route: Route) -> tuple[Any, ...]:
    """Of the method's namespace and its cache key parameters alone."""
    values = tuple((place, name, request.value(place, name)) for place, name in route.cache_keys)
    return route.cache_namespace, request.method, values


def _renews(call: Call, settings: CacheSettings) -> bool:
    """Whether ``Cache-Control: max-age=0`` asks for a new answer, and may.

    Raises:
        RefusedError: 403, where the stage refuses what may not.
    """
    directives = {part.strip().lower() for part in call.request.header("Cache-Control").split(",")}
    if "max-age=0" not in directives:
        return False
    signed = call.request.header("Authorization").startswith("AWS4-HMAC-SHA256")
    if signed or not settings.requires_authorization:
        return True
    if settings.strategy == "FAIL_WITH_403":
        raise RefusedError("ACCESS_DENIED", "Forbidden", "the request may not invalidate the cache")
    if settings.strategy == "SUCCEED_WITH_RESPONSE_HEADER":
        call.extra_headers.append(("Warning", _WARNING))
    return False
