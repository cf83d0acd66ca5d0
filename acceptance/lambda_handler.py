"""The suite as CodePipeline's Lambda action: it says itself how the job ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from acceptance.environment import client
from acceptance.suite import keep_report, run_suite

_MOST_CHARACTERS = 4_000  # of a message that PutJobFailureResult takes, 5,000


def handler(event: Mapping[str, Any], context: object) -> dict[str, str]:
    """Check the environment that ``STACK`` names, keep the report, and tell the pipeline.

    The event is CodePipeline's; its ``UserParameters`` are ``{"report": <key of the report>}``. A job that nobody
    ended would hold the pipeline for an hour, so a defect of the suite ends it too.
    """
    del context
    job = event["CodePipeline.job"]
    try:
        given = json.loads(job["data"]["actionConfiguration"]["configuration"]["UserParameters"])
        outcome = run_suite(os.environ["STACK"], "production" if os.environ["SUITE"] == "production" else "test")
        place = keep_report(outcome, os.environ["REPORTS"], given["report"])
        accepted, told = outcome.accepted, f"{outcome} (report: {place})"
    except Exception as error:  # noqa: BLE001 - whatever it is, the pipeline is told
        accepted, told = False, f"the suite could not run: {type(error).__name__}: {error}"
    print(told)  # noqa: T201 - to the function's log
    pipeline = client("codepipeline")
    if accepted:
        pipeline.put_job_success_result(
            jobId=job["id"],
            executionDetails={"summary": told[:2_000], "percentComplete": 100},
            outputVariables={"Outcome": told[:1_000]},
        )
    else:
        pipeline.put_job_failure_result(
            jobId=job["id"], failureDetails={"type": "JobFailed", "message": told[:_MOST_CHARACTERS]}
        )
    return {"outcome": "accepted" if accepted else "refused", "told": told}
