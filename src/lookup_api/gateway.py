"""The document that API Gateway (REST) imports: OpenAPI 3.0 with its extensions.

API Gateway reads OpenAPI 3.0 and a part of JSON Schema draft 4. What it cannot express is left out and checked by the
application alone; what it can refuse (a body that is no object, a field of the wrong kind, no API key) never starts
the function. ``Fn::Sub`` is resolved by CloudFormation, which includes the document with ``AWS::Include``, and on the
local AWS by :func:`resolved`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from lookup_api.problems import PROBLEM_JSON

FUNCTION_URI = (
    "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/"
    "${LookupApiFunction.Arn}:${!stageVariables.alias}/invocations"
)
"""The function's alias is the stage's variable, so that a canary of the stage can serve another version of it."""
TIMEOUT_MILLISECONDS = 29_000
CACHED = ("/v1/campaigns", "/v1/campaigns/{campaign_id}", "/v1/map", "/v1/topics", "/v1/topics/{topic}")
"""What API Gateway may cache, with what is below a campaign. An answer depends on who asks, so the key's header is part
of every cache key. Fresh campaigns and feedback are POST requests, which are not cached."""

PAGE = ("/", "/page", "/page/{name}")
"""The analysts' page: files without a key, which the page then sends with its calls."""

_KEPT = ("type", "enum", "minimum", "maximum", "minLength", "maxLength", "maxItems", "description")
_REFUSALS = {
    "BAD_REQUEST_BODY": (400, "bad-request", "$context.error.validationErrorString"),
    "BAD_REQUEST_PARAMETERS": (400, "bad-request", "$context.error.message"),
    "INVALID_API_KEY": (403, "forbidden", "expected a valid API key in the header x-api-key"),
    "MISSING_AUTHENTICATION_TOKEN": (403, "forbidden", "there is nothing at this path"),
    "ACCESS_DENIED": (403, "forbidden", "access is denied"),
    "REQUEST_TOO_LARGE": (413, "too-large", "the body is too large; send fewer keywords"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "unsupported-media-type", "expected application/json"),
    "THROTTLED": (429, "too-many-requests", "the API key's rate is exceeded; try again"),
    "QUOTA_EXCEEDED": (429, "quota-exceeded", "the API key's quota is used up"),
    "INTEGRATION_FAILURE": (502, "unavailable", "the application did not answer; try again"),
    "INTEGRATION_TIMEOUT": (504, "unavailable", "the application did not answer in time; try again"),
    # All others keep their status: an answer of the function that is none is 502, one of these, and no type of its own.
    "DEFAULT_4XX": (None, "bad-request", "$context.error.message"),
    "DEFAULT_5XX": (None, "unavailable", "the application did not answer; try again"),
}


def gateway_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """The application's document as API Gateway takes it."""
    schemas = document["components"]["schemas"]
    paths: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        paths[path] = {method: _operation(path, method, one, schemas, models) for method, one in operations.items()}
    paths |= {path: {"get": _page_file(path)} for path in PAGE}
    return {
        "openapi": "3.0.1",
        "info": document["info"],
        "paths": paths,
        "components": {
            "schemas": models,
            "securitySchemes": {"api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}},
        },
        "x-amazon-apigateway-api-key-source": "HEADER",
        "x-amazon-apigateway-request-validators": {
            "everything": {"validateRequestBody": True, "validateRequestParameters": True}
        },
        "x-amazon-apigateway-request-validator": "everything",
        "x-amazon-apigateway-gateway-responses": {kind: _gateway_response(*told) for kind, told in _REFUSALS.items()},
    }


def _operation(
    path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any], models: dict[str, Any]
) -> dict[str, Any]:
    cached = method == "get" and (path in CACHED or path.startswith("/v1/campaigns/"))
    parameters = [_parameter(parameter) for parameter in operation.get("parameters", [])]
    if cached:
        key = {"name": "x-api-key", "in": "header", "required": True, "schema": {"type": "string"}}
        parameters.append(key)
    integration = _integration()
    if cached:
        places = {"path": "path", "query": "querystring", "header": "header"}
        integration["cacheNamespace"] = operation["operationId"]
        integration["cacheKeyParameters"] = [
            f"method.request.{places[parameter['in']]}.{parameter['name']}" for parameter in parameters
        ]
    made: dict[str, Any] = {
        "operationId": operation["operationId"],
        "summary": operation["summary"],
        "responses": {
            status: {"description": response["description"]} for status, response in operation["responses"].items()
        },
        "x-amazon-apigateway-integration": integration,
        "x-amazon-apigateway-request-validator": "everything",
    }
    if parameters:
        made["parameters"] = parameters
    if operation.get("security"):
        made["security"] = [{"api_key": []}]
    if "requestBody" in operation:
        name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        models[name] = _model(schemas[name], schemas)
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def resolved(document: dict[str, Any], function_arn: str) -> dict[str, Any]:
    """The document with the function's ARN in it, for whoever imports it without CloudFormation."""
    _, partition, _, region, *_ = function_arn.split(":")
    uri = FUNCTION_URI.replace("${LookupApiFunction.Arn}", function_arn).replace("${!", "${")
    uri = uri.replace("${AWS::Partition}", partition).replace("${AWS::Region}", region)
    text = orjson.dumps(document).replace(orjson.dumps({"Fn::Sub": FUNCTION_URI}), orjson.dumps(uri))
    made: dict[str, Any] = orjson.loads(text)
    return made


