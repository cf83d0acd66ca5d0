"""Deliveries as they are written down: one file each, so that a delivery that was killed is found and cleaned up."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from topic_model_cli.deliver_errors import DeliveryError
from topic_model_cli.results import write_json

Status = Literal["InProgress", "Succeeded", "Failed", "Stopped"]
WAIT_SECONDS = 0.5


@dataclass
class ActionRecord:
    """An action of a delivery: how it went, and what it said."""

    stage: str
    name: str
    provider: str
    status: Status = "InProgress"
    seconds: float = 0.0
    summary: str = ""


@dataclass
class DeliveryRecord:
    """A delivery."""

    id: str
    commit: str
    subject: str
    started: str
    status: Status = "InProgress"
    ended: str | None = None
    reason: str = ""
    actions: list[ActionRecord] = field(default_factory=list)
    stages: dict[str, Status] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    """Keys in the artifact bucket, by the artifacts' names."""
    variables: dict[str, dict[str, str]] = field(default_factory=dict)
    teardown: str = ""
    """What became of the test environment of a delivery that did not succeed."""
    notes: list[str] = field(default_factory=list)


class Records:
    """The deliveries of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, commit: str, subject: str) -> DeliveryRecord:
        """A delivery that begins."""
        record = DeliveryRecord(str(uuid.uuid4()), commit, subject, now())
        self.write(record)
        return record

    def write(self, record: DeliveryRecord) -> None:
        """Write a delivery down, whole or not at all."""
        write_json(self.folder / f"{record.id}.json", asdict(record))

    def all(self) -> list[DeliveryRecord]:
        """All that can be read, the oldest first."""
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                found.append(_record(json.loads(path.read_text(encoding="utf-8"))))
        return sorted(found, key=lambda record: record.started)

    def last_that_passed(self, stage: str) -> DeliveryRecord | None:
        """The last delivery that a stage succeeded in."""
        return next((one for one in reversed(self.all()) if one.stages.get(stage) == "Succeeded"), None)

    @contextlib.contextmanager
    def turn(self, execution_mode: str, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold the pipeline for one delivery; a second one waits (QUEUED) or is refused.

        Raises:
            DeliveryError: another delivery is under way, and the pipeline's execution mode lets none wait.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a", encoding="utf-8") as lock:
            told = False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    running = [one for one in self.all() if one.status == "InProgress"]
                    which = f"delivery {running[-1].id} of {running[-1].commit[:8]}" if running else "another delivery"
                    if execution_mode != "QUEUED":
                        raise DeliveryError(f"{which} is under way; wait for it, or stop it with Ctrl-C") from error
                    if not told:
                        waiting(f"{which} is under way; this one waits behind it (execution mode QUEUED)")
                        told = True
                    time.sleep(WAIT_SECONDS)
            yield

    def cut_off(self) -> list[DeliveryRecord]:
        """Deliveries that say they are under way while nobody holds the pipeline: they were killed."""
        return [one for one in self.all() if one.status == "InProgress"]


def now() -> str:
    """UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def _record(given: dict[str, Any]) -> DeliveryRecord:
    actions = [ActionRecord(**action) for action in given.pop("actions")]
    return DeliveryRecord(actions=actions, **given)
