"""Probes of a canary: requests of the workflow's own, so that alarms have something to judge by on a quiet endpoint.

What they are and when they are left out is ``workflow_functions.canary_probes``. A deployment never fails because
they cannot be sent: its output then says that there is no verdict.
"""

from __future__ import annotations

from typing import Any

from pipelines.deployment_alarms import VARIANT_NAME
from pipelines.failures import function_retries
from pipelines.sdk import ChoiceRule, Pass, Task, steps
from pipelines.settings import PipelineSettings

NO_MODEL_BEFORE = "none"
"""What ``$.before.config`` is where no endpoint was there: its first model is no canary."""
_CARRIED = ("finding", "obstacle")
"""What each call is told of the one before."""
_FACTS = ("requests", "probes", "asked", "verdict", *_CARRIED)


def not_judged(name: str, verdict: str) -> Any:
    """The state that says why nothing has judged a canary, at ``$.canary``."""
    nothing = {"requests": 0, "probes": 0, "asked": "no request", "verdict": verdict}
    return Pass(name, result=nothing | dict.fromkeys(_CARRIED, ""), result_path="$.canary")


def probe_canary(settings: PipelineSettings, *, then: Any) -> Any:
    """The state that sends some probes and counts what the canary was asked."""
    return _ask("ProbeCanary", settings, probes=settings.deployment.probes_per_poll, unwatched_seconds=0, then=then)


def judge_canary(settings: PipelineSettings, *, then: Any) -> Any:
    """States that count, behind a good deployment, the requests that its canary was judged by."""
    wait = settings.deployment.termination_wait_seconds
    judge = _ask("JudgeCanary", settings, probes=0, unwatched_seconds=wait, then=then)
    canary = steps.Choice("Canary?", comment="An endpoint's first model is none")
    canary.add_choice(ChoiceRule.StringEquals("$.before.config", NO_MODEL_BEFORE), then)
    canary.default_choice(judge)
    return canary


def count_requests(settings: PipelineSettings, *, then: Any) -> Any:
    """The state that counts what a canary was asked before it went back."""
    return _ask("CountRequests", settings, probes=0, unwatched_seconds=0, then=then)


def _ask(name: str, settings: PipelineSettings, *, probes: int, unwatched_seconds: int, then: Any) -> Any:
    alarms = settings.deployment.alarms
    carried = {fact: f"$.canary.{fact}" for fact in _CARRIED}
    task = Task(
        name,
        resource="arn:aws:states:::lambda:invoke",
        parameters={
            "FunctionName": "${SmokeTestFunctionArn}",
            "Payload": {
                "endpoint": "${EndpointName}",
                "variant": VARIANT_NAME,
                "config": "$.endpoint_config.name",
                "model": "$.model.name",
                "model_version": "$.model_version",
                "started": "$$.Execution.StartTime",
                "probes": probes,
                "min_requests": alarms.min_requests,
                "period_seconds": alarms.period_seconds,
                "datapoints": alarms.datapoints,
                "unwatched_seconds": unwatched_seconds,
                **carried,
            },
        },
        result_selector={fact: f"$.Payload.{fact}" for fact in _FACTS},
        result_path="$.canary",
        timeout_seconds=330,
        retry=function_retries(),
    )
    failed = Pass(
        f"{name}Failed",
        parameters={
            "requests": 0,
            "probes": 0,
            "asked": "a number of requests that could not be counted",
            "verdict": "States.Format('no verdict: requests could not be counted ({})', $.canary_error.Error)",
            **carried,
        },
        result_path="$.canary",
    )
    failed.next(then)
    task.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.canary_error", next_step=failed))
    task.next(then)
    return task
