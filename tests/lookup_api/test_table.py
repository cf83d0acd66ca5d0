"""Reading versions: never half of one, never longer than said, and in bounded memory."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from local_aws.config import LocalConfig
from lookup_api.cache import BoundedCache
from lookup_api.calls import QUEUE, THREADS, AwsCalls
from lookup_api.keys import Principal
from lookup_api.problems import Problem
from lookup_api.search import CampaignSearch
from lookup_api.table import LookupTable
from tests.lookup_api.conftest import LOOKUPS
from topic_model.published import POINTER

EVERYONE = Principal(None)


def point(config: LocalConfig, table: str, version: str, *campaign_ids: str) -> None:
    """Rows of a version, and the pointer to it."""
    dynamodb = config.client("dynamodb")
    for campaign_id in campaign_ids:
        document = {"campaign_id": campaign_id, "client_id": None, "version": version}
        key = {"campaign_id": {"S": campaign_id}, "model_version": {"S": version}}
        dynamodb.put_item(TableName=table, Item={**key, "document": {"S": json.dumps(document)}})
    pointer = {"campaign_id": {"S": POINTER}, "model_version": {"S": POINTER}, "version": {"S": version}}
    dynamodb.put_item(TableName=table, Item=pointer)


@pytest.fixture
def table(local_aws: LocalConfig) -> str:
    """An empty lookup table of the test's own."""
    name = "lookups-of-a-test"
    dynamodb = local_aws.client("dynamodb")
    described = dynamodb.describe_table(TableName=LOOKUPS)["Table"]
    shape = {key: described[key] for key in ("KeySchema", "AttributeDefinitions")}
    dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **shape)
    yield name
    dynamodb.delete_table(TableName=name)


def test_a_new_version_is_read_when_the_old_one_is_too_old(
    local_aws: LocalConfig, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For version_seconds what was read is believed, without a call; then the pointer decides."""
    now = [1_000_000.0]
    monkeypatch.setattr("lookup_api.renewed.time.time", lambda: now[0])
    calls = AwsCalls()
    reader = LookupTable(calls, table, version_seconds=2, cache_bytes=1 << 20)

    async def read(campaign_id: str) -> Any:
        return (await reader.row(campaign_id, EVERYONE))["version"]

    async def steps() -> None:
        point(local_aws, table, "aaaaaa", "c1")
        assert await read("c1") == "aaaaaa"
        point(local_aws, table, "bbbbbb", "c1", "c2")
        now[0] += 0.9
        assert await read("c1") == "aaaaaa"
        with pytest.raises(Problem):
            await read("c2")
        now[0] += 1.2
        assert await read("c1") == await read("c2") == "bbbbbb"
        now[0] -= 3_600  # a clock set back must not keep a version for an hour
        point(local_aws, table, "cccccc", "c1")
        assert await read("c1") == "cccccc"

    asyncio.run(steps())
    calls.close()


def test_under_steady_traffic_nobody_waits_for_the_pointer(
    local_aws: LocalConfig, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When half of its time is over the version is renewed beside the requests, once for all of them."""
    now = [1_000_000.0]
    monkeypatch.setattr("lookup_api.renewed.time.time", lambda: now[0])
    calls = AwsCalls()
    reader = LookupTable(calls, table, version_seconds=2, cache_bytes=1 << 20)
    point(local_aws, table, "aaaaaa")

    async def steps() -> None:
        assert await reader.version() == "aaaaaa"
        point(local_aws, table, "bbbbbb")
        begin, reads = calls.begin, []
        monkeypatch.setattr(calls, "begin", lambda function: reads.append(1) or begin(function))
        now[0] += 1.5
        assert await reader.version() == "aaaaaa"
        while await reader.version() != "bbbbbb":
            await asyncio.sleep(0.01)
        assert len(reads) == 1

    asyncio.run(steps())
    calls.close()


def test_before_anything_is_published_who_asks_comes_back_later(local_aws: LocalConfig, table: str) -> None:
    """503 with when, for rows, documents and searches."""
    calls = AwsCalls()
    reader = LookupTable(calls, table, version_seconds=2, cache_bytes=1 << 20)

    async def ask() -> list[Problem]:
        search = CampaignSearch(calls, reader, 1 << 20)
        asked = (reader.row("c", EVERYONE), reader.document("topics"), search.find("x", EVERYONE))
        return list(await asyncio.gather(*asked, return_exceptions=True))  # type: ignore[misc]

    problems = asyncio.run(ask())
    assert [(problem.status, problem.headers["Retry-After"]) for problem in problems] == [(503, "60")] * 3
    calls.close()


def test_a_silent_table_is_503() -> None:
    """A table that is not there, or a server that is not, is told and is no defect."""
    calls = AwsCalls()
    reader = LookupTable(calls, "no-such-table", version_seconds=2, cache_bytes=1 << 20)
    with pytest.raises(Problem) as caught:
        asyncio.run(reader.version())
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "2")
    calls.close()


def test_too_many_calls_at_once_are_refused_at_once() -> None:
    """As many as there are threads and places in the queue are taken, the next is told to come back."""
    calls = AwsCalls()
    taken = THREADS + QUEUE

    async def ask() -> tuple[list[Any], int]:
        gate = asyncio.get_running_loop().create_future()
        waiting = [asyncio.create_task(calls.run(lambda: release.wait(30))) for _ in range(taken)]
        await asyncio.sleep(0)
        refused = await asyncio.gather(*(calls.run(lambda: None) for _ in range(5)), return_exceptions=True)
        release.set()
        gate.cancel()
        done = await asyncio.gather(*waiting)
        await calls.run(lambda: None)
        return list(refused), len(done)

    import threading

    release = threading.Event()
    refused, done = asyncio.run(ask())
    assert [getattr(one, "status", None) for one in refused] == [503] * 5
    assert done == taken
    calls.close()


def test_a_cache_keeps_its_bound_and_what_was_used_last() -> None:
    """Bytes are counted with each entry's own; what does not fit at all is not kept."""
    cache: BoundedCache[bytes] = BoundedCache(4_000)
    for number in range(100):
        cache.put(number, b"x" * 700, 700)
        cache.get(97)
        assert cache.bytes <= 4_000
    assert [number for number in range(100) if cache.get(number)] == [97, 98, 99] or cache.get(97)
    cache.put("large", b"", 5_000)
    assert cache.get("large") is None
    cache.put(99, b"y", 1)
    assert cache.get(99) == b"y"
