"""S3 on disk: object bodies are files, their index is SQLite, and moto keeps the API.

moto holds every object in memory and loses it with the process. Here a body is written once to a file of its own and
never changed, so an overwrite is a new file and the old object stays whole until the index says otherwise; a request's
changes enter the index in one transaction before the client hears of success. What is on disk is then true at any
moment, ``kill -9`` and a full disk included. Started multipart uploads are not kept: their client starts again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any, BinaryIO

from moto.s3 import models
from moto.s3.models import FakeDeleteMarker, FakeKey, FakeMultipart, S3Backend
from moto.s3.utils import _VersionedKeyStore

from local_aws import s3_bucket_policies
from local_aws.config import LocalAwsError, LocalConfig
from local_aws.s3_index import ObjectIndex, ObjectRow

LOG = logging.getLogger(__name__)

_CHUNK = 1 << 20  # bytes


class StorageFullError(Exception):
    """A body or its index entry could not be written; the request is answered with an error and changes nothing."""


@dataclass(frozen=True)
class BodyFile:
    """A written body: an immutable file, its size in bytes and its MD5."""

    path: Path
    size: int
    digest: str


@dataclass
class Changes:
    """What one request changed: the versions each key had before, and the files that nothing refers to any more.

    ``failure`` says that a body could not be written; moto's own handler would hide it behind a plain error 500.
    """

    before: dict[tuple[int, str], tuple[KeyStore, list[Any]]] = field(default_factory=dict)
    released: list[Path] = field(default_factory=list)
    failure: StorageFullError | None = None


class Store:
    """The folder ``s3`` of a local AWS."""

    def __init__(self, config: LocalConfig) -> None:
        self.config = config
        self.folder = config.root / "s3"
        self.bodies = self.folder / "objects"
        self.parts = self.folder / "parts"
        try:
            shutil.rmtree(self.parts, ignore_errors=True)  # of uploads that a former server did not finish
            for folder in (self.bodies, self.parts):
                folder.mkdir(parents=True, exist_ok=True)
            self.index = ObjectIndex(self.folder / "index.sqlite")
        except OSError as error:
            raise LocalAwsError(f"{self.folder} cannot be used: {error}") from error
        self._local = threading.local()

    @property
    def changes(self) -> Changes | None:
        """The changes of the request that this thread answers."""
        return getattr(self._local, "changes", None)

    @contextlib.contextmanager
    def request(self) -> Iterator[Changes]:
        """Collect the changes of a request; the caller commits or rolls back."""
        self._local.changes = Changes()
        try:
            yield self._local.changes
        finally:
            self._local.changes = None

    def new_path(self, *, part: bool) -> Path:
        """A path for a new body; parts of uploads stand apart, since they end with the server."""
        name = uuid.uuid4().hex
        folder = self.parts if part else self.bodies / name[:2]
        folder.mkdir(exist_ok=True)
        return folder / name

    def write(self, content: bytes, *, part: bool) -> BodyFile:
        """Write a body to a new file.

        Raises:
            StorageFullError: the disk is full or the file cannot be written; no part of it stays.
        """
        path = self.new_path(part=part)
        with _removed_on_failure(path), path.open("xb") as file:
            file.write(content)
        return BodyFile(path, len(content), md5(content, usedforsecurity=False).hexdigest())

    def link(self, body: BodyFile) -> BodyFile:
        """The same immutable body under a second name: a copy that costs no bytes."""
        path = self.new_path(part=False)
        with _removed_on_failure(path):
            os.link(body.path, path)
        return BodyFile(path, body.size, body.digest)

    def release(self, path: Path) -> None:
        """Delete a body's file, after the index has forgotten it where a request is being answered."""
        if self.changes is not None:
            self.changes.released.append(path)
        else:
            path.unlink(missing_ok=True)

    def commit(self, changes: Changes, also: tuple[str, str] | None) -> None:
        """Make a request's changes, and the present state of key ``also`` (bucket, key), durable.

        Raises:
            StorageFullError: the index cannot be written; the caller undoes the changes in memory.
        """
        touched = {(_bucket_of(store), key) for store, key in self._touched(changes)}
        if also is not None:
            touched.add(also)
        rows = {
            (bucket, key): [_row(bucket, version) for version in _versions(bucket, key)]
            for bucket, key in touched
            if bucket is not None
        }
        try:
            self.index.replace(rows)
        except OSError as error:
            raise StorageFullError(f"the index of {self.folder} cannot be written: {error}") from error
        for path in changes.released:
            path.unlink(missing_ok=True)

    def undo(self, changes: Changes) -> None:
        """Put back the versions that keys had before the request."""
        changes.released.clear()
        for (_, key), (store, versions) in changes.before.items():
            current: list[Any] = dict.get(store, key) or []
            for version in current:
                if version not in versions and isinstance(version, FileKey):
                    version.body.path.unlink(missing_ok=True)
            for version in versions:
                version.disposed = False
            if versions:
                dict.__setitem__(store, key, versions)
            else:
                dict.pop(store, key, None)

    @staticmethod
    def _touched(changes: Changes) -> Iterator[tuple[KeyStore, str]]:
        for (_, key), (store, _versions) in changes.before.items():
            yield store, key


