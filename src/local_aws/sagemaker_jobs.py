"""The API of SageMaker's jobs, put in the place of moto's, whose jobs are complete at once and ran nothing."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import (
    ResourceInUseException,
    ResourceNotFound,
    ValidationError,
)
from moto.sagemaker.responses import SageMakerResponse

from local_aws import sagemaker_tags
from local_aws.config import LocalConfig
from local_aws.job_errors import unwritable_reason
from local_aws.requests_validation import validated_request
from local_aws.runner import release_runner, shared_runner
from local_aws.sagemaker_job import RUNNING, Job, JobStore, load_job
from local_aws.sagemaker_processing import ProcessingJob
from local_aws.sagemaker_training import TrainingJob
from local_aws.sagemaker_transform import TransformJob
from local_aws.sagemaker_tuning import TuningJob

logger = logging.getLogger(__name__)

KINDS: Mapping[str, type[Job]] = {
    job_class.kind: job_class for job_class in (ProcessingJob, TrainingJob, TransformJob, TuningJob)
}
_SHUTDOWN_GRACE_SECONDS = 5.0
_USER = "sagemaker_jobs"
_PAGE = 100
_ARN_PART = "-job/"

_store: list[JobStore] = []  # at most one: the local AWS that this process serves


def install(config: LocalConfig) -> None:
    """Puts the jobs' API in moto's place."""
    _store[:] = [JobStore(config, shared_runner(config, _USER))]
    for kind in KINDS:
        for verb, handler in _handlers(kind).items():
            setattr(SageMakerResponse, f"{verb}_{_snake(kind)}_job{'s' if verb == 'list' else ''}", handler)
    SageMakerResponse.list_training_jobs_for_hyper_parameter_tuning_job = _list_trials
    sagemaker_tags.install()
    sagemaker_tags.register(_ARN_PART, _tags_holder)


def restore(config: LocalConfig) -> None:  # noqa: ARG001 - the plug contract's
    """Brings back the jobs of earlier servers; those that ran when the server ended have failed."""
    store = current_store()
    for path in sorted(store.root.glob("*/*/job.json")):
        job = load_job(store, KINDS, path)
        if job is not None:
            with store.lock:
                store.jobs.setdefault((job.kind, job.name), job)
    sagemaker_tags.restored(_ARN_PART)
    saved = list(store.jobs.values())
    threading.Thread(target=_ship_logs, args=(saved,), name="saved-logs", daemon=True).start()
    store.runner.warm_up()


def shutdown() -> None:
    """Ends every running job and its processes; idempotent."""
    while _store:
        store = _store.pop()
        store.stop_all(_SHUTDOWN_GRACE_SECONDS)
        release_runner(store.config, _USER)


def current_store() -> JobStore:
    """The jobs of the local AWS that this process serves."""
    if not _store:
        raise ValidationError(message="the local AWS is stopping")
    return _store[0]


def _ship_logs(jobs: Sequence[Job]) -> None:
    for job in jobs:
        try:
            job.ship_saved_log()
        except Exception:
            logger.exception("the log of job %s", job.name)


def _handlers(kind: str) -> dict[str, Callable[[Any], ActionResult]]:
    def create(self: Any) -> ActionResult:
        job = create_job(kind, validated_request(self.body, f"Create{kind}Job"))
        return ActionResult({f"{kind}JobArn": job.arn})

    def describe(self: Any) -> ActionResult:
        return ActionResult(find_job(kind, validated_request(self.body, f"Describe{kind}Job")).describe())

    def stop(self: Any) -> ActionResult:
        find_job(kind, validated_request(self.body, f"Stop{kind}Job")).request_stop()
        return EmptyResult()

    def list_(self: Any) -> ActionResult:
        request = validated_request(self.body, f"List{kind}Jobs")
        jobs = [(job, _summary(job)) for job in current_store().of_kind(kind)]
        page, token = listed(jobs, request, kind=kind)
        return ActionResult({f"{kind}JobSummaries": page} | ({"NextToken": token} if token else {}))

    return {"create": create, "describe": describe, "stop": stop, "list": list_}


def create_job(kind: str, request: Mapping[str, Any]) -> Job:
    """Makes a job and starts it; one whose folder cannot be written has failed at once.

    Raises:
        ResourceInUseException: the name is taken.
        ValidationError: the local AWS cannot run it.
    """
    store = current_store()
    job = KINDS[kind](store, request)
    job.check()
    with store.lock:
        existing = store.jobs.get((kind, job.name))
        if existing is not None:
            raise ResourceInUseException(
                message=f"{kind} job names must be unique within an AWS account and region, and a {job.slug} job with "
                f"this name already exists ({existing.arn})"
            )
        if store.closing:
            raise ValidationError(message="the local AWS is stopping")
        try:
            job.prepare()
        except OSError as error:
            # No limit error, which stands for an account's quota: workflows wait long before they try that again.
            job.fail(unwritable_reason(error, job.folder))
        store.jobs[(kind, job.name)] = job
        if job.status in RUNNING:
            job.start()
    return job


def find_job(kind: str, request: Mapping[str, Any]) -> Job:
    """The job named in a request; the services' own error where there is none."""
    job = current_store().jobs.get((kind, request[f"{kind}JobName"]))
    if job is None:
        if kind == "Training":
            raise ValidationError(message="Requested resource not found.")
        raise ResourceNotFound(message=f"Could not find requested job with name: {request[f'{kind}JobName']}")
    return job


