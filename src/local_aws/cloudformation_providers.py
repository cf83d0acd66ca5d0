"""What makes, changes and deletes resources: a table of providers by type, and what they share.

A provider calls the local AWS's own services through boto3, as CloudFormation's handlers call AWS's. Properties become
an operation's parameters by the operation's own model (:func:`parameters_for`): names in its case, numbers and booleans
from texts, documents as JSON.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from local_aws.config import LocalConfig

Properties = dict[str, Any]


class ResourceError(Exception):
    """A resource cannot be made, changed or deleted; the message is its ``ResourceStatusReason``."""


@dataclass
class Call:
    """One call of a provider.

    Args:
        properties: what the resource is to be, its dynamic references resolved.
        before: of an update: what it is.
        physical_id: empty until it is made.
        token: what a name made up for it ends in.
        tags: the stack's own.
        keep: writes the physical id down; a provider calls it through :meth:`intend` or :meth:`made`.
    """

    config: LocalConfig
    client: Callable[[str], Any]
    stack_name: str
    stack_id: str
    logical_id: str
    type: str
    properties: Properties
    token: str
    before: Properties = field(default_factory=dict)
    physical_id: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    keep: Callable[[str], None] = lambda _physical_id: None

    def made(self, physical_id: str) -> None:
        """The resource exists from now on under this id."""
        self.physical_id = physical_id
        self.keep(physical_id)

    def name(self, given: str, most: int = 64, *, lower: bool = False) -> str:
        """The name that a property gives, or one made up: ``<stack>-<logical id>-<token>``."""
        if found := self.properties.get(given):
            return str(found)
        room = most - len(self.token) - 2
        logical = self.logical_id[: max(room - len(self.stack_name), room // 2)]
        made = f"{self.stack_name[: room - len(logical)]}-{logical}-{self.token}"
        return made.lower() if lower else made

    def arn(self, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
        """The ARN of a resource of the local account."""
        where = self.config.region if region else ""
        return f"arn:aws:{service}:{where}:{self.config.account if account else ''}:{resource}"

    def pick(self, *names: str) -> Properties:
        """Those of the properties that are given."""
        return {name: self.properties[name] for name in names if name in self.properties}

    def rest(self, *names: str) -> Properties:
        """The properties but for some."""
        return {name: value for name, value in self.properties.items() if name not in names}

    def changed(self, *names: str) -> bool:
        """Whether an update changes one of these properties; any, if none is named."""
        among = names or set(self.properties) | set(self.before)
        return any(normal(self.properties.get(name)) != normal(self.before.get(name)) for name in among)

    def all_tags(self) -> dict[str, str]:
        """The resource's tags and the stack's."""
        own = self.properties.get("Tags") or []
        if isinstance(own, dict):
            return {**self.tags, **{name: text(value) for name, value in own.items()}}
        return {**self.tags, **{one["Key"]: text(one.get("Value", "")) for one in own}}

    def tag_list(self) -> list[dict[str, str]]:
        """The tags as most services take them."""
        return [{"Key": name, "Value": value} for name, value in self.all_tags().items()]

    def send(self, service: str, operation: str, properties: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Call an operation with parameters made of properties."""
        client = self.client(service)
        shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation]).input_shape
        return getattr(client, operation)(**parameters_for(shape, {**(properties or {}), **more}))

    def delete(self, service: str, operation: str, *gone: str, **parameters: Any) -> None:
        """Call an operation that deletes; that there is nothing of the name (errors ``gone``) is fine."""
        try:
            self.send(service, operation, parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] not in gone and not _is_gone(error):
                raise

    def there(self, service: str, operation: str, **parameters: Any) -> Any:
        """What an operation answers about something, or None if there is none of the name."""
        try:
            return self.send(service, operation, parameters)
        except ClientError as error:
            if _is_gone(error):
                return None
            raise

    def refuse_if(self, there: object, name: str) -> None:
        """Make nothing under a name that is taken.

        Raises:
            ResourceError: ``there`` is something.
        """
        if there:
            raise ResourceError(
                f"Resource handler returned message: \"Resource of type '{self.type}' with identifier '{name}' already "
                'exists." (HandlerErrorCode: AlreadyExists)'
            )


GONE = frozenset({
    "404", "AWS.SimpleQueueService.NonExistentQueue", "ClusterNotFoundException", "NoSuchBucket", "NoSuchBucketPolicy",
    "NoSuchEntity", "NoSuchEntityException", "NonExistentQueue", "NotFound", "NotFoundException",
    "ObjectNotFoundException", "ParameterNotFound", "PipelineNotFoundException", "QueueDoesNotExist",
    "RepositoryNotFoundException", "ResourceNotFound", "ResourceNotFoundException", "StateMachineDoesNotExist",
})  # fmt: skip
"""Error codes that say that there is nothing of the name."""


def _is_gone(error: ClientError) -> bool:
    code = str(error.response["Error"]["Code"])
    no_stack = code == "ValidationError" and "does not exist" in str(error) and error.operation_name == "DescribeStacks"
    return code in GONE or code.endswith(".NotFound") or no_stack