_store: Store


def store() -> Store:
    """The store of this process; :func:`install` makes it."""
    return _store


class FileKey(FakeKey):  # type: ignore[misc]
    """moto's object with its body in a file."""

    body: BodyFile
    disposed: bool

    def __init__(self, name: Any, value: bytes | BodyFile, **fields: Any) -> None:
        self._part = fields.get("bucket_name") is None
        super().__init__(name, value, **fields)
        self._value_buffer = None

    @property
    def value(self) -> bytes:
        """The whole body; ranged reads use :meth:`open`."""
        return self.body.path.read_bytes()

    @value.setter
    def value(self, content: bytes | BodyFile | str) -> None:
        if isinstance(content, BodyFile):
            self.body = content
        else:
            raw = content.encode() if isinstance(content, str) else content
            self.body = _store.write(raw, part=self._part)
        self.contentsize = self.body.size

    @property
    def etag(self) -> str:
        """The quoted entity tag: the MD5, or what a multipart upload computed."""
        return f'"{self._etag or self.body.digest}"'

    def open(self) -> BinaryIO:
        """The body's file; it stays readable to its reader when the object is replaced."""
        return self.body.path.open("rb")

    def dispose(self, garbage: bool = False) -> None:
        """Give up the body; moto calls it when the object is replaced or deleted."""
        if garbage or self.disposed:
            return
        self.disposed = True
        _store.release(self.body.path)
        if self.multipart:
            self.multipart.dispose()

    def __del__(self) -> None:
        """Nothing: moto would delete the body of an object that is merely no longer referred to."""


class KeyStore(_VersionedKeyStore):  # type: ignore[misc]
    """A bucket's keys, which notes what a request changes."""

    def __setitem__(self, key: str, value: Any) -> None:
        self._note(key)
        super().__setitem__(key, value)

    def setlist(self, key: str, list_: Any) -> None:
        """Set all versions of a key."""
        self._note(key)
        super().setlist(key, list_)

    def pop(self, key: str) -> None:
        """Remove a key with all its versions."""
        self._note(key)
        super().pop(key)

    def _note(self, key: str) -> None:
        changes = _store.changes
        if changes is not None:
            changes.before.setdefault((id(self), key), (self, list(self.getlist(key) or [])))


class FileMultipart(FakeMultipart):  # type: ignore[misc]
    """A multipart upload whose parts are files; completing it joins them without holding the object in memory."""

    def complete(self, body: Iterator[tuple[int, str]]) -> tuple[BodyFile, str, tuple[str, str, int] | None]:
        """The joined body, its entity tag, and its checksum's type, value and number of parts."""
        parts = self._checked_parts(body)
        algorithm = self.metadata.get("x-amz-checksum-algorithm")
        composite = self.metadata.get("x-amz-checksum-type") != "FULL_OBJECT" and algorithm not in (None, "CRC64NVME")
        path = _store.new_path(part=False)
        with _removed_on_failure(path), path.open("xb") as target:
            for part in parts:
                with part.open() as source:
                    shutil.copyfileobj(source, target, _CHUNK)
        digests = b"".join(bytes.fromhex(part.body.digest) for part in parts)
        etag = f"{md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
        checksum = None
        if composite:
            each = b"".join(models.compute_checksum(part.value, algorithm, encode_base64=False) for part in parts)
            checksum = ("COMPOSITE", models.compute_checksum(each, algorithm).decode(), len(parts))
        return BodyFile(path, sum(part.body.size for part in parts), etag), etag, checksum

    def _checked_parts(self, body: Iterator[tuple[int, str]]) -> list[FileKey]:
        parts: list[FileKey] = []
        for number, etag in body:
            part = self.parts.get(number)
            if part is None or part.etag.strip('"') != etag.strip('"'):
                raise models.InvalidPart()
            if parts and parts[-1].contentsize < models.S3_UPLOAD_PART_MIN_SIZE:
                raise models.EntityTooSmall()
            parts.append(part)
        if not parts:
            raise models.MalformedXML
        return parts


def install(config: LocalConfig) -> None:
    """Keep moto's objects under ``config.root/s3``."""
    global _store  # noqa: PLW0603 - moto's classes have no other way to reach the store
    _store = Store(config)
    models.FakeKey = FileKey
    models.FakeMultipart = FileMultipart
    models._VersionedKeyStore = KeyStore
    S3Backend.copy_object = _copy_object
    S3Backend.upload_part_copy = _upload_part_copy
    s3_bucket_policies.install()


