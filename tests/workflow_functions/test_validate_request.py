"""ValidateRequest against a real S3 interface."""

from __future__ import annotations

import gzip
import string
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workflow_functions.conftest import BUCKET, Cloud
from workflow_functions.errors import RequestError
from workflow_functions.validate_request import handler, job_prefix

GOOGLE = "Campaign ID,Campaign,Keyword,Clicks\n1,Shoes,running shoes,12\n"
CANONICAL = '{"campaign_id": "c1", "keywords": ["running shoes"]}\n'


ENDPOINT = "topic-model-test"


def plan(request: Any, execution: str = "run-1") -> dict[str, Any]:
    return handler({"request": request, "execution": execution, "bucket": BUCKET, "endpoint": ENDPOINT}, None)


def refusal(request: Any, execution: str = "run-1") -> str:
    with pytest.raises(RequestError) as caught:
        plan(request, execution)
    return str(caught.value)


def serve(cloud: Cloud, config: str) -> None:
    """An endpoint with a configuration of that name."""
    sagemaker = boto3.client("sagemaker")
    role = "arn:aws:iam::123456789012:role/r"
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer={"Image": "i"})
    variant: Any = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=config)


def test_the_folders_are_the_channels(cloud: Cloud) -> None:
    """Every first-level folder becomes a channel with its own URIs; hidden and marker files are not counted."""
    cloud.put("exports/google/keywords.csv", GOOGLE)
    cloud.put("exports/google/deeper/more.csv", GOOGLE)
    cloud.put("exports/google/_SUCCESS", "")
    cloud.put("exports/microsoft ads/campaigns.jsonl.gz", gzip.compress(CANONICAL.encode()))
    answer = plan({"exports": f"s3://{BUCKET}/exports/"})
    google, microsoft = answer["channels"]
    assert google == {
        "name": "google",
        "exports": f"s3://{BUCKET}/exports/google",
        "prepared": f"s3://{BUCKET}/runs/run-1/prepared/google",
        "scoring": f"s3://{BUCKET}/runs/run-1/scoring/google",
        "files": 2,
        "bytes": 2 * len(GOOGLE),
    }
    assert microsoft["name"] == "microsoft ads"
    assert (answer["deploy"], answer["publish"]) == (True, "always")
    assert answer["uris"]["lookup_model"] == f"s3://{BUCKET}/runs/run-1/lookup-model"


def test_files_directly_under_the_prefix_are_one_channel(cloud: Cloud) -> None:
    """An export without folders is one channel named default, and the slash at the prefix's end is optional."""
    cloud.put("flat/campaigns.jsonl", CANONICAL)
    for exports in (f"s3://{BUCKET}/flat", f"s3://{BUCKET}/flat/"):
        (channel,) = plan({"exports": exports, "deploy": False})["channels"]
        assert (channel["name"], channel["exports"]) == ("default", f"s3://{BUCKET}/flat")


def test_a_bucket_of_channels(cloud: Cloud) -> None:
    """The exports may be a whole bucket."""
    cloud.put("google/campaigns.jsonl", CANONICAL)
    (channel,) = plan({"exports": f"s3://{BUCKET}"})["channels"]
    assert channel["exports"] == f"s3://{BUCKET}/google"


def test_only_the_channels_asked_for(cloud: Cloud) -> None:
    """A request may name channels; a name that is not there is refused with those that are."""
    cloud.put("exports/google/a.jsonl", CANONICAL)
    cloud.put("exports/meta/a.jsonl", CANONICAL)
    assert [c["name"] for c in plan({"exports": f"s3://{BUCKET}/exports", "channels": ["meta"]})["channels"]] == [
        "meta"
    ]
    message = refusal({"exports": f"s3://{BUCKET}/exports", "channels": ["bing"]})
    assert "'bing'" in message and "['google', 'meta']" in message


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ([], "expected an object"),
        (None, "expected an object"),
        ({}, "lacks 'exports'"),
        ({"exports": 3}, "exports is 3"),
        ({"exports": "/home/me"}, "'/home/me' is no S3 URI"),
        ({"exports": "s3://UPPER/x"}, "is no S3 URI"),
        ({"exports": f"s3://{BUCKET}/x", "channel": ["a"]}, "unknown key 'channel'"),
        ({"exports": f"s3://{BUCKET}/x", "channels": "a"}, "channels is 'a'"),
        ({"exports": f"s3://{BUCKET}/x", "channels": []}, "channels is []"),
        ({"exports": f"s3://{BUCKET}/x", "channels": ["a", "a"]}, "named once"),
        ({"exports": f"s3://{BUCKET}/x", "deploy": "yes"}, "deploy is 'yes'"),
        ({"exports": f"s3://{BUCKET}/x", "publish": None}, "publish is None; expected true or false"),
        ({"exports": f"s3://{BUCKET}/x", "publish": False}, "leave publish out, or let deploy be false"),
        ({"exports": f"s3://{BUCKET}/nothing-here"}, "nothing under"),
        ({"exports": "s3://no-such-bucket-here/x"}, "NoSuchBucket"),
    ],
)
def test_a_wrong_request_is_refused(cloud: Cloud, request_: Any, told: str) -> None:
    """Each mistake is a RequestError that names the value or what was expected."""
    assert told in refusal(request_)


