"""A container's log file, copied to CloudWatch Logs while it grows."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.config import LocalConfig

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_EVENTS_AT_ONCE = 1_000
_READ_BYTES = 512 << 10  # a put takes 1 MiB at most, and every event counts 26 bytes more
_EVENT_BYTES = 250_000


class LogShipper:
    """Sends the lines that a file gains as log events; a failure to send is logged and never fails the job."""

    def __init__(self, config: LocalConfig, path: Path, *, group: str, stream: str) -> None:
        self._config = config
        self._path = path
        self._group = group
        self._stream = stream
        self._offset = 0
        self._created = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"logs-{stream[:40]}", daemon=True)

    def __enter__(self) -> LogShipper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begins to look at the file."""
        self._thread.start()

    def close(self) -> None:
        """Sends what is left and ends; idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._ship(last=True)

    def ship_all(self, when: datetime) -> None:
        """Sends the whole file as events of one time, unless the stream is there already."""
        logs = self._config.client("logs")
        with contextlib.suppress(ClientError):
            found = logs.describe_log_streams(logGroupName=self._group, logStreamNamePrefix=self._stream)
            if found["logStreams"]:
                return
        self._ship(last=True, when=when)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            self._ship(last=False)

    def _ship(self, *, last: bool, when: datetime | None = None) -> None:
        try:
            for lines in self._new_lines(last=last):
                self._put(lines, int((when.timestamp() if when else time.time()) * 1000))
        except FileNotFoundError:
            pass  # nothing was written, or the folder went with the endpoint
        except (ClientError, BotoCoreError, OSError) as error:
            logger.warning("the log %s was not sent to CloudWatch Logs: %s", self._path, error)

    def _new_lines(self, *, last: bool) -> Iterator[list[str]]:
        """Whole lines that are new; with ``last``, an unfinished one too."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            while chunk := log.read(_READ_BYTES):
                end = chunk.rfind(b"\n") + 1
                if not end and (last or len(chunk) == _READ_BYTES):
                    end = len(chunk)
                if not end:
                    return
                yield [line for line in chunk[:end].decode(errors="replace").splitlines() if line]
                self._offset += end
                log.seek(self._offset)

    def _put(self, lines: list[str], timestamp: int) -> None:
        logs: Any = self._config.client("logs")
        if not self._created:
            for create, names in (
                (logs.create_log_group, {"logGroupName": self._group}),
                (logs.create_log_stream, {"logGroupName": self._group, "logStreamName": self._stream}),
            ):
                with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
                    create(**names)
            self._created = True
        for start in range(0, len(lines), _EVENTS_AT_ONCE):
            events = [
                {"timestamp": timestamp, "message": line[:_EVENT_BYTES]}
                for line in lines[start : start + _EVENTS_AT_ONCE]
            ]
            logs.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=events)