def load() -> None:
    """Bring back the objects of the index, without reading their bodies; buckets must be there already."""
    kept = set()
    for row in _store.index.rows():
        try:
            keys = _backend().get_bucket(row.bucket).keys
        except models.MissingBucket:
            LOG.warning("the index has objects of bucket %r, which is not there", row.bucket)
            continue
        version = _version_from(row)
        if isinstance(version, FileKey):
            kept.add(version.body.path)
        dict.setdefault(keys, row.key, []).append(version)
    for path in _store.bodies.glob("*/*"):
        if path not in kept:
            path.unlink()  # written by a request that the index never heard of


def shutdown() -> None:
    """Close the index."""
    _store.index.close()


_stock_copy_object = S3Backend.copy_object


def _copy_object(self: S3Backend, src_key: FileKey, *args: Any, **fields: Any) -> None:
    _stock_copy_object(self, _LinkedSource(src_key), *args, **fields)


class _LinkedSource:
    """An object to be copied: its value is a second link to its body."""

    def __init__(self, key: FileKey) -> None:
        self._key = key

    @property
    def value(self) -> BodyFile:
        return _store.link(self._key.body)

    @property
    def multipart(self) -> None:
        """None: a copy is one object, and must not dispose of its source's parts."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._key, name)


def _upload_part_copy(
    self: S3Backend,
    dest_bucket_name: str,
    multipart_id: str,
    part_id: int,
    src_bucket_name: str,
    src_key_name: str,
    src_version_id: str | None,
    start_byte: int | None,
    end_byte: int | None,
) -> FakeKey:
    """moto's, but it reads the range and not the whole source for every part."""
    upload = self.get_bucket(dest_bucket_name).multiparts[multipart_id]
    source = self.get_object(src_bucket_name, src_key_name, version_id=src_version_id)
    start = start_byte or 0
    with source.open() as file:
        file.seek(start)
        content = file.read() if end_byte is None else file.read(end_byte + 1 - start)
    return upload.set_part(part_id, content)


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path.unlink(missing_ok=True)
        failure = StorageFullError(f"{path.parent} cannot be written: {error.strerror or error}")
        if _store.changes is not None:
            _store.changes.failure = failure
        raise failure from error


def _backend() -> S3Backend:
    return models.s3_backends[_store.config.account]["aws"]


def find(bucket: str, key: str) -> FakeKey | None:
    """The newest version of an object, or None."""
    found = _backend().buckets.get(bucket)
    version = found.keys.get(key) if found is not None else None
    return version if isinstance(version, FakeKey) else None


def _bucket_of(keys: KeyStore) -> str | None:
    return next((name for name, bucket in _backend().buckets.items() if bucket.keys is keys), None)


def _versions(bucket: str, key: str) -> list[Any]:
    found = _backend().buckets.get(bucket)
    return list(found.keys.getlist(key) or []) if found is not None else []


_PLAIN_FIELDS = (
    "_storage_class",
    "_etag",
    "_version_id",
    "_is_versioned",
    "website_redirect_location",
    "checksum_algorithm",
    "checksum_value",
    "checksum_type",
    "checksum_parts",
    "encryption",
    "kms_key_id",
    "bucket_key_enabled",
)


def _row(bucket: str, version: Any) -> ObjectRow:
    modified = version.last_modified.isoformat()
    if isinstance(version, FakeDeleteMarker):
        return ObjectRow(bucket, version.name, "", 0, "", modified, {"delete_marker": version.version_id})
    fields = {name: value for name in _PLAIN_FIELDS if (value := getattr(version, name, None)) is not None}
    tags = _backend().tagger.get_tag_dict_for_resource(version.arn)
    return ObjectRow(
        bucket=bucket,
        key=version.name,
        body=version.body.path.name,
        size=version.body.size,
        digest=version.body.digest,
        modified=modified,
        fields={"fields": fields, "metadata": dict(version.metadata), "tags": tags},
    )


def _version_from(row: ObjectRow) -> Any:
    modified = dt.datetime.fromisoformat(row.modified)
    if marker := row.fields.get("delete_marker"):
        version = FakeDeleteMarker.__new__(FakeDeleteMarker)
        version.key = version  # moto follows it only to ask whether it is a marker
        version.name, version.last_modified, version._version_id = row.key, modified, marker
        return version
    body = BodyFile(_store.bodies / row.body[:2] / row.body, row.size, row.digest)
    key = FileKey(row.key, body, account_id=_store.config.account, region_name="us-east-1", bucket_name=row.bucket)
    key.last_modified = modified
    for name, value in row.fields["fields"].items():
        setattr(key, name, value)
    key.set_metadata(dict(row.fields["metadata"]))
    if row.fields["tags"]:
        backend = _backend()
        backend.tagger.tag_resource(key.arn, backend.tagger.convert_dict_to_tags_input(row.fields["tags"]))
    return key
