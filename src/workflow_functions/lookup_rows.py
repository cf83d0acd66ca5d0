"""A run's lookup rows as BuildNeighbours wrote them: ``lookups/manifest.json`` and the files that it names, checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from workflow_functions import aws
from workflow_functions.errors import LookupRowsError
from workflow_functions.lookup_documents import documents_of

FORMAT_VERSION = 2
MAX_MANIFEST_BYTES = 8 << 20
MAX_ITEM_BYTES = 400_000
"""DynamoDB's limit is 409,600 bytes, with the names and values of the item's keys."""

_FILE = re.compile(r"rows-\d{1,9}\.jsonl")
_VERSION = re.compile(r"[0-9a-f]{6,64}")
_CHUNK_BYTES = 1 << 20


def read_manifest(lookups: str) -> dict[str, Any]:
    """``model_version``, ``rows``, ``files`` (name, rows, sha256) and ``documents`` of ``lookups/manifest.json``.

    Raises:
        LookupRowsError: it is missing, malformed, of another format, or contradicts itself.
    """
    uri = f"{lookups}/manifest.json"
    try:
        manifest = aws.read_json(uri, max_bytes=MAX_MANIFEST_BYTES)
    except (ClientError, ValueError) as error:
        raise LookupRowsError(f"the manifest of the lookup rows cannot be read: {uri}: {error}") from error
    try:
        known = manifest["format_version"] == FORMAT_VERSION
        version, files = manifest["model_version"], manifest["files"]
        named = [(str(file["name"]), int(file["rows"]), str(file["sha256"])) for file in files]
        rows = int(manifest["rows"])
    except (KeyError, TypeError, ValueError) as error:
        raise LookupRowsError(f"{uri} lacks or misstates {error}; run BuildNeighbours again") from error
    if not known:
        raise LookupRowsError(f"{uri} is of format {manifest['format_version']!r}; this version reads {FORMAT_VERSION}")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise LookupRowsError(f"{uri}: model_version is {version!r}; expected hexadecimal digits")
    if bad := [name for name, _, _ in named if not _FILE.fullmatch(name)]:
        raise LookupRowsError(f"{uri} names a file {bad[0]!r}; expected rows-NNNNN.jsonl")
    if rows != sum(count for _, count, _ in named):
        raise LookupRowsError(f"{uri} says {rows} rows, but its files add up to {sum(count for _, count, _ in named)}")
    return {"model_version": version, "rows": rows, "files": named, "documents": documents_of(manifest, uri)}


def read_rows(lookups: str, manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of every file as ``campaign_id`` and ``document``, each checked.

    Raises:
        LookupRowsError: a row is malformed or does not fit an item, or at the end of a file its hash or its number of
            rows is not the manifest's.
    """
    seen: set[str] = set()
    for name, count, sha256 in manifest["files"]:
        bucket, key = aws.split_uri(f"{lookups}/{name}")
        digest, found = hashlib.sha256(), 0
        try:
            body = aws.s3().get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            raise LookupRowsError(f"s3://{bucket}/{key} cannot be read: {aws.error_code(error)}") from error
        for line in lines_of(body.iter_chunks(_CHUNK_BYTES), digest.update, f"s3://{bucket}/{key}"):
            found += 1
            yield _row(line, manifest["model_version"], seen, f"s3://{bucket}/{key}, line {found}")
        if digest.hexdigest() != sha256 or found != count:
            raise LookupRowsError(
                f"s3://{bucket}/{key} is not what BuildNeighbours wrote: {found} rows of {count}, sha256 "
                f"{digest.hexdigest()[:12]} for {sha256[:12]}; run BuildNeighbours again"
            )


def lines_of(chunks: Iterable[bytes], update: Callable[[bytes], object], where: str) -> Iterator[bytes]:
    """The lines of a stream that are not empty; ``update`` is told every chunk.

    Raises:
        LookupRowsError: a line is longer than any row can be.
    """
    rest = b""
    for chunk in chunks:
        update(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line)
        if len(rest) > _CHUNK_BYTES:
            raise LookupRowsError(f"{where} has a line over {_CHUNK_BYTES:,} bytes; it is no file of lookup rows")
    if rest:
        yield rest


def _row(line: bytes, version: str, seen: set[str], where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        campaign_id, row_version = record["campaign_id"], record["model_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise LookupRowsError(f"{where} is no lookup row: {error!r}") from error
    if row_version != version:
        raise LookupRowsError(f"{where} is of model {row_version!r}, and the manifest of {version!r}")
    if not isinstance(campaign_id, str) or not campaign_id or campaign_id != campaign_id.strip():
        raise LookupRowsError(f"{where}: campaign_id is {campaign_id!r}; expected an id without space at its ends")
    if campaign_id in seen:
        raise LookupRowsError(f"{where}: campaign_id {campaign_id!r} came before")
    if len(line) + len(campaign_id.encode()) > MAX_ITEM_BYTES:
        raise LookupRowsError(
            f"{where}: the row of campaign {campaign_id!r} has {len(line):,} bytes, over the table's "
            f"{MAX_ITEM_BYTES:,}; lower num_neighbours or num_recommendations"
        )
    seen.add(campaign_id)
    return {"campaign_id": campaign_id, "document": line.decode()}
