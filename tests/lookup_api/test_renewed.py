"""What is read from the tables outlives their silence, for as long as is said and no longer."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError

from lookup_api.app import create_app
from lookup_api.calls import AwsCalls
from lookup_api.problems import Problem
from lookup_api.renewed import SILENCE_SECONDS, Renewed
from tests.lookup_api.conftest import ADMIN, SETTINGS, Server
from tests.lookup_api.silent_proxy import silent_proxy


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsCalls]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # clients want one, though nothing is asked
    made = AwsCalls()
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000_000.0]
    monkeypatch.setattr("lookup_api.renewed.time.time", lambda: now[0])
    return now


def broken() -> str:
    raise EndpointConnectionError(endpoint_url="http://nowhere")


class Source:
    """Something to read, which a test may break."""

    def __init__(self) -> None:
        self.read: Callable[[], str] = lambda: "first"
        self.reads = 0

    def __call__(self) -> str:
        """One reading."""
        self.reads += 1
        return self.read()


def test_known_campaigns_are_answered_while_the_tables_are_silent(api: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes requests and answers none: key, version and row are those of before it fell silent."""
    other = next(
        campaign_id for campaign_id in api.rows() if campaign_id.startswith("coffee-") and "0001" not in campaign_id
    )

    async def ask(client: httpx.AsyncClient, path: str) -> Any:
        return await client.get(path, headers={"x-api-key": ADMIN})

    async def use(url: str) -> None:
        with silent_proxy(api.config.port) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
            settings = dataclasses.replace(SETTINGS, stale_seconds=300, version_seconds=0.01, key_seconds=0.01)
            app = create_app(settings, write=lambda _: None)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url, timeout=60) as client:
                known = await ask(client, "/v1/campaigns/coffee-0001/similar")
                assert known.status_code == 200
                proxy.fall_silent()
                await asyncio.sleep(0.05)  # what is known is older than it is believed for
                for _ in range(20):
                    again = await ask(client, "/v1/campaigns/coffee-0001/similar")
                    assert again.status_code == 200 and again.json()["similar"] == known.json()["similar"]
                proxy.speak()
                assert (await ask(client, f"/v1/campaigns/{other}")).status_code == 200

    asyncio.run(use(api.url))


def test_a_silence_is_outlived_for_as_long_as_is_said(calls: AwsCalls, clock: list[float]) -> None:
    """The last value is served until it is too old; then 503, or the default of who can do without."""
    source = Source()
    value = Renewed(calls, source, 2, stale_seconds=300)

    async def use() -> None:
        assert await value.value() == "first"
        source.read = broken
        for later in (10, 200, 299):
            clock[0] = 1_000_000.0 + later
            assert await value.value() == await value.value_or("none") == "first"
        clock[0] = 1_000_000.0 + 301
        with pytest.raises(Problem) as caught:
            await value.value()
        assert caught.value.status == 503
        assert await value.value_or("none") == "none"
        source.read = lambda: "second"
        assert await value.value() == "second"

    asyncio.run(use())


def test_the_first_reading_is_waited_for(calls: AwsCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than the patience, where there is no value to serve; one begun before anybody asks is not done twice."""
    monkeypatch.setattr("lookup_api.renewed.NEEDED_SECONDS", 60.0)
    source, gate = Source(), threading.Event()
    source.read = lambda: "read" if gate.wait(30) else "never"
    value = Renewed(calls, source, 2, patience_seconds=0.01)
    value.begin()

    async def use() -> None:
        waiting = [asyncio.create_task(value.value_or("none")) for _ in range(5)]
        await asyncio.sleep(0.5)
        gate.set()
        assert set(await asyncio.gather(*waiting)) == {"read"}
        assert source.reads == 1

    asyncio.run(use())


def test_a_first_reading_that_takes_too_long_is_done_without(calls: AwsCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is bounded, also where a value is known that is too old; a failure ends it at once."""
    monkeypatch.setattr("lookup_api.renewed.NEEDED_SECONDS", 0.1)
    source, gate = Source(), threading.Event()
    source.read = lambda: "late" if gate.wait(30) else "never"
    slow, failing = Renewed(calls, source, 2), Renewed(calls, broken, 2)
    assert asyncio.run(slow.value_or("none")) == "none"
    gate.set()
    monkeypatch.setattr("lookup_api.renewed.NEEDED_SECONDS", 3_600.0)
    assert asyncio.run(failing.value_or("none")) == "none"


def test_what_fails_is_not_asked_at_every_request(calls: AwsCalls, clock: list[float]) -> None:
    """After a failure nothing is read for some seconds; behind them the new value is seen."""
    source = Source()
    value = Renewed(calls, source, 2, stale_seconds=300)

    async def use() -> None:
        await value.value()
        source.read = broken
        clock[0] += 3
        for _ in range(100):
            assert await value.value() == "first"
            await asyncio.sleep(0)
        assert source.reads == 2
        source.read = lambda: "second"
        clock[0] += SILENCE_SECONDS
        while await value.value() != "second":
            await asyncio.sleep(0.01)

    asyncio.run(use())


def test_many_who_wait_cost_one_reading(calls: AwsCalls) -> None:
    """All requests that find nothing known wait for the same reading; one that gives up ends it for nobody."""
    source, gate = Source(), threading.Event()
    source.read = lambda: "read" if gate.wait(30) else "never"
    value = Renewed(calls, source, 2)

    async def use() -> None:
        waiting = [asyncio.create_task(value.value()) for _ in range(50)]
        await asyncio.sleep(0.05)
        waiting.pop().cancel()
        gate.set()
        assert set(await asyncio.gather(*waiting)) == {"read"}
        assert source.reads == 1

    asyncio.run(use())


def test_a_clock_that_is_set_back_keeps_nothing_for_hours(calls: AwsCalls, clock: list[float]) -> None:
    """What was read at a time that is yet to come is read again."""
    source = Source()
    value = Renewed(calls, source, 2)

    async def use() -> None:
        await value.value()
        source.read = lambda: "second"
        clock[0] -= 3_600
        assert await value.value() == "second"
        assert await value.value() == "second"

    asyncio.run(use())
