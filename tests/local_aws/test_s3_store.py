"""S3 on disk: what clients wrote is there, whole, whatever happens to the server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import lifecycle
from local_aws.config import LocalConfig
from local_aws.s3_requests import _span
from tests.local_aws.conftest import free_port, kill_and_restart, running, server_pid

MIB = 1 << 20
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})


@pytest.fixture(scope="module")
def bucket(shared_aws: LocalConfig) -> str:
    shared_aws.client("s3").create_bucket(Bucket="store")
    return "store"


def bodies(config: LocalConfig) -> list[Path]:
    return [path for path in (config.root / "s3" / "objects").glob("*/*") if path.is_file()]


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalConfig, dict[str, Any]]]:
    """A server that was killed after writes, started again; and what the writes were answered."""
    with running(tmp_path_factory.mktemp("survived") / "aws") as config:
        s3 = config.client("s3")
        for name in ("data", "dropped", "versions"):
            s3.create_bucket(Bucket=name)
        s3.put_object(
            Bucket="data",
            Key="ä b/c?d",
            Body=b"text",
            Metadata={"under_score": "v"},
            ContentType="text/x-y",
            Tagging="team=a",
            StorageClass="STANDARD_IA",
        )
        answers: dict[str, Any] = {"head": s3.head_object(Bucket="data", Key="ä b/c?d")}
        for name in ("over", "gone", "many-1", "many-2", "source"):
            s3.put_object(Bucket="data", Key=name, Body=f"first {name}".encode())
        s3.put_object(Bucket="data", Key="over", Body=b"second")
        s3.delete_object(Bucket="data", Key="gone")
        s3.delete_objects(Bucket="data", Delete={"Objects": [{"Key": "many-1"}, {"Key": "many-2"}]})
        s3.copy_object(
            Bucket="data", Key="copy", CopySource="data/source", Metadata={"a": "1"}, MetadataDirective="REPLACE"
        )
        s3.delete_object(Bucket="data", Key="source")
        s3.put_object_tagging(Bucket="data", Key="over", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
        s3.put_bucket_policy(Bucket="data", Policy=POLICY)
        s3.delete_bucket(Bucket="dropped")
        s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
        answers["first version"] = s3.put_object(Bucket="versions", Key="k", Body=b"1")["VersionId"]
        s3.put_object(Bucket="versions", Key="k", Body=b"2")
        s3.delete_object(Bucket="versions", Key="k")
        yield kill_and_restart(config), answers


def test_an_object_survives_kill_9_with_its_metadata_and_tags(survived: tuple[LocalConfig, dict[str, Any]]) -> None:
    """Body, metadata, content type, tags, ETag and time of an object are the same after ``kill -9``."""
    s3, before = survived[0].client("s3"), survived[1]["head"]
    after = s3.get_object(Bucket="data", Key="ä b/c?d")
    assert after["Body"].read() == b"text"
    assert before["Metadata"] == {"under_score": "v"}
    for field in ("ETag", "Metadata", "ContentType", "LastModified", "StorageClass"):
        assert after[field] == before[field]
    assert s3.get_object_tagging(Bucket="data", Key="ä b/c?d")["TagSet"] == [{"Key": "team", "Value": "a"}]


def test_a_changed_object_is_its_last_version_after_a_restart(survived: tuple[LocalConfig, dict[str, Any]]) -> None:
    """Overwrites, deletions, multi-deletes, copies and tagging are what a restart brings back; no file is left over."""
    s3 = survived[0].client("s3")
    assert [found["Key"] for found in s3.list_objects_v2(Bucket="data")["Contents"]] == ["copy", "over", "ä b/c?d"]
    assert s3.get_object(Bucket="data", Key="over")["Body"].read() == b"second"
    copied = s3.get_object(Bucket="data", Key="copy")
    assert (copied["Body"].read(), copied["Metadata"]) == (b"first source", {"a": "1"})
    assert s3.get_object_tagging(Bucket="data", Key="over")["TagSet"] == [{"Key": "k", "Value": "v"}]
    assert len(bodies(survived[0])) == 3 + 2  # three objects here, two versions in the other bucket


def test_buckets_and_their_settings_survive(survived: tuple[LocalConfig, dict[str, Any]]) -> None:
    """Buckets, a policy on one, and the deletion of another are brought back."""
    s3 = survived[0].client("s3")
    assert [found["Name"] for found in s3.list_buckets()["Buckets"]] == ["data", "versions"]
    assert json.loads(s3.get_bucket_policy(Bucket="data")["Policy"]) == json.loads(POLICY)


def test_versions_survive(survived: tuple[LocalConfig, dict[str, Any]]) -> None:
    """In a versioned bucket every version and a delete marker are brought back in order."""
    s3 = survived[0].client("s3")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="versions", Key="k")
    first = s3.get_object(Bucket="versions", Key="k", VersionId=survived[1]["first version"])
    assert first["Body"].read() == b"1"
    listed = s3.list_object_versions(Bucket="versions")
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (2, 1)


def test_a_large_object_goes_up_and_comes_down_in_parts(shared_aws: LocalConfig, bucket: str, tmp_path: Path) -> None:
    """boto3's multipart upload and ranged download of 40 MiB give the same bytes, and the parts' files are gone."""
    s3 = shared_aws.client("s3")
    content = os.urandom(40 * MIB + 13)
    (tmp_path / "up").write_bytes(content)
    s3.upload_file(str(tmp_path / "up"), bucket, "large")
    s3.download_file(bucket, "large", str(tmp_path / "down"))
    assert hashlib.sha256((tmp_path / "down").read_bytes()).digest() == hashlib.sha256(content).digest()
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "large-copy")
    assert s3.head_object(Bucket=bucket, Key="large-copy")["ContentLength"] == len(content)
    assert not list((shared_aws.root / "s3" / "parts").iterdir())
    etags = [_md5(content[start : start + 8 * MIB]).digest() for start in range(0, len(content), 8 * MIB)]
    expected = f'"{_md5(b"".join(etags)).hexdigest()}-{len(etags)}"'
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"] == expected


def _md5(content: bytes) -> Any:
    return hashlib.md5(content, usedforsecurity=False)


def test_downloading_a_large_object_leaves_memory_flat(shared_aws: LocalConfig, bucket: str, tmp_path: Path) -> None:
    """A ranged download of 64 MiB does not raise the server's peak memory by as much as the object."""
    s3 = shared_aws.client("s3")
    (tmp_path / "up").write_bytes(bytes(64 * MIB))
    s3.upload_file(str(tmp_path / "up"), bucket, "flat")
    before = _peak_memory(server_pid(shared_aws))
    s3.download_file(bucket, "flat", str(tmp_path / "down"))
    assert _peak_memory(server_pid(shared_aws)) - before < 32 * MIB


