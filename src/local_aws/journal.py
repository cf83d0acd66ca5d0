"""The journal of control-plane requests: what makes roles, topics, functions, tables and models outlive the server.

Every request that changes something and succeeds is a line of JSON in an append-only file, written before the client
hears of it; at the start the lines are played to moto again. The file is rewritten at each start without what later
requests made void, and with the present rows of the tables in place of their history, so it does not grow for ever.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkzeug.test import EnvironBuilder

from local_aws.cloudformation_operations import HEADER as OPERATION_HEADER
from local_aws.config import ACCOUNT, LocalAwsError, root_option
from local_aws.http_server import Environ, Headers, WsgiApp, whole_body
from local_aws.request_names import action_of, region_of, service_of

LOG = logging.getLogger(__name__)

_CHANGES = (
    "Add", "Associate", "Attach", "Create", "Delete", "Detach", "Disable", "Disassociate", "Enable", "Put", "Register",
    "Remove", "Set", "Subscribe", "Tag", "Unsubscribe", "Untag", "Update",
)  # fmt: skip
_ROWS = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems", "ExecuteStatement",
                   "BatchExecuteStatement", "ExecuteTransaction"})  # fmt: skip

_ALL_CHANGES: frozenset[str] | None = None
_JOURNALLED: Mapping[str, frozenset[str] | None] = {
    # None: every action that starts with a verb of change. Jobs, endpoints and executions keep their own state.
    "iam": _ALL_CHANGES,
    "sns": _ALL_CHANGES,
    "sqs": frozenset({"CreateQueue", "DeleteQueue", "SetQueueAttributes", "TagQueue", "UntagQueue", "AddPermission"}),
    "events": frozenset({"PutRule", "DeleteRule", "PutTargets", "RemoveTargets", "EnableRule", "DisableRule",
                         "CreateEventBus", "DeleteEventBus"}),
    "monitoring": frozenset({"PutMetricAlarm", "PutCompositeAlarm", "DeleteAlarms", "PutDashboard", "DeleteDashboards",
                             "TagResource", "UntagResource"}),
    "application-autoscaling": frozenset({"RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy",
                                          "DeleteScalingPolicy", "PutScheduledAction", "DeleteScheduledAction"}),
    # What is logged is not kept, but a group that somebody made is: an access log is written into it.
    "logs": frozenset({"CreateLogGroup", "DeleteLogGroup", "PutRetentionPolicy", "DeleteRetentionPolicy",
                       "PutMetricFilter", "DeleteMetricFilter", "PutResourcePolicy", "DeleteResourcePolicy",
                       "TagLogGroup", "UntagLogGroup", "TagResource", "UntagResource"}),
    "states": _ALL_CHANGES,
    "apigateway": _ALL_CHANGES,
    "dynamodb": _ALL_CHANGES,
    "ssm": _ALL_CHANGES,
    "secretsmanager": _ALL_CHANGES,
    "ecr": frozenset({"CreateRepository", "DeleteRepository", "PutLifecyclePolicy", "DeleteLifecyclePolicy",
                      "SetRepositoryPolicy", "DeleteRepositoryPolicy", "PutImageScanningConfiguration",
                      "PutImageTagMutability", "TagResource", "UntagResource"}),
    "kms": frozenset({"CreateKey", "CreateAlias", "UpdateAlias", "DeleteAlias", "PutKeyPolicy", "UpdateKeyDescription",
                      "EnableKeyRotation", "DisableKeyRotation", "EnableKey", "DisableKey", "ScheduleKeyDeletion",
                      "CancelKeyDeletion", "TagResource", "UntagResource"}),
    "ec2": frozenset({"CreateVpc", "DeleteVpc", "ModifyVpcAttribute", "CreateSubnet", "DeleteSubnet",
                      "ModifySubnetAttribute", "CreateSecurityGroup", "DeleteSecurityGroup",
                      "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupIngress",
                      "RevokeSecurityGroupEgress", "CreateVpcEndpoint", "ModifyVpcEndpoint", "DeleteVpcEndpoints",
                      "CreateRouteTable", "DeleteRouteTable", "CreateRoute", "ReplaceRoute", "DeleteRoute",
                      "AssociateRouteTable", "DisassociateRouteTable", "CreateInternetGateway", "DeleteInternetGateway",
                      "AttachInternetGateway", "DetachInternetGateway", "CreateFlowLogs", "DeleteFlowLogs",
                      "CreateTags", "DeleteTags"}),
    "budgets": _ALL_CHANGES,
    "scheduler": _ALL_CHANGES,  # a REST protocol: every request that is no GET
    "codebuild": frozenset({"CreateProject", "UpdateProject", "DeleteProject"}),
    "codecommit": frozenset({"CreateRepository", "DeleteRepository"}),
    "codepipeline": frozenset({"CreatePipeline", "UpdatePipeline", "DeletePipeline", "TagResource", "UntagResource"}),
    "ecs": frozenset({"CreateCluster", "UpdateCluster", "DeleteCluster", "RegisterTaskDefinition",
                      "DeregisterTaskDefinition", "TagResource", "UntagResource"}),
    "sagemaker": frozenset({"CreateModel", "DeleteModel", "CreateEndpointConfig", "DeleteEndpointConfig",
                            "CreateModelPackageGroup", "DeleteModelPackageGroup", "CreateModelPackage",
                            "UpdateModelPackage", "DeleteModelPackage", "AddTags", "DeleteTags"}),
}  # fmt: skip
_KEPT_HEADERS = {
    "CONTENT_TYPE": "Content-Type",
    "HTTP_X_AMZ_TARGET": "X-Amz-Target",
    "HTTP_SMITHY_PROTOCOL": "Smithy-Protocol",
    "HTTP_X_AMZN_QUERY_MODE": "X-Amzn-Query-Mode",
    "HTTP_X_LOCAL_AWS_OPERATION": OPERATION_HEADER,
    "HTTP_X_LOCAL_AWS_SEED": "X-Local-Aws-Seed",  # ids are drawn from it, now and when it is played
}

# A deletion makes void what came before it about the same thing: (service, action that deletes) → the field naming it.
_DELETIONS = {
    ("sagemaker", "DeleteModel"): "ModelName",
    ("sagemaker", "DeleteEndpointConfig"): "EndpointConfigName",
    ("dynamodb", "DeleteTable"): "TableName",
    ("logs", "DeleteLogGroup"): "logGroupName",
}


@dataclass(frozen=True)
class Entry:
    """One journalled request."""

    service: str
    action: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def to_line(self) -> bytes:
        """One line of JSON; a body that is no UTF-8 text is written in base64."""
        fields: dict[str, Any] = {
            "service": self.service,
            "action": self.action,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": dict(self.headers),
        }
        try:
            fields["body"] = self.body.decode("utf-8")
        except UnicodeDecodeError:
            fields["body_base64"] = base64.b64encode(self.body).decode("ascii")
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """The inverse of :meth:`to_line`; ValueError or KeyError for a damaged line."""
        fields = json.loads(line)
        coded = fields.pop("body_base64", None)
        body = base64.b64decode(coded, validate=True) if coded is not None else fields.pop("body").encode()
        return cls(body=body, **fields)

    def document(self) -> dict[str, Any]:
        """The body's JSON object; empty for other protocols."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Journal:
    """The journal's file.

    Raises:
        LocalAwsError: the file is damaged anywhere but at its end, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._entries = list(_read(path))
            path.touch(mode=0o600)
            path.chmod(0o600)  # it holds the seeds of API keys, and the values of secrets
            self._file = path.open("ab")
        except OSError as error:
            raise LocalAwsError(f"{path} cannot be used: {error}") from error

    def append(self, entry: Entry) -> None:
        """Write an entry; it survives the process when this returns.

        Raises:
            OSError: the disk is full; no part of the entry stays.
        """
        line = entry.to_line()
        with self._lock:
            end = self._file.seek(0, os.SEEK_END)
            try:
                self._file.write(line)
                self._file.flush()
            except OSError:
                self._file.close()  # drops what is still buffered
                os.truncate(self.path, end)
                self._file = self.path.open("ab")
                raise

    def drop(self, operations: frozenset[str]) -> None:
        """Forget what was done for these operations on stacks' resources; call it before the replay."""
        self._entries = [entry for entry in self._entries if entry.headers.get(OPERATION_HEADER) not in operations]

    def replay(self, app: WsgiApp, services: set[str] | None) -> None:
        """Play the entries of ``services`` to ``app``; None means all but S3's, which come first."""
        for entry in self._entries:
            if (entry.service in services) if services is not None else entry.service != "s3":
                status = "200" if _put_rows(entry) else _play(app, entry)
                if not status.startswith("2"):
                    LOG.error("the journal's %s %s was answered %s", entry.service, entry.action, status)

    def compact(self) -> None:
        """Rewrite the file without void entries, tables as their present rows; call it after the replay."""
        kept = _without_void(self._entries)
        lines = [entry.to_line() for entry in kept if entry.action not in _ROWS]
        lines += [entry.to_line() for entry in _present_rows()]
        temporary = self.path.with_suffix(".tmp")
        try:
            temporary.touch(mode=0o600)
            temporary.write_bytes(b"".join(lines))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            LOG.warning("the journal stays as it is: %s", error)
        else:
            with self._lock:
                self._file.close()
                temporary.replace(self.path)
                self._file = self.path.open("ab")
        self._entries = []  # they are in moto now

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


