"""The lookup API behind the local API Gateway: what ``template.yaml`` makes of it on AWS, made here through boto3.

Every step looks first and makes or changes only what differs, as the rest of the stack does: a second call prints the
same keys. A changed function is published as a version of its own, which the alias ``live`` then serves.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topic_model_cli.gateway_plans import (
    ANSWER_KEY,
    CLIENTS_TABLE,
    MOST_ITEMS,
    NAME,
    STAGE,
    Limits,
    ensure_key,
    ensure_plan,
    known_keys,
)
from topic_model_cli.stack import ENDPOINT_NAME, LOOKUP_TABLE, PREFIX, RUNTIME, ensure_roles, found

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

ALIAS = "live"
LOG_GROUP = f"/{PREFIX}/lookup-api/access"
FEEDBACK_TABLE = f"{PREFIX}-feedback"
ANALYSTS = "analysts"
"""The name of the administrator's key and of its usage plan."""
_HANDLER = "lookup_api.lambda_handler.handler"
_TIMEOUT_SECONDS, _MEMORY_MB = 29, 512
_LOG_FORMAT = json.dumps(
    {
        name: f"$context.{variable}"
        for name, variable in {
            "requestId": "requestId",
            "time": "requestTime",
            "key": "identity.apiKeyId",
            "method": "httpMethod",
            "route": "resourcePath",
            "status": "status",
            "bytes": "responseLength",
            "ms": "responseLatency",
            "functionMs": "integrationLatency",
            "deployment": "deploymentId",
            "error": "error.responseType",
        }.items()
    }
)
"""Neither bodies nor queries nor the path, which holds a campaign's id."""


@dataclass(frozen=True)
class LookupGateway:
    """A deployed API: where it answers, and the keys by whose they are."""

    api_id: str
    url: str
    keys: Mapping[str, str]


def ensure_gateway(config: LocalConfig, clients: list[str], limits: Limits) -> LookupGateway:
    """Tables, function, API, stage, plans and keys; ``clients`` get a key each, and the analysts one for all."""
    from lookup_api.answer_key import ensure_answer_key
    from lookup_api.tables import ensure_tables

    ensure_tables(config.client("dynamodb"), CLIENTS_TABLE, FEEDBACK_TABLE)
    ensure_answer_key(config.client("secretsmanager"), ANSWER_KEY)
    function_arn = _ensure_function(config)
    api_id = _ensure_api(config, function_arn)
    _ensure_stage(config, api_id, limits)
    plans = {
        "clients": ensure_plan(config, "clients", api_id, limits),
        ANALYSTS: ensure_plan(config, ANALYSTS, api_id, limits),
    }
    known = known_keys(config)
    keys = {ANALYSTS: ensure_key(config, ANALYSTS, None, plans[ANALYSTS], known)}
    for client in clients:
        keys[client] = ensure_key(config, f"client {client}", client, plans["clients"], known)
    url = f"{config.endpoint_url}/restapis/{api_id}/{STAGE}/_user_request_"
    return LookupGateway(api_id, url, keys)


def published_clients(config: LocalConfig) -> list[str] | None:
    """The clients whose campaigns are published, or None where nothing is."""
    from topic_model.published import POINTER, directory_name, document_key

    dynamodb = config.client("dynamodb")

    def item(key: str, version: str) -> dict[str, Any]:
        keys = {"campaign_id": {"S": key}, "model_version": {"S": version}}
        answer = found(lambda: dynamodb.get_item(TableName=LOOKUP_TABLE, Key=keys), "ResourceNotFoundException")
        return dict((answer or {}).get("Item", {}))

    version = item(POINTER, POINTER).get("version", {}).get("S")
    if version is None:
        return None
    clients, part, parts = [], 0, 1
    while part < parts:
        packed = item(document_key(directory_name(part)), version).get("packed")
        if packed is None:
            break
        directory = json.loads(gzip.decompress(packed["B"]))
        clients += [entry["client_id"] for entry in directory["clients"] if entry["client_id"] is not None]
        part, parts = part + 1, directory["parts"]
    return clients


def _ensure_function(config: LocalConfig) -> str:
    """The function's ARN; its alias serves the code and the settings of now, and API Gateway may invoke it."""
    functions, code = config.client("lambda"), _code()
    settings: dict[str, Any] = {
        "Handler": _HANDLER,
        "Role": ensure_roles(config)["LookupApiRole"],
        "Timeout": _TIMEOUT_SECONDS,
        "MemorySize": _MEMORY_MB,
        "Environment": {
            "Variables": {
                "LOOKUP_TABLE": LOOKUP_TABLE,
                "CLIENTS_TABLE": CLIENTS_TABLE,
                "FEEDBACK_TABLE": FEEDBACK_TABLE,
                "ENDPOINT_NAME": ENDPOINT_NAME,
                "ANSWER_KEY_SECRET": ANSWER_KEY,
            }
        },
    }
    current = found(lambda: functions.get_function(FunctionName=NAME), "ResourceNotFoundException")
    if current is None:
        functions.create_function(FunctionName=NAME, Runtime=RUNTIME, Code={"ZipFile": code}, **settings)
    else:
        configuration = current["Configuration"]
        if configuration["CodeSha256"] != base64.b64encode(hashlib.sha256(code).digest()).decode():
            functions.update_function_code(FunctionName=NAME, ZipFile=code)
        if any(configuration.get(name) != value for name, value in settings.items()):
            functions.update_function_configuration(FunctionName=NAME, **settings)
    version = functions.publish_version(FunctionName=NAME)["Version"]  # the last one where nothing has changed
    alias = found(lambda: functions.get_alias(FunctionName=NAME, Name=ALIAS), "ResourceNotFoundException")
    if alias is None:
        functions.create_alias(FunctionName=NAME, Name=ALIAS, FunctionVersion=version)
    elif alias["FunctionVersion"] != version:
        functions.update_alias(FunctionName=NAME, Name=ALIAS, FunctionVersion=version)
    allow_gateway(config, ALIAS)
    return f"arn:aws:lambda:{config.region}:{config.account}:function:{NAME}"


