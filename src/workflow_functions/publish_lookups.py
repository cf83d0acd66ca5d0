"""PublishLookups: a run's lookup rows into the lookup table, all of a version or none.

The table's key is ``campaign_id`` and ``model_version``, so the rows of a new version stand beside those that are
being read, and nobody sees them until one conditional write moves the pointer. The pointer is the item
``("#current", "#current")``:

``version``, ``previous``
    The version to read, and the one before it, which is kept for a way back.
``retired``
    Versions that were current once and whose rows are to be removed.
``loading``
    Versions whose rows are being written, with the time (epoch seconds) at which that began. What a crashed
    execution left is removed once nobody can be writing it any more.

A row is ``campaign_id``, ``model_version`` and ``document``: the row's JSON, as BuildNeighbours wrote it. A version's
documents stand beside its rows (``lookup_documents``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import chain
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model.published import POINTER
from workflow_functions import aws
from workflow_functions.errors import LookupRowsError, PublishConflictError
from workflow_functions.lookup_documents import put_documents
from workflow_functions.lookup_rows import read_manifest, read_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, WriteRequestTypeDef

BATCH = 25
WRITERS = 8
ABANDONED_SECONDS = 3_600
"""Longer than a function can run, so that a version which is still being written is never removed."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Publish ``{"lookups": <URI>, "table"}``; the answer is ``{"model_version", "rows", "outcome"}``.

    Safe to run again: the same rows are written under the same keys and the pointer moves at most once. With
    ``"check_only": true`` everything is read and checked as for publishing, and nothing is written: the endpoint is
    not given a model whose lookups could not be published. With ``"publish": "first"`` they are published unless
    those of another version are; ``outcome`` says in words which it was.

    Raises:
        LookupRowsError: the rows are missing, are not those of the manifest, or are too large; nothing is published.
        PublishConflictError: another execution published in the meantime.
    """
    del context
    table, lookups = str(event["table"]), str(event["lookups"])
    manifest = read_manifest(lookups)
    version, count = manifest["model_version"], manifest["rows"]
    rows = (_put(row, version) for row in read_rows(lookups, manifest))
    requests = chain(rows, put_documents(lookups, manifest["documents"], version))
    if event.get("check_only"):
        deque(requests, maxlen=0)
        return {"model_version": version, "rows": count, "outcome": f"{count:,} campaigns can be published"}
    before = _pointer(table)
    if event.get("publish") == "first" and before["version"] not in (None, version):
        told = f"not published, because those of model {before['version']} are; these are kept in {lookups}"
        return {"model_version": version, "rows": count, "outcome": told}
    _announce(table, version, before)
    _write(table, requests)
    retired = _move_pointer(table, version, before)
    _remove(table, retired)
    return {"model_version": version, "rows": count, "outcome": f"{count:,} campaigns published"}


def _put(row: Mapping[str, str], version: str) -> WriteRequestTypeDef:
    item = {**_key(row["campaign_id"], version), "document": {"S": row["document"]}}
    return {"PutRequest": {"Item": item}}


def _key(campaign_id: str, version: str) -> dict[str, AttributeValueTypeDef]:
    return {"campaign_id": {"S": campaign_id}, "model_version": {"S": version}}


def _write(table: str, requests: Iterable[WriteRequestTypeDef]) -> None:
    """Write in batches, some at a time; the first failure ends it."""
    batch: list[WriteRequestTypeDef] = []
    running: set[Future[None]] = set()
    with ThreadPoolExecutor(WRITERS) as pool:
        for request in requests:
            batch.append(request)
            if len(batch) == BATCH:
                running.add(pool.submit(_write_batch, table, batch))
                batch = []
            # A file is read no faster than the table takes it.
            if len(running) >= 2 * WRITERS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        if batch:
            running.add(pool.submit(_write_batch, table, batch))
        for future in running:
            future.result()


def _write_batch(table: str, batch: list[WriteRequestTypeDef]) -> None:
    left: Any = batch
    for attempt in range(10):
        answer = aws.dynamodb().batch_write_item(RequestItems={table: left})
        left = answer.get("UnprocessedItems", {}).get(table, [])
        if not left:
            return
        time.sleep(min(0.05 * 2**attempt, 5))
    raise LookupRowsError(f"table {table} left {len(left)} items unprocessed ten times; raise its write capacity")


def _pointer(table: str) -> dict[str, Any]:
    """The pointer as ``version``, ``previous``, ``retired`` and ``loading``; empty before the first publishing."""
    answer = aws.dynamodb().get_item(TableName=table, Key=_key(POINTER, POINTER), ConsistentRead=True)
    item = answer.get("Item", {})
    loading = item.get("loading", {}).get("M", {})
    return {
        "version": item.get("version", {}).get("S"),
        "previous": item.get("previous", {}).get("S"),
        "retired": set(item.get("retired", {}).get("SS", [])),
        "loading": {name: int(value.get("N", "0")) for name, value in loading.items()},
    }


def _announce(table: str, version: str, before: dict[str, Any]) -> None:
    """Say in the pointer, and in ``before``, what it was, that a version is being written."""
    if version not in (before["version"], before["previous"]):
        before["loading"] = {**before["loading"], version: int(time.time())}
        _put_pointer(table, before, expected=before["version"])


def _move_pointer(table: str, version: str, before: Mapping[str, Any]) -> set[str]:
    """Make a version the one that is read, if nobody else did so in the meantime; answers what may be removed."""
    now = int(time.time())
    abandoned = {name for name, began in before["loading"].items() if now - began > ABANDONED_SECONDS}
    previous = before["previous"] if version == before["version"] else before["version"]
    retired: set[str] = (before["retired"] | abandoned | {before["previous"]}) - {version, previous, None}
    loading = {name: began for name, began in before["loading"].items() if name not in {version, *abandoned}}
    after = {"version": version, "previous": previous, "retired": retired, "loading": loading}
    _put_pointer(table, after, expected=before["version"])
    return retired


def _put_pointer(table: str, pointer: Mapping[str, Any], *, expected: str | None) -> None:
    item: dict[str, AttributeValueTypeDef] = dict(_key(POINTER, POINTER))
    for name in ("version", "previous"):
        if pointer[name]:
            item[name] = {"S": pointer[name]}
    if pointer["retired"]:
        item["retired"] = {"SS": sorted(pointer["retired"])}
    if pointer["loading"]:
        item["loading"] = {"M": {name: {"N": str(began)} for name, began in pointer["loading"].items()}}
    # Named indirectly, because DynamoDB reserves hundreds of plain words in expressions.
    condition: dict[str, Any] = {"ExpressionAttributeNames": {"#version": "version"}}
    if expected is None:
        condition["ConditionExpression"] = "attribute_not_exists(#version)"
    else:
        condition["ConditionExpression"] = "#version = :expected"
        condition["ExpressionAttributeValues"] = {":expected": {"S": expected}}
    try:
        aws.dynamodb().put_item(TableName=table, Item=item, **condition)
    except ClientError as error:
        if aws.error_code(error) != "ConditionalCheckFailedException":
            raise
        raise PublishConflictError(
            f"table {table} no longer points to version {expected}: another execution published; publish again"
        ) from error


def _remove(table: str, versions: set[str]) -> None:
    """Remove the rows of retired versions, then forget them; a failure leaves them named for the next time."""
    if not versions:
        return
    client = aws.dynamodb()
    values = {f":v{number}": {"S": version} for number, version in enumerate(sorted(versions)[:100])}
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        ProjectionExpression="campaign_id, model_version",
        FilterExpression=f"model_version IN ({', '.join(values)})",
        ExpressionAttributeValues=values,
    )
    keys = (item for page in pages for item in page.get("Items", []))
    _write(table, ({"DeleteRequest": {"Key": key}} for key in keys))
    client.update_item(
        TableName=table,
        Key=_key(POINTER, POINTER),
        UpdateExpression="DELETE retired :removed",
        ExpressionAttributeValues={":removed": {"SS": [value["S"] for value in values.values()]}},
    )
