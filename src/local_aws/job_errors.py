"""How a job fails: the sentence that its ``FailureReason`` will be."""

from __future__ import annotations


class JobFailedError(Exception):
    """The job's fault or its user's; the message starts as SageMaker's does: ``ClientError:``, ``AlgorithmError:``."""


class JobStoppedError(Exception):
    """The job was asked to stop, or ran longer than its stopping condition allows."""
