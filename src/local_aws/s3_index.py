"""The index of S3's objects on disk: one SQLite table, a row a version."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws.config import LocalAwsError


@dataclass(frozen=True)
class ObjectRow:
    """One version of an object: ``body`` names its file, ``size`` is in bytes, ``digest`` is the MD5."""

    bucket: str
    key: str
    body: str
    size: int
    digest: str
    modified: str
    fields: Mapping[str, Any]


class ObjectIndex:
    """A thread-safe index; a change is durable against the end of the process when :meth:`replace` returns."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            # The write-ahead log survives the process without an fsync a request; that is the promise made here.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS objects (bucket TEXT, key TEXT, position INTEGER, body TEXT, size INTEGER,"
                " digest TEXT, modified TEXT, fields TEXT, PRIMARY KEY (bucket, key, position)) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise LocalAwsError(
                f"{path} cannot be read: {error}; delete the state with 'topic-model local reset'"
            ) from error

    def rows(self) -> Iterator[ObjectRow]:
        """All versions, those of a key from the oldest to the newest."""
        with self._lock:
            try:
                found = self._connection.execute(
                    "SELECT bucket, key, body, size, digest, modified, fields FROM objects"
                    " ORDER BY bucket, key, position"
                ).fetchall()
            except sqlite3.Error as error:
                raise LocalAwsError(
                    f"the index of S3 is damaged: {error}; delete the state with 'topic-model local reset'"
                ) from error
        for bucket, key, body, size, digest, modified, fields in found:
            yield ObjectRow(bucket, key, body, size, digest, modified, json.loads(fields))

    def replace(self, versions: Mapping[tuple[str, str], Sequence[ObjectRow]]) -> None:
        """Set the versions of keys (bucket, key), all or none; an empty sequence forgets the key.

        Raises:
            OSError: the disk is full or the file cannot be written.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                for (bucket, key), rows in versions.items():
                    self._connection.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
                    self._connection.executemany(
                        "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        [
                            (bucket, key, position, r.body, r.size, r.digest, r.modified, json.dumps(r.fields))
                            for position, r in enumerate(rows)
                        ],
                    )
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise OSError(str(error)) from error

    def close(self) -> None:
        """Close the file; the index is of no more use."""
        with self._lock:
            self._connection.close()
