"""OpenAPI 3 documents with API Gateway's extensions, made into moto's resources.

moto keeps paths, methods and most of an integration. What it drops is kept here: whether a key is asked for, request
parameters and models, validators, cache keys, gateway responses, binary types, and where the key comes from.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from moto.apigateway import models as moto_models
from moto.apigateway.exceptions import (
    BadRequestException,
    InvalidOpenAPIDocumentException,
    InvalidOpenApiDocVersionException,
    InvalidOpenApiModeException,
)

_EXTENSION = "x-amazon-apigateway-"
_ANY = f"{_EXTENSION}any-method"
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", _ANY})
_PLACES = {"path": "path", "query": "querystring", "header": "header"}
_MODEL_NAME = re.compile(r"[A-Za-z0-9]+")
_CACHE_KEY = re.compile(r"(method|integration)\.request\.(path|querystring|header|multivaluequerystring|"
                        r"multivalueheader)\.[A-Za-z0-9._$-]+")  # fmt: skip


def import_rest_api(self: Any, api_doc: Mapping[str, Any], fail_on_warnings: bool) -> Any:
    """``ImportRestApi``: a new API of a document."""
    _check(api_doc, fail_on_warnings)
    information = api_doc.get("info", {})
    api = self.create_rest_api(name=information.get("title"), description=information.get("description", ""))
    try:
        return self.put_rest_api(api.id, api_doc, fail_on_warnings=False)
    except Exception:
        self.apis.pop(api.id, None)  # nothing half-made stays
        raise


def put_rest_api(
    self: Any, function_id: str, api_doc: Mapping[str, Any], fail_on_warnings: bool, mode: str = "merge"
) -> Any:
    """``PutRestApi``: an API as a document says; deployments and stages stay as they are until the next deployment."""
    if mode not in ("merge", "overwrite"):
        raise InvalidOpenApiModeException
    _check(api_doc, fail_on_warnings)
    operations = list(_operations(api_doc))
    api = self.get_rest_api(function_id)
    if mode == "overwrite":
        api.resources, api.models, api.request_validators, api.gateway_responses = {}, {}, {}, {}
        api.default = api.add_child("/")
        api.root_resource_id = api.default.id
    _put_parts(api, api_doc)
    validators = {validator.name: validator.id for validator in api.get_request_validators()}
    for path, method, operation in operations:
        _put_method(self, api, _resource(api, path), method, operation, api_doc, validators)
    return api


def _check(document: Mapping[str, Any], fail_on_warnings: bool) -> None:
    if not str(document.get("openapi", "")).startswith("3."):
        raise InvalidOpenApiDocVersionException
    if not isinstance(document.get("paths"), dict):
        raise BadRequestException("Invalid OpenAPI input.")
    if fail_on_warnings:
        try:
            moto_models.validate(document)
        except moto_models.OpenAPIValidationError as error:
            raise InvalidOpenAPIDocumentException(error) from error


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path, method and operation of a document whose integrations can be used, before anything is changed."""
    validators = document.get(f"{_EXTENSION}request-validators", {})
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in _METHODS:
                continue
            where = f"{method.upper()} {path}"
            integration = operation.get(f"{_EXTENSION}integration")
            if integration is not None and not isinstance(integration.get("uri", ""), str):
                raise BadRequestException(f"Invalid integration of {where}: its uri is no string")
            for key in (integration or {}).get("cacheKeyParameters", []):
                if not _CACHE_KEY.fullmatch(key):
                    raise BadRequestException(f"Invalid cache key parameter of {where}: {key}")
            validator = _validator_of(operation, document)
            if validator is not None and validator not in validators:
                raise BadRequestException(f"Invalid request validator of {where}: {validator}")
            yield path, "ANY" if method == _ANY else method.upper(), operation


