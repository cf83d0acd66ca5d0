"""Between S3 and a job's folder: inputs in, outputs, checkpoints and model archives out."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import shutil
import tarfile
import threading
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.job_errors import JobFailedError

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_SINGLE_PUT_BYTES = 1 << 30  # larger files go up in parts
_TRANSFERS = 4
_SYNC_SECONDS = 0.5
_LOOKS_AT_MOST = 3


@dataclass(frozen=True)
class S3Object:
    """An object and the path it gets below the folder that it is copied to."""

    bucket: str
    key: str
    relative: str

    @property
    def uri(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI.

    Raises:
        JobFailedError: it is none.
    """
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc:
        raise JobFailedError(f"ClientError: {uri!r} is no S3 URI; expected s3://bucket/prefix")
    query = f"?{parts.query}" if parts.query else ""
    return parts.netloc, (parts.path + query).removeprefix("/")


def list_objects(s3: Any, uri: str) -> list[S3Object]:
    """The objects whose URI starts with ``uri``, as SageMaker's ``S3Prefix`` means it.

    Raises:
        JobFailedError: there are none, the bucket is not there, or a key leads out of the folder.
    """
    bucket, prefix = split_uri(uri)
    objects = []
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for listed in page.get("Contents", []):
                key = listed["Key"]
                if not key.endswith("/"):  # the console's folder markers
                    objects.append(S3Object(bucket, key, _relative(key, prefix)))
    except (ClientError, BotoCoreError) as error:
        raise JobFailedError(f"ClientError: Data download failed: {uri} cannot be listed: {error}") from error
    if not objects:
        raise JobFailedError(f"ClientError: Data download failed: No S3 objects found under S3 URL {uri!r}")
    return objects


def _relative(key: str, prefix: str) -> str:
    folder = prefix.rstrip("/")
    below = bool(folder) and key.startswith(f"{folder}/")
    # Else the prefix names the object itself, or the start of its name.
    relative = key[len(folder) + 1 :] if below else key[prefix.rfind("/") + 1 :]
    parts = relative.split("/")
    if not relative or ".." in parts or "" in parts or "\0" in relative:
        raise JobFailedError(f"ClientError: the key {key!r} cannot be a file's path; rename the object")
    return relative


def resolve_source(s3: Any, source: Mapping[str, Any]) -> list[S3Object]:
    """The objects of an ``S3DataSource``: a prefix, or a manifest of them.

    Raises:
        JobFailedError: nothing is there, or the manifest is malformed.
    """
    uri = source["S3Uri"]
    if source.get("S3DataType", "S3Prefix") != "ManifestFile":
        return list_objects(s3, uri)
    bucket, key = split_uri(uri)
    try:
        entries = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        prefix_bucket, prefix = split_uri(entries[0]["prefix"])
        names = [str(name) for name in entries[1:]]
    except (ClientError, ValueError, LookupError, TypeError) as error:
        raise JobFailedError(
            f"ClientError: the manifest {uri} cannot be read ({error}); expected "
            '[{"prefix": "s3://…/"}, "relative/key", …]'
        ) from error
    return [S3Object(prefix_bucket, prefix + name, _relative(prefix + name, prefix)) for name in names]


def download(s3: Any, objects: Iterable[S3Object], folder: Path) -> int:
    """Copies objects below a folder; returns the bytes.

    Raises:
        JobFailedError: an object is gone, or two cannot be files of one folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        return sum(pool.map(lambda item: download_object(s3, item, folder / item.relative), objects))


def download_object(s3: Any, item: S3Object, target: Path) -> int:
    """Copies one object to a file; returns its bytes.

    Raises:
        JobFailedError: it is gone or cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # One plain GET: ranged ones, as boto3's transfer manager makes them, gain nothing on loopback.
        with target.open("wb") as file, s3.get_object(Bucket=item.bucket, Key=item.key)["Body"] as body:
            shutil.copyfileobj(body, file, _CHUNK_BYTES)
            return file.tell()
    except ClientError as error:
        raise JobFailedError(f"ClientError: Data download failed: {item.uri}: {error}") from error
    except OSError as error:
        raise JobFailedError(f"ClientError: Data download failed: {item.uri} to {target.name}: {error}") from error


def upload_file(s3: Any, path: Path, bucket: str, key: str) -> None:
    """Copies a file to an object.

    Raises:
        JobFailedError: the bucket is not there or the store is full.
    """
    try:
        if path.stat().st_size <= _SINGLE_PUT_BYTES:
            with path.open("rb") as file:
                s3.put_object(Bucket=bucket, Key=key, Body=file)
        else:
            s3.upload_file(str(path), bucket, key)
    except (ClientError, BotoCoreError) as error:
        raise JobFailedError(f"ClientError: Data upload failed: s3://{bucket}/{key}: {error}") from error
    except Exception as error:  # boto3's transfer errors have no common base with botocore's
        if type(error).__module__.startswith(("boto3", "s3transfer")):
            raise JobFailedError(f"ClientError: Data upload failed: s3://{bucket}/{key}: {error}") from error
        raise


