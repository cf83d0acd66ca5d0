"""The key that answer ids are signed with: a secret of Secrets Manager, read by whoever answers and written by nobody.

CloudFormation has the value drawn by Secrets Manager and never sees it; on the local AWS :func:`ensure_answer_key`
draws it. Without a key lookups are answered, without an answer id, and feedback is refused.
"""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
from typing import Any, Protocol

from lookup_api.calls import AwsCalls, SecretsClient
from lookup_api.renewed import Renewed

MIN_CHARACTERS = 32
RENEWED_SECONDS = 3_600.0
"""After which the secret is read again: another value is taken over this much later at most."""
_PATIENCE_SECONDS = 0.5
_LOGGER = logging.getLogger(__name__)


class AnswerKey:
    """The key, kept in memory; one that was read once is used until another can be read."""

    def __init__(self, calls: AwsCalls, secret: str | None) -> None:
        self._secret = secret
        self._value: Renewed[bytes | None] = Renewed(
            calls,
            lambda: _read(calls.secrets, str(secret)),
            RENEWED_SECONDS,
            stale_seconds=math.inf,
            patience_seconds=_PATIENCE_SECONDS,
        )
        if secret is None:
            _LOGGER.warning("ANSWER_KEY_SECRET is not set; answers have no id, and feedback is refused")

    def begin(self) -> None:
        """Read it before anybody asks: an answer without an id may be cached for hours by whoever got it."""
        if self._secret is not None:
            self._value.begin()

    async def value(self) -> bytes | None:
        """The key, or None where there is none, or it cannot be read."""
        return None if self._secret is None else await self._value.value_or(None)


def _read(client: SecretsClient, secret: str) -> bytes:
    value = str(client.get_secret_value(SecretId=secret).get("SecretString") or "")
    if len(value) < MIN_CHARACTERS:
        words = f"the secret {secret} has {len(value)} characters; expected {MIN_CHARACTERS} or more, drawn at random"
        _LOGGER.error("answers have no id: %s", words)
        raise ValueError(words)
    return value.encode()


class _SecretsWriter(Protocol):
    exceptions: Any

    def create_secret(self, *, Name: str, SecretString: str, Description: str) -> object:  # noqa: N803 - AWS's names
        """Make a secret."""

    def describe_secret(self, *, SecretId: str) -> object:  # noqa: N803 - AWS's name
        """What a secret is, without its value."""


def ensure_answer_key(client: _SecretsWriter, name: str) -> None:
    """Make the secret, with a random value, where it is not there."""
    try:
        client.describe_secret(SecretId=name)
    except client.exceptions.ResourceNotFoundException:
        with contextlib.suppress(client.exceptions.ResourceExistsException):
            client.create_secret(Name=name, SecretString=secrets.token_urlsafe(32), Description="signs answer ids")
