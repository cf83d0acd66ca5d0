"""RetireModels: deletes what an endpoint served before the last few deployments, and what was never let serve.

It knows an endpoint's configurations by a tag, and marks with another the one that serves now. Configurations of a
deployment that was rolled back have no such mark; they stay for a look until the next good deployment, and go then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from workflow_functions import aws
from workflow_functions.errors import RetirementError
from workflow_functions.explain_deployment import alarm_names

ENDPOINT_TAG = "topic-model:endpoint"
SERVED_TAG = "topic-model:served"
MAX_CONFIGS = 1_000


@dataclass(frozen=True)
class _Config:
    name: str
    arn: str
    created: dt.datetime
    served: bool


def handler(event: Mapping[str, Any], context: object) -> dict[str, list[str]]:
    """Answers ``{"retired": [configurations], "kept": [configurations]}``.

    The event is ``{"endpoint", "config", "before", "retained"}``: ``config`` must serve and is one of the ``retained``
    that are kept; ``before`` is what served before it, whoever deployed that. Deleting twice is no error, so a retry
    is safe.

    Raises:
        RetirementError: another configuration serves by now; nothing is deleted.
    """
    del context
    endpoint, config, retained = str(event["endpoint"]), str(event["config"]), int(event["retained"])
    serving = aws.sagemaker().describe_endpoint(EndpointName=endpoint).get("EndpointConfigName")
    if serving != config:
        raise RetirementError(f"endpoint {endpoint} serves {serving} and not {config}; nothing was removed")
    present = aws.sagemaker().describe_endpoint_config(EndpointConfigName=config)
    aws.sagemaker().add_tags(
        ResourceArn=present["EndpointConfigArn"],
        Tags=[{"Key": SERVED_TAG, "Value": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"}],
    )
    # What was made later belongs to a deployment that may be under way.
    mine = [found for found in _configs(endpoint) if found.created <= present["CreationTime"]]
    others = [found for found in mine if found.name != config and (found.served or found.name == event["before"])]
    kept = {config, *(found.name for found in others[: max(0, retained - 1)])}
    models = {name for config_name in kept for name in _models(config_name)}
    retired = [found.name for found in mine if found.name not in kept]
    for name in retired:
        _delete(name, keeping=models)
    return {"retired": retired, "kept": sorted(kept)}


def _configs(endpoint: str) -> Iterator[_Config]:
    """The configurations that were made for an endpoint, the newest first."""
    pages = (
        aws.sagemaker()
        .get_paginator("list_endpoint_configs")
        .paginate(
            NameContains="-config-",
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"MaxItems": MAX_CONFIGS},
        )
    )
    for page in pages:
        for entry in page["EndpointConfigs"]:
            tags = aws.sagemaker().list_tags(ResourceArn=entry["EndpointConfigArn"])["Tags"]
            values = {tag["Key"]: tag["Value"] for tag in tags}
            if values.get(ENDPOINT_TAG) == endpoint:
                yield _Config(
                    entry["EndpointConfigName"], entry["EndpointConfigArn"], entry["CreationTime"], SERVED_TAG in values
                )


def _models(config: str) -> list[str]:
    shown = aws.sagemaker().describe_endpoint_config(EndpointConfigName=config)
    return [str(variant.get("ModelName")) for variant in shown["ProductionVariants"]]


def _delete(config: str, *, keeping: set[str]) -> None:
    """The configuration last: as long as it is there, a retry finds its models and alarms."""
    models = [model for model in _models(config) if model not in keeping]
    # Only those that are there: DeleteAlarms deletes none if one is not, and an endpoint's first model has none.
    there = aws.cloudwatch().describe_alarms(AlarmNames=alarm_names(config))["MetricAlarms"]
    if there:
        aws.cloudwatch().delete_alarms(AlarmNames=[alarm["AlarmName"] for alarm in there])
    for model in models:
        try:
            aws.sagemaker().delete_model(ModelName=model)
        except ClientError as error:
            if "ould not find model" not in str(error):
                raise
    aws.sagemaker().delete_endpoint_config(EndpointConfigName=config)
