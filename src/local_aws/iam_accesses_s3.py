"""S3's requests as permissions: its actions follow from method, query and headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from local_aws.iam_policies import Context

_Found = tuple[str, str, Context]

_BUCKET_ACTIONS: Mapping[tuple[str, str], str] = {
    ("GET", "location"): "GetBucketLocation",
    ("GET", "versions"): "ListBucketVersions",
    ("GET", "uploads"): "ListBucketMultipartUploads",
    ("GET", "encryption"): "GetEncryptionConfiguration",
    ("PUT", "encryption"): "PutEncryptionConfiguration",
    ("DELETE", "encryption"): "PutEncryptionConfiguration",
    ("GET", "lifecycle"): "GetLifecycleConfiguration",
    ("PUT", "lifecycle"): "PutLifecycleConfiguration",
    ("DELETE", "lifecycle"): "PutLifecycleConfiguration",
    ("GET", "policy"): "GetBucketPolicy",
    ("PUT", "policy"): "PutBucketPolicy",
    ("DELETE", "policy"): "DeleteBucketPolicy",
    ("GET", "publicAccessBlock"): "GetBucketPublicAccessBlock",
    ("PUT", "publicAccessBlock"): "PutBucketPublicAccessBlock",
    ("DELETE", "publicAccessBlock"): "PutBucketPublicAccessBlock",
    ("GET", "ownershipControls"): "GetBucketOwnershipControls",
    ("PUT", "ownershipControls"): "PutBucketOwnershipControls",
    ("DELETE", "ownershipControls"): "PutBucketOwnershipControls",
    **{
        (method, part.lower()): f"{verb}Bucket{part}"
        for method, verb in (("GET", "Get"), ("PUT", "Put"))
        for part in ("Versioning", "Tagging", "Acl", "Logging", "Notification", "Cors", "Website")
    },
    ("DELETE", "tagging"): "PutBucketTagging",
    ("DELETE", "cors"): "PutBucketCORS",
}
_OBJECT_ACTIONS: Mapping[tuple[str, str], str] = {
    ("GET", "uploadId"): "ListMultipartUploadParts",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("PUT", "uploadId"): "PutObject",
    ("POST", "uploadId"): "PutObject",
    ("POST", "uploads"): "PutObject",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("DELETE", "tagging"): "DeleteObjectTagging",
    ("GET", "acl"): "GetObjectAcl",
    ("PUT", "acl"): "PutObjectAcl",
    ("GET", "attributes"): "GetObjectAttributes",
    ("GET", "versionId"): "GetObjectVersion",
    ("HEAD", "versionId"): "GetObjectVersion",
    ("DELETE", "versionId"): "DeleteObjectVersion",
}
_PLAIN_BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
_PLAIN_OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}


def s3_accesses(method: str, params: Mapping[str, Any], account: str) -> Iterator[_Found]:
    """Actions without their prefix, resources and contexts of a request; none where it is not known."""
    del account
    bucket, key, query = params["bucket"], params["key"], params["query"]
    if not bucket:
        yield "ListAllMyBuckets", "*", {}
        return
    arn = f"arn:aws:s3:::{bucket}"
    if not key:
        yield from _of_bucket(method, params, arn, query)
        return
    named = next((_OBJECT_ACTIONS[method, part] for part in query if (method, part) in _OBJECT_ACTIONS), None)
    action = named or _PLAIN_OBJECT.get(method)
    if action is None:
        return
    resource = f"{arn}/{key}"
    yield action, resource, _encryption(params) if action == "PutObject" else {}
    if source := params.get("source"):
        path = unquote(str(source).partition("?")[0]).removeprefix("/")
        yield "GetObject", f"arn:aws:s3:::{path}", {}
    if action == "PutObject" and params.get("tagging"):
        yield "PutObjectTagging", resource, {}


def _of_bucket(method: str, params: Mapping[str, Any], arn: str, query: Mapping[str, str]) -> Iterator[_Found]:
    if method == "POST" and "delete" in query:
        for key in params["deleted"]:
            yield "DeleteObject", f"{arn}/{key}", {}
        return
    named = next((_BUCKET_ACTIONS[method, part] for part in query if (method, part) in _BUCKET_ACTIONS), None)
    action = named or _PLAIN_BUCKET.get(method)
    if action is None:
        return
    listing = {
        f"s3:{name}": (query[name],)
        for name in ("prefix", "delimiter", "max-keys")
        if action == "ListBucket" and name in query
    }
    yield action, arn, listing


def _encryption(params: Mapping[str, Any]) -> Context:
    found = {
        "s3:x-amz-server-side-encryption": params.get("encryption"),
        "s3:x-amz-server-side-encryption-aws-kms-key-id": params.get("kms_key"),
    }
    return {name: (str(value),) for name, value in found.items() if value}
