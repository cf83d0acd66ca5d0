"""SmokeTest: some known campaigns through the endpoint just deployed, held against what the lookup table says of them.

It finds an endpoint that serves another model, a container that reads text differently from the one that trained, and
a model that was deployed without its neighbours: what a health check does not see.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from workflow_functions import aws
from workflow_functions.errors import SmokeTestError

MAX_CAMPAIGNS = 8
HEAD_BYTES = 512 * 1024
MAX_FILES = 40
MAX_SHARE_DIFFERENCE = 0.02
"""Of a topic's share; batch transform and endpoint run the same code, and lookups round shares."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Check ``{"endpoint", "table", "model_version", "scoring": <URI>}``; the answer is ``{"checked": <campaigns>}``.

    Raises:
        SmokeTestError: an answer differs from what was published, or there is nothing to check with.
    """
    del context
    endpoint, version = str(event["endpoint"]), str(event["model_version"])
    checked = 0
    for record in _known_campaigns(str(event["scoring"])):
        row = _published(str(event["table"]), str(record["campaign_id"]), version)
        if row is None:  # a campaign without known terms is scored by nobody
            continue
        _compare(row, _invoke(endpoint, record), version)
        checked += 1
        if checked == MAX_CAMPAIGNS:
            break
    if not checked:
        raise SmokeTestError(
            f"none of the first campaigns under {event['scoring']} is in the lookup table as of model {version}; "
            "the endpoint could not be checked"
        )
    return {"checked": checked, "model_version": version}


def _known_campaigns(scoring: str) -> list[dict[str, Any]]:
    """Campaign records from the head of each channel's file, a channel after the other in turn."""
    bucket, prefix = aws.split_uri(scoring)
    heads = []
    for key, _ in aws.list_objects(bucket, f"{prefix}/", at_most=MAX_FILES):
        head = aws.read_head(bucket, key, HEAD_BYTES)
        # The last line may be cut off.
        lines = head.split(b"\n")[:-1][: 4 * MAX_CAMPAIGNS]
        heads.append([json.loads(line) for line in lines if line.strip()])
    longest = max(map(len, heads), default=0)
    return [head[position] for position in range(longest) for head in heads if position < len(head)]


def _published(table: str, campaign_id: str, version: str) -> dict[str, Any] | None:
    answer = aws.dynamodb().get_item(
        TableName=table,
        Key={"campaign_id": {"S": campaign_id}, "model_version": {"S": version}},
        ConsistentRead=True,
    )
    document = answer.get("Item", {}).get("document", {}).get("S")
    row: dict[str, Any] | None = json.loads(document) if document else None
    return row


def _invoke(endpoint: str, record: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = aws.sagemaker_runtime().invoke_endpoint(
            EndpointName=endpoint,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(record).encode(),
        )
        document = json.loads(answer["Body"].read())
    except ClientError as error:
        raise SmokeTestError(f"endpoint {endpoint} refused campaign {record['campaign_id']!r}: {error}") from error
    except ValueError as error:
        raise SmokeTestError(f"endpoint {endpoint} answered campaign {record['campaign_id']!r} with no JSON") from error
    if not isinstance(document, dict):
        raise SmokeTestError(f"endpoint {endpoint} answered campaign {record['campaign_id']!r} with no JSON object")
    return document


def _compare(row: Mapping[str, Any], answer: Mapping[str, Any], version: str) -> None:
    who = f"campaign {row['campaign_id']!r}"
    if answer.get("model_version") != version:
        raise SmokeTestError(f"{who}: model {answer.get('model_version')!r} answers; {version!r} was deployed")
    fingerprint = answer.get("fingerprint")
    if not isinstance(fingerprint, list) or abs(sum(fingerprint) - 1) > 0.001:
        raise SmokeTestError(f"{who}: the answer has no fingerprint whose shares sum to 1")
    for topic in row["topics"]:
        number, share = int(topic["topic"]), float(topic["share"])
        served = fingerprint[number] if 0 <= number < len(fingerprint) else None
        if served is None or abs(served - share) > MAX_SHARE_DIFFERENCE:
            raise SmokeTestError(
                f"{who}: topic {number} has share {share:.3f} in the lookup table and "
                f"{'none' if served is None else format(served, '.3f')} from the endpoint"
            )
    if row["similar"] and not answer.get("similar"):
        raise SmokeTestError(
            f"{who}: {len(row['similar'])} similar campaigns in the lookup table, none from the endpoint"
        )
