"""What all SageMaker jobs share: their request, status, folder, log and container, and their state on disk."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from moto.sagemaker.exceptions import ValidationError

from local_aws import event_rules
from local_aws.config import LocalAwsError, LocalConfig
from local_aws.docker_mode import DockerRunner
from local_aws.iam_enforcement import acting_as, refused_image
from local_aws.iam_identities import AssumeRoleRefusedError
from local_aws.job_errors import JobFailedError, JobStoppedError, unwritable_reason
from local_aws.job_files import remove_folder
from local_aws.job_logs import LogShipper
from local_aws.process_identity import kill_left_over
from local_aws.runner import STOP_GRACE_SECONDS, Container, Launch, Runner, read_tail
from local_aws.saved_state import now, read_state, write_state

logger = logging.getLogger(__name__)

RUNNING = frozenset({"InProgress", "Stopping"})
SERVER_STOPPED = "InternalServerError: the local AWS was stopped while the job ran"
_REASON_CHARACTERS = 1_024


@dataclass
class JobStore:
    """The jobs of one local AWS."""

    config: LocalConfig
    runner: Runner
    jobs: dict[tuple[str, str], Job] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    closing: bool = False

    @property
    def root(self) -> Path:
        """The folder that holds a folder a job."""
        return self.config.root.resolve() / "sagemaker" / "jobs"

    def of_kind(self, kind: str) -> list[Job]:
        """The jobs of a kind, the oldest first."""
        with self.lock:
            return [job for (its_kind, _), job in self.jobs.items() if its_kind == kind]

    def stop_all(self, grace_seconds: float) -> None:
        """Ends every running job; they are reported as failed by the stopped server."""
        self.closing = True
        running = [job for job in list(self.jobs.values()) if job.status in RUNNING]
        for job in running:
            job.abort(grace_seconds)
        deadline = time.monotonic() + grace_seconds + 5
        for job in running:
            job.join(max(0.1, deadline - time.monotonic()))


class Job(ABC):
    """One job; subclasses say what it does in :meth:`run`."""

    kind: ClassVar[str]
    """``Training``: the prefix of its fields (``TrainingJobName``) and of its log group."""
    slug: ClassVar[str]
    """Its name in an ARN without ``-job``."""
    start_field: ClassVar[str]
    end_field: ClassVar[str]
    max_instances: ClassVar[int] = 1

    @property
    def event_name(self) -> str:
        """What EventBridge calls its kind."""
        return {"HyperParameterTuning": "HyperParameter Tuning"}.get(self.kind, self.kind)

    def __init__(self, store: JobStore, request: Mapping[str, Any]) -> None:
        self.store = store
        self.request = dict(request)
        self.name: str = request[f"{self.kind}JobName"]
        self.status = "InProgress"
        self.fields: dict[str, Any] = {}
        self.tags: list[dict[str, str]] = list(self.request.pop("Tags", None) or [])
        self.created = self.modified = now()
        self.stream = f"{self.name}/algo-1-{int(time.time())}"
        self.process: dict[str, Any] = {}
        self._container: Container | None = None
        self._stop_asked = threading.Event()
        self._aborted = False
        self._state_lock = threading.RLock()
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------ what the API shows

    @property
    def config(self) -> LocalConfig:
        """The local AWS's configuration."""
        return self.store.config

    @property
    def arn(self) -> str:
        """The job's ARN."""
        return f"arn:aws:sagemaker:{self.config.region}:{self.config.account}:{self.slug}-job/{self.name}"

    @property
    def s3(self) -> Any:
        """A client of S3, under the job's role."""
        return self.caller.client("s3")

    @property
    def role_arn(self) -> str | None:
        """The role that the job acts under."""
        return self.request.get("RoleArn")

    @property
    def caller(self) -> LocalConfig:
        """The local AWS as the job's role sees it.

        Raises:
            JobFailedError: SageMaker may not assume the role.
        """
        try:
            return acting_as(self.config, self.role_arn, "sagemaker.amazonaws.com", "SageMaker")
        except AssumeRoleRefusedError as error:
            raise JobFailedError(f"ClientError: {error}") from error

    @property
    def folder(self) -> Path:
        """The job's folder: ``job.json``, ``log.txt`` and, while it runs, ``ml``."""
        return self.store.root / self.slug / self.name

    @property
    def base_dir(self) -> Path:
        """The folder that stands for ``/opt/ml``."""
        return self.folder / "ml"

    @property
    def log_path(self) -> Path:
        """The log of the job's container."""
        return self.folder / "log.txt"

    @property
    def log_group(self) -> str:
        """The job's CloudWatch log group."""
        return f"/aws/sagemaker/{self.kind}Jobs"

    def describe(self) -> dict[str, Any]:
        """The answer to ``Describe``: the request as it came, and what became of it."""
        with self._state_lock:
            return {
                **self.request,
                f"{self.kind}JobArn": self.arn,
                f"{self.kind}JobStatus": self.status,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
                **self.fields,
            }

    # ------------------------------------------------------------------ its life

    def check(self) -> None:  # noqa: B027 - not every kind has something to refuse
        """Refuses, before anything is made, what the local AWS cannot run.

        Raises:
            ValidationError: names the parameter and what is supported.
        """

    @abstractmethod
    def run(self) -> None:
        """Does the job's work; returns when it is complete.

        Raises:
            JobFailedError: it failed, for the reason given.
            JobStoppedError: it was stopped.
        """

    def prepare(self) -> None:
        """Makes the job's folder and saves it, so that it is there from the moment that Create answers."""
        remove_folder(self.folder)
        self.base_dir.mkdir(parents=True)
        self.save()

    def start(self) -> None:
        """Runs the job in the background."""
        self._thread = threading.Thread(target=self.run_to_end, name=f"{self.slug}-{self.name}", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Waits for its end."""
        if self._thread:
            self._thread.join(timeout)

    def run_to_end(self) -> None:
        """Runs the job in this thread; whatever happens, it ends in a final status."""
        status, reason = "Completed", None
        try:
            self.update({self.start_field: now()})
            self.run()
            if self._stop_asked.is_set():
                status = "Stopped"
        except JobStoppedError as stop:
            status, reason = "Stopped", str(stop) or None
        except JobFailedError as failure:
            status, reason = ("Stopped", None) if self._stop_asked.is_set() else ("Failed", str(failure))
        except OSError as error:
            logger.exception("%s job %s", self.slug, self.name)
            status, reason = "Failed", unwritable_reason(error, self.folder)
        except Exception as error:
            logger.exception("%s job %s", self.slug, self.name)
            status, reason = "Failed", f"InternalServerError: {error!r}"
        if self._aborted and status != "Completed":
            status, reason = "Failed", SERVER_STOPPED
        self._finish_unsaved_at_worst(status, reason)

    def fail(self, reason: str) -> None:
        """Ends a job that was not started."""
        self._finish_unsaved_at_worst("Failed", reason)

    def _finish_unsaved_at_worst(self, status: str, reason: str | None) -> None:
        try:
            self._finish(status, reason)
        except OSError:  # the disk is full: Describe is right, and a later server will say that the job was cut off
            logger.exception("%s job %s is %s but cannot be saved", self.slug, self.name, status)

    def _finish(self, status: str, reason: str | None) -> None:
        self.process = {}
        fields = {self.end_field: now(), **self.final_fields(status)}
        if reason:
            fields["FailureReason"] = reason
        if status != "Failed" and not os.environ.get("LOCAL_AWS_KEEP_FOLDERS"):
            remove_folder(self.base_dir)  # a failed job's stays, for a look at what it had
        self.update(fields, status=status)
        event_rules.emit("aws.sagemaker", f"SageMaker {self.event_name} Job State Change", self.arn, self.describe())

    def final_fields(self, status: str) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """More fields that the end brings."""
        return {}

    def update(self, fields: Mapping[str, Any] | None = None, *, status: str | None = None) -> None:
        """Changes what Describe shows, and saves it."""
        with self._state_lock:
            self.fields |= fields or {}
            self.status = status or self.status
            self.modified = now()
            self.save()

    def request_stop(self) -> None:
        """What ``Stop…Job`` does: SIGTERM now, SIGKILL after the grace; returns at once."""
        with self._state_lock:
            if self.status not in RUNNING:
                raise ValidationError(
                    message=f"The request was rejected because the {self.slug} job is in status {self.status}."
                )
            try:
                self.update(status="Stopping")
            except OSError:  # the disk is full, and all the more the job is to stop
                logger.exception("%s job %s is stopping but cannot be saved", self.slug, self.name)
            self._stop(STOP_GRACE_SECONDS)

    def abort(self, grace_seconds: float) -> None:
        """Ends the job because the server stops."""
        self._aborted = True
        with self._state_lock:
            self._stop(grace_seconds)

    def _stop(self, grace_seconds: float) -> None:
        self._stop_asked.set()
        if self._container:
            threading.Thread(target=self._container.stop, args=(grace_seconds,), daemon=True).start()

    @property
    def stop_asked(self) -> bool:
        """Whether it is to stop."""
        return self._stop_asked.is_set()

    def check_stopped(self) -> None:
        """Raises JobStoppedError if the job is to stop."""
        if self._stop_asked.is_set():
            raise JobStoppedError

    # ------------------------------------------------------------------ its container

    def local_path(self, path: str) -> Path:
        """The place of a path below ``/opt/ml`` on this machine."""
        if path != "/opt/ml" and not path.startswith("/opt/ml/"):
            raise ValidationError(message=f"the path {path!r} is not below /opt/ml, which the local AWS needs")
        if ".." in path.split("/"):
            raise ValidationError(message=f"the path {path!r} leads out of its folder")
        return self.base_dir / path.removeprefix("/opt/ml").strip("/")

    def write_config(self, relative: str, value: Any) -> None:
        """A JSON file below ``/opt/ml``."""
        path = self.base_dir / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, default=str), encoding="utf-8")

    def execute(
        self,
        image: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        entry_point: Sequence[str] = (),
        max_seconds: float | None,
    ) -> None:
        """Runs the job's container to its end.

        Raises:
            JobFailedError: it exited with another code than 0; the reason is what it wrote to ``output/failure``.
            JobStoppedError: it was stopped or ran too long.
        """
        if refused := refused_image(self.role_arn, image):
            raise JobFailedError(refused)
        launch = Launch(
            name=self.name,
            image=image,
            arguments=tuple(arguments),
            entry_point=tuple(entry_point),
            base_dir=self.base_dir,
            log_path=self.log_path,
            environment=environment,
            caller=self.caller,
        )
        (self.base_dir / "output").mkdir(exist_ok=True)
        with LogShipper(self.caller, self.log_path, group=self.log_group, stream=self.stream):
            container = self._begin(launch)
            try:
                code = container.wait(max_seconds)
            except TimeoutError:
                container.stop(STOP_GRACE_SECONDS)
                raise JobStoppedError(f"MaxRuntimeExceeded: the job ran longer than {max_seconds} s") from None
        self.check_stopped()
        if code:
            raise JobFailedError(self._failure_reason(code))

    def _begin(self, launch: Launch) -> Container:
        with self._state_lock:
            self.check_stopped()
            try:
                container = self.store.runner.start(launch)
            except (LocalAwsError, OSError) as error:
                raise JobFailedError(f"ClientError: the container cannot be started: {error}") from error
            try:
                self.own(container)
            except OSError:  # it would run on with nobody to wait for it
                container.stop(0)
                raise
            return container

    def own(self, container: Container | None) -> None:
        """The container that a stop of this job ends, saved so that a later server can find what is left of it."""
        with self._state_lock:
            self._container = container
            self.process = (
                {"pid": container.pid, "identity": container.identity, "docker": container.docker_name}
                if container
                else {}
            )
            self.save()
            if container and self._stop_asked.is_set():
                self._stop(0)

    def _failure_reason(self, code: int) -> str:
        text = ""
        for name in ("failure", "message"):
            path = self.base_dir / "output" / name
            if path.is_file():
                with path.open(encoding="utf-8", errors="replace") as file:
                    text = file.read(_REASON_CHARACTERS).strip()
                break
        if not text:
            last = read_tail(self.log_path, 600).strip()
            text = f"See job logs for more information. The last lines:\n{last}" if last else "it wrote nothing"
        return f"AlgorithmError: {text}, exit code: {code}"

    # ------------------------------------------------------------------ its state on disk

    def save(self) -> None:
        """Writes ``job.json``."""
        with self._state_lock:
            state = {
                "kind": self.kind,
                "request": self.request,
                "status": self.status,
                "created": self.created,
                "modified": self.modified,
                "fields": self.fields,
                "tags": self.tags,
                "stream": self.stream,
                "process": self.process,
            }
            write_state(self.folder / "job.json", state)

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes on the state saved by an earlier server; a job that ran then has failed, and what is left is killed."""
        self.status, self.fields = state["status"], dict(state["fields"])
        self.created, self.modified = state["created"], state["modified"]
        self.tags, self.stream = list(state["tags"]), state["stream"]
        if self.status in RUNNING:
            left = state["process"]
            if left.get("docker"):
                DockerRunner.remove(left["docker"])
            elif left and kill_left_over(left["pid"], left["identity"]):
                logger.info("killed process %d of %s job %s", left["pid"], self.slug, self.name)
            self._finish("Failed", SERVER_STOPPED)

    def ship_saved_log(self) -> None:
        """Puts the log of an earlier server's job back into CloudWatch Logs."""
        if self.log_path.exists():
            shipper = LogShipper(self.config, self.log_path, group=self.log_group, stream=self.stream)
            shipper.ship_all(self.fields.get(self.start_field, self.created))


def load_job(store: JobStore, kinds: Mapping[str, type[Job]], path: Path) -> Job | None:
    """The job saved in a ``job.json``; None where the file is damaged."""
    state = read_state(path)
    try:
        if state is None:
            return None
        job = kinds[state["kind"]](store, state["request"])
        job.load(state)
    except (LookupError, TypeError) as error:
        logger.warning("%s is passed over: %r", path, error)
        return None
    return job


def compiled_metrics(definitions: Sequence[Mapping[str, str]]) -> list[tuple[str, re.Pattern[str]]]:
    """Metric names and their expressions.

    Raises:
        ValidationError: an expression is none.
    """
    compiled = []
    for definition in definitions:
        try:
            pattern = re.compile(definition["Regex"])
        except re.error as error:
            raise ValidationError(
                message=f"the Regex {definition['Regex']!r} of metric {definition['Name']!r} is invalid: {error}"
            ) from error
        compiled.append((definition["Name"], pattern))
    return compiled


def final_metrics(log_path: Path, metrics: Sequence[tuple[str, re.Pattern[str]]]) -> list[dict[str, Any]]:
    """The last value of each metric in a log, as ``FinalMetricDataList`` has them; absent ones are left out."""
    values: dict[str, float] = {}
    if metrics and log_path.exists():
        with log_path.open(encoding="utf-8", errors="replace") as log:
            for line in log:
                for name, pattern in metrics:
                    for match in pattern.finditer(line):
                        text = match.group(1) if pattern.groups else match.group()
                        try:
                            values[name] = float(text)
                        except (TypeError, ValueError):
                            continue
    moment = now()
    return [{"MetricName": name, "Value": value, "Timestamp": moment} for name, value in values.items()]
