"""Calls of AWS from the event loop: a client a service, connections kept, a bounded number at once.

boto3 is synchronous, so a call takes a thread; a request that finds all threads and places in the queue taken is
answered 503 at once and not later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lookup_api.problems import Problem, unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

THREADS = 16
QUEUE = 128
RETRY_SECONDS = 2
_LOGGER = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class SecretsClient(Protocol):
    """What is used of boto3's Secrets Manager client."""

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        """A secret's current value."""


class AwsCalls:
    """The three clients and the threads that use them."""

    def __init__(self) -> None:
        session = boto3.session.Session()
        config = Config(
            max_pool_connections=THREADS,
            connect_timeout=1,
            read_timeout=3,
            retries={"mode": "standard", "total_max_attempts": 3},
            parameter_validation=False,  # the calls' shapes are fixed and tested; validating costs as much as parsing
        )
        self.dynamodb: DynamoDBClient = session.client("dynamodb", config=config)
        # A slow endpoint is not asked twice: the second request would be slow as well, and the caller waits.
        patient = Config(read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})
        self.runtime: SageMakerRuntimeClient = session.client("sagemaker-runtime", config=config.merge(patient))
        # Answers wait for it, and do without it.
        brief = Config(read_timeout=1, retries={"mode": "standard", "total_max_attempts": 2})
        self.secrets: SecretsClient = session.client("secretsmanager", config=config.merge(brief))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aws")
        self._under_way = 0

    async def run(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The result of a function that calls AWS.

        Raises:
            Problem: 503, where too many calls wait already.
        """
        with self._place():
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def outcome(self, begun: Callable[[], Future[_Answer]]) -> _Answer:
        """The result of what was begun, by this request or by another, and goes on where nobody waits any more.

        Raises:
            Problem: 503, where too many calls wait already.
        """
        with self._place():
            return await asyncio.shield(asyncio.wrap_future(begun()))

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._under_way >= THREADS + QUEUE:
            raise unavailable("more requests are under way than can be answered; try again", RETRY_SECONDS)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def table(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The result of a function that calls DynamoDB.

        Raises:
            Problem: 503, where DynamoDB throttles, fails or cannot be reached.
        """
        try:
            return await self.run(function, *arguments)
        except (ClientError, BotoCoreError) as error:
            _LOGGER.warning("a table could not be used: %s", error)
            raise silent_table() from error

    def begin(self, function: Callable[[], _Answer]) -> Future[_Answer]:
        """Have a function run beside the requests; its errors are logged, and are the future's."""
        return self._threads.submit(_logged, function)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def silent_table() -> Problem:
    """DynamoDB throttles, fails or cannot be reached."""
    return unavailable("the lookup table does not answer; try again", RETRY_SECONDS)


def _logged(function: Callable[[], _Answer]) -> _Answer:
    try:
        return function()
    except (ClientError, BotoCoreError) as error:
        _LOGGER.warning("AWS could not be asked: %s", error)
        raise