class Journalled:
    """A WSGI application whose successful changes are journalled before they are answered."""

    def __init__(self, app: WsgiApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal
        # One change of a service at a time: the journal's order is then the order in which moto made the changes.
        self._locks = {service: threading.Lock() for service in (*_JOURNALLED, "s3", "lambda")}

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        """Answer a request; WSGI."""
        service = service_of(environ)
        if environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS") or not _may_change(service, environ):
            return self._app(environ, start_response)
        body = whole_body(environ)
        action = action_of(environ, body)
        if not is_journalled(service, action):
            return self._app(environ, start_response)
        entry = Entry(
            service,
            action,
            environ["REQUEST_METHOD"],
            str(environ.get("RAW_URI") or environ["PATH_INFO"]).split("?", 1)[0],
            environ.get("QUERY_STRING", ""),
            _headers(environ),
            body,
        )
        with self._locks[service]:
            return self._answer(environ, start_response, entry)

    def _answer(self, environ: Environ, start_response: Any, entry: Entry) -> Any:
        answer: list[Any] = []

        def hold(status: str, headers: Headers, exc_info: Any = None) -> Any:
            answer[:] = [status, headers, exc_info]
            return None

        chunks = self._app(environ, hold)
        if answer[0].startswith("2"):
            try:
                self._journal.append(_self_contained(entry))
            except OSError as error:
                # moto has made the change, the disk has not: say so, and do not try again (507).
                message = f"{self._journal.path} cannot be written: {error}; {entry.action} will not outlive the server"
                payload = json.dumps({"__type": "InsufficientStorage", "message": message}).encode()
                start_response("507 Insufficient Storage", [("Content-Type", "application/x-amz-json-1.1")])
                return [payload]
        start_response(*answer[:2])
        return chunks


def is_journalled(service: str, action: str) -> bool:
    """Whether a successful request of this action belongs in the journal."""
    if service == "s3":
        method, path = action.split(" ", 1)
        # A bucket's own requests: /bucket or /bucket/. Objects are the store's; a multi-delete (POST) is theirs too.
        return method in ("PUT", "DELETE") and path.strip("/").count("/") == 0
    if service == "lambda":
        method, path = action.split(" ", 1)
        return method != "GET" and not path.endswith(("/invocations", "/invoke-async", "/invoke-async/"))
    if service in ("apigateway", "scheduler"):
        return not action.startswith(("GET ", "HEAD "))
    if service not in _JOURNALLED:
        return False
    actions = _JOURNALLED[service]
    if actions is not None:
        return action in actions
    return action.startswith(_CHANGES) or (service == "dynamodb" and action in _ROWS)


def _may_change(service: str, environ: Environ) -> bool:
    """A first look that needs no body, so that objects and invocations stream past."""
    if service in ("s3", "lambda"):
        return is_journalled(service, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
    return service in _JOURNALLED


def _headers(environ: Environ) -> dict[str, str]:
    """What a replay needs of a request's headers; whose key signed it, and how, is not written down."""
    kept = {name: environ[key] for key, name in _KEPT_HEADERS.items() if environ.get(key)}
    return {**kept, "Authorization": _authorization(service_of(environ), region_of(environ))}


def _authorization(service: str, region: str) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential=local/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )


def _self_contained(entry: Entry) -> Entry:
    """A Lambda function's code by value: its object in S3 may be gone when the journal is played."""
    document = entry.document() if entry.service == "lambda" else {}
    code = document.get("Code", document)
    if not (code.get("S3Bucket") and code.get("S3Key")):
        return entry
    from local_aws import s3_store

    key = s3_store.find(code["S3Bucket"], code["S3Key"])
    if key is None:
        return entry
    for name in ("S3Bucket", "S3Key", "S3ObjectVersion"):
        code.pop(name, None)
    code["ZipFile"] = base64.b64encode(key.value).decode("ascii")
    return Entry(
        entry.service, entry.action, entry.method, entry.path, entry.query, entry.headers, json.dumps(document).encode()
    )


def _read(path: Path) -> Iterator[Entry]:
    """The entries of a file; a torn last line is cut off, damage before it is an error."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                LOG.warning("%s ends in the middle of line %d; that request was never answered", path, number)
                os.truncate(path, path.stat().st_size - len(line))
                return
            try:
                yield Entry.from_line(line)
            except (ValueError, KeyError, TypeError) as error:
                raise LocalAwsError(
                    f"{path} is damaged at line {number} ({error}); delete the state with "
                    f"'topic-model local reset{root_option(path.parent)}'"
                ) from error


def _play(app: WsgiApp, entry: Entry) -> str:
    builder = EnvironBuilder(
        path=entry.path,
        base_url="http://127.0.0.1",
        query_string=entry.query,
        method=entry.method,
        headers=list(entry.headers.items()),
        data=entry.body,
    )
    environ = builder.get_environ()
    environ["RAW_URI"] = f"{entry.path}?{entry.query}" if entry.query else entry.path
    answer: list[str] = []
    chunks: Iterable[bytes] = app(environ, lambda status, _headers, _exc_info=None: answer.append(status))
    text = b"".join(chunks)[:500]
    if close := getattr(chunks, "close", None):
        close()
    return answer[-1] if answer[-1].startswith("2") else f"{answer[-1]}: {text.decode(errors='replace')}"


def _put_rows(entry: Entry) -> bool:
    """Put the rows of a BatchWriteItem straight into their table, not by a request; False if it is none."""
    if entry.action != "BatchWriteItem":
        return False
    from moto.dynamodb.models import dynamodb_backends

    requests = entry.document().get("RequestItems", {})
    if any("PutRequest" not in request for writes in requests.values() for request in writes):
        return False
    backend = dynamodb_backends[ACCOUNT][region_of({"HTTP_AUTHORIZATION": entry.headers["Authorization"]})]
    if any(table not in backend.tables for table in requests):
        return False
    for table, writes in requests.items():
        for request in writes:
            backend.put_item(table, request["PutRequest"]["Item"])
    return True


def _without_void(entries: list[Entry]) -> list[Entry]:
    """Entries that later ones do not make void, in order."""
    kept: list[Entry] = []
    deleted: set[tuple[str, str, str]] = set()
    newer_code: set[str] = set()
    for entry in reversed(entries):
        if field := _DELETIONS.get((entry.service, entry.action)):
            deleted.add((entry.service, field, str(entry.document().get(field))))
            continue
        document = entry.document() if entry.service in ("sagemaker", "dynamodb", "logs") else {}
        if any((entry.service, field, str(document.get(field))) in deleted for field in set(_DELETIONS.values())):
            continue
        if entry.service == "sagemaker" and _tagged(document) & deleted:
            continue
        if entry.service == "lambda" and entry.path.endswith("/code"):
            if entry.path in newer_code:
                continue
            newer_code.add(entry.path)
        kept.append(entry)
    return kept[::-1]


def _tagged(document: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """What AddTags and DeleteTags name by an ARN, as a deletion would name it."""
    kind, _, name = str(document.get("ResourceArn", "")).rpartition(":")[2].partition("/")
    field = {"endpoint-config": "EndpointConfigName", "model": "ModelName"}.get(kind)
    return {("sagemaker", field, name)} if field else set()


def _present_rows() -> Iterator[Entry]:
    from moto.dynamodb.models import dynamodb_backends

    for region, backend in dynamodb_backends[ACCOUNT].items():
        for table in backend.tables.values():
            rows = [
                {"PutRequest": {"Item": {name: _wire(value) for name, value in item.attrs.items()}}}
                for item in table.all_items()
            ]
            for start in range(0, len(rows), 25):  # BatchWriteItem takes 25
                yield Entry(
                    service="dynamodb",
                    action="BatchWriteItem",
                    method="POST",
                    path="/",
                    query="",
                    headers={
                        "Authorization": _authorization("dynamodb", region),
                        "Content-Type": "application/x-amz-json-1.0",
                        "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
                    },
                    body=json.dumps({"RequestItems": {table.name: rows[start : start + 25]}}).encode(),
                )


def _wire(value: Any) -> Any:
    """An attribute as DynamoDB's protocol writes it: types as keys, binaries in base64."""
    if hasattr(value, "type") and hasattr(value, "value"):
        return {value.type: _wire(value.value)}
    if isinstance(value, dict):
        return {name: _wire(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_wire(inner) for inner in value]
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
