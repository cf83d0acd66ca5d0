"""API Gateway's proxy events, cut to what its cache tells apart.

The cache's key holds the method, the path's parameters, and the query parameters that the API declares, one value of
each; the function is passed whatever was sent. An answer that depended on more would be given to the next one who asks
without it: a 400 for a misspelt parameter, or a 404 for a slash too many, to everybody with the same key for as long as
the cache lives. So what the cache does not see the application does not see either. Asked directly, with no cache
before it, it refuses such requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lookup_api.routes import QUERIES


def as_cached(event: dict[str, Any]) -> dict[str, Any]:
    """An event with the path that the gateway matched and, of a GET, the declared parameters alone, each once."""
    resource = str(event.get("resource"))
    event = {**event, "path": _matched(resource, event.get("pathParameters") or {})}
    if event.get("httpMethod") != "GET":
        return event
    model = QUERIES.get(resource)
    declared = model.model_fields if model else {}
    # Of a repeated parameter this holds the last value.
    query = {name: value for name, value in (event.get("queryStringParameters") or {}).items() if name in declared}
    every = {name: [value] for name, value in query.items()}
    return {**event, "queryStringParameters": query or None, "multiValueQueryStringParameters": every or None}


def _matched(resource: str, parameters: Mapping[str, str]) -> str:
    """A resource's path with its parameters, which a REST API passes on encoded, in their places."""
    for name, value in parameters.items():
        resource = resource.replace(f"{{{name}}}", value.replace("/", "%2F"))
    return resource