class Provider:
    """What a type of resource does; this one only keeps what it is given."""

    emulated = True

    def create(self, call: Call) -> None:
        """Make the resource: tell :meth:`Call.made` its id as soon as it has one, and fill ``call.attributes``."""
        raise NotImplementedError

    def update(self, call: Call) -> None:
        """Change it in place, and fill ``call.attributes`` anew."""
        raise ResourceError(f"{call.type} cannot be changed on the local AWS: {', '.join(self.changes(call))}")

    def delete(self, call: Call) -> None:
        """Delete it; fine if it is gone."""
        raise NotImplementedError

    @staticmethod
    def changes(call: Call) -> list[str]:
        """The names of the properties that an update changes."""
        return [name for name in sorted(set(call.properties) | set(call.before)) if call.changed(name)]


class Recorded(Provider):
    """A type whose service the local AWS does not have: kept and told as such, and nothing else.

    Args:
        attributes: ``Fn::GetAtt``'s, each made of the physical id.
        physical_id: made of the call; the logical id and the token otherwise.
    """

    emulated = False

    def __init__(
        self,
        physical_id: Callable[[Call], str] | None = None,
        attributes: Mapping[str, Callable[[Call], Any]] | None = None,
    ) -> None:
        self._physical_id = physical_id
        self._attributes = attributes or {}

    def create(self, call: Call) -> None:
        """Keep it."""
        call.made(self._physical_id(call) if self._physical_id else call.name("Name"))
        self.update(call)

    def update(self, call: Call) -> None:
        """Keep what it is now."""
        call.attributes = {name: made(call) for name, made in self._attributes.items()}

    def delete(self, call: Call) -> None:
        """Nothing is there."""


def parameters_for(shape: Any, properties: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """An operation's parameters, of properties whose names and types are CloudFormation's.

    Raises:
        ResourceError: the operation has no such parameter, or the value is none of its type.
    """
    members = {name.lower(): name for name in shape.members}
    parameters = {}
    for name, value in properties.items():
        member = members.get(name.lower())
        if member is None:
            raise ResourceError(f"the local AWS does not emulate the property {where}{name}")
        parameters[member] = _converted(shape.members[member], value, f"{where}{name}")
    return parameters


def _converted(shape: Any, value: Any, where: str) -> Any:
    kind = shape.type_name
    if kind == "structure" and not getattr(shape, "is_document_type", False) and isinstance(value, dict):
        return parameters_for(shape, value, f"{where}.")
    if kind == "list":
        return [_converted(shape.member, one, where) for one in (value if isinstance(value, list) else [value])]
    if kind == "map" and isinstance(value, dict):
        return {name: _converted(shape.value, one, where) for name, one in value.items()}
    if kind not in _SCALARS:
        return value
    try:
        return _SCALARS[kind](value)
    except (ValueError, KeyError) as error:
        raise ResourceError(f"Properties validation failed: {where} is {value!r}; expected a {kind}") from error


def text(value: Any) -> str:
    """A value as a text: documents as JSON, booleans as CloudFormation writes them."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "blob": lambda value: value if isinstance(value, bytes) else str(value).encode(),
    "boolean": lambda value: {"true": True, "false": False}[text(value).lower()],
    "double": lambda value: float(str(value)),
    "float": lambda value: float(str(value)),
    "integer": lambda value: int(str(value)),
    "long": lambda value: int(str(value)),
    "string": text,
}


def normal(value: Any) -> Any:
    """A property in a form in which equal ones are equal: 5 and "5", true and "true"."""
    if isinstance(value, dict):
        return {name: normal(one) for name, one in value.items()}
    if isinstance(value, list):
        return [normal(one) for one in value]
    return value if value is None else text(value)


def tag_changes(call: Call) -> tuple[dict[str, str], list[str]]:
    """Of an update: the tags to set, and the keys of those to take away."""
    after = call.all_tags()
    own = call.before.get("Tags") or []
    before = own if isinstance(own, dict) else {one["Key"]: one.get("Value", "") for one in own}
    return after, sorted(set(before) - set(after))


def without(values: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those of ``values`` that are not among ``others``."""
    return [one for one in values if one not in others]


@functools.cache
def providers() -> Mapping[str, Provider]:
    """Every type that the local AWS has, with its provider."""
    from local_aws import (
        cloudformation_apigateway,
        cloudformation_compute,
        cloudformation_delivery,
        cloudformation_messages,
        cloudformation_monitoring,
        cloudformation_network,
        cloudformation_security,
        cloudformation_storage,
    )

    table: dict[str, Provider] = {}
    for module in (
        cloudformation_storage,
        cloudformation_security,
        cloudformation_compute,
        cloudformation_apigateway,
        cloudformation_messages,
        cloudformation_monitoring,
        cloudformation_network,
        cloudformation_delivery,
    ):
        table.update(module.PROVIDERS)
    return table
