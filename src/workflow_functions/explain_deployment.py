"""ExplainDeployment: why an endpoint does not serve what it was asked to, in words for a notification.

SageMaker rolls back silently: the endpoint is in service, on its old configuration, and its FailureReason may be
empty. Which alarm fired is in the alarms' history.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from workflow_functions import aws

ALARM_KINDS = ("errors", "latency", "confidence", "answers")
"""A configuration's alarms are called ``<configuration>-<kind>``."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, str]:
    """``{"cause": <a sentence>}`` for ``{"endpoint", "config"}``: the endpoint and the configuration asked for."""
    del context
    endpoint, config = str(event["endpoint"]), str(event["config"])
    shown = aws.sagemaker().describe_endpoint(EndpointName=endpoint)
    status, serving = shown["EndpointStatus"], shown.get("EndpointConfigName", "none")
    reason = (shown.get("FailureReason") or "").strip()
    if status == "InService":
        told = f"endpoint {endpoint} went back to {serving} and does not serve {config}"
    else:
        told = f"endpoint {endpoint} is {status} and does not serve {config}"
    if fired := list(_fired(config)):
        told += "; " + "; ".join(f"alarm {name} fired: {why}" for name, why in fired)
    elif reason:
        told += f"; SageMaker says: {reason}"
    else:
        told += "; no alarm fired and SageMaker gives no reason: read the log of its containers"
    return {"cause": told}


def alarm_names(config: str) -> list[str]:
    """The names of a configuration's alarms."""
    return [f"{config}-{kind}" for kind in ALARM_KINDS]


def _fired(config: str) -> Iterator[tuple[str, str]]:
    """The alarms that were in ALARM, with why."""
    for name in alarm_names(config):
        history = aws.cloudwatch().describe_alarm_history(
            AlarmName=name, HistoryItemType="StateUpdate", ScanBy="TimestampDescending", MaxRecords=100
        )
        for item in history["AlarmHistoryItems"]:
            state = json.loads(item.get("HistoryData") or "{}").get("newState", {})
            if state.get("stateValue") == "ALARM":
                yield name, str(state.get("stateReason", "no reason given"))
                break
