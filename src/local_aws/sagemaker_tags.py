"""Tags of the resources that the local AWS keeps itself; moto keeps those of all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.responses import SageMakerResponse

from local_aws.requests_validation import validated_request

_MAX_TAGS = 50


class TagsHolder(Protocol):
    """A resource with tags."""

    tags: list[dict[str, str]]

    def save(self) -> None:
        """Writes them to disk."""


_finders: dict[str, Callable[[str], TagsHolder | None]] = {}
_moto: dict[str, Callable[[Any], ActionResult]] = {}


def register(part: str, find: Callable[[str], TagsHolder | None]) -> None:
    """From now on ``find`` answers for the ARNs that contain ``part``."""
    _finders[part] = find


def install() -> None:
    """Patches the three actions; idempotent."""
    for name, handler in (("list_tags", _list), ("add_tags", _add), ("delete_tags", _delete)):
        _moto.setdefault(name, getattr(SageMakerResponse, name))
        setattr(SageMakerResponse, name, handler)


def _finder(arn: str) -> Callable[[str], TagsHolder | None] | None:
    resource = arn.split(":", 5)[-1]
    return next((find for part, find in _finders.items() if part in resource), None)


def _holder(arn: str) -> TagsHolder:
    find = _finder(arn)
    holder = find(arn) if find else None
    if holder is None:
        raise ValidationError(message=f"Could not find the resource {arn}")
    return holder


def _list(self: Any) -> ActionResult:
    arn = validated_request(self.body, "ListTags")["ResourceArn"]
    return ActionResult({"Tags": _holder(arn).tags}) if _finder(arn) else _moto["list_tags"](self)


def _add(self: Any) -> ActionResult:
    request = validated_request(self.body, "AddTags")
    arn = request["ResourceArn"]
    if not _finder(arn):
        return _moto["add_tags"](self)
    holder = _holder(arn)
    tags = {tag["Key"]: tag for tag in [*holder.tags, *request["Tags"]]}
    if len(tags) > _MAX_TAGS:
        raise ValidationError(message=f"{len(tags)} tags; a resource has {_MAX_TAGS} at most")
    holder.tags = list(tags.values())
    holder.save()
    return ActionResult({"Tags": holder.tags})


def _delete(self: Any) -> ActionResult:
    request = validated_request(self.body, "DeleteTags")
    arn = request["ResourceArn"]
    if not _finder(arn):
        return _moto["delete_tags"](self)
    holder = _holder(arn)
    holder.tags = [tag for tag in holder.tags if tag["Key"] not in request["TagKeys"]]
    holder.save()
    return EmptyResult()
