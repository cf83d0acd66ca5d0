"""What an endpoint's invocations measure: SageMaker's own metrics, under both of its sets of dimensions."""

from __future__ import annotations

import functools

from local_aws import cloudwatch
from local_aws.cloudwatch_store import MetricKey

NAMESPACE = "AWS/SageMaker"
_ERROR_NAMES = {"Invocation4XXErrors": 400, "Invocation5XXErrors": 500}


@functools.lru_cache(maxsize=4_096)
def _keys(endpoint: str, variant: str, config: str) -> tuple[dict[str, MetricKey], ...]:
    """The metrics of a variant, and those of its configuration alone: by these the fleets of an update differ."""
    by_variant = {"EndpointName": endpoint, "VariantName": variant}
    by_config = by_variant | {"EndpointConfigName": config}
    names = ("Invocations", "ModelLatency", "OverheadLatency", *_ERROR_NAMES)
    return tuple(
        {name: MetricKey(NAMESPACE, name, tuple(sorted(dimensions.items()))) for name in wanted}
        for wanted, dimensions in (((*names, "InvocationsPerInstance"), by_variant), (names, by_config))
    )


def record(
    endpoint: str, variant: str, config: str, *, instances: int, status: int, model: float, overhead: float
) -> None:
    """Counts one invocation; ``model`` and ``overhead`` are seconds, which SageMaker gives in microseconds.

    ``status`` is the container's; 500 stands for one that broke off or took too long.
    """
    values: dict[str, tuple[float, str]] = {
        "Invocations": (1.0, "None"),
        "ModelLatency": (model * 1e6, "Microseconds"),
        "OverheadLatency": (overhead * 1e6, "Microseconds"),
        "InvocationsPerInstance": (1.0 / max(instances, 1), "None"),
    }
    for name, kind in _ERROR_NAMES.items():
        values[name] = (1.0 if kind <= status < kind + 100 else 0.0, "None")
    measured = [(key, *values[name]) for keys in _keys(endpoint, variant, config) for name, key in keys.items()]
    cloudwatch.store.record(measured)
