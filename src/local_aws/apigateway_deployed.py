"""What a deployment is: an API as it was when it was deployed, and which of its methods a request is for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from local_aws.apigateway_schema import BodyCheck

LONGEST_SECONDS = 29.0
"""An integration's default and, without a raised quota, longest time."""


@dataclass(frozen=True)
class Route:
    """One method of a resource, with all that a request to it is held against."""

    method: str
    resource_path: str
    resource_id: str
    key_required: bool
    required_parameters: tuple[tuple[str, str], ...]
    """Place (``path``, ``querystring``, ``header``) and name; empty where parameters are not validated."""
    bodies: Mapping[str, BodyCheck]
    """By content type; empty where bodies are not validated."""
    integration_type: str
    uri: str
    timeout_seconds: float
    cache_namespace: str
    cache_keys: tuple[tuple[str, str], ...]
    """Place and name, as :attr:`required_parameters`, sorted."""

    @property
    def settings_key(self) -> str:
        """What a stage's method settings name this method by."""
        return f"{self.resource_path.replace('/', '~1')}/{self.method}"


@dataclass
class _Node:
    """A part of paths: what may follow it, and its own methods."""

    static: dict[str, _Node] = field(default_factory=dict)
    variable: tuple[str, _Node] | None = None
    greedy: tuple[str, _Node] | None = None
    routes: dict[str, Route] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """An API as it was deployed."""

    root: _Node
    gateway_responses: Mapping[str, Mapping[str, Any]]
    binary_types: tuple[str, ...]
    key_source: str

    def match(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
        """The method that a request is for, and its path parameters, as they came.

        Literal parts win over ``{one}``, and those over ``{the_rest+}``. Parts are told apart before they are decoded:
        an encoded slash belongs to a value, and stays encoded in it. A slash at the end is passed over.
        """
        parts = [part for part in raw_path.split("/") if part]
        for node, parameters in _matches(self.root, parts):
            route = node.routes.get(method) or node.routes.get("ANY")
            if route is not None:
                return route, parameters
        return None


def _matches(node: _Node, parts: list[str]) -> Iterator[tuple[_Node, dict[str, str]]]:
    """The nodes of a path, the most literal first."""
    if not parts:
        yield node, {}
        return
    first, rest = parts[0], parts[1:]
    if literal := node.static.get(unquote(first)):
        yield from _matches(literal, rest)
    if node.variable:
        name, child = node.variable
        for found, parameters in _matches(child, rest):
            yield found, {name: first, **parameters}
    if node.greedy:
        name, child = node.greedy
        yield child, {name: "/".join(parts)}


def snapshot(api: Any) -> Snapshot:
    """An API of moto's, as it is now."""
    root = _Node()
    schemas = {name: json.loads(model.schema) for name, model in api.models.items()}
    for resource in api.resources.values():
        path = str(resource.get_path())
        node = _node(root, path)
        for method in resource.resource_methods.values():
            if method.method_integration is not None:
                node.routes[method.http_method] = _route(api, resource.id, path, method, schemas)
    responses = {kind: response.to_json() for kind, response in api.gateway_responses.items()}
    return Snapshot(root, responses, tuple(api.binaryMediaTypes), api.api_key_source)


def _node(root: _Node, path: str) -> _Node:
    node = root
    for part in [part for part in path.split("/") if part]:
        if not part.startswith("{"):
            node = node.static.setdefault(part, _Node())
        elif part.endswith("+}"):
            node.greedy = node.greedy or (part[1:-2], _Node())
            node = node.greedy[1]
        else:
            node.variable = node.variable or (part[1:-1], _Node())
            node = node.variable[1]
    return node


def _route(api: Any, resource_id: str, path: str, method: Any, schemas: Mapping[str, Any]) -> Route:
    integration = method.method_integration
    validator = api.request_validators.get(method.request_validator_id)
    parameters = method.request_parameters or {}
    required = [_place(name) for name, needed in parameters.items() if _is_true(needed)]
    models = method.request_models or {}
    timeout = float(integration.timeout_in_millis or LONGEST_SECONDS * 1000) / 1000
    return Route(
        method=method.http_method,
        resource_path=path,
        resource_id=resource_id,
        key_required=_is_true(method.api_key_required),
        required_parameters=tuple(sorted(required)) if validator and validator.validate_request_parameters else (),
        bodies={kind: BodyCheck(schemas[name], schemas) for kind, name in models.items() if name in schemas}
        if validator and validator.validate_request_body
        else {},
        integration_type=str(integration.integration_type).upper(),
        uri=str(integration.uri),
        timeout_seconds=min(timeout, LONGEST_SECONDS),
        cache_namespace=str(integration.cache_namespace or resource_id),
        cache_keys=tuple(sorted(_place(name) for name in integration.cache_key_parameters)),
    )


def _place(name: str) -> tuple[str, str]:
    """``method.request.header.x-api-key`` as place and name."""
    _, _, place, key = name.split(".", 3)
    return place, key


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
