"""Least privilege: every caller under its role as template.yaml has it, and no statement of a role is idle.

The stack is made by CloudFormation on a local AWS that enforces IAM, and all that its roles are for is done with it.
Each decision is recorded. A statement is needed if without it a request that was allowed would be refused: that is told
by evaluating the recorded requests again, and for a handful of statements by really taking them away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local_aws import lifecycle
from local_aws.config import LocalConfig
from local_aws.iam_decisions import Recorded, read_decisions, without
from tests.enforced_stack import Environment, Role
from tests.local_aws.conftest import free_port
from topic_model.sample import generate_sample

pytestmark = pytest.mark.slow
CAMPAIGNS = 300

X_RAY = "the local AWS keeps no traces, and AWS drops those that may not be sent without a word"
NOT_EXERCISED: dict[tuple[str, str], str] = {
    ("LookupApiRole", "Trace"): X_RAY,
}
"""Statements, by role and Sid, that nothing on the local AWS can ask for; why."""

NOT_EXERCISED_ACTIONS: dict[tuple[str, str], dict[str, str]] = {
    ("DeployRole", "LogsAndTraces"): dict.fromkeys(
        ("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"), X_RAY
    ),
    ("DeployRole", "Endpoint"): {
        "sagemaker:DeleteEndpoint": "an endpoint whose first model did not start is deleted; here it starts"
    },
    ("JobRole", "FindInputs"): {"s3:GetBucketLocation": "SageMaker asks where a bucket is; here there is one region"},
    ("JobRole", "WriteResults"): {"s3:AbortMultipartUpload": "of an upload that breaks off; here none does"},
    ("JobRole", "WriteLogs"): {"logs:DescribeLogStreams": "SageMaker looks for streams of its own; here it knows them"},
    ("PublishLookupsRole", "PublishRows"): {
        "dynamodb:Scan": "rows of versions that were retired are found; here none is",
        "dynamodb:UpdateItem": "as dynamodb:Scan: versions whose rows are gone are struck out",
    },
    ("WorkflowRole", "Jobs"): {
        **dict.fromkeys(
            ("sagemaker:CreateHyperParameterTuningJob", "sagemaker:DescribeHyperParameterTuningJob"),
            "the settings as they are tune nothing",
        ),
        **dict.fromkeys(
            (f"sagemaker:Stop{kind}Job" for kind in ("Processing", "Training", "Transform", "HyperParameterTuning")),
            "an execution that is stopped stops its job; here none is",
        ),
        "sagemaker:ListTags": "Step Functions compares a job's tags after an error of its own",
    },
    ("WorkflowRole", "WaitForDeploy"): {"states:StopExecution": "as the jobs' Stop…: an execution that is stopped"},
    ("WorkflowRole", "LogsAndTraces"): dict.fromkeys(
        ("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"), X_RAY
    ),
}
"""Actions of statements that are needed for others of their actions; why these are not asked for here."""


@dataclass
class Exercised:
    """What was done, and what IAM said."""

    environment: Environment
    roles: dict[str, Role]
    decisions: list[Recorded]
    denials: list[Recorded]
    """Of what should have been allowed: all that was done before statements were taken away."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A local AWS that enforces IAM."""
    root = tmp_path_factory.mktemp("enforced") / "aws"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_CAPTURE_SECONDS", "1")
        started = lifecycle.up(root, free_port(), enforce_iam=True)
    try:
        yield started
    finally:
        lifecycle.down(root)


@pytest.fixture(scope="module")
def done(config: LocalConfig, tmp_path_factory: pytest.TempPathFactory) -> Exercised:
    """The whole workflow, lookups, a deployment that is rolled back and one that is not: under the template's roles."""
    folder = tmp_path_factory.mktemp("package")
    generate_sample(folder / "sample", campaigns=CAMPAIGNS)
    environment = Environment(config, folder, folder / "sample" / "exports")

    trained = environment.train("trained")
    assert trained["status"] == "SUCCEEDED", trained.get("cause")
    version = _ask_the_api(environment)
    bad = environment.deploy("bad", environment.copy_of_the_model("bad"), version, alarm=True)
    assert bad["error"] == "DeploymentRolledBack" and "errors fired" in bad["cause"], bad
    good = environment.deploy("good", environment.copy_of_the_model("good"), version)
    assert good["status"] == "SUCCEEDED", good.get("cause")
    denials = [one for one in read_decisions(config.root) if not one.decision.allowed]

    roles = {role.logical_id: role for role in environment.roles()}
    with environment.without(roles["RetireModelsRole"], "LookAtTheEndpoint"):
        # What could not be removed is told, and the deployment stands.
        left = environment.deploy("left", environment.copy_of_the_model("left"), version)
    assert left["status"] == "SUCCEEDED", left.get("cause")
    return Exercised(environment, roles, list(read_decisions(config.root)), denials)


