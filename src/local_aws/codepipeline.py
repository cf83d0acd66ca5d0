"""CodePipeline's jobs: a Lambda function says how the action that invoked it ended, and who runs the pipeline reads it.

moto has pipelines and no jobs. The local AWS runs no pipeline by itself: whoever does (``topic-model deliver``) makes
up a job's id, as CodePipeline does, so results are taken for any id, once. ``GetJobDetails`` answers them in the
configuration of the job's action: ``status`` (Succeeded, Failed), ``message`` and ``variables`` (a JSON object).
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from moto.codebuild import responses as codebuild
from moto.codepipeline.responses import CodePipelineResponse
from moto.core.exceptions import JsonRESTError

from local_aws.config import LocalConfig

MOST_JOBS = 1_000
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VARIABLE = re.compile(r"[A-Za-z0-9@_-]+")
_jobs: OrderedDict[str, dict[str, Any]] = OrderedDict()
_lock = threading.Lock()


def install(config: LocalConfig) -> None:
    """Add the operations to moto's service."""
    account = config.account
    response: Any = CodePipelineResponse

    def put_job_success_result(self: Any) -> str:
        given = json.loads(self.body)
        variables = given.get("outputVariables", {})
        if wrong := sorted(name for name in variables if not _VARIABLE.fullmatch(name)):
            raise JsonRESTError("ValidationException", f"outputVariables has key {wrong[0]!r}")
        _settle(given, "Succeeded", given.get("executionDetails", {}).get("summary", ""), variables)
        return ""

    def put_job_failure_result(self: Any) -> str:
        given = json.loads(self.body)
        _settle(given, "Failed", given["failureDetails"]["message"], {})
        return ""

    def get_job_details(self: Any) -> str:
        job = str(json.loads(self.body).get("jobId"))
        with _lock:
            settled = _jobs.get(job)
        if settled is None:
            raise JsonRESTError("JobNotFoundException", f"there is no result of job {job}")
        data = {"actionConfiguration": {"configuration": settled}}
        return json.dumps({"jobDetails": {"id": job, "accountId": account, "data": data}})

    response.put_job_success_result = put_job_success_result
    response.put_job_failure_result = put_job_failure_result
    response.get_job_details = get_job_details
    _projects_of_a_pipeline()


def _projects_of_a_pipeline() -> None:
    """Defect: moto's CodeBuild wants a location of a project whose source and artifacts are a pipeline's."""
    checks: Any = codebuild
    for name in ("_validate_required_params_source", "_validate_required_params_artifacts"):
        setattr(checks, name, _unless_of_a_pipeline(getattr(checks, name)))


def _unless_of_a_pipeline(check: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def checked(given: dict[str, Any]) -> None:
        if given.get("type") != "CODEPIPELINE":
            check(given)

    return checked


def _settle(given: dict[str, Any], status: str, message: str, variables: dict[str, str]) -> None:
    job = str(given.get("jobId"))
    if not _ID.fullmatch(job):
        raise JsonRESTError("ValidationException", f"jobId is {job!r}; expected the id of a job")
    with _lock:
        if job in _jobs:
            raise JsonRESTError("InvalidJobStateException", f"job {job} has ended before: {_jobs[job]['status']}")
        _jobs[job] = {"status": status, "message": message, "variables": json.dumps(variables)}
        while len(_jobs) > MOST_JOBS:
            _jobs.popitem(last=False)