def _summary(job: Job) -> dict[str, Any]:
    shown = job.describe()
    if isinstance(job, TuningJob):
        shown["Strategy"] = job.request["HyperParameterTuningJobConfig"]["Strategy"]
        shown["ResourceLimits"] = job.request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    return shown


def listed(
    jobs: Sequence[tuple[Job, dict[str, Any]]], request: Mapping[str, Any], *, kind: str
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of job summaries, filtered and sorted as ``List…Jobs`` asks, and the next page's token."""
    found = [(job, shown) for job, shown in jobs if _matches(job, request)]
    sort_by = request.get("SortBy", "CreationTime")

    def key(pair: tuple[Job, dict[str, Any]]) -> Any:
        job, shown = pair
        if sort_by == "FinalObjectiveMetricValue":
            metric = shown.get("FinalHyperParameterTuningJobObjectiveMetric")
            return (metric is not None, metric["Value"] if metric else 0.0)
        return {"Name": job.name, "Status": job.status}.get(sort_by, job.created)

    found.sort(key=key, reverse=request.get("SortOrder", "Descending") == "Descending")
    start = _token_position(request.get("NextToken"))
    stop = start + request.get("MaxResults", _PAGE)
    token = base64.urlsafe_b64encode(f"{kind}:{stop}".encode()).decode() if stop < len(found) else None
    return [shown for _, shown in found[start:stop]], token


def _matches(job: Job, request: Mapping[str, Any]) -> bool:
    bounds = (
        ("CreationTimeAfter", job.created, 1),
        ("CreationTimeBefore", job.created, -1),
        ("LastModifiedTimeAfter", job.modified, 1),
        ("LastModifiedTimeBefore", job.modified, -1),
    )
    return (
        request.get("NameContains", "") in job.name
        and request.get("StatusEquals", job.status) == job.status
        and all((moment.timestamp() - request[name]) * sign > 0 for name, moment, sign in bounds if name in request)
    )


def _token_position(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token).decode().partition(":")[2])
    except (binascii.Error, ValueError) as error:
        raise ValidationError(message=f"NextToken {token!r} is none of this list's") from error


def _list_trials(self: Any) -> ActionResult:
    request = validated_request(self.body, "ListTrainingJobsForHyperParameterTuningJob")
    job = find_job(TuningJob.kind, request)
    if not isinstance(job, TuningJob):
        raise ResourceNotFound(message=f"{job.name} is no tuning job")
    # The API's own default is the order of names here, ascending.
    asked = {"SortBy": "Name", "SortOrder": "Ascending", **request}
    page, token = listed([(trial, job.summary(trial)) for trial in job.training_jobs()], asked, kind="trial")
    return ActionResult({"TrainingJobSummaries": page} | ({"NextToken": token} if token else {}))


def _tags_holder(arn: str) -> Job | None:
    for job in list(current_store().jobs.values()):
        if job.arn == arn:
            return job
    return None


def _snake(kind: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
