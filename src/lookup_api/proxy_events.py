"""API Gateway's proxy events, cut to what its cache tells apart.

The cache's key holds the parameters that the API declares, one value of each, and nothing else; the function is passed
whatever was sent. An answer that depended on more would be given to the next one who asks without it: a 400 for a
misspelt parameter, to everybody with the same key for as long as the cache lives. So what the cache does not see the
application does not see either. Asked directly, with no cache before it, it refuses such parameters.
"""

from __future__ import annotations

from typing import Any

from lookup_api.routes import QUERIES


def as_cached(event: dict[str, Any]) -> dict[str, Any]:
    """An event of a GET with its declared parameters alone, the last value of each."""
    if event.get("httpMethod") != "GET":
        return event
    model = QUERIES.get(str(event.get("resource")))
    declared = model.model_fields if model else {}
    query = {name: value for name, value in (event.get("queryStringParameters") or {}).items() if name in declared}
    every = {name: [value] for name, value in query.items()}
    return {**event, "queryStringParameters": query or None, "multiValueQueryStringParameters": every or None}
