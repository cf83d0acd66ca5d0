"""The alarms that end a deployment: errors, latency, low confidence and wrong answers of the new fleet alone.

The first three are metric math over one period with a least number of requests: one slow answer among three is no
verdict. The fleets of an update differ by the configuration's name, which SageMaker's metrics have as a dimension;
the confidence is measured in the container, which knows its model's version and not its endpoint's name. Wrong
answers are those to probes (``workflow_functions.canary_probes``): one is a fact, and no matter of shares.
"""

from __future__ import annotations

from typing import Any

from pipelines.deployment_settings import AlarmSettings
from pipelines.failures import any_failure_retries
from pipelines.sdk import Task

CONFIDENCE_NAMESPACE = "TopicModel"
CONFIDENCE_METRIC = "LowConfidence"
"""1 for an answer with low confidence, 0 for any other; the container writes it in the Embedded Metric Format."""
CONFIDENCE_DIMENSION = "ModelVersion"

P99_REQUESTS = 100
"""From which on a 99th percentile is one; among fewer it is the slowest, which a worker's first request may well be."""

ANSWERS_METRIC = "WrongAnswers"
"""Of a configuration: the probes whose answer is not what the model's own run has for the campaign."""

_KINDS = ("errors", "latency", "confidence", "answers")
VARIANT_NAME = "AllTraffic"


def alarm_names() -> dict[str, str]:
    """A deployment's alarms by kind; ``workflow_functions.deployments`` builds the same names."""
    return {kind: f"States.Format('{{}}-{kind}', $.endpoint_config.name)" for kind in _KINDS}


def alarm_tasks(settings: AlarmSettings) -> list[Any]:
    """The states that make the alarms of ``$.endpoint_config.name``."""
    requests, least = _endpoint_metric("requests", "Invocations", "Sum", settings), settings.min_requests
    return [
        _alarm(
            "AlarmOnErrors",
            "errors",
            "Share of requests that the new model answers with a 5XX error",
            [_endpoint_metric("errors", "Invocation5XXErrors", "Sum", settings), requests],
            f"IF(requests >= {least}, errors / requests, 0)",
            settings.max_error_share,
            settings,
        ),
        _alarm(
            "AlarmOnLatency",
            "latency",
            f"99th percentile of the new model's latency, among under {P99_REQUESTS} requests the median: microseconds",
            [
                _endpoint_metric("latency", "ModelLatency", "p99", settings),
                _endpoint_metric("median", "ModelLatency", "p50", settings),
                requests,
            ],
            f"IF(requests >= {P99_REQUESTS}, latency, IF(requests >= {least}, median, 0))",
            settings.max_latency_p99_ms * 1_000,
            settings,
        ),
        _alarm(
            "AlarmOnConfidence",
            "confidence",
            "Share of the new model's answers that it gives with low confidence",
            [_confidence("low", "Average", settings), _confidence("answers", "SampleCount", settings)],
            f"IF(answers >= {least}, low, 0)",
            settings.max_low_confidence_share,
            settings,
        ),
        _alarm(
            "AlarmOnAnswers",
            "answers",
            "Known campaigns that the new model answers otherwise than its own run",
            [_wrong_answers(settings)],
            "FILL(wrong, 0)",
            0,
            settings,
            datapoints=1,
        ),
    ]


def _alarm(
    state: str,
    kind: str,
    description: str,
    metrics: list[dict[str, Any]],
    expression: str,
    threshold: float,
    settings: AlarmSettings,
    *,
    datapoints: int | None = None,
) -> Any:
    datapoints = datapoints or settings.datapoints
    measure = {"Id": "measure", "Expression": expression, "Label": kind, "ReturnData": True}
    return Task(
        state,
        resource="arn:aws:states:::aws-sdk:cloudwatch:putMetricAlarm",
        parameters={
            "AlarmName": f"$.alarms.{kind}",
            "AlarmDescription": description,
            "Metrics": [*metrics, measure],
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": threshold,
            "EvaluationPeriods": datapoints,
            "DatapointsToAlarm": datapoints,
            # No traffic is no failure.
            "TreatMissingData": "notBreaching",
        },
        result_path=None,
        timeout_seconds=60,
        retry=any_failure_retries(),
    )


def _endpoint_metric(identity: str, name: str, stat: str, settings: AlarmSettings) -> dict[str, Any]:
    dimensions = [
        {"Name": "EndpointName", "Value": "${EndpointName}"},
        {"Name": "VariantName", "Value": VARIANT_NAME},
        {"Name": "EndpointConfigName", "Value": "$.endpoint_config.name"},
    ]
    return _metric(identity, "AWS/SageMaker", name, dimensions, stat, settings)


def _confidence(identity: str, stat: str, settings: AlarmSettings) -> dict[str, Any]:
    dimensions = [{"Name": CONFIDENCE_DIMENSION, "Value": "$.model_version"}]
    return _metric(identity, CONFIDENCE_NAMESPACE, CONFIDENCE_METRIC, dimensions, stat, settings)


def _wrong_answers(settings: AlarmSettings) -> dict[str, Any]:
    dimensions = [{"Name": "EndpointConfigName", "Value": "$.endpoint_config.name"}]
    return _metric("wrong", CONFIDENCE_NAMESPACE, ANSWERS_METRIC, dimensions, "Sum", settings)


def _metric(
    identity: str, namespace: str, name: str, dimensions: list[dict[str, str]], stat: str, settings: AlarmSettings
) -> dict[str, Any]:
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}
    return {
        "Id": identity,
        "MetricStat": {"Metric": metric, "Period": settings.period_seconds, "Stat": stat},
        "ReturnData": False,
    }
