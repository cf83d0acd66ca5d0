"""Clients, made once a process as Lambda reuses it, and S3 objects read with a bound."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_CONFIG = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60)


@functools.cache
def s3() -> S3Client:
    """The S3 client."""
    return boto3.client("s3", config=_CONFIG)


@functools.cache
def dynamodb() -> DynamoDBClient:
    """The DynamoDB client; as many connections as publishing has threads."""
    return boto3.client("dynamodb", config=_CONFIG.merge(Config(max_pool_connections=16)))


@functools.cache
def sagemaker() -> SageMakerClient:
    """The SageMaker client."""
    return boto3.client("sagemaker", config=_CONFIG)


@functools.cache
def cloudwatch() -> CloudWatchClient:
    """The CloudWatch client."""
    return boto3.client("cloudwatch", config=_CONFIG)


@functools.cache
def sagemaker_runtime() -> SageMakerRuntimeClient:
    """The client that invokes endpoints."""
    return boto3.client("sagemaker-runtime", config=_CONFIG)


@functools.cache
def impatient_runtime() -> SageMakerRuntimeClient:
    """The client that sends probes: one that is slow has failed, and is not sent again."""
    once = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
    return boto3.client("sagemaker-runtime", config=once)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI; the key has no slash at its ends.

    Raises:
        ValueError: it is no S3 URI.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise ValueError(f"{uri!r} is no S3 URI; expected s3://<bucket>/<prefix>/")
    return match[1], (match[2] or "").strip("/")


def read_head(bucket: str, key: str, length: int) -> bytes:
    """The first ``length`` bytes of an object, or all of a shorter one."""
    try:
        body = s3().get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{length - 1}")["Body"]
    except ClientError as error:
        if error_code(error) == "InvalidRange":  # an empty object has no first byte
            return b""
        raise
    return body.read()


def read_json(uri: str, *, max_bytes: int) -> Any:
    """A JSON object in S3.

    Raises:
        ValueError: it is longer than ``max_bytes`` or is not JSON.
        ClientError: it cannot be read.
    """
    bucket, key = split_uri(uri)
    data = read_head(bucket, key, max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{uri} is longer than {max_bytes:,} bytes")
    return json.loads(data)


def list_objects(bucket: str, prefix: str, *, at_most: int) -> Iterator[tuple[str, int]]:
    """Keys and sizes under a prefix, in key order; folder markers are left out."""
    pages = (
        s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": at_most})
    )
    for page in pages:
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith("/"):
                yield entry["Key"], entry["Size"]


def error_code(error: ClientError) -> str:
    """AWS's name of a refusal, such as ``NoSuchBucket``."""
    return str(error.response.get("Error", {}).get("Code", "unknown error"))
