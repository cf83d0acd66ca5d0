"""PublishLookups against a real S3 and DynamoDB interface."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import time
from typing import Any

import pytest

from tests.workflow_functions.conftest import BUCKET, TABLE, Cloud
from topic_model.published import POINTER, document_key, search_name
from workflow_functions import publish_lookups
from workflow_functions.errors import LookupRowsError, PublishConflictError
from workflow_functions.publish_lookups import handler

DOCUMENTS = {"topics": "topics.json", search_name("client-1", 0): "search-00000.json"}
VERSIONS = [f"{number:012x}" for number in range(1, 6)]


def row(campaign_id: str, version: str) -> dict[str, Any]:
    return {"campaign_id": campaign_id, "model_version": version, "similar": [], "topics": []}


def write_lookups(
    cloud: Cloud, version: str, campaigns: int = 60, *, per_file: int = 40, run: str = "r", **manifest: Any
) -> str:
    files = []
    for number, start in enumerate(range(0, campaigns, per_file)):
        rows = [row(f"c{position}", version) for position in range(start, min(campaigns, start + per_file))]
        body = b"".join(json.dumps(r).encode() + b"\n" for r in rows)
        name = f"rows-{number:05}.jsonl"
        cloud.put(f"runs/{run}/lookups/{name}", body)
        files.append({"name": name, "rows": len(rows), "sha256": hashlib.sha256(body).hexdigest()})
    documents = []
    for name, file in DOCUMENTS.items():
        body = json.dumps({"document": name, "of": version}).encode()
        cloud.put(f"runs/{run}/lookups/{file}", body)
        documents.append({"name": name, "file": file, "sha256": hashlib.sha256(body).hexdigest()})
    facts = {"format_version": 2, "model_version": version, "rows": campaigns, "files": files, "documents": documents}
    document = facts | manifest
    cloud.put(f"runs/{run}/lookups/manifest.json", json.dumps(document))
    return f"s3://{BUCKET}/runs/{run}/lookups"


def publish(cloud: Cloud, lookups: str) -> dict[str, Any]:
    return handler({"lookups": lookups, "table": TABLE}, None)


def pointer(cloud: Cloud) -> dict[str, str]:
    item = cloud.items().get((POINTER, POINTER), {})
    return {
        name: next(iter(value.values())) for name, value in item.items() if name in ("version", "previous", "retired")
    }


def versions_in(cloud: Cloud) -> set[str]:
    return {version for _, version in cloud.items()} - {POINTER}


def test_every_row_is_there_before_the_pointer_moves(cloud: Cloud) -> None:
    """After publishing, the pointer names the version and each campaign's document is the row as written."""
    told = {"model_version": VERSIONS[0], "rows": 60, "outcome": "60 campaigns published"}
    assert publish(cloud, write_lookups(cloud, VERSIONS[0])) == told
    assert pointer(cloud) == {"version": VERSIONS[0]}
    assert len(cloud.items()) == 60 + len(DOCUMENTS) + 1
    assert cloud.document("c59", VERSIONS[0]) == row("c59", VERSIONS[0])


def test_documents_come_with_their_version(cloud: Cloud) -> None:
    """A version's documents are there compressed, beside its rows, and go with them."""
    for version in VERSIONS[:3]:
        publish(cloud, write_lookups(cloud, version))
    for name in DOCUMENTS:
        for version in VERSIONS[1:3]:
            packed = cloud.items()[document_key(name), version]["packed"]["B"]
            assert json.loads(gzip.decompress(packed)) == {"document": name, "of": version}
        assert (document_key(name), VERSIONS[0]) not in cloud.items()


