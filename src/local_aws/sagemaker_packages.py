"""Deletions of SageMaker's model registry, which moto does not have: ``DeleteModelPackage`` and ``…Group``."""

from __future__ import annotations

from typing import Any

from moto.core.responses import EmptyResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.responses import SageMakerResponse

from local_aws.config import LocalConfig
from local_aws.requests_validation import validated_request


def install(config: LocalConfig) -> None:
    """Add the actions to moto; idempotent."""
    del config
    SageMakerResponse.delete_model_package = _delete_package
    SageMakerResponse.delete_model_package_group = _delete_group


def _delete_package(self: Any) -> EmptyResult:
    name = validated_request(self.body, "DeleteModelPackage")["ModelPackageName"]
    backend = self.sagemaker_backend
    arn = backend.model_package_name_mapping.get(name)
    if arn not in backend.model_packages:
        raise ValidationError(message=f"ModelPackage {name} does not exist.")
    del backend.model_packages[arn]
    for known in [key for key, value in backend.model_package_name_mapping.items() if value == arn]:
        del backend.model_package_name_mapping[known]
    return EmptyResult()


def _delete_group(self: Any) -> EmptyResult:
    """Of an empty group only, as on AWS."""
    name = validated_request(self.body, "DeleteModelPackageGroup")["ModelPackageGroupName"].rpartition("/")[2]
    backend = self.sagemaker_backend
    if name not in backend.model_package_groups:
        raise ValidationError(message=f"ModelPackageGroup {name} does not exist.")
    if any(one.model_package_group_name == name for one in backend.model_packages.values()):
        raise ValidationError(message="Model Package Group cannot be deleted because it still contains Model Packages.")
    del backend.model_package_groups[name]
    return EmptyResult()
