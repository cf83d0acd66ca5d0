"""JSON files that hold what a stopped server must find again; a reader sees the old file or the new one."""

from __future__ import annotations

import json
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_TIME = "$time"


def now() -> datetime:
    """The present moment, in UTC and to the millisecond, as the services report it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def write_state(path: Path, state: dict[str, Any], *, indent: int | None = 1) -> None:
    """Replaces the file; times become ``{"$time": "…"}``. Without ``indent`` it is written ten times as fast."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        temporary.write_text(json.dumps(state, default=_encoded, indent=indent), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any] | None:
    """The state in a file; None, with a note in the log, where it is damaged."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"), object_hook=_decoded)
    except (OSError, ValueError) as error:
        logger.warning("%s is passed over: %s", path, error)
        return None
    return state if isinstance(state, dict) else None


def _encoded(value: object) -> dict[str, str]:
    if isinstance(value, datetime):
        return {_TIME: value.isoformat()}
    raise TypeError(f"{type(value).__name__} cannot be saved")


def _decoded(value: dict[str, Any]) -> Any:
    return datetime.fromisoformat(value[_TIME]) if value.keys() == {_TIME} else value