def _integration() -> dict[str, Any]:
    return {
        "type": "aws_proxy",
        "httpMethod": "POST",
        "uri": {"Fn::Sub": FUNCTION_URI},
        "passthroughBehavior": "when_no_match",
        "timeoutInMillis": TIMEOUT_MILLISECONDS,
    }


def _page_file(path: str) -> dict[str, Any]:
    """A file of the page.

    A stage that caches every GET caches it too, so what the answer depends on is part of the key: a browser's tag, else
    one browser's 304 would be the answer to all, and where a browser is sent on, the host.
    """
    header = "Host" if path == "/" else "If-None-Match"
    parameters: list[dict[str, Any]] = [
        {"name": header, "in": "header", "required": False, "schema": {"type": "string"}}
    ]
    keys = [f"method.request.header.{header}"]
    if path.endswith("{name}"):
        parameters.append({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
        keys.append("method.request.path.name")
    return {
        "summary": "The analysts' page",
        "parameters": parameters,
        "responses": {"200": {"description": "A file of the page."}},
        "x-amazon-apigateway-integration": {**_integration(), "cacheKeyParameters": keys},
    }


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    kind = parameter["schema"].get("type", "string")
    made = {"name": parameter["name"], "in": parameter["in"], "required": parameter.get("required", False)}
    return {**made, "schema": {"type": kind}}


def _model(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """A schema in the part of draft 4 that API Gateway checks: references resolved, and no null beside a type."""
    if "$ref" in schema:
        return _model(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        choices = [_model(choice, schemas) for choice in schema["anyOf"]]
        # A value that may be null is left to the application.
        return {} if {"type": "null"} in choices else {"anyOf": choices}
    made = {name: schema[name] for name in _KEPT if name in schema}
    if "properties" in schema:
        made["properties"] = {name: _model(one, schemas) for name, one in schema["properties"].items()}
        made["additionalProperties"] = schema.get("additionalProperties", True)
        if "required" in schema:
            made["required"] = schema["required"]
    if "items" in schema:
        made["items"] = _model(schema["items"], schemas)
    return made


def _gateway_response(status: int | None, code: str, detail: str) -> dict[str, Any]:
    """A refusal of API Gateway itself as a problem document; without a status where it keeps the one it has."""
    problem = {
        "type": f"urn:topic-model:problem:{code}",
        # Without a status, of which no variable of a template tells, there is no title either.
        **({} if status is None else {"title": HTTPStatus(status).phrase, "status": status}),
        "detail": detail,
        "request_id": "$context.requestId",
    }
    parameters = {"gatewayresponse.header.x-request-id": "context.requestId"}
    if code == "too-many-requests":
        parameters["gatewayresponse.header.Retry-After"] = "'1'"
    template = orjson.dumps(problem).decode()
    made = {"responseParameters": parameters, "responseTemplates": {PROBLEM_JSON: template}}
    return made if status is None else {"statusCode": status, **made}
