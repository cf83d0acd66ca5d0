"""Which AWS service and action a raw HTTP request is for."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from local_aws.config import REGION

_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/([^/,\s]*)/([^/,\s]+)/aws4_request")
_RPC_V2 = re.compile(r"/service/[^/]+/operation/([^/?]+)")


def service_of(environ: dict[str, Any]) -> str:
    """The signing name of the service (``s3``, ``states`` …); an unsigned request is S3's, as moto sees it too."""
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if found:
        return found[2]
    query = environ.get("QUERY_STRING", "")
    if "X-Amz-Credential" in query:
        scope = parse_qs(query).get("X-Amz-Credential", [""])[0].split("/")
        return scope[3] if len(scope) == 5 else "s3"
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).split("_", 1)[0].split(".", 1)[0].lower()
    return "s3"


def region_of(environ: dict[str, Any]) -> str:
    """The region that the request is signed for."""
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found[1] if found else REGION


def action_of(environ: dict[str, Any], body: bytes) -> str:
    """The action's name in the JSON, query and Smithy protocols; ``METHOD /path`` in the REST protocols."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rsplit(".", 1)[-1]
    if found := _RPC_V2.fullmatch(environ["PATH_INFO"]):
        return found[1]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        actions = parse_qs(body.decode("utf-8", errors="replace")).get("Action")
        if actions:
            return actions[0]
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