def _put_parts(api: Any, document: Mapping[str, Any]) -> None:
    """What belongs to the API as a whole."""
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        if not _MODEL_NAME.fullmatch(name):
            raise BadRequestException(f"Model name must be alphanumeric: {name}")
        api.add_model(name, schema.get("description", ""), json.dumps(schema), "application/json")
    for name, validator in document.get(f"{_EXTENSION}request-validators", {}).items():
        for known in [one for one in api.get_request_validators() if one.name == name]:
            api.delete_request_validator(known.id)
        api.create_request_validator(
            name, bool(validator.get("validateRequestBody")), bool(validator.get("validateRequestParameters"))
        )
    for kind, response in document.get(f"{_EXTENSION}gateway-responses", {}).items():
        status = response.get("statusCode")
        api.put_gateway_response(
            kind,
            status_code=None if status is None else str(status),
            response_parameters=response.get("responseParameters"),
            response_templates=response.get("responseTemplates"),
        )
    api.api_key_source = document.get(f"{_EXTENSION}api-key-source", api.api_key_source)
    api.binaryMediaTypes = list(document.get(f"{_EXTENSION}binary-media-types", api.binaryMediaTypes))


def _resource(api: Any, path: str) -> Any:
    """The resource of a path; its ancestors are made with it."""
    resource = api.default
    for part in path.strip("/").split("/") if path.strip("/") else ():
        if not re.fullmatch(r"\{[A-Za-z0-9._:-]+\+?\}|[A-Za-z0-9._:$-]+", part):
            raise BadRequestException(f"Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path: {part}")
        known = [
            one for one in api.resources.values() if one.parent_id == resource.id and one.path_part == part
        ]  # fmt: skip
        resource = known[0] if known else api.add_child(part, resource.id)
    return resource


def _put_method(
    backend: Any,
    api: Any,
    resource: Any,
    method: str,
    operation: Mapping[str, Any],
    document: Mapping[str, Any],
    validators: Mapping[str, str],
) -> None:
    validator = _validator_of(operation, document)
    backend.put_method(
        api.id,
        resource.id,
        method,
        "NONE",
        api_key_required=_asks_for_key(operation, document),
        request_parameters=dict(_parameters(operation)),
        request_models=dict(_models(api, operation)),
        operation_name=operation.get("operationId"),
        request_validator_id=None if validator is None else validators[validator],
    )
    for status in operation.get("responses", {}):
        backend.put_method_response(api.id, resource.id, method, status, None, None)
    given = operation.get(f"{_EXTENSION}integration")
    if given is None:
        return
    settings = {name: value for name, value in backend._build_integration_args(given).items() if value is not None}
    for name in ("integration_type", "passthrough_behavior", "connection_type"):
        if name in settings:
            settings[name] = str(settings[name]).upper()  # documents write aws_proxy, the API answers AWS_PROXY
    integration = backend.put_integration(api.id, resource.id, method, **settings)
    integration.cache_key_parameters = list(given.get("cacheKeyParameters", []))
    integration.cache_namespace = given.get("cacheNamespace") or resource.id
    for response in backend._build_integration_responses_args(given):
        backend.put_integration_response(
            api.id, resource.id, method, **{name: value for name, value in response.items() if value is not None}
        )


def _validator_of(operation: Mapping[str, Any], document: Mapping[str, Any]) -> str | None:
    name = operation.get(f"{_EXTENSION}request-validator", document.get(f"{_EXTENSION}request-validator"))
    return None if name is None else str(name)


def _asks_for_key(operation: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether the operation's security names a scheme that is an API key in the header ``x-api-key``."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    keys = {
        name
        for name, scheme in schemes.items()
        if scheme.get("type") == "apiKey" and scheme.get("in") == "header" and scheme["name"].lower() == "x-api-key"
    }
    required = operation.get("security", document.get("security", []))
    return any(keys & set(requirement) for requirement in required)


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    for parameter in operation.get("parameters", []):
        if place := _PLACES.get(parameter["in"]):
            yield f"method.request.{place}.{parameter['name']}", bool(parameter.get("required"))


def _models(api: Any, operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Models by content type; one that is written out gets a name of its own, as on AWS."""
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema")
        if schema is None:
            continue
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if not name:
            text = json.dumps(schema, sort_keys=True)
            name = f"MODEL{hashlib.sha256(text.encode()).hexdigest()[:6]}"
            api.add_model(name, "", text, content_type)
        elif name not in api.models:
            raise BadRequestException(f"Invalid model identifier specified: {name}")
        yield content_type, name
