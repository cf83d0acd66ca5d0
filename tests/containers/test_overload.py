"""An endpoint that is asked more than it holds, or asked for too long: what is refused, what is answered meanwhile."""

from __future__ import annotations

import asyncio
import http.client
import random
import socket
import string
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.http_load import Call, at_rate
from containers.turns import Held, Turns
from tests.containers.serving import LINES, Server, serve, until

SHORT = {"keywords": ["espresso grinder", "latte"]}
QUEUE = 3


@pytest.fixture(scope="module")
def server(lookup_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker that holds three requests."""
    base = tmp_path_factory.mktemp("overload")
    server = serve(lookup_model, base, TOPIC_MODEL_WORKERS="1", TOPIC_MODEL_QUEUE=str(QUEUE))
    yield server
    server.stop()


@pytest.fixture
def long_record() -> dict[str, Any]:
    """A campaign of 300 kB, which takes most of a second."""
    draw = random.Random(7)  # noqa: S311 - a draw of words
    letters = ["".join(draw.choices(string.ascii_lowercase, k=6)) for _ in range(40_000)]
    return {"keywords": ["espresso grinder", *(" ".join(letters[at : at + 20]) for at in range(0, 40_000, 20))]}


def test_what_is_too_much_is_refused_at_once_and_the_rest_is_answered(
    server: Server, long_record: dict[str, Any]
) -> None:
    """Full, it says 503 and when to come again, and pings are answered; then everything that it took is answered."""
    with ThreadPoolExecutor(QUEUE) as pool:
        taken: list[Future[tuple[int, Any]]] = [pool.submit(server.ask, long_record) for _ in range(QUEUE)]
        until(lambda: server.ask(SHORT)[0] == 503)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("POST", "/invocations", orjson.dumps(SHORT), {"Content-Type": "application/json"})
        refused = connection.getresponse()
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert orjson.loads(refused.read())["error"]["code"] == "overloaded"
        assert server.request("GET", "/ping")[0] == 200
        assert not all(done.done() for done in taken)
    assert [done.result()[0] for done in taken] == [200] * QUEUE
    assert server.ask(SHORT)[0] == 200


def test_a_long_record_holds_nobody_up(server: Server, long_record: dict[str, Any]) -> None:
    """While one campaign takes seconds, short ones are answered by the same worker."""
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(server.ask, long_record)
        answered = [server.ask(SHORT)[0] for _ in range(5)]
        assert not long.done()
        assert answered == [200] * 5
        assert long.result()[0] == 200


def test_a_long_batch_lets_others_between_its_lines(server: Server) -> None:
    """Lines are answered in slices, and a single record waits for a slice alone."""
    line = orjson.dumps({"keywords": ["espresso grinder", "latte"], "k": 3, "num_recommendations": 0}) + b"\n"
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(server.ask_lines, line * 1_500)
        answered = [server.ask(SHORT)[0] for _ in range(5)]
        assert not batch.done()
        assert answered == [200] * 5
        assert len(batch.result()) == 1_500


def test_a_few_bytes_do_not_ask_for_an_endless_answer(server: Server) -> None:
    """Lines whose answers are more than the platform takes are refused together, and soon; the next one is answered."""
    for line in (b"x\n", b'{"keywords": ["espresso"], "k": 1000}\n'):
        status, answer = server.request("POST", "/invocations", line * 100_000, LINES)
        assert (status, orjson.loads(answer)["error"]["code"]) == (413, "too_large")
    assert server.ask(SHORT)[0] == 200


def test_a_burst_is_answered_or_refused_and_then_all_is_as_before(server: Server) -> None:
    """Sixty at once: each has an answer or a 503, none is lost, and the next one is answered."""
    load = at_rate(
        f"http://127.0.0.1:{server.port}",
        [Call("POST", "/invocations", orjson.dumps(SHORT))],
        rate=100_000,
        seconds=60 / 100_000,
        headers={},
        connections=60,
    )
    assert set(load.statuses) <= {200, 503}
    assert sum(load.statuses.values()) == 60 and load.statuses[200] >= QUEUE
    assert server.ask(SHORT)[0] == 200


def test_a_client_that_goes_away_leaves_its_place(server: Server, long_record: dict[str, Any]) -> None:
    """Connections that are cut, in the body or while they wait, do not fill the queue."""
    body = orjson.dumps(long_record)
    head = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    for sent in (body[:1_000], body, body[:1_000_000], orjson.dumps(SHORT)):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head % len(body) + sent)
    with ThreadPoolExecutor(QUEUE) as pool:
        # The one that came whole is worked on to its end.
        until(lambda: [answer[0] for answer in pool.map(server.ask, [SHORT] * QUEUE)] == [200] * QUEUE)


def test_turns_are_taken_in_order_and_the_loop_runs_between() -> None:
    """First come, first served; what is due elsewhere in the loop is not kept waiting for the whole queue."""
    order: list[str] = []

    async def request(turns: Turns, name: str) -> None:
        with turns.place():
            async with turns.turn():
                order.append(name)

    async def run() -> bool:
        turns = Turns(9)
        asked = [asyncio.create_task(request(turns, str(number))) for number in range(10)]
        await asyncio.sleep(0)
        full = turns.full
        for _ in range(5):
            await asyncio.sleep(0)
        order.append("else")
        await asyncio.gather(*asked)
        assert not turns.full
        return full

    assert asyncio.run(run())
    assert [name for name in order if name != "else"] == [str(number) for number in range(10)]
    assert 0 < order.index("else") < 10


def test_bodies_are_held_up_to_the_limit_or_one_alone() -> None:
    """A body over the limit is read where nothing else is held; room that is given back is there again."""
    held = Held(100)
    assert held.take(90, 0) and held.take(60, 90)
    assert not held.take(1, 0)
    held.release(150)
    assert held.take(60, 0) and not held.take(60, 0) and held.take(40, 60)


@pytest.mark.slow
def test_memory_stays_flat(lookup_model: Path, tmp_path: Path) -> None:
    """After 20,000 requests, refusals and malformed ones among them, workers hold what they held after 4,000."""
    server = serve(lookup_model, tmp_path)
    try:
        words = ["espresso", "grinder", "latte", "barista", "coffee"]
        draw = random.Random(3)  # noqa: S311 - a draw of words
        calls = [
            Call("POST", "/invocations", orjson.dumps({"keywords": [" ".join(draw.sample(words, 3)), f"x{number}"]}))
            for number in range(500)
        ]
        calls += [Call("POST", "/invocations", body) for body in (b"{", b'{"keywords": 1}', b'{"keywords": ["qq"]}')]

        def ask(number: int) -> int:
            at_rate(
                f"http://127.0.0.1:{server.port}", calls, rate=2_000, seconds=number / 2_000, headers={}, connections=64
            )
            return sum(server.memory().values())

        early = ask(4_000)
        workers = server.workers()
        late = ask(16_000)
        assert server.workers() == workers
        assert late - early < 8 << 20
    finally:
        server.stop()
