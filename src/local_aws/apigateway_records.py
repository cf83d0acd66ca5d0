"""What API Gateway writes down of a request: a line of the stage's access log, and metrics.

A line is the stage's own format with ``$context`` filled in. No variable of ``$context`` holds a body, so none can be
logged.
"""

from __future__ import annotations

import functools
import logging
import time
import uuid
from typing import Any

from moto.logs.models import logs_backends

from local_aws import cloudwatch
from local_aws.apigateway_answers import context_text
from local_aws.apigateway_cache import Answer
from local_aws.apigateway_calls import Call
from local_aws.cloudwatch_store import MetricKey
from local_aws.config import LocalConfig
from local_aws.log_lines import write_lines

logger = logging.getLogger(__name__)

_STREAM = uuid.uuid4().hex  # of this server's lines


def record(config: LocalConfig, call: Call, answer: Answer) -> None:
    """Write a call down once its answer is known."""
    seconds = time.perf_counter() - call.request.started
    measured = [
        ("Count", 1.0, "Count"),
        ("4XXError", float(400 <= answer.status < 500), "Count"),
        ("5XXError", float(answer.status >= 500), "Count"),
        ("Latency", seconds * 1000, "Milliseconds"),
    ]
    if call.integration_seconds is not None:
        measured.append(("IntegrationLatency", call.integration_seconds * 1000, "Milliseconds"))
    if call.cache_hit is not None:
        measured.append(("CacheHitCount" if call.cache_hit else "CacheMissCount", 1.0, "Count"))
    keys = _keys(str(call.api.name), call.request.stage)
    cloudwatch.store.record([(key[name], value, unit) for key in keys for name, value, unit in measured])
    settings = call.stage.access_log_settings or {}
    if settings.get("destinationArn") and settings.get("format"):
        line = context_text(settings["format"], _log_context(call, answer, seconds), absent="-")
        _write(config, settings["destinationArn"], line)


@functools.lru_cache(maxsize=256)
def _keys(api: str, stage: str) -> tuple[dict[str, MetricKey], ...]:
    """The metrics of an API over all stages, and of one stage."""
    names = ("Count", "4XXError", "5XXError", "Latency", "IntegrationLatency", "CacheHitCount", "CacheMissCount")
    dimensions = ((("ApiName", api),), (("ApiName", api), ("Stage", stage)))
    return tuple({name: MetricKey("AWS/ApiGateway", name, key) for name in names} for key in dimensions)


def _log_context(call: Call, answer: Answer, seconds: float) -> dict[str, Any]:
    context = {
        **call.context,
        "status": answer.status,
        "responseLength": len(answer.body),
        "responseLatency": round(seconds * 1000),
    }
    key = context.pop("identity.apiKey", None)
    if key is not None:
        # AWS writes the last characters of a key alone.
        context["identity.apiKey"] = f"{'*' * (len(key) - 6)}{key[-6:]}"
    if call.integration_seconds is not None:
        milliseconds = round(call.integration_seconds * 1000)
        context |= {"integrationLatency": milliseconds, "integration.latency": milliseconds}
        if "error.message" not in context:
            context |= {"integration.status": 200, "integrationStatus": 200}
        else:
            context["integrationErrorMessage"] = context["error.validationErrorString"]
    return context


def _write(config: LocalConfig, destination: str, line: str) -> None:
    """A line to a log group; one that is not there is not made."""
    group = destination.partition(":log-group:")[2].removesuffix(":*")
    backend = logs_backends[config.account][config.region]
    if group not in backend.groups:
        logger.warning("access log: there is no log group %s", group)
        return
    write_lines(backend, group, _STREAM, [line])
