"""What the application is told by its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from topic_model.errors import SettingsError

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_SECRET = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2048}")  # a name, or an ARN
_ENDPOINT = re.compile(r"[A-Za-z0-9](-?[A-Za-z0-9]){0,62}")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Names of what the application reads and writes, and how long it believes what it has read."""

    lookup_table: str
    clients_table: str
    feedback_table: str
    endpoint_name: str
    feedback_days: int = 0
    """After which feedback expires; 0 keeps it."""
    version_seconds: float = 2.0
    """After which the version that is read is looked up again: a new one is seen this much later at most."""
    key_seconds: float = 30.0
    """After which an API key is looked up again: while the table answers, a revoked one is refused this much later."""
    stale_seconds: float = 300.0
    """For which the last version, and what is known of a key, are believed while the tables are silent; a key that was
    revoked meanwhile, too."""
    answer_key_secret: str | None = None
    """Name or ARN of the secret in Secrets Manager that answer ids are signed with; without it no feedback is taken."""
    cache_bytes: int = 256 << 20
    """Of rows and search documents in memory."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ApiSettings:
        """Settings from environment variables.

        Raises:
            SettingsError: a variable is missing or is not what it should be.
        """
        return cls(
            _name(environment, "LOOKUP_TABLE", _TABLE),
            _name(environment, "CLIENTS_TABLE", _TABLE),
            _name(environment, "FEEDBACK_TABLE", _TABLE),
            _name(environment, "ENDPOINT_NAME", _ENDPOINT),
            feedback_days=int(_number(environment, "FEEDBACK_DAYS", 0, 3_650)),
            version_seconds=_number(environment, "VERSION_SECONDS", 2, 300),
            key_seconds=_number(environment, "KEY_SECONDS", 30, 300),
            stale_seconds=_number(environment, "STALE_SECONDS", 300, 3_600),
            # May be missing: lookups are answered without it.
            answer_key_secret=_name(environment, "ANSWER_KEY_SECRET", _SECRET)
            if "ANSWER_KEY_SECRET" in environment
            else None,
            cache_bytes=int(_number(environment, "CACHE_MB", 256, 8_192)) << 20,
        )


def _name(environment: Mapping[str, str], variable: str, form: re.Pattern[str]) -> str:
    value = environment.get(variable, "")
    if not form.fullmatch(value):
        raise SettingsError(f"{variable} is {value!r}; expected the name that the stack gave")
    return value


def _number(environment: Mapping[str, str], variable: str, default: float, most: float) -> float:
    text = environment.get(variable) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise SettingsError(f"{variable} is {text!r}; expected a number from 0 to {most:g}")
    return value
