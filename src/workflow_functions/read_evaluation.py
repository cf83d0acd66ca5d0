"""ReadEvaluation: the verdict of the Evaluate job, which can only write it to a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from workflow_functions import aws
from workflow_functions.errors import EvaluationError

MAX_BYTES = 1 << 20


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """``{"accepted", "summary", "model_version", "failed_gates"}`` of the report at ``{"evaluation": <URI>}``.

    Raises:
        EvaluationError: there is no report, or it does not say whether the model is accepted.
    """
    del context
    uri = str(event["evaluation"])
    try:
        report = aws.read_json(uri, max_bytes=MAX_BYTES)
    except ClientError as error:
        if aws.error_code(error) in ("NoSuchKey", "404", "AccessDenied"):
            raise EvaluationError(f"no evaluation report at {uri} ({aws.error_code(error)})") from error
        raise
    except ValueError as error:
        raise EvaluationError(f"the evaluation report {uri} cannot be read: {error}") from error
    report = report if isinstance(report, dict) else {}
    accepted, failed, version = (report.get(key) for key in ("accepted", "failed_gates", "model_version"))
    if not isinstance(accepted, bool) or not isinstance(failed, list) or not isinstance(version, str):
        raise EvaluationError(
            f"the evaluation report {uri} lacks 'accepted' (true or false), 'failed_gates' or 'model_version'"
        )
    if accepted and failed:
        raise EvaluationError(f"the evaluation report {uri} accepts the model and lists failed gates {failed}")
    return {
        "accepted": accepted,
        "failed_gates": [str(gate) for gate in failed],
        "summary": _summary(report, failed),
        "model_version": version,
    }


def _summary(report: Mapping[str, Any], failed: list[Any]) -> str:
    if not failed:
        return "every gate passed"
    metrics, gates = report.get("metrics") or {}, report.get("gates") or {}
    told = []
    for gate in map(str, failed):
        metric = gate.removeprefix("min_").removeprefix("max_")
        bound = "at least" if gate.startswith("min_") else "at most"
        told.append(f"{metric} is {metrics.get(metric)}, {bound} {gates.get(gate)} is asked for")
    return "; ".join(told)
