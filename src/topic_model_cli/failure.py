"""Why an execution failed, in plain words: the state, the error, the cause dug out of its JSON, and the job's log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model_cli.errors import is_connection_error
from topic_model_cli.progress import printable

if TYPE_CHECKING:
    from local_aws.config import LocalConfig
    from topic_model_cli.history import Job, StateHistory

LOG_LINES = 15
LOG_GROUPS = {
    "processing": "/aws/sagemaker/ProcessingJobs",
    "training": "/aws/sagemaker/TrainingJobs",
    "transform": "/aws/sagemaker/TransformJobs",
    "tuning": "/aws/sagemaker/TrainingJobs",
}
_CAUSE_KEYS = ("FailureReason", "errorMessage", "Cause", "cause", "ErrorMessage", "Message", "message")
_MAX_NESTING = 8


@dataclass(frozen=True)
class Failure:
    """One failed execution, told for a person."""

    state: str | None
    where: str
    error: str
    cause: str
    log_lines: tuple[str, ...] = ()
    log_place: str | None = None

    def __str__(self) -> str:
        lines = [f"the run failed {self.where}: {self.error}", f"  {self.cause}" if self.cause else ""]
        if self.log_lines:
            lines += ["  the job's last lines:", *(f"    {printable(line)}" for line in self.log_lines)]
        if self.log_place:
            lines.append(f"  its log: {self.log_place}")
        return "\n".join(line for line in lines if line)


def explain_failure(config: LocalConfig, described: Mapping[str, Any], history: StateHistory) -> Failure:
    """What went wrong in an execution that ended as FAILED, TIMED_OUT or ABORTED."""
    run = history.failed()
    last = history.last_at_work()
    error = (run.error if run else None) or described.get("error") or str(described["status"])
    cause = plain_cause((run.cause if run else None) or described.get("cause") or "")
    if run is None:
        return Failure(None, f"after state {last.label}" if last else "at once", error, cause)
    where = f"in state {run.label}"
    if run.job is None:
        return Failure(run.label, where, error, cause)
    place, lines = job_log(config, run.job)
    on_disk = config.root / "sagemaker" / "jobs" / run.job.kind / run.job.name / "log.txt"
    if on_disk.is_file():
        place = str(on_disk)
    return Failure(run.label, where, error, cause, tuple(lines) if _add_to(cause, lines) else (), place)


def plain_cause(cause: str) -> str:
    """The sentence inside a cause: a job's FailureReason or a function's errorMessage, however deep in JSON it lies."""
    for _ in range(_MAX_NESTING):
        inner: Any = None
        with contextlib.suppress(ValueError):
            inner = json.loads(cause)
        if not isinstance(inner, dict):
            break
        found = next((inner[key] for key in _CAUSE_KEYS if inner.get(key)), None)
        if found is None:
            break
        cause = found if isinstance(found, str) else json.dumps(found)
    return cause.strip()


def _add_to(cause: str, lines: Sequence[str]) -> bool:
    """Whether a log's lines say anything that the cause does not: a job's error ends its log and is its cause too."""
    said = " ".join(cause.split())
    return any(" ".join(line.split()) not in said for line in lines)


def job_log(config: LocalConfig, job: Job, lines: int = LOG_LINES) -> tuple[str | None, list[str]]:
    """Where a job's log is, as ``group/stream``, and its last lines; None and none where it has not begun one."""
    logs = config.client("logs")
    group = LOG_GROUPS[job.kind]
    try:
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job.name}")["logStreams"]
        if not streams:
            return None, []
        stream = streams[-1]["logStreamName"]
        events = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False)[
            "events"
        ]
    except ClientError:
        return None, []
    except Exception as error:
        if is_connection_error(error):
            return None, []
        raise
    return f"{group}/{stream}", [event["message"].rstrip() for event in events][-lines:]