@pytest.mark.parametrize(
    ("serving", "publish", "when"),
    [
        (None, {}, "first"),
        (None, {"publish": True}, "always"),
        (None, {"publish": False}, "never"),
        ("tm-x-config-1", {}, "never"),
        ("tm-x-config-1", {"publish": True}, "always"),
        ("tm-x-config-ab-1", {}, "never"),
    ],
)
def test_lookups_of_a_model_that_is_not_deployed_replace_none(
    cloud: Cloud, serving: str | None, publish: dict[str, bool], when: str
) -> None:
    """Without a deployment lookups are published where nothing serves, or where the request asks for it."""
    cloud.put("exports/campaigns.jsonl", CANONICAL)
    if serving is not None:
        serve(cloud, serving)
    assert plan({"exports": f"s3://{BUCKET}/exports", "deploy": False, **publish})["publish"] == when


def test_a_deployment_is_refused_while_a_test_is_under_way(cloud: Cloud) -> None:
    """The A/B test is found before anything is trained, and the way on is named; without deployment it is none."""
    cloud.put("exports/campaigns.jsonl", CANONICAL)
    serve(cloud, "tm-x-config-ab-0123")
    message = refusal({"exports": f"s3://{BUCKET}/exports"})
    assert "tm-x-config-ab-0123" in message and "`topic-model ab stop --keep A`" in message and "deploy" in message


def test_files_beside_folders_are_refused(cloud: Cloud) -> None:
    """A file beside channel folders would be left out in silence, so the request is refused and the file named."""
    cloud.put("exports/google/a.jsonl", CANONICAL)
    cloud.put("exports/stray.csv", GOOGLE)
    assert "'stray.csv'" in refusal({"exports": f"s3://{BUCKET}/exports"})


def test_an_unreadable_export_is_named(cloud: Cloud) -> None:
    """A file that no reader understands is told with its channel and name before any job starts."""
    cloud.put("exports/google/a.csv", GOOGLE)
    cloud.put("exports/google/b.csv", "name,price\nshoe,3\n")
    message = refusal({"exports": f"s3://{BUCKET}/exports"})
    assert "channel 'google'" in message and "exports/google/b.csv" in message and "price" in message


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04zip"])
def test_an_empty_file_and_a_spreadsheet_are_refused(cloud: Cloud, body: bytes) -> None:
    """An empty object has no first bytes to range over, and still gets the reader's message."""
    cloud.put("exports/google/a.csv", body)
    assert "a.csv" in refusal({"exports": f"s3://{BUCKET}/exports"})


def test_a_folder_of_markers_is_refused(cloud: Cloud) -> None:
    """A channel with nothing but hidden files has no export."""
    cloud.put("exports/google/_SUCCESS", "")
    assert "channel 'google' has no file" in refusal({"exports": f"s3://{BUCKET}/exports"})


def test_a_name_used_before_is_refused(cloud: Cloud) -> None:
    """Results of an earlier execution of the same name would be mixed with the new one's."""
    cloud.put("exports/google/a.jsonl", CANONICAL)
    cloud.put("runs/run-1/prepared/old/campaigns.parquet", "x")
    assert "ran before" in refusal({"exports": f"s3://{BUCKET}/exports"})
    assert plan({"exports": f"s3://{BUCKET}/exports"}, "run-11")["run"] == "run-11"


@pytest.mark.parametrize("execution", ["a b", "né", "-a", "a/b"])
def test_a_name_that_is_no_folder_is_refused(cloud: Cloud, execution: str) -> None:
    """The execution's name becomes a folder and part of job names."""
    cloud.put("exports/google/a.jsonl", CANONICAL)
    assert repr(execution) in refusal({"exports": f"s3://{BUCKET}/exports"}, execution)


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_.", min_size=1, max_size=80))
def test_job_prefixes_are_short_and_allowed(execution: str) -> None:
    """Any execution's name gives a prefix with which even a tuning job's name is within SageMaker's 32 characters."""
    prefix = job_prefix(execution)
    name = f"{prefix}-tune-01234567"
    assert len(name) <= 32
    assert name[0].isascii() and name[0].isalnum() and set(name) <= set(string.ascii_lowercase + string.digits + "-")


def test_different_executions_have_different_prefixes() -> None:
    """Names that read alike in their first characters still get prefixes of their own."""
    prefixes = {job_prefix(f"nightly-training-{day}") for day in range(1_000)}
    assert len(prefixes) == 1_000
