"""Packages by their content: what ``topic-model package --bucket`` uploads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from topic_model_cli.package_upload import Destination, UploadError, uploaded_template


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", "us-east-1", aws_access_key_id="t", aws_secret_access_key="t")
        client.create_bucket(Bucket="packages")
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code.zip").write_bytes(b"zip")
    (tmp_path / "workflow.asl.json").write_text("{}")
    (tmp_path / "functions" / "__pycache__").mkdir(parents=True)
    (tmp_path / "functions" / "teardown.py").write_text("")
    (tmp_path / "functions" / "__pycache__" / "teardown.pyc").write_text("")
    return tmp_path


TEMPLATE: dict[str, Any] = {
    "Resources": {
        "One": {"Type": "AWS::Lambda::Function", "Properties": {"Code": "code.zip"}},
        "Same": {"Type": "AWS::Lambda::Function", "Properties": {"Code": "code.zip"}},
        "Folder": {"Type": "AWS::Lambda::Function", "Properties": {"Code": "functions"}},
        "Image": {"Type": "AWS::Lambda::Function", "Properties": {"Code": {"ImageUri": "…"}}},
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"DefinitionS3Location": "workflow.asl.json"},
        },
        "Inline": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"DefinitionString": "{}"}},
    }
}
PLACE = Destination("packages", "p/")


def test_what_a_template_names_is_uploaded_once_by_its_hash(s3: Any, folder: Path) -> None:
    """The same content has one key; the template names bucket and key where it named a path."""
    made = uploaded_template(s3, TEMPLATE, folder, PLACE)
    resources = made.template["Resources"]
    assert made.sent == 3
    assert resources["One"] == resources["Same"]
    assert resources["One"]["Properties"]["Code"]["S3Bucket"] == "packages"
    key = resources["Machine"]["Properties"]["DefinitionS3Location"]["Key"]
    assert s3.get_object(Bucket="packages", Key=key)["Body"].read() == b"{}"
    assert (resources["Image"], resources["Inline"]) == (
        TEMPLATE["Resources"]["Image"],
        TEMPLATE["Resources"]["Inline"],
    )


def test_unchanged_content_is_not_uploaded_again_and_changes_no_template(s3: Any, folder: Path) -> None:
    """So an unchanged function is no change of a stack; compiled files of a folder are not in its zip."""
    first = uploaded_template(s3, TEMPLATE, folder, PLACE)
    (folder / "functions" / "__pycache__" / "other.pyc").write_text("other")
    again = uploaded_template(s3, TEMPLATE, folder, PLACE)
    assert (again.sent, again.there, again.template) == (0, 3, first.template)


def test_what_is_not_there_is_told(s3: Any, folder: Path) -> None:
    """By the resource's name; and so is a bucket that nobody made."""
    (folder / "code.zip").unlink()
    with pytest.raises(UploadError, match=r"resource One names .*code\.zip, which is not there"):
        uploaded_template(s3, TEMPLATE, folder, PLACE)


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [("bucket", "bucket", ""), ("s3://bucket/a/b", "bucket", "a/b/"), ("bucket/a/", "bucket", "a/")],
)
def test_a_destination_is_a_bucket_and_a_prefix(text: str, bucket: str, prefix: str) -> None:
    """As a name or as a URI."""
    assert Destination.parse(text) == Destination(bucket, prefix)


def test_what_is_no_bucket_is_told() -> None:
    """With what was expected."""
    with pytest.raises(UploadError, match="expected a bucket's name"):
        Destination.parse("S3://Bucket")