def allow_gateway(config: LocalConfig, alias: str) -> None:
    """Let API Gateway invoke an alias of the function."""
    functions = config.client("lambda")
    policy = found(lambda: functions.get_policy(FunctionName=NAME, Qualifier=alias), "ResourceNotFoundException")
    if policy is None or f'"gateway-{alias}"' not in policy["Policy"]:
        functions.add_permission(
            FunctionName=NAME,
            Qualifier=alias,
            StatementId=f"gateway-{alias}",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{config.region}:{config.account}:*",
        )


def _code() -> bytes:
    """The application's own sources as a zip; its dependencies are those of this installation."""
    import lookup_api
    import topic_model
    from workflow_functions.package import write_zip

    library, application = Path(topic_model.__file__).parent, Path(lookup_api.__file__).parent
    files = {f"topic_model/{name}": library / name for name in ("__init__.py", "errors.py", "published.py")}
    files |= {
        f"lookup_api/{path.relative_to(application)}": path
        for path in application.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with tempfile.TemporaryDirectory(prefix="topic-model-lookup-api-") as folder:
        return write_zip(files, Path(folder) / "lookup-api.zip").read_bytes()


def _ensure_api(config: LocalConfig, function_arn: str) -> str:
    """The id of the API; a document that is not the one that serves is imported and deployed."""
    from lookup_api.app import bare_app
    from lookup_api.gateway import gateway_document, resolved

    gateway = config.client("apigateway")
    document = json.dumps(resolved(gateway_document(bare_app().openapi()), function_arn), sort_keys=True).encode()
    digest = f"document {hashlib.sha256(document).hexdigest()[:16]}"
    apis = gateway.get_rest_apis(limit=MOST_ITEMS)["items"]
    api_id = next((str(api["id"]) for api in apis if api["name"] == NAME), None)
    if api_id is None:
        api_id = str(gateway.create_rest_api(name=NAME, description="the lookup API")["id"])
    stage = found(lambda: gateway.get_stage(restApiId=api_id, stageName=STAGE), "NotFoundException")
    serving = stage and gateway.get_deployment(restApiId=api_id, deploymentId=stage["deploymentId"])
    if not serving or serving.get("description") != digest:
        gateway.put_rest_api(restApiId=api_id, mode="overwrite", body=document)
        onto = {"stageName": STAGE} if stage is not None else {}
        made = gateway.create_deployment(restApiId=api_id, description=digest, **onto)
        if stage is None:
            gateway.create_stage(restApiId=api_id, stageName=STAGE, deploymentId=made["id"], variables={"alias": ALIAS})
    return api_id


def _ensure_stage(config: LocalConfig, api_id: str, limits: Limits) -> None:
    """The stage's access log and its cache."""
    gateway, logs = config.client("apigateway"), config.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=LOG_GROUP)["logGroups"]:
        logs.create_log_group(logGroupName=LOG_GROUP)
    caching = limits.cache_seconds > 0
    log_arn = f"arn:aws:logs:{config.region}:{config.account}:log-group:{LOG_GROUP}"
    stage = gateway.get_stage(restApiId=api_id, stageName=STAGE)
    everywhere = stage["methodSettings"].get("*/*", {})
    if (
        stage["cacheClusterEnabled"] == caching
        and everywhere.get("cachingEnabled") == caching
        and everywhere.get("cacheTtlInSeconds") == limits.cache_seconds
        and stage.get("accessLogSettings") == {"destinationArn": log_arn, "format": _LOG_FORMAT}
    ):
        return
    wanted = {
        "/accessLogSettings/destinationArn": log_arn,
        "/accessLogSettings/format": _LOG_FORMAT,
        "/cacheClusterEnabled": str(caching).lower(),
        "/cacheClusterSize": "0.5",
        "/*/*/caching/enabled": str(caching).lower(),
        "/*/*/caching/ttlInSeconds": str(limits.cache_seconds),
        "/~1health/GET/caching/enabled": "false",  # it says how things are now
    }
    changes = [{"op": "replace", "path": path, "value": value} for path, value in wanted.items()]
    gateway.update_stage(restApiId=api_id, stageName=STAGE, patchOperations=changes)