def _peak_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


@pytest.mark.parametrize(
    ("header", "expected"),
    [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-3", b"789"), ("bytes=5-99", b"56789"), ("bytes=0-0", b"0")],
)
def test_ranges_are_those_of_rfc_9110(shared_aws: LocalConfig, bucket: str, header: str, expected: bytes) -> None:
    """A single range of each form gives its bytes, 206 and a Content-Range."""
    s3 = shared_aws.client("s3")
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    answer = s3.get_object(Bucket=bucket, Key="digits", Range=header)
    assert answer["Body"].read() == expected
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"].endswith("/10")


def test_a_range_past_the_end_is_refused(shared_aws: LocalConfig, bucket: str) -> None:
    """A range that starts behind the last byte is InvalidRange, of an empty object too."""
    s3 = shared_aws.client("s3")
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket=bucket, Key="empty", Range="bytes=0-1")
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""


def test_spans_agree_with_slices() -> None:
    """The span of ``bytes=a-b`` selects what Python's slice ``[a:b+1]`` does, for all small sizes."""
    for size in range(5):
        content = bytes(range(size))
        for first in range(6):
            for last in range(first, 7):
                span = _span(f"bytes={first}-{last}", size)
                assert (content[span[0] : span[1]] if span else b"") == content[first : last + 1]


def test_a_download_is_refused_when_the_object_changed(shared_aws: LocalConfig, bucket: str) -> None:
    """If-Match with another object's ETag is a failed precondition, not the new object's bytes."""
    s3 = shared_aws.client("s3")
    old = s3.put_object(Bucket=bucket, Key="changing", Body=b"old")["ETag"]
    s3.put_object(Bucket=bucket, Key="changing", Body=b"new")
    with pytest.raises(ClientError, match=r"PreconditionFailed|412"):
        s3.get_object(Bucket=bucket, Key="changing", Range="bytes=0-1", IfMatch=old)


def test_a_reader_gets_the_object_it_began_with(shared_aws: LocalConfig, bucket: str) -> None:
    """An object replaced while it is being read is read to its own end."""
    s3 = shared_aws.client("s3")
    s3.put_object(Bucket=bucket, Key="replaced", Body=b"a" * 32 * MIB)
    stream = s3.get_object(Bucket=bucket, Key="replaced")["Body"]
    head = stream.read(10)
    s3.put_object(Bucket=bucket, Key="replaced", Body=b"b")
    assert head + stream.read() == b"a" * 32 * MIB


def test_presigned_urls_read_and_write(shared_aws: LocalConfig, bucket: str) -> None:
    """A presigned PUT stores an object and a presigned GET returns it."""
    s3 = shared_aws.client("s3")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "signed"})
    request = urllib.request.Request(  # noqa: S310 - loopback
        put, data=b"by url", method="PUT", headers={"Content-Type": "text/plain"}
    )
    urllib.request.urlopen(request)  # noqa: S310 - loopback
    got = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "signed"})
    assert urllib.request.urlopen(got).read() == b"by url"  # noqa: S310 - loopback


@pytest.fixture
def cramped_aws(tmp_path: Path) -> Iterator[LocalConfig]:
    """A server whose files may not grow beyond 4 MiB: the system refuses writes as it does on a full disk."""
    root, port = tmp_path / "aws", free_port()
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20));"
        "sys.argv[0] = 'server'; runpy.run_module('local_aws.server', run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", limited, "--root", str(root), "--port", str(port)],
        env={**os.environ, "LOCAL_AWS_WORKER": "off"},
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not lifecycle.status(root).running:
            time.sleep(0.05)
        yield lifecycle.connect(root)
    finally:
        process.terminate()
        process.wait(30)


def test_a_full_disk_is_a_clear_error_and_leaves_the_old_object(cramped_aws: LocalConfig) -> None:
    """A body that the system refuses is an error that names the folder; the old object and nothing else is there."""
    s3 = cramped_aws.client("s3")
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="k", Body=b"old")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="data", Key="k", Body=bytes(5 * MIB))
    assert refused.value.response["Error"]["Code"] == "InsufficientStorage"
    assert str(cramped_aws.root / "s3") in refused.value.response["Error"]["Message"]
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"old"
    assert len(bodies(cramped_aws)) == 1
    s3.put_object(Bucket="data", Key="k", Body=b"new")
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"new"


def test_only_path_style_names_of_objects_are_served(shared_aws: LocalConfig, bucket: str) -> None:
    """A missing object, and one in a missing bucket, are S3's own errors."""
    s3 = shared_aws.client("s3")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="missing")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.get_object(Bucket="no-such-bucket", Key="missing")
