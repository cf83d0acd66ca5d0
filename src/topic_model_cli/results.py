"""What a run leaves in its folder: its results from the bucket, its history and its definition."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

_KEPT_FOLDERS = ("evaluation/", "lookups/")
_KEPT_OF_PREPARED = ("quality.json", "rejected.jsonl")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; datetimes become ISO 8601."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, ensure_ascii=False, default=_to_json)
            file.write("\n")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def execution_record(described: Mapping[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of ``execution.json``: what DescribeExecution says, and under ``events`` the whole history."""
    kept = {key: value for key, value in described.items() if key != "ResponseMetadata"}
    return {**kept, "events": events}


def download_results(config: LocalConfig, bucket: str, run: str, folder: Path) -> None:
    """Fetch the run's evaluation and lookups, and each channel's quality and rejected lines."""

    def wanted(key: str) -> bool:
        if key.startswith("prepared/"):
            return key.rsplit("/", 1)[-1] in _KEPT_OF_PREPARED
        return key.startswith(_KEPT_FOLDERS)

    _download(config, bucket, run, folder, wanted)


def download_prepared(config: LocalConfig, bucket: str, run: str, folder: Path) -> None:
    """Fetch the prepared campaigns' terms, to measure with."""
    _download(config, bucket, run, folder, lambda key: key.startswith("prepared/") and key.endswith(".parquet"))


def _download(config: LocalConfig, bucket: str, run: str, folder: Path, wanted: Callable[[str], bool]) -> None:
    s3 = config.client("s3")
    prefix = f"runs/{run}/"
    for full_key in _keys(config, bucket, prefix):
        key = full_key.removeprefix(prefix)
        if not wanted(key) or key.endswith("/"):
            continue
        target = (folder / key).resolve()
        if not target.is_relative_to(folder.resolve()):  # a key may hold '..'
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, full_key, str(target))  # into a temporary file beside it, then renamed


def _keys(config: LocalConfig, bucket: str, prefix: str) -> Iterator[str]:
    for page in config.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (item["Key"] for item in page.get("Contents", []))


def _to_json(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
