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


class _Replayed:
    """Stands for a resource that is not restored yet: the journal's tags are in the resource's own state too."""

    def __init__(self) -> None:
        self.tags: list[dict[str, str]] = []

    def save(self) -> None:
        """Nothing."""


_finders: dict[str, Callable[[str], TagsHolder | None]] = {}
_restored: set[str] = set()
_moto: dict[str, Callable[[Any], ActionResult]] = {}


def register(part: str, find: Callable[[str], TagsHolder | None]) -> None:
    """From now on ``find`` answers for the ARNs that contain ``part``."""
    _finders[part] = find
    _restored.discard(part)


def restored(part: str) -> None:
    """The resources registered for ``part`` are back: an ARN that is not among them is an error from now on."""
    _restored.add(part)


def install() -> None:
    """Patches the three actions; idempotent."""
    for name, handler in (("list_tags", _list), ("add_tags", _add), ("delete_tags", _delete)):
        _moto.setdefault(name, getattr(SageMakerResponse, name))
        setattr(SageMakerResponse, name, handler)


def _part(arn: str) -> str | None:
    resource = arn.split(":", 5)[-1]
    return next((part for part in _finders if part in resource), None)


def _holder(part: str, arn: str) -> TagsHolder:
    holder = _finders[part](arn)
    if holder is None:
        if part not in _restored:
            return _Replayed()
        raise ValidationError(message=f"Could not find the resource {arn}")
    return holder


def _list(self: Any) -> ActionResult:
    arn = validated_request(self.body, "ListTags")["ResourceArn"]
    part = _part(arn)
    return ActionResult({"Tags": _holder(part, arn).tags}) if part else _moto["list_tags"](self)


def _add(self: Any) -> ActionResult:
    request = validated_request(self.body, "AddTags")
    arn = request["ResourceArn"]
    part = _part(arn)
    if part is None:
        try:
            return _moto["add_tags"](self)
        except AttributeError as error:  # moto's answer about what is not there
            raise ValidationError(message=f"Could not find the resource {arn}") from error
    holder = _holder(part, arn)
    tags = {tag["Key"]: tag for tag in [*holder.tags, *request["Tags"]]}
    if len(tags) > _MAX_TAGS:
        raise ValidationError(message=f"{len(tags)} tags; a resource has {_MAX_TAGS} at most")
    holder.tags = list(tags.values())
    holder.save()
    return ActionResult({"Tags": holder.tags})


def _delete(self: Any) -> ActionResult:
    request = validated_request(self.body, "DeleteTags")
    arn = request["ResourceArn"]
    part = _part(arn)
    if part is None:
        return _moto["delete_tags"](self)
    holder = _holder(part, arn)
    holder.tags = [tag for tag in holder.tags if tag["Key"] not in request["TagKeys"]]
    holder.save()
    return EmptyResult()
