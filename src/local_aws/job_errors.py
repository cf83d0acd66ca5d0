"""How a job fails: the sentence that its ``FailureReason`` will be."""

from __future__ import annotations

import errno
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class JobFailedError(Exception):
    """The job's fault or its user's; the message starts as SageMaker's does: ``ClientError:``, ``AlgorithmError:``."""


class JobStoppedError(Exception):
    """The job was asked to stop, or ran longer than its stopping condition allows."""


def unwritable_reason(error: OSError, folder: Path) -> str:
    """The reason of a job whose files the local AWS could not write: the service's fault, with what its user can do."""
    if error.errno in _FULL:
        return f"InternalServerError: no space left on the disk that holds {folder}; free some space, then run again"
    return f"InternalServerError: {type(error).__name__}: {error}"
