"""What a run of the workflow made, in process mode or in SageMaker's local mode, as hashes that can be compared."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

# The places of both modes, below a run's prefix: local mode puts its jobs' names where SageMaker has others or none.
_PARTS = {
    "prepared campaigns": r"(?:prepared|scoring)/(.+\.(?:parquet|jsonl))",
    "corpus": r"corpus/(.+)",
    "model": r"training/[^/]+/output/(model\.tar\.gz)",
    "evaluation": r"evaluation/(.+)",
    "fingerprints": r"fingerprints/([^/]+/)(?:[^/]+/)?([^/]+\.out)",
    "lookups": r"lookups/(.+)",
    "lookup model": r"lookup-model/(model\.tar\.gz)",
}
ANSWER = "answer"
"""The part that is no file: what the endpoint says of a fresh campaign."""


@dataclass(frozen=True)
class Results:
    """SHA-256 of every file by part and name; archives by their files, for the archive itself has times in it."""

    parts: Mapping[str, Mapping[str, str]]
    fingerprints: Mapping[str, list[float]]
    """By campaign id."""


def read_results(config: LocalConfig, bucket: str, prefix: str, answer: bytes) -> Results:
    """The results below a prefix, and the endpoint's answer with them."""
    parts: dict[str, dict[str, str]] = {part: {} for part in _PARTS}
    fingerprints: dict[str, list[float]] = {}
    s3 = config.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for entry in page.get("Contents", []):
            part, name = _place(entry["Key"].removeprefix(f"{prefix}/"))
            if part is None:
                continue
            content = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            parts[part].update(_hashes(name, content))
            if part == "fingerprints":
                fingerprints.update(_fingerprints(content))
    return Results(parts | {ANSWER: dict(_hashes("answer", answer))}, fingerprints)


def differences(one: Results, other: Results) -> dict[str, list[str]]:
    """The names that are not the same bytes in both, by part; only parts that have some."""
    found = {}
    for part in one.parts:
        names = one.parts[part].keys() | other.parts[part].keys()
        if differ := sorted(name for name in names if one.parts[part].get(name) != other.parts[part].get(name)):
            found[part] = differ
    return found


def hash_of_part(results: Results, part: str) -> str:
    """One hash over a part's names and hashes."""
    text = "".join(f"{name}\0{digest}\n" for name, digest in sorted(results.parts[part].items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _place(key: str) -> tuple[str | None, str]:
    """The part that a key belongs to, and its name there, which is the same in both modes."""
    for part, pattern in _PARTS.items():
        if match := re.fullmatch(pattern, key):
            return part, "".join(match.groups())
    return None, key


def _hashes(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    if not name.endswith(".tar.gz"):
        yield name, hashlib.sha256(content).hexdigest()
        return
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                yield member.name.removeprefix("./"), hashlib.sha256(file.read()).hexdigest()


def _fingerprints(content: bytes) -> Iterator[tuple[str, list[float]]]:
    for line in content.splitlines():
        answer = json.loads(line)
        if "fingerprint" in answer:
            yield str(answer["campaign_id"]), answer["fingerprint"]
