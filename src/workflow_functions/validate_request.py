"""ValidateRequest: the execution's input, checked in seconds, and the plan that the rest of the workflow follows.

The request:

``exports``
    ``s3://<bucket>/<prefix>/`` with a folder a channel, or with the files of one channel directly.
``channels``
    Names of the folders to read; all that are found by default.
``deploy``
    Whether the endpoint is updated; true by default. It is refused while an A/B test is under way there.
``publish``
    Whether the lookups, which known campaigns are answered from, are published. They follow the endpoint: with
    ``deploy`` they are published once it serves their model, and false is refused. Without it no canary judges the
    model, so that by default nothing of another model is replaced: they are published if no endpoint serves and no
    others are published. True publishes them all the same.

The answer has names and URIs only; ``publish`` is always, first (if no others are published) or never::

    {"run", "prefix", "execution", "deploy", "publish",
     "channels": [{"name", "exports", "prepared", "scoring", "files", "bytes"}],
     "uris": {"prepared", "scoring", "corpus", "checkpoints", "training", "evaluation", "fingerprints", "lookups",
              "lookup_model"}}

URIs have no final slash.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from botocore.exceptions import ClientError

from topic_model.errors import ExportError
from topic_model.exports.layouts import HEAD_BYTES, is_export_name, sniff
from workflow_functions import aws
from workflow_functions.errors import RequestError

MAX_CHANNELS = 40
MAX_FILES = 10_000
MAX_SNIFFED_FILES = 25
"""Files of a channel whose head is read; the first of them in key order and the rest of them spread over the list."""

PREFIX_LENGTH = 18
"""A tuning job's name has 32 characters at most: the prefix, ``-tune-`` and eight digits."""

JOB_NAMES_BEGIN = "tm-"
"""So that the workflow's role may be held to names of this project's own."""

DEFAULT_CHANNEL = "default"

_FOLDERS = {
    "prepared": "prepared",
    "scoring": "scoring",
    "corpus": "corpus",
    "checkpoints": "checkpoints",
    "training": "training",
    "evaluation": "evaluation",
    "fingerprints": "fingerprints",
    "lookups": "lookups",
    "lookup_model": "lookup-model",
}
AB_TEST_CONFIG = "-config-ab-"
"""What the names of an A/B test's endpoint configurations have in common."""

_REQUEST_KEYS = frozenset({"exports", "channels", "deploy", "publish"})
_CHANNEL = re.compile(r"\w[\w .@+=-]{0,62}")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """The plan for ``{"request", "execution", "bucket", "endpoint"}``: the execution's input and name, the stack's.

    Raises:
        RequestError: the request is malformed, what it names is not there or cannot be read, or an A/B test is under
            way on the endpoint that it wants to deploy to.
    """
    del context
    request = _checked(event["request"])
    execution, bucket = str(event["execution"]), str(event["bucket"])
    if not _RUN.fullmatch(execution):
        raise RequestError(
            f"the execution's name is {execution!r}; it names the run's folder, so expected letters, digits, '.', '_' "
            "and '-', beginning with a letter or digit"
        )
    uris = {name: f"s3://{bucket}/runs/{execution}/{folder}" for name, folder in _FOLDERS.items()}
    _refuse_used_folder(bucket, execution)
    deploy, serving = request.get("deploy", True), _serving(str(event["endpoint"]))
    if deploy and serving is not None and AB_TEST_CONFIG in serving:
        raise RequestError(
            f"an A/B test is under way on endpoint {event['endpoint']} ({serving}), which a deployment would end; end "
            'it with `topic-model ab stop --keep A` or B and start again, or ask for no deployment ("deploy": false)'
        )
    channels = _channels(request["exports"], request.get("channels"))
    return {
        "run": execution,
        "prefix": job_prefix(execution),
        "execution": execution,
        "deploy": deploy,
        "publish": _when_to_publish(deploy, request.get("publish"), serving),
        "channels": [
            {
                **channel,
                "prepared": f"{uris['prepared']}/{channel['name']}",
                "scoring": f"{uris['scoring']}/{channel['name']}",
            }
            for channel in channels
        ],
        "uris": uris,
    }


def job_prefix(execution: str) -> str:
    """What an execution's job names begin with: some of its name for people, and a hash for uniqueness."""
    digest = hashlib.sha256(execution.encode()).hexdigest()[:8]
    room = PREFIX_LENGTH - len(JOB_NAMES_BEGIN) - len(digest) - 1
    readable = re.sub(r"[^a-z0-9]+", "-", execution.lower())[:room].strip("-")
    return JOB_NAMES_BEGIN + (f"{readable}-{digest}" if readable else digest)


