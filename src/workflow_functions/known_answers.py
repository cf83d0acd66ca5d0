"""Known campaigns to ask an endpoint about, each with the lookup row that its answer is held against."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from botocore.exceptions import BotoCoreError, ClientError

from workflow_functions import aws
from workflow_functions.errors import SmokeTestError
from workflow_functions.lookup_rows import read_manifest, read_rows

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

HEAD_BYTES = 512 * 1024
MAX_FILES = 40
MAX_ROWS_BYTES = 256 << 20
"""Of lookup rows, read in search of the campaigns that the channels' files begin with: seconds."""
MAX_SHARE_DIFFERENCE = 0.02
"""Of a topic's share; batch transform and endpoint run the same code, and lookups round shares."""
MAX_ROUNDING = 0.001
"""Of the sum of a fingerprint's shares."""

Known = tuple[dict[str, Any], dict[str, Any]]
"""A campaign's record and its row."""


def known_campaigns(lookups: str, scoring: str, version: str, *, at_most: int) -> Iterator[Known]:
    """Some campaigns of each channel of a run, about ``at_most`` in all; fewer where fewer have a row.

    Raises:
        SmokeTestError: the rows are of another model than ``version``.
        LookupRowsError: the rows are not as BuildNeighbours wrote them.
    """
    manifest = read_manifest(lookups)
    if manifest["model_version"] != version:
        raise SmokeTestError(f"{lookups} is of model {manifest['model_version']!r}; {version!r} was deployed")
    return _with_rows(_first_campaigns(scoring), read_rows(lookups, manifest), at_most)


def _first_campaigns(scoring: str) -> list[dict[str, dict[str, Any]]]:
    """Campaign records from the head of each channel's file, by their ids."""
    bucket, prefix = aws.split_uri(scoring)
    channels = []
    for key, _ in aws.list_objects(bucket, f"{prefix}/", at_most=MAX_FILES):
        # The last line may be cut off.
        lines = aws.read_head(bucket, key, HEAD_BYTES).split(b"\n")[:-1]
        records = [json.loads(line) for line in lines if line.strip()]
        channels.append({str(record["campaign_id"]): record for record in records})
    return channels


def _with_rows(
    channels: list[dict[str, dict[str, Any]]], rows: Iterator[dict[str, Any]], at_most: int
) -> Iterator[Known]:
    """Some campaigns of each channel with their rows.

    A campaign without known terms has no row, and rows are in another order than the channels' files: the search ends
    once every channel has its share, or at :data:`MAX_ROWS_BYTES`.
    """
    share = math.ceil(at_most / max(1, len(channels)))
    left = [min(share, len(channel)) for channel in channels]
    size = 0
    for row in rows:
        if not any(left) or size > MAX_ROWS_BYTES:
            return
        size += len(row["document"])
        for position, channel in enumerate(channels):
            if left[position] and (record := channel.get(row["campaign_id"])) is not None:
                left[position] -= 1
                yield record, json.loads(row["document"])
                break


def ask(
    endpoint: str, record: Mapping[str, Any], client: SageMakerRuntimeClient | None = None, **fields: str
) -> dict[str, Any]:
    """The endpoint's answer to a campaign's record; ``fields`` are InvokeEndpoint's.

    Raises:
        SmokeTestError: it refused the campaign, did not answer in time, or not with a JSON object.
    """
    try:
        answer = (client or aws.sagemaker_runtime()).invoke_endpoint(
            EndpointName=endpoint,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(record).encode(),
            **fields,
        )
        document = json.loads(answer["Body"].read())
    except ClientError as error:
        raise SmokeTestError(f"endpoint {endpoint} refused campaign {record['campaign_id']!r}: {error}") from error
    except BotoCoreError as error:
        raise SmokeTestError(
            f"endpoint {endpoint} did not answer campaign {record['campaign_id']!r}: {error}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SmokeTestError(f"endpoint {endpoint} answered campaign {record['campaign_id']!r} with no JSON") from error
    if not isinstance(document, dict):
        raise SmokeTestError(f"endpoint {endpoint} answered campaign {record['campaign_id']!r} with no JSON object")
    return document


def compare(row: Mapping[str, Any], answer: Mapping[str, Any], version: str) -> None:
    """Hold an answer against the campaign's row.

    Raises:
        SmokeTestError: another model answers, or its topics or neighbours are not the row's.
    """
    who = f"campaign {row['campaign_id']!r}"
    if answer.get("model_version") != version:
        raise SmokeTestError(f"{who}: model {answer.get('model_version')!r} answers; {version!r} was deployed")
    fingerprint = answer.get("fingerprint")
    if not _is_fingerprint(fingerprint):
        raise SmokeTestError(f"{who}: the answer has no fingerprint whose shares sum to 1")
    for topic in row["topics"]:
        number, share = int(topic["topic"]), float(topic["share"])
        served = fingerprint[number] if 0 <= number < len(fingerprint) else None
        if served is None or abs(served - share) > MAX_SHARE_DIFFERENCE:
            raise SmokeTestError(
                f"{who}: topic {number} has share {share:.3f} in its row and "
                f"{'none' if served is None else format(served, '.3f')} from the endpoint"
            )
    if row["similar"] and not answer.get("similar"):
        raise SmokeTestError(f"{who}: {len(row['similar'])} similar campaigns in its row, none from the endpoint")


def _is_fingerprint(value: object) -> TypeGuard[list[float]]:
    """Whether it is a list of numbers from 0 to 1 (NaN and true are none) whose sum is 1, but for rounding."""
    return (
        isinstance(value, list)
        and all(type(share) in (int, float) and -MAX_ROUNDING <= share <= 1 + MAX_ROUNDING for share in value)
        and abs(math.fsum(value) - 1) <= MAX_ROUNDING
    )
