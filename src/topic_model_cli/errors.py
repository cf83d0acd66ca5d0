"""The command line's own errors, and what each mistake of a user reads like: a message, never a traceback."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from local_aws.config import DEFAULT_ROOT, root_option
from topic_model.errors import TopicModelError


class InputPathError(TopicModelError):
    """``--input`` names nothing that could be campaign exports."""


class RunNameError(TopicModelError):
    """The name of a run is taken or is not one that Step Functions allows."""


class RunOptionError(TopicModelError):
    """Options of ``topic-model run`` that contradict each other."""


class RunFailedError(TopicModelError):
    """The execution ended in another state than SUCCEEDED."""


class LocalAwsLostError(TopicModelError):
    """The local AWS stopped answering during a run."""


class QuestionError(TopicModelError):
    """There is no endpoint to ask, no such campaign, or the endpoint refused the question."""


class PipelineError(TopicModelError):
    """The rendered definition is stale, or breaks one of the rules for definitions."""


def explain_error(error: BaseException, root: Path = DEFAULT_ROOT) -> str | None:
    """What to tell the user of a mistake or a broken surrounding; None for a defect, which keeps its traceback.

    ``root`` is the local AWS's folder, for the commands that the message proposes.
    """
    if isinstance(error, TopicModelError):
        return str(error)
    if isinstance(error, OSError) and (message := _explain_os_error(error, root)) is not None:
        return message
    return _explain_botocore_error(error, root)


def is_connection_error(error: BaseException) -> bool:
    """Whether a boto3 call failed because nobody answered, rather than because of what was answered."""
    exceptions = sys.modules.get("botocore.exceptions")
    return exceptions is not None and isinstance(
        error,
        exceptions.EndpointConnectionError | exceptions.ConnectionClosedError | exceptions.HTTPClientError,
    )


def _explain_os_error(error: OSError, root: Path) -> str | None:
    place = f" at {error.filename}" if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"the disk is full{place}: free some space (old folders under runs/, or "
            f"`topic-model local reset{root_option(root)}`), then run again; nothing that was there before is lost"
        )
    if isinstance(error, PermissionError):
        return f"not allowed to read or write{place}: {error.strerror}; check the owner and the mode of the path"
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError):
        return f"{error.strerror}{place}"
    return None


def _explain_botocore_error(error: BaseException, root: Path) -> str | None:
    exceptions = sys.modules.get("botocore.exceptions")
    if exceptions is None:  # botocore was never imported, so none of its errors was raised
        return None
    if is_connection_error(error):
        return f"the local AWS does not answer ({error}); start it with `topic-model local up{root_option(root)}`"
    if isinstance(error, exceptions.ClientError):
        answer = error.response.get("Error", {})
        return f"{error.operation_name} was refused: {answer.get('Code')}: {answer.get('Message')}"
    if isinstance(error, exceptions.BotoCoreError):
        return f"a request to the local AWS failed: {error}"
    # upload_file wraps what went wrong; the cause is chained.
    transfer = sys.modules.get("boto3.exceptions")
    if transfer is not None and isinstance(error, transfer.Boto3Error):
        return f"a transfer to or from the local AWS failed: {error}"
    return None