def _checked(request: Any) -> dict[str, Any]:
    if not isinstance(request, dict):
        raise RequestError(f"the input is {_short(request)}; expected an object with 'exports'")
    if unknown := sorted(set(request) - _REQUEST_KEYS):
        raise RequestError(f"unknown key {unknown[0]!r} in the input; expected {sorted(_REQUEST_KEYS)}")
    if "exports" not in request:
        raise RequestError("the input lacks 'exports', the s3://<bucket>/<prefix>/ of the campaign exports")
    exports, channels, deploy = request["exports"], request.get("channels"), request.get("deploy", True)
    if not isinstance(exports, str):
        raise RequestError(f"exports is {_short(exports)}; expected s3://<bucket>/<prefix>/")
    if not isinstance(deploy, bool):
        raise RequestError(f"deploy is {_short(deploy)}; expected true or false")
    publish = request.get("publish")
    if "publish" in request and not isinstance(publish, bool):
        raise RequestError(f"publish is {_short(publish)}; expected true or false, or leave it out")
    if deploy and publish is False:
        raise RequestError(
            "publish is false and deploy true: known campaigns would be answered from another model's lookups than "
            "fresh ones; leave publish out, or let deploy be false"
        )
    if channels is not None:
        if not isinstance(channels, list) or not channels or not all(isinstance(name, str) for name in channels):
            raise RequestError(f"channels is {_short(channels)}; expected a list of folder names, or leave it out")
        if len(set(channels)) < len(channels):
            raise RequestError(f"channels is {_short(channels)}; each channel may be named once")
    return request


def _when_to_publish(deploy: bool, publish: bool | None, serving: str | None) -> str:
    if deploy or publish:
        return "always"
    return "first" if publish is None and serving is None else "never"


def _serving(endpoint: str) -> str | None:
    """The configuration that an endpoint serves with; None where there is none, or it has failed."""
    try:
        shown = aws.sagemaker().describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if "ould not find" not in str(error):
            raise
        return None
    return None if shown["EndpointStatus"] == "Failed" else str(shown["EndpointConfigName"])


def _channels(exports: str, wanted: list[str] | None) -> list[dict[str, Any]]:
    try:
        bucket, prefix = aws.split_uri(exports)
        folders, has_files = _first_level(bucket, f"{prefix}/" if prefix else "")
        if not folders and not has_files:
            raise RequestError(f"there is nothing under {exports}; expected a folder a channel, or files")
        if folders and has_files:
            raise RequestError(
                f"{exports} has files ({has_files!r}) beside folders ({folders[0]!r}); move them into a folder of "
                "their own, whose name becomes the channel's"
            )
        names = _chosen(exports, folders or [DEFAULT_CHANNEL], wanted)
        base = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        return [_channel(name, f"{base}/{name}" if folders else base) for name in names]
    except ValueError as error:
        raise RequestError(f"exports: {error}") from error
    except ClientError as error:
        code = aws.error_code(error)
        if code in ("NoSuchBucket", "AccessDenied", "403", "AllAccessDisabled"):
            raise RequestError(
                f"exports {exports} cannot be read: {code}; check the name and who may read it"
            ) from error
        raise


def _first_level(bucket: str, prefix: str) -> tuple[list[str], str]:
    """The folders under a prefix, and the name of one file that lies there directly (or an empty text)."""
    folders: list[str] = []
    file = ""
    for page in aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
        names = (entry["Prefix"][len(prefix) : -1] for entry in page.get("CommonPrefixes", []))
        folders += [name for name in names if name and is_export_name(name)]
        if len(folders) > MAX_CHANNELS:
            raise RequestError(f"s3://{bucket}/{prefix} has more than {MAX_CHANNELS} folders; a folder is a channel")
        keys = (entry["Key"] for entry in page.get("Contents", []) if not entry["Key"].endswith("/"))
        file = file or next((PurePosixPath(key).name for key in keys if is_export_name(key)), "")
    return folders, file


def _chosen(exports: str, found: list[str], wanted: list[str] | None) -> list[str]:
    if missing := sorted(set(wanted or ()) - set(found)):
        raise RequestError(f"{exports} has no channel {missing[0]!r}; found {found}")
    names = wanted or found
    for name in names:
        if not _CHANNEL.fullmatch(name):
            raise RequestError(
                f"the folder {name!r} cannot be a channel; rename it to letters, digits and ' . _ @ + = -', at most 63"
            )
    return names


def _channel(name: str, uri: str) -> dict[str, Any]:
    """A channel whose files all look like exports."""
    bucket, prefix = aws.split_uri(uri)
    listed = aws.list_objects(bucket, f"{prefix}/" if prefix else "", at_most=MAX_FILES + 1)
    files = [(key, size) for key, size in listed if is_export_name(key)]
    if not files:
        raise RequestError(f"channel {name!r} has no file under {uri}/; expected CSV, JSON Lines or Parquet")
    if len(files) > MAX_FILES:
        raise RequestError(f"channel {name!r} has more than {MAX_FILES:,} files under {uri}/; put them together")
    for key in _spread([key for key, _ in files]):
        try:
            sniff(aws.read_head(bucket, key, HEAD_BYTES), f"s3://{bucket}/{key}")
        except ExportError as error:
            raise RequestError(f"channel {name!r}: {error}") from error
    return {"name": name, "exports": uri, "files": len(files), "bytes": sum(size for _, size in files)}


def _spread(keys: list[str]) -> Iterable[str]:
    """At most ``MAX_SNIFFED_FILES`` keys, evenly over the list: a wrong file may come with any day's exports."""
    step = max(1, -(-len(keys) // MAX_SNIFFED_FILES))
    return itertools.islice(keys, 0, None, step)


def _refuse_used_folder(bucket: str, run: str) -> None:
    """An earlier execution of the same name left results that this one would mix with its own."""
    for folder in _FOLDERS.values():
        key, _ = next(aws.list_objects(bucket, f"runs/{run}/{folder}/", at_most=1), ("", 0))
        if key:
            raise RequestError(
                f"s3://{bucket}/{key} is there already: an execution named {run!r} ran before; choose another name"
            )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
