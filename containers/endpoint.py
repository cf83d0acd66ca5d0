"""The endpoint's HTTP application: SageMaker's three routes over a scorer, with bounds on all it holds.

What is refused because of load is told at once, with 503 and when to come again; docs/serving.md has the limits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from containers.confidence import ConfidenceMetric
from containers.scorer import Answer, Scorer, refusal
from containers.turns import Held, Turns

MAX_BODY_BYTES = 6 * 2**20  # InvokeEndpoint's limit
MAX_BATCH_BODY_BYTES = 100 * 2**20  # batch transform's
# Of the answers to one request's lines: InvokeEndpoint's limit again. A few bytes of a line may ask for much.
MAX_ANSWER_BYTES = 6 * 2**20
MAX_BATCH_ANSWER_BYTES = 512 * 2**20
MAX_HELD_BYTES = 32 * 2**20  # of bodies; the worst of them take half a minute
BODY_SECONDS = 30.0
# A larger record may take seconds: it is answered beside the event loop. Most are of a few kilobytes.
LONG_RECORD_BYTES = 32 * 2**10
TURN_SECONDS = 0.005  # of a batch's lines, before others are let in
RETRY_SECONDS = 1
CLIENT_GONE = 499
JSON, JSON_LINES = "application/json", "application/jsonlines"


@dataclass(frozen=True, slots=True)
class Limits:
    """``workers`` processes answer, each of which takes at most ``queue`` requests at a time."""

    workers: int = 1
    queue: int = 32


def build_app(scorer: Scorer, limits: Limits, metric: ConfidenceMetric) -> Starlette:
    """The application of one worker."""
    endpoint = Endpoint(scorer, limits, metric)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        metric.flush()

    return Starlette(
        routes=[
            Route("/ping", endpoint.ping),
            Route("/execution-parameters", endpoint.execution_parameters),
            Route("/invocations", endpoint.invocations, methods=["POST"]),
        ],
        lifespan=lifespan,
    )


class Endpoint:
    """One worker's requests."""

    def __init__(self, scorer: Scorer, limits: Limits, metric: ConfidenceMetric) -> None:
        self._scorer, self._limits, self._metric = scorer, limits, metric
        self._turns = Turns(limits.queue)
        self._beside = asyncio.Lock()  # one long record at a time
        self._max_body = MAX_BATCH_BODY_BYTES if scorer.batch else MAX_BODY_BYTES
        self._max_answer = MAX_BATCH_ANSWER_BYTES if scorer.batch else MAX_ANSWER_BYTES
        self._held = Held(max(MAX_HELD_BYTES, 2 * self._max_body))

    async def ping(self, _request: Request) -> Response:
        """Whether the worker is alive."""
        return Response(status_code=200)

    async def execution_parameters(self, _request: Request) -> Response:
        """What batch transform asks for."""
        parameters = {"MaxConcurrentTransforms": self._limits.workers, "BatchStrategy": "MULTI_RECORD"}
        return _json({**parameters, "MaxPayloadInMB": 6})

    async def invocations(self, request: Request) -> Response:
        """A record, or lines of them."""
        body = _Body(self._held, self._max_body)
        try:
            self._check_room()
            kind = _content_type(request)
            async with asyncio.timeout(BODY_SECONDS):
                await body.read(request)
            self._check_room()
            with self._turns.place():
                if kind == JSON:
                    return await self._answer_record(body.content)
                return Response(await self._answer_lines(body.content), media_type=JSON_LINES)
        except _RefusedError as error:
            return error.response
        except TimeoutError:
            return _told(refusal("body_timeout", f"the body did not come within {BODY_SECONDS:g} s", 408))
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        finally:
            body.release()

    def _check_room(self) -> None:
        if self._turns.full:
            raise _overloaded(f"this worker has {self._limits.queue} requests already")

    async def _answer_record(self, content: bytes) -> Response:
        if len(content) > LONG_RECORD_BYTES:
            return self._response(await self._answer_long(partial(self._scorer.answer, content)))
        async with self._turns.turn():
            return self._response(self._scorer.answer(content))

    async def _answer_lines(self, content: bytes) -> bytes:
        answers = bytearray()
        # Read as they are answered: a few megabytes may be of millions of lines.
        lines = ((line, number) for number, line in enumerate(BytesIO(content), start=1) if line.strip())
        line = next(lines, None)
        while line is not None:
            if len(line[0]) > LONG_RECORD_BYTES:
                answers += self._line(await self._answer_long(partial(self._scorer.answer_line, *line)))
                line = next(lines, None)
            else:
                async with self._turns.turn():
                    end = time.monotonic() + TURN_SECONDS
                    while line is not None and len(line[0]) <= LONG_RECORD_BYTES and time.monotonic() < end:
                        answers += self._line(self._scorer.answer_line(*line))
                        line = next(lines, None)
            if len(answers) > self._max_answer:
                message = f"the answers to these lines are over {self._max_answer} bytes; send fewer lines at a time"
                raise _RefusedError(_told(refusal("too_large", message, 413)))
        return bytes(answers)

    async def _answer_long(self, work: Callable[[], Answer]) -> Answer:
        """Work of a long record in a thread: pings and short records get their turns meanwhile."""
        async with self._beside:
            return await asyncio.to_thread(work)

    def _response(self, answer: Answer) -> Response:
        self._count(answer)
        return _told(answer)

    def _line(self, answer: Answer) -> bytes:
        self._count(answer)
        return orjson.dumps(answer.document, option=orjson.OPT_APPEND_NEWLINE)

    def _count(self, answer: Answer) -> None:
        if answer.low_confidence is not None:
            self._metric.add(answer.low_confidence)


class _Body:
    """A request's body; whatever its header claims, it is read no further than the limits."""

    def __init__(self, held: Held, limit: int) -> None:
        self._held, self._limit = held, limit
        self._chunks: list[bytes] = []
        self._size = 0

    @property
    def content(self) -> bytes:
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    async def read(self, request: Request) -> None:
        """Read it to the end."""
        async for chunk in request.stream():
            if self._size + len(chunk) > self._limit:
                message = f"the body is larger than {self._limit} bytes; send fewer campaigns at a time"
                raise _RefusedError(_told(refusal("too_large", message, 413)))
            if not self._held.take(len(chunk), self._size):
                raise _overloaded("the requests in work leave no room for this body")
            self._size += len(chunk)
            if chunk:
                self._chunks.append(chunk)

    def release(self) -> None:
        """Give the room back."""
        self._held.release(self._size)


class _RefusedError(Exception):
    """A request that is not worked on; ``response`` says why."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response


def _content_type(request: Request) -> str:
    kind = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if kind not in (JSON, JSON_LINES):
        message = f"content type is {kind[:100]!r}; expected {JSON} or {JSON_LINES}"
        raise _RefusedError(_told(refusal("unsupported_media_type", message, 415)))
    return kind


def _overloaded(reason: str) -> _RefusedError:
    answer = refusal("overloaded", f"{reason}; ask again in {RETRY_SECONDS} s", 503)
    return _RefusedError(_json(answer.document, answer.status, {"Retry-After": str(RETRY_SECONDS)}))


def _told(answer: Answer) -> Response:
    return _json(answer.document, answer.status)


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), status, headers, media_type=JSON)
