"""The models of an A/B test: SageMaker models, each with its version and with the lookups of the run that made it."""

from __future__ import annotations

import difflib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from topic_model.errors import TopicModelError
from topic_model.published import POINTER
from workflow_functions import aws
from workflow_functions.errors import LookupRowsError
from workflow_functions.lookup_rows import read_manifest
from workflow_functions.run_models import run_folder

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
MAX_RUNS = 10_000
"""Looked through for a name like one that is not there."""


class AbTestError(TopicModelError):
    """A test cannot begin, end or be read."""


@dataclass(frozen=True)
class LookupModel:
    """A SageMaker model with the version that it answers with, and the lookups of its run."""

    name: str
    version: str
    lookups: str


def lookup_model(name: str) -> LookupModel:
    """A SageMaker model of a run's lookup model.

    Raises:
        AbTestError: there is none of that name, or its artifact is not where a run puts one.
        LookupRowsError: its run's lookups cannot be read.
    """
    try:
        shown = aws.sagemaker().describe_model(ModelName=name)
    except ClientError as error:
        # A name that SageMaker does not allow is as little there as one that it does not know.
        if aws.error_code(error) != "ValidationException":
            raise
        raise AbTestError(f"there is no SageMaker model {name!r}; give the name of one, or --run") from error
    artifact = shown.get("PrimaryContainer", {}).get("ModelDataUrl", "")
    lookups = f"{_run_folder(artifact, name)}/lookups"
    return LookupModel(name, read_manifest(lookups)["model_version"], lookups)


def lookups_to_publish(name: str) -> str:
    """The lookups of a SageMaker model's run, which are there.

    Raises:
        AbTestError: they cannot be read; the message says how to do without them.
    """
    try:
        return lookup_model(name).lookups
    except LookupRowsError as error:
        raise AbTestError(f"{error}; nothing was changed, and --no-publish does without them") from error


def published_version(lookup_table: str) -> str | None:
    """The version of the lookups that readers get; None where none is published.

    Raises:
        AbTestError: there is no such table.
    """
    key: dict[str, Any] = {"campaign_id": {"S": POINTER}, "model_version": {"S": POINTER}}
    try:
        item = aws.dynamodb().get_item(TableName=lookup_table, Key=key, ConsistentRead=True).get("Item", {})
    except ClientError as error:
        if aws.error_code(error) != "ResourceNotFoundException":
            raise
        raise AbTestError(f"there is no lookup table {lookup_table!r}; name the stack's with --lookup-table") from error
    return item.get("version", {}).get("S")


def _run_folder(artifact: str, model: str) -> str:
    if (folder := run_folder(artifact)) is None:
        raise AbTestError(
            f"model {model} is made of {artifact or 'nothing'}; expected a run's lookup model, "
            "s3://<bucket>/runs/<run>/lookup-model/model.tar.gz"
        )
    return folder


def _no_model_of(run: str, runs: str) -> str:
    """Why a run has no lookup model, in words, with the names that come nearest where there is no such run."""
    names = list(_names_of_runs(runs))
    if run in names:
        return f"run {run!r} has no lookup model under {runs}/{run}/: it failed, was rejected, or has not come so far"
    near = difflib.get_close_matches(run, names, n=3, cutoff=0.5)
    others = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[-5:]) or 'none'}"
    return f"there is no run {run!r} under {runs}/; {others}"


def _names_of_runs(runs: str) -> Iterator[str]:
    bucket, prefix = aws.split_uri(runs)
    pages = (
        aws.s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=bucket, Prefix=f"{prefix}/", Delimiter="/", PaginationConfig={"MaxItems": MAX_RUNS})
    )
    for page in pages:
        yield from (entry["Prefix"].rstrip("/").rpartition("/")[2] for entry in page.get("CommonPrefixes", []))


def challenger(a: LookupModel, prefix: str, model: str | None, run: str | None) -> tuple[LookupModel, bool]:
    """The model to compare with, and whether it was made for that: a run's model may have been retired.

    Raises:
        AbTestError: there is no such model or run, or the run made no lookup model.
    """
    if run is None:
        return lookup_model(model or ""), False
    if not _RUN.fullmatch(run):
        raise AbTestError(f"--run is {run!r}; expected a run's name: letters, digits, '.', '_' and '-', at most 80")
    runs = a.lookups.rpartition("/")[0].rpartition("/")[0]
    lookups, artifact = f"{runs}/{run}/lookups", f"{runs}/{run}/lookup-model/model.tar.gz"
    bucket, key = aws.split_uri(artifact)
    try:
        aws.s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if aws.error_code(error) != "404":
            raise AbTestError(
                f"the lookup model of run {run!r} cannot be read: {artifact} ({aws.error_code(error)}); check who may"
            ) from error
        raise AbTestError(_no_model_of(run, runs)) from error
    version = read_manifest(lookups)["model_version"]
    name = f"{prefix}-lookup-{secrets.token_hex(4)}"
    like = aws.sagemaker().describe_model(ModelName=a.name)
    container: Any = {key: value for key, value in like["PrimaryContainer"].items() if key != "ModelDataSource"}
    more: dict[str, Any] = {key: like[key] for key in ("VpcConfig", "EnableNetworkIsolation") if like.get(key)}
    if version != a.version:
        container["ModelDataUrl"] = artifact
        aws.sagemaker().create_model(
            ModelName=name, ExecutionRoleArn=like["ExecutionRoleArn"], PrimaryContainer=container, **more
        )
    return LookupModel(name, version, lookups), True