def _ask_the_api(environment: Environment) -> str:
    """A known campaign, a fresh one, and feedback on the answer; the version that answers."""
    key = environment.key()
    status, health = environment.ask(key, "/health")
    assert status == 200, health
    status, listed = environment.ask(key, "/v1/campaigns?limit=1")
    assert status == 200 and listed["total"] == CAMPAIGNS, listed
    status, answer = environment.ask(key, "/v1/similar", {"keywords": ["english tutor", "guitar lessons"]})
    assert status == 200, answer
    said = {
        "kind": "neighbour",
        "item": answer["similar"][0]["campaign_id"],
        "verdict": "accepted",
        "by": "a@b.example",
    }
    status, kept = environment.ask(key, "/v1/feedback", {"answer_id": answer["answer_id"], **said})
    assert status == 201, kept
    return str(health["model_version"])


def test_nothing_is_refused_that_the_workflow_needs(done: Exercised) -> None:
    """Training, deployment, rollback and lookups never meet a refusal, not even one that somebody swallows."""
    told = {
        f"{one.caller.arn} {one.request.action} on {one.request.resource} {one.decision.why}" for one in done.denials
    }
    assert not told


def _needing(done: Exercised) -> Iterator[tuple[Role, Any, list[Recorded]]]:
    """Each statement of each role with the requests that would be refused without it."""
    for role in done.roles.values():
        for statement in role.statements:
            is_trust = statement in role.trust()
            refused = without(
                statement.id,
                done.decisions,
                [] if is_trust else role.identity(),
                role.trust() if is_trust else (),
                resource_decides=is_trust,
            )
            yield role, statement.id, refused


def test_every_statement_is_needed(done: Exercised) -> None:
    """Without any one something that was done would be refused; the exceptions are listed, and none is stale."""
    idle = {(role.logical_id, role.names[statement]) for role, statement, refused in _needing(done) if not refused}
    assert idle == set(NOT_EXERCISED)


def test_every_action_is_used(done: Exercised) -> None:
    """Actions that nothing asked for are listed with a reason, and none that something asked for is."""
    idle: dict[tuple[str, str], set[str]] = {}
    for role, statement, refused in _needing(done):
        used = {one.request.action.lower() for one in refused}
        unused = {action for action in role.actions[statement] if action.lower() not in used}
        if unused and refused:
            idle[role.logical_id, role.names[statement]] = unused
    assert idle == {place: set(reasons) for place, reasons in NOT_EXERCISED_ACTIONS.items()}


@pytest.mark.parametrize(
    ("role", "sid", "step", "action"),
    [
        ("ValidateRequestRole", "FindExports", "train", "s3:ListBucket"),
        ("ValidateRequestRole", "FunctionsRunAsThis", "train", "sts:AssumeRole"),
        ("WorkflowRole", "JobsRunAsTheJobRole", "train", "iam:PassRole"),
        ("JobRole", "UseTheKeyThroughS3", "train", "kms:Decrypt"),
        ("DeployRole", "Endpoint", "deploy", "sagemaker:CreateEndpointConfig"),
        ("LookupApiRole", "AskAboutFreshCampaigns", "ask", "sagemaker:InvokeEndpoint"),
    ],
)
def test_what_is_really_taken_away_is_missed(done: Exercised, role: str, sid: str, step: str, action: str) -> None:
    """A handful of the statements: what they are for fails, and the refusal names role, action and resource."""
    environment = done.environment
    name = f"without-{role}-{sid}".lower()[:40]
    with environment.without(done.roles[role], sid):
        if step == "train":
            ended = environment.train(name)
        elif step == "deploy":
            ended = environment.deploy(name, environment.copy_of_the_model(name), "0" * 12)
        else:
            status, answer = environment.ask(environment.key(), "/v1/similar", {"keywords": [name]})
            ended = {"status": "FAILED" if status >= 500 else "SUCCEEDED", "answer": answer}
    assert ended["status"] == "FAILED", json.dumps(ended, default=str)
    arn = done.roles[role].arn
    refused = {
        (one.caller.role_arn or one.request.resource, one.request.action)
        for one in read_decisions(environment.config.root)
        if not one.decision.allowed
    }
    assert (arn, action) in refused
