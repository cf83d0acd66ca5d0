"""What a template names by local paths, uploaded by the hash of its content: ``aws cloudformation package``, in short.

The same content has the same key, so an unchanged function is no change of a stack, and what is there already is not
uploaded again. A folder goes as a zip whose bytes depend on its files alone.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import ClientError

from topic_model.errors import TopicModelError
from workflow_functions.package import write_zip

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BUCKET = re.compile(r"(?:s3://)?([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*?))?/?")
_PLACES = {
    "AWS::Lambda::Function": ("Code", "S3Bucket", "S3Key"),
    "AWS::StepFunctions::StateMachine": ("DefinitionS3Location", "Bucket", "Key"),
}
"""Of a resource type: the property that may be a path, and what stands in its stead."""


class UploadError(TopicModelError):
    """The packages' place is no bucket, or something that the template names is not there."""


@dataclass(frozen=True)
class Destination:
    """Where packages go."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> Destination:
        """``bucket``, ``bucket/prefix`` or ``s3://bucket/prefix``.

        Raises:
            UploadError: it is none of these.
        """
        found = _BUCKET.fullmatch(text)
        if not found:
            raise UploadError(f"--bucket is {text!r}; expected a bucket's name, or s3://<bucket>/<prefix>")
        return cls(found[1], f"{found[2]}/" if found[2] else "")


@dataclass(frozen=True)
class Uploaded:
    """A template that names what was uploaded, and how much was."""

    template: dict[str, Any]
    sent: int
    there: int


def uploaded_template(s3: S3Client, template: Mapping[str, Any], folder: Path, destination: Destination) -> Uploaded:
    """The template with places in S3 for its local paths, which are relative to ``folder``.

    Raises:
        UploadError: a path is not there, or the bucket is not.
    """
    made: dict[str, Any] = orjson.loads(orjson.dumps(template))
    keys: dict[str, str] = {}
    sent = there = 0
    for name, resource in made["Resources"].items():
        for properties, wanted in _local_paths(resource):
            path = folder / properties[wanted[0]]
            if properties[wanted[0]] not in keys:
                content = _content(path, name)
                key = f"{destination.prefix}{hashlib.sha256(content).hexdigest()}{_suffix(path)}"
                keys[properties[wanted[0]]] = key
                if _is_there(s3, destination.bucket, key):
                    there += 1
                else:
                    s3.put_object(Bucket=destination.bucket, Key=key, Body=content)
                    sent += 1
            key = keys[properties[wanted[0]]]
            properties[wanted[0]] = {wanted[1]: destination.bucket, wanted[2]: key}
    return Uploaded(made, sent, there)


def _local_paths(resource: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], tuple[str, str, str]]]:
    places = _PLACES.get(resource["Type"])
    properties = resource.get("Properties", {})
    if places and isinstance(properties.get(places[0]), str) and not properties[places[0]].startswith("s3://"):
        yield properties, places


def _content(path: Path, resource: str) -> bytes:
    if path.is_file():
        return path.read_bytes()
    if not path.is_dir():
        raise UploadError(
            f"resource {resource} names {path}, which is not there; `make package` makes what is in dist/"
        )
    files = {
        str(file.relative_to(path)): file
        for file in path.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with tempfile.TemporaryDirectory(prefix="topic-model-package-") as folder:
        return write_zip(files, Path(folder) / "package.zip").read_bytes()


def _suffix(path: Path) -> str:
    return ".zip" if path.is_dir() else "".join(path.suffixes)


def _is_there(s3: S3Client, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code in ("404", "NoSuchKey", "NotFound"):
            return False
        if code == "NoSuchBucket":
            raise UploadError(f"there is no bucket {bucket!r}; make it first, or name another by --bucket") from error
        if code in ("403", "AccessDenied"):
            raise UploadError(
                f"bucket {bucket!r} may not be read: {code}; s3:GetObject and s3:ListBucket are needed"
            ) from error
        raise
    return True
