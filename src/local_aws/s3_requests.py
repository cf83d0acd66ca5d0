"""S3's requests around moto's handler: reads served from disk, writes committed before the client hears of them.

moto answers every ranged GET by reading the whole object, so boto3's default download of a large object (one GET a
8 MiB) takes time that grows with the square of its size. Plain and ranged GETs are answered here, from disk to socket.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from local_aws import s3_store
from local_aws.http_server import Environ, FileBody, Headers, WsgiApp
from local_aws.request_names import service_of
from local_aws.s3_store import FileKey, StorageFullError

_OBJECT_PATH = re.compile(r"/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.DOTALL)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_WRITES = frozenset({"PUT", "POST", "DELETE"})
_ATTEMPTS = 5
_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})


def wrap(app: WsgiApp) -> WsgiApp:
    """``app`` with S3's object requests served from, and committed to, the store."""

    def wsgi(environ: Environ, start_response: Any) -> Any:
        if service_of(environ) != "s3":
            return app(environ, start_response)
        target = object_target(environ)
        method = environ["REQUEST_METHOD"]
        if method == "GET" and target is not None and _is_plain(environ):
            for _ in range(_ATTEMPTS):
                key = s3_store.find(*target)
                if not isinstance(key, FileKey) or key.storage_class in _ARCHIVED or not _matches(key, environ):
                    break
                # Another request may replace the object, and delete its file, between the two lines.
                with contextlib.suppress(FileNotFoundError):
                    return _get(key, environ, start_response)
        if method not in _WRITES:
            return app(environ, start_response)
        return _write(app, environ, start_response, target)

    return wsgi


def object_target(environ: Environ) -> tuple[str, str] | None:
    """Bucket and key that a path-style request names, or None for a bucket's or the service's request."""
    path = str(environ.get("RAW_URI") or environ["PATH_INFO"]).split("?", 1)[0]
    match = _OBJECT_PATH.fullmatch(unquote(path))
    return (match[1], match[2]) if match else None


def _is_plain(environ: Environ) -> bool:
    # Presigned parameters, ?versionId, ?tagging … and other conditions keep moto's own handling.
    query = environ.get("QUERY_STRING", "")
    conditions = {name for name in environ if name.startswith("HTTP_IF_")}
    return query in ("", "x-id=GetObject") and conditions <= {"HTTP_IF_MATCH"}


def _matches(key: FileKey, environ: Environ) -> bool:
    """Whether If-Match holds: boto3's downloads send it with every range."""
    wanted = environ.get("HTTP_IF_MATCH")
    return wanted is None or wanted.strip('"') == key.etag.strip('"')


def _get(key: FileKey, environ: Environ, start_response: Any) -> Any:
    size = key.size
    wanted = environ.get("HTTP_RANGE")
    span = _span(wanted, size) if wanted else (0, size)
    if span is None:
        start_response("416 Range Not Satisfiable", [("Content-Type", "application/xml")])
        return [_error("InvalidRange", "The requested range is not satisfiable")]
    body = FileBody(key.open(), span[0], span[1] - span[0])
    headers = _object_headers(key)
    first, end = span
    if wanted:
        headers.append(("Content-Range", f"bytes {first}-{end - 1}/{size}"))
    elif environ.get("HTTP_X_AMZ_CHECKSUM_MODE", "").upper() == "ENABLED":
        headers += _checksum_headers(key)  # of the whole object, so never with a range
    headers.append(("Content-Length", str(end - first)))
    start_response("206 Partial Content" if wanted else "200 OK", headers)
    return body


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """First byte and the byte after the last of a Range header; None if nothing of it is in the object.

    Like S3, a header that is no single range of bytes means the whole object.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if not match or not (match[1] or match[2]):
        return (0, size)
    if not match[1]:
        first, end = max(0, size - int(match[2])), size
    else:
        first = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
    return (first, end) if first < end else None


def _object_headers(key: FileKey) -> Headers:
    fields = {
        name: str(value)
        for name, value in {**key.response_dict, **key.metadata, "Accept-Ranges": "bytes"}.items()
        if name.lower() != "content-length"
    }
    if key.version_id != "null":
        fields["x-amz-version-id"] = key.version_id
    return list(fields.items())


def _checksum_headers(key: FileKey) -> Headers:
    if not key.checksum_algorithm or not key.checksum_value:
        return []
    composite = getattr(key, "checksum_type", None) == "COMPOSITE"
    value = f"{key.checksum_value}-{key.checksum_parts}" if composite else key.checksum_value
    headers = [(f"x-amz-checksum-{key.checksum_algorithm.lower()}", value)]
    if kind := getattr(key, "checksum_type", None):
        headers.append(("x-amz-checksum-type", kind))
    return headers


def _write(app: WsgiApp, environ: Environ, start_response: Any, target: tuple[str, str] | None) -> Any:
    answer: list[Any] = []  # status and headers

    def hold(status: str, headers: Headers, exc_info: Any = None) -> Any:
        answer[:] = [status, headers, exc_info]
        return None

    store = s3_store.store()
    with store.request() as changes:
        try:
            chunks = app(environ, hold)
            if changes.failure is not None:  # moto answered it with an error of its own
                raise changes.failure
            if answer[0].startswith("2") or changes.before:
                store.commit(changes, also=target)
        except StorageFullError as error:
            store.undo(changes)
            # 507 and not 500: botocore would try a 500 again.
            message = (
                f"{error}. What was there before is unchanged. Free some disk space, or 'topic-model local reset'."
            )
            start_response("507 Insufficient Storage", [("Content-Type", "application/xml")])
            return [_error("InsufficientStorage", message)]
    start_response(*answer[:2])
    return chunks


def _error(code: str, message: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    ).encode()