def test_a_document_that_fits_no_item_is_named(cloud: Cloud) -> None:
    """The message names the document and the settings that make it smaller."""
    lookups = write_lookups(cloud, VERSIONS[0])
    body = json.dumps(random.Random(1).randbytes(500_000).hex()).encode()  # noqa: S311 - nothing compresses it
    cloud.put("runs/r/lookups/topics.json", body)
    documents = [{"name": "topics", "file": "topics.json", "sha256": hashlib.sha256(body).hexdigest()}]
    manifest = json.loads(cloud.s3.get_object(Bucket=BUCKET, Key="runs/r/lookups/manifest.json")["Body"].read())
    cloud.put("runs/r/lookups/manifest.json", json.dumps({**manifest, "documents": documents}))
    with pytest.raises(LookupRowsError, match=r"topics\.json.*lower num_topics"):
        publish(cloud, lookups)


def test_publishing_twice_changes_nothing(cloud: Cloud) -> None:
    """A retried state publishes again; the second time leaves the table as the first did."""
    lookups = write_lookups(cloud, VERSIONS[0])
    publish(cloud, lookups)
    before = cloud.items()
    publish(cloud, lookups)
    assert cloud.items() == before


def test_the_first_lookups_are_published_and_replace_none(cloud: Cloud) -> None:
    """Lookups of a model that was not deployed: the first are published, again as well; another version's are not."""
    first = {"table": TABLE, "publish": "first"}
    for _ in range(2):
        told = handler({**first, "lookups": write_lookups(cloud, VERSIONS[0])}, None)
        assert told["outcome"] == "60 campaigns published"
    before = cloud.items()
    told = handler({**first, "lookups": write_lookups(cloud, VERSIONS[1])}, None)
    assert told["outcome"].startswith(f"not published, because those of model {VERSIONS[0]} are")
    assert cloud.items() == before


def test_the_last_two_versions_stay(cloud: Cloud) -> None:
    """Older versions' rows are removed, and the version before the current one is kept for a way back."""
    for version in VERSIONS[:4]:
        publish(cloud, write_lookups(cloud, version))
    assert pointer(cloud) == {"version": VERSIONS[3], "previous": VERSIONS[2]}
    assert versions_in(cloud) == {VERSIONS[3], VERSIONS[2]}


def test_publishing_the_previous_version_again_swaps_the_two(cloud: Cloud) -> None:
    """Going back to the version before keeps both."""
    for version in (VERSIONS[0], VERSIONS[1], VERSIONS[0]):
        publish(cloud, write_lookups(cloud, version))
    assert pointer(cloud) == {"version": VERSIONS[0], "previous": VERSIONS[1]}
    assert versions_in(cloud) == {VERSIONS[0], VERSIONS[1]}


@pytest.mark.parametrize(
    "fault", ["tampered", "shortened", "missing file", "other version", "count", "twice", "no row", "topics", "key"]
)
def test_rows_that_are_not_the_manifests_are_never_published(cloud: Cloud, fault: str) -> None:
    """Whatever is wrong with the rows, the pointer stays where it was and the old version whole."""
    publish(cloud, write_lookups(cloud, VERSIONS[0]))
    lookups = write_lookups(cloud, VERSIONS[1], run="bad")
    key = "runs/bad/lookups/rows-00001.jsonl"
    body = cloud.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    if fault == "tampered":
        cloud.put(key, body.replace(b'"topics": []', b'"topics": 10', 1))
    elif fault == "shortened":
        cloud.put(key, body[:-30])
    elif fault == "missing file":
        cloud.s3.delete_object(Bucket=BUCKET, Key=key)
    elif fault == "other version":
        cloud.put(key, body.replace(VERSIONS[1].encode(), VERSIONS[2].encode(), 1))
    elif fault == "count":
        write_lookups(cloud, VERSIONS[1], run="bad", rows=61)
    elif fault == "twice":
        cloud.put(key, body.replace(b'"c41"', b'"c42"', 1))
    elif fault == "no row":
        cloud.put(key, b"[1]\n" + body)
    elif fault == "topics":
        cloud.put("runs/bad/lookups/topics.json", b"{}")
    elif fault == "key":
        cloud.put(key, body.replace(b'"c42"', json.dumps(document_key("topics")).encode(), 1))
    with pytest.raises(LookupRowsError):
        publish(cloud, lookups)
    assert pointer(cloud) == {"version": VERSIONS[0]}
    assert sum(version == VERSIONS[0] for _, version in cloud.items()) == 60 + len(DOCUMENTS)


