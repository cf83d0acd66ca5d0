"""The documents of a version of the lookups (topics, clusters, search, maps) as items of the table.

An item is ``campaign_id`` (the document's key, which no campaign has), ``model_version`` and ``packed``: the JSON as
BuildNeighbours wrote it, compressed. Documents of a version come and go with its rows.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model.published import document_key, is_document_name
from workflow_functions import aws
from workflow_functions.errors import LookupRowsError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, WriteRequestTypeDef

MAX_DOCUMENT_BYTES = 8 << 20
MAX_PACKED_BYTES = 400_000
MAX_DOCUMENTS = 100_000
_FILE = re.compile(r"(topics|clusters|(search|map)-\d{1,9})\.json")


def documents_of(manifest: Mapping[str, Any], uri: str) -> list[tuple[str, str, str]]:
    """Name, file and sha256 of every document that a manifest names.

    Raises:
        LookupRowsError: the list is malformed, too long, or names what is no document.
    """
    try:
        named = [(str(one["name"]), str(one["file"]), str(one["sha256"])) for one in manifest["documents"]]
    except (KeyError, TypeError) as error:
        raise LookupRowsError(f"{uri} lacks or misstates its documents ({error}); run BuildNeighbours again") from error
    if len(named) > MAX_DOCUMENTS:
        raise LookupRowsError(f"{uri} names {len(named):,} documents; at most {MAX_DOCUMENTS:,}")
    if bad := [name for name, file, _ in named if not (is_document_name(name) and _FILE.fullmatch(file))]:
        raise LookupRowsError(f"{uri} names a document {bad[0]!r}; expected topics, clusters, search or map")
    if len({name for name, _, _ in named}) < len(named):
        raise LookupRowsError(f"{uri} names a document twice; run BuildNeighbours again")
    return named


def put_documents(
    lookups: str, documents: Iterable[tuple[str, str, str]], version: str
) -> Iterator[WriteRequestTypeDef]:
    """The requests that write a version's documents.

    Raises:
        LookupRowsError: a document is missing, is not what the manifest says, or does not fit an item.
    """
    for name, file, sha256 in documents:
        content = _content(f"{lookups}/{file}")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise LookupRowsError(f"{lookups}/{file} is not what BuildNeighbours wrote; run BuildNeighbours again")
        packed = gzip.compress(content, compresslevel=6, mtime=0)
        if len(packed) > MAX_PACKED_BYTES:
            raise LookupRowsError(
                f"{lookups}/{file} has {len(packed):,} bytes compressed, over the table's {MAX_PACKED_BYTES:,}; "
                "lower num_topics or num_clusters"
            )
        item: dict[str, AttributeValueTypeDef] = {
            "campaign_id": {"S": document_key(name)},
            "model_version": {"S": version},
            "packed": {"B": packed},
        }
        yield {"PutRequest": {"Item": item}}


def _content(uri: str) -> bytes:
    bucket, key = aws.split_uri(uri)
    try:
        content = aws.read_head(bucket, key, MAX_DOCUMENT_BYTES + 1)
    except ClientError as error:
        raise LookupRowsError(f"{uri} cannot be read: {aws.error_code(error)}") from error
    if len(content) > MAX_DOCUMENT_BYTES:
        raise LookupRowsError(f"{uri} is longer than {MAX_DOCUMENT_BYTES:,} bytes; it is no document of lookups")
    return content
