"""What Step Functions asks of a state machine's role when the machine is made, as AWS does.

A state that waits for a job or an execution (``.sync``) is told of its end by a rule of EventBridge that Step Functions
manages as the role; logging is set up as the role, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_Found = tuple[str, str, tuple[str, str]]
_RULES = {
    "sagemaker:createTrainingJob.sync": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "sagemaker:createTransformJob.sync": "StepFunctionsGetEventsForSageMakerTransformJobsRule",
    "sagemaker:createHyperParameterTuningJob.sync": "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    "sagemaker:createProcessingJob.sync": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    "states:startExecution.sync": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
    "states:startExecution.sync:2": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
}
_LOGGING = (
    "CreateLogDelivery", "DeleteLogDelivery", "DescribeLogGroups", "DescribeResourcePolicies", "GetLogDelivery",
    "ListLogDeliveries", "PutResourcePolicy", "UpdateLogDelivery",
)  # fmt: skip


def state_machine_accesses(params: Mapping[str, Any], account: str, region: str) -> Iterator[_Found]:
    """Actions, resources and how Step Functions words the refusal, of ``CreateStateMachine`` and ``Update…``."""
    role = params.get("roleArn")
    if not isinstance(role, str):
        return  # an update that leaves the role as it is
    refused = ("AccessDeniedException", f"'{role}' is not authorized to create managed-rule.")
    integrations = _integrations(params.get("definition"))
    for rule in sorted({_RULES[name] for name in integrations if name in _RULES}):
        for action in ("PutTargets", "PutRule", "DescribeRule"):
            yield f"events:{action}", f"arn:aws:events:{region}:{account}:rule/{rule}", refused
    logging = params.get("loggingConfiguration") or {}
    if logging.get("level", "OFF") != "OFF":
        refused = (
            "AccessDeniedException",
            "The state machine IAM Role is not authorized to access the Log Destination",
        )
        for action in _LOGGING:
            yield f"logs:{action}", "*", refused


def _integrations(definition: Any) -> set[str]:
    """``service:action.sync`` of the task states of a definition."""
    try:
        left = [json.loads(definition)]
    except (TypeError, ValueError):
        return set()  # Step Functions refuses it itself
    found = set()
    while left:
        part = left.pop()
        if isinstance(part, dict):
            resource = part.get("Resource")
            if part.get("Type") == "Task" and isinstance(resource, str):
                found.add(resource.partition(":::")[2])
            left += part.values()
        elif isinstance(part, list):
            left += part
    return found