def folder_files(folder: Path) -> Iterator[Path]:
    """The files below a folder, in the order of their names; links out of it are not followed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path


def upload(s3: Any, folder: Path, uri: str) -> None:
    """Copies all files below a folder to objects below a URI.

    Raises:
        JobFailedError: as :func:`upload_file`.
    """
    bucket, prefix = split_uri(uri)
    prefix = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""

    def one(path: Path) -> None:
        upload_file(s3, path, bucket, prefix + path.relative_to(folder).as_posix())

    with ThreadPoolExecutor(_TRANSFERS) as pool:
        list(pool.map(one, folder_files(folder)))


def upload_archive(s3: Any, folder: Path, uri: str) -> None:
    """A folder as a ``.tar.gz`` object; equal folders make equal archives.

    Raises:
        JobFailedError: as :func:`upload_file`.
    """
    archive = folder.parent / f".{folder.name}-{uuid.uuid4().hex}.tar.gz"
    try:
        with (
            archive.open("wb") as raw,
            # Stored, not compressed: a valid .tar.gz that costs no seconds on the way to the same disk.
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=0, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for path in sorted(folder.rglob("*")):
                tar.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False, filter=_anonymous)
        upload_file(s3, archive, *split_uri(uri))
    finally:
        archive.unlink(missing_ok=True)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = 0
    return entry


def extract_archive(archive: Path, folder: Path, *, uri: str) -> None:
    """Unpacks a model archive: its files and folders; links, devices and paths that lead out are refused.

    Raises:
        JobFailedError: it is truncated, no tar.gz, or has an entry that is refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:*") as tar:
            for entry in tar:
                _extract(tar, entry, folder)
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise JobFailedError(
            f"ClientError: Failed to extract model data archive from {uri}: {error}; expected a .tar.gz"
        ) from error


def _extract(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    # By hand, since tarfile's own filters came with Python 3.11.4.
    target = folder / entry.name
    if entry.name.startswith("/") or ".." in Path(entry.name).parts or not (entry.isfile() or entry.isdir()):
        raise ValueError(f"the entry {entry.name!r} is no plain file or folder of the archive")
    if entry.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(entry)
    if content is not None:
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file, _CHUNK_BYTES)


@dataclass
class _Watched:
    """A file as it was last seen: size, times of change of its content and of its name, and looks since it changed."""

    stamp: tuple[int, int, int]
    looks: int = 0


class FolderSync:
    """Copies new and changed files of a folder to S3 while a job runs, so that a killed job can resume.

    A file is taken once it is whole: it was renamed into place after its last write, or is as it was at the last look.
    One that never rests is taken at every third look all the same. The last look, after the job, takes every file.
    """

    def __init__(self, s3: Any, folder: Path, uri: str) -> None:
        self._s3 = s3
        self._folder = folder
        self._bucket, prefix = split_uri(uri)
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        self._uploaded = self._look()  # what came from S3 need not go back
        self._watched: dict[Path, _Watched] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sync-{folder.name}", daemon=True)

    def __enter__(self) -> FolderSync:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for path, stamp in self._look().items():
            self._upload(path, stamp)

    def _run(self) -> None:
        while not self._stop.wait(_SYNC_SECONDS):
            try:
                self._upload_whole(self._look())
            except JobFailedError as error:  # told again, and fatal, at the last look
                logger.warning("%s", error)

    def _look(self) -> dict[Path, tuple[int, int, int]]:
        found = {}
        for path in folder_files(self._folder):
            with contextlib.suppress(FileNotFoundError):  # replaced or deleted meanwhile
                stat = path.stat()
                found[path] = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        return found

    def _upload_whole(self, found: dict[Path, tuple[int, int, int]]) -> None:
        for path, stamp in found.items():
            watched = self._watched.setdefault(path, _Watched(stamp))
            rests = watched.looks > 0 and watched.stamp == stamp
            renamed = stamp[2] > stamp[1]
            watched.stamp, watched.looks = stamp, watched.looks + 1
            if rests or renamed or watched.looks >= _LOOKS_AT_MOST:
                self._upload(path, stamp)
                watched.looks = 0

    def _upload(self, path: Path, stamp: tuple[int, int, int]) -> None:
        if self._uploaded.get(path) != stamp:
            with contextlib.suppress(FileNotFoundError):
                upload_file(self._s3, path, self._bucket, self._prefix + path.relative_to(self._folder).as_posix())
                self._uploaded[path] = stamp


def remove_folder(folder: Path) -> None:
    """Deletes a folder and all below it; what Docker wrote as another user stays, with a note in the log."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        logger.warning("%s could not be deleted", folder)