@pytest.mark.parametrize(
    "manifest",
    [
        {"format_version": 1},
        {"documents": None},
        {"documents": [{"name": "c1", "file": "topics.json", "sha256": "x"}]},
        {"documents": [{"name": "topics", "file": "../../secrets.json", "sha256": "x"}]},
        {"model_version": "../../x"},
        {"files": [{"name": "../../../secrets.jsonl", "rows": 60, "sha256": "x"}]},
        {"files": "rows"},
        {"rows": None},
    ],
)
def test_a_malformed_manifest_is_refused(cloud: Cloud, manifest: dict[str, Any]) -> None:
    """A manifest of another format, or one that names files elsewhere, publishes nothing."""
    with pytest.raises(LookupRowsError):
        publish(cloud, write_lookups(cloud, VERSIONS[0], **manifest))
    assert cloud.items() == {}


def test_a_row_over_the_tables_limit_names_campaign_and_remedy(cloud: Cloud) -> None:
    """DynamoDB would refuse the batch without saying which row it was."""
    body = json.dumps({**row("wide", VERSIONS[0]), "padding": "x" * 420_000}).encode() + b"\n"
    cloud.put("runs/wide/lookups/rows-00000.jsonl", body)
    files = [{"name": "rows-00000.jsonl", "rows": 1, "sha256": hashlib.sha256(body).hexdigest()}]
    manifest = {"format_version": 2, "model_version": VERSIONS[0], "rows": 1, "files": files, "documents": []}
    cloud.put("runs/wide/lookups/manifest.json", json.dumps(manifest))
    with pytest.raises(LookupRowsError, match=r"'wide'.*lower num_neighbours"):
        publish(cloud, f"s3://{BUCKET}/runs/wide/lookups")


def test_a_version_published_in_the_meantime_wins(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two executions that publish at once the later to finish is told to try again, and what is read is whole."""
    publish(cloud, write_lookups(cloud, VERSIONS[0]))
    slow = write_lookups(cloud, VERSIONS[1], run="slow")
    fast = write_lookups(cloud, VERSIONS[2], run="fast")
    write = publish_lookups._write
    overtaken = []

    def write_and_be_overtaken(table: str, requests: Any) -> None:
        write(table, requests)
        if not overtaken:
            overtaken.append(True)
            publish(cloud, fast)

    monkeypatch.setattr(publish_lookups, "_write", write_and_be_overtaken)
    with pytest.raises(PublishConflictError):
        publish(cloud, slow)
    assert pointer(cloud)["version"] == VERSIONS[2]
    publish(cloud, slow)
    assert pointer(cloud)["version"] == VERSIONS[1]
    assert sum(version == VERSIONS[1] for _, version in cloud.items()) == 60 + len(DOCUMENTS)


def test_what_a_crashed_publishing_left_is_removed_later(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a version that never became current go once nobody can be writing them any more, and not before."""
    broken = write_lookups(cloud, VERSIONS[0], run="broken")
    cloud.s3.delete_object(Bucket=BUCKET, Key="runs/broken/lookups/rows-00001.jsonl")
    with pytest.raises(LookupRowsError):
        publish(cloud, broken)
    publish(cloud, write_lookups(cloud, VERSIONS[1]))
    assert VERSIONS[0] in versions_in(cloud)
    later = time.time() + 2 * publish_lookups.ABANDONED_SECONDS
    monkeypatch.setattr(publish_lookups.time, "time", lambda: later)
    publish(cloud, write_lookups(cloud, VERSIONS[2]))
    assert versions_in(cloud) == {VERSIONS[1], VERSIONS[2]}
