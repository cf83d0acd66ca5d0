"""The models of an A/B test: SageMaker models, each with its version and with the lookups of the run that made it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from topic_model.errors import TopicModelError
from topic_model.published import POINTER
from workflow_functions import aws
from workflow_functions.lookup_rows import read_manifest

_ARTIFACT = re.compile(r"(s3://[^/]+/(?:.+/)?)([^/]+)/lookup-model/model\.tar\.gz")


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
        raise AbTestError(f"there is no SageMaker model {name!r}; give the name of one, or --run") from error
    artifact = shown.get("PrimaryContainer", {}).get("ModelDataUrl", "")
    lookups = f"{_run_folder(artifact, name)}/lookups"
    return LookupModel(name, read_manifest(lookups)["model_version"], lookups)


def published_version(lookup_table: str) -> str | None:
    """The version of the lookups that readers get; None where none is published."""
    key: dict[str, Any] = {"campaign_id": {"S": POINTER}, "model_version": {"S": POINTER}}
    item = aws.dynamodb().get_item(TableName=lookup_table, Key=key, ConsistentRead=True).get("Item", {})
    return item.get("version", {}).get("S")


def _run_folder(artifact: str, model: str) -> str:
    match = _ARTIFACT.fullmatch(artifact)
    if match is None:
        raise AbTestError(
            f"model {model} is made of {artifact or 'nothing'}; expected a run's lookup model, "
            "s3://<bucket>/runs/<run>/lookup-model/model.tar.gz"
        )
    return f"{match[1]}{match[2]}"


def challenger(a: LookupModel, prefix: str, model: str | None, run: str | None) -> tuple[LookupModel, bool]:
    """The model to compare with, and whether it was made for that: a run's model may have been retired."""
    if run is None:
        return lookup_model(model or ""), False
    runs = a.lookups.rpartition("/")[0].rpartition("/")[0]
    lookups, artifact = f"{runs}/{run}/lookups", f"{runs}/{run}/lookup-model/model.tar.gz"
    bucket, key = aws.split_uri(artifact)
    try:
        aws.s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        raise AbTestError(f"run {run!r} has no lookup model: {artifact}: {aws.error_code(error)}") from error
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
