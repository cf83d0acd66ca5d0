"""The OpenAPI document of the application, and the one that API Gateway imports.

``python -m lookup_api.openapi`` writes ``docs/openapi.json``; with ``--gateway`` the second one, to standard output or
to a file. Both are made from the routes; a test says when the committed one is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from lookup_api import schemas

DOCUMENT_PATH = Path("docs/openapi.json")
KEY_SCHEME = "ApiKey"
_DESCRIPTION = (
    "Similar advertising campaigns and recommended keywords. A key sees its client's campaigns only. Behind API "
    "Gateway any request may also be answered 429 (`too-many-requests` with `Retry-After`, or `quota-exceeded`) or "
    "504, as problem documents too."
)


def document_of(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an application."""
    document: dict[str, Any] = get_openapi(
        title=api.title,
        version=api.version,
        description=_DESCRIPTION,
        routes=api.routes,
    )
    components = document["components"]
    models = (schemas.FreshCampaign, schemas.Feedback, schemas.ProblemDocument)
    _, made = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components["schemas"] = dict(sorted({**components["schemas"], **made["$defs"]}.items()))
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {KEY_SCHEME: {"type": "apiKey", "in": "header", "name": "x-api-key"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"] = {
                status: response
                for status, response in operation["responses"].items()
                if "HTTPValidationError" not in str(response)
            }
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _without_null(parameter["schema"])
            if path.startswith("/v1/"):
                operation["security"] = [{KEY_SCHEME: []}]
            else:  # asks for no key
                for status in ("400", "403"):
                    operation["responses"].pop(status, None)
    return document


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema: one that may be left out is not therefore one that may be null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **choices[0]}


def rendered(document: dict[str, Any]) -> bytes:
    """A document as it is committed."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one of the two documents."""
    from lookup_api.app import bare_app
    from lookup_api.gateway import gateway_document

    parser = argparse.ArgumentParser(prog="python -m lookup_api.openapi", description=__doc__)
    parser.add_argument("--gateway", action="store_true", help="the document that API Gateway imports")
    parser.add_argument("out", nargs="?", type=Path, help="file to write; - for standard output")
    options = parser.parse_args(arguments)
    document = bare_app().openapi()
    content = rendered(gateway_document(document) if options.gateway else document)
    out = options.out or (Path("-") if options.gateway else DOCUMENT_PATH)
    if str(out) == "-":
        sys.stdout.buffer.write(content)
    else:
        out.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
