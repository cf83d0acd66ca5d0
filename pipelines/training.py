"""The training workflow: campaign exports in; a trained, judged, deployed model and its lookups out.

The definition is a value. It has no ARN of an account, no clock and no random name: what differs between stacks are
the names of :data:`pipelines.substitutions.SUBSTITUTIONS`, and what differs between executions is read from the plan
that ValidateRequest makes.
"""

from __future__ import annotations

from typing import Any

from pipelines import jobs
from pipelines.deployment import OVERHEAD_SECONDS
from pipelines.failures import failure_cause, function_retries, guard, notify_failure, publish, retry
from pipelines.sdk import ChoiceRule, Fail, Map, Pass, Task, graph, steps
from pipelines.settings import PipelineSettings

_PLAN_URIS = (
    "prepared",
    "scoring",
    "corpus",
    "checkpoints",
    "training",
    "evaluation",
    "fingerprints",
    "lookups",
    "lookup_model",
)
_TRANSIENT_NESTED_ERRORS = [
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.ThrottlingException",
]


def build_training_workflow(settings: PipelineSettings) -> dict[str, Any]:
    """The Amazon States Language definition of the training workflow, as a dictionary."""
    failure = notify_failure()

    def guarded(task: Any, logs: str) -> Any:
        return guard(task, logs=logs, then=failure)

    notify = guarded(_notify(), "no logs; the topic is ${NotificationTopicArn}")
    notify.next(steps.Succeed("Done"))

    published = guarded(_publish_lookups(), _function_logs("PublishLookups"))
    published.next(notify)
    smoke_test = guarded(_smoke_test(), _function_logs("SmokeTest"))
    smoke_test.next(published)

    # Published last: a model that its canary sends back leaves the lookups of the model that serves on.
    to_deploy = steps.Choice("Deploy?", comment="The request may ask for a model and lookups without an endpoint")
    deploy = guarded(_deploy(settings), "the execution's own history, and /aws/sagemaker/Endpoints/${EndpointName}")
    deploy.next(smoke_test)
    to_deploy.add_choice(ChoiceRule.BooleanEquals("$.plan.deploy", True), deploy)
    to_deploy.default_choice(_without_endpoint(published, notify))

    accepted = [
        guarded(
            jobs.create_model(
                settings, "CreateScoringModel", "scoring", model_data="$.training.model", result_path="$.scoring_model"
            ),
            "no logs; the call to SageMaker failed",
        ),
        guarded(jobs.score_campaigns(settings), jobs.job_logs("transform", "score")),
        guarded(jobs.build_neighbours(settings), jobs.job_logs("processing", "neighbours")),
        guarded(
            jobs.create_model(
                settings,
                "CreateLookupModel",
                "lookup",
                model_data="States.Format('{}/model.tar.gz', $.plan.uris.lookup_model)",
                result_path="$.lookup_model",
            ),
            "no logs; the call to SageMaker failed",
        ),
        guarded(_check_lookups(), _function_logs("PublishLookups")),
        to_deploy,
    ]
    steps.Chain(accepted)

    verdict = steps.Choice("Accept?", comment="Only a model that passes every gate goes on")
    verdict.add_choice(ChoiceRule.BooleanEquals("$.evaluation.accepted", True), accepted[0])
    verdict.default_choice(_rejected())

    train = guarded(jobs.train(settings), jobs.job_logs("training", "train"))
    evaluate = guarded(jobs.evaluate(settings), jobs.job_logs("processing", "evaluate"))
    read = guarded(_read_evaluation(), _function_logs("ReadEvaluation"))
    steps.Chain([train, evaluate, read, verdict])

    tune = guarded(jobs.tune(settings), jobs.job_logs("training", "tune"))
    best = Pass(
        "UseBestHyperparameters",
        comment="What tuning found, over the settings' own",
        parameters={
            "tune": True,
            "hyperparameters": "States.JsonMerge($.settings.hyperparameters, $.tuning.best, false)",
        },
        result_path="$.settings",
    )
    steps.Chain([tune, best, train])
    to_tune = steps.Choice("Tune?")
    to_tune.add_choice(ChoiceRule.BooleanEquals("$.settings.tune", True), tune)
    to_tune.default_choice(train)

    validate = guarded(_validate_request(), _function_logs("ValidateRequest"))
    prepare = guarded(_prepare(settings), jobs.job_logs("processing", "prepare"))
    corpus = guarded(jobs.build_corpus(settings), jobs.job_logs("processing", "corpus"))
    defaults = Pass(
        "Settings",
        comment="What the settings file says of training; tuning may improve on it",
        result={"tune": settings.tuning.enabled, "hyperparameters": jobs.hyperparameters(settings)},
        result_path="$.settings",
    )
    request = Pass(
        "Request",
        comment="Whatever the input is, it becomes a part of an object, beside which results and errors have room",
        parameters={"request": "$"},
    )
    steps.Chain([request, validate, prepare, corpus, defaults, to_tune])
    return graph(
        request,
        comment="topic-model: campaign exports to similar campaigns and recommended keywords",
        timeout_seconds=settings.workflow.timeout_seconds,
    )


def _validate_request() -> Any:
    """The request, checked in seconds rather than after an hour of training; the plan of everything after it."""
    channel_free = {name: f"$.Payload.{name}" for name in ("run", "prefix", "deploy", "publish", "channels")}
    uris = {name: f"$.Payload.uris.{name}" for name in _PLAN_URIS}
    return _function(
        "ValidateRequest",
        {
            "request": "$.request",
            "execution": "$$.Execution.Name",
            "bucket": "${Bucket}",
            "endpoint": "${EndpointName}",
        },
        # Named one by one, so that a path that the plan does not have is found without an execution.
        result_selector={**channel_free, "uris": uris},
        result_path="$.plan",
        seconds=90,
    )


def _prepare(settings: PipelineSettings) -> Any:
    """Every channel's exports, some at a time."""
    job = jobs.prepare_channel(settings)
    failed = Fail("ChannelFailed", error_path="$.error.Error", cause_path="$.notice.message")
    tell = Pass(
        "TellChannel",
        parameters={"message": "States.Format('channel {}: {}', $.channel.name, $.failure_cause.text)"},
        result_path="$.notice",
    )
    tell.next(failed)
    cause = failure_cause("Channel", then=tell)
    job.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.error", next_step=cause))
    item = {name: f"$$.Map.Item.Value.{name}" for name in ("name", "exports", "prepared", "scoring")}
    return Map(
        "Prepare",
        comment="One Processing job a channel",
        items_path="$.plan.channels",
        item_selector={"prefix": "$.plan.prefix", "channel": item},
        max_concurrency=settings.workflow.max_channels_at_once,
        iterator=job,
        result_path=None,
    )


def _read_evaluation() -> Any:
    """The verdict, which a Processing job can only write to a file."""
    names = ("accepted", "summary", "model_version")
    return _function(
        "ReadEvaluation",
        {"evaluation": "States.Format('{}/evaluation.json', $.plan.uris.evaluation)"},
        result_selector={name: f"$.Payload.{name}" for name in names},
        result_path="$.evaluation",
        seconds=90,
    )


def _rejected() -> Any:
    """A model that fails a gate is told and ends the execution as failed: nothing of it reaches a user."""
    end = Fail("ModelRejected", error="ModelRejected", cause_path="$.evaluation.summary")
    tell = publish(
        "Rejected",
        subject="topic-model: a model was rejected",
        message=(
            "States.Format('Execution {} trained a model that is not good enough, and what serves stays: {} "
            "(report: {})', $$.Execution.Name, $.evaluation.summary, $.plan.uris.evaluation)"
        ),
    )
    tell.add_catch(steps.Catch(error_equals=["States.ALL"], result_path="$.notify_error", next_step=end))
    tell.next(end)
    return tell


def _without_endpoint(publish_lookups: Any, notify: Any) -> Any:
    """States of a run without a deployment: no canary judges its model, so nothing of another model is replaced.

    ValidateRequest says whether its lookups are published: always (the request asks for it), first (if no others
    are), or never.
    """
    absent = Pass(
        "NotDeployed",
        result={"execution": "none", "config": "none", "canary": "none, because nothing was deployed"},
        result_path="$.deployment",
    )
    to_publish = steps.Choice("Publish?", comment="Lookups follow the endpoint, unless the request says otherwise")
    kept = Pass(
        "NotPublished",
        parameters={
            "model_version": "$.lookups.model_version",
            "outcome": "States.Format('not published, but kept in {}', $.plan.uris.lookups)",
        },
        result_path="$.published",
    )
    kept.next(notify)
    to_publish.add_choice(ChoiceRule.StringEquals("$.plan.publish", "never"), kept)
    to_publish.default_choice(publish_lookups)
    absent.next(to_publish)
    return absent


def _check_lookups() -> Any:
    """The lookups' version, and that they can be published, before anything that serves is changed."""
    return _lookups_function("CheckLookups", {"check_only": True}, ("model_version", "rows"), "$.lookups")


def _publish_lookups() -> Any:
    payload = {"publish": "$.plan.publish"}
    return _lookups_function("PublishLookups", payload, ("model_version", "outcome"), "$.published")


def _lookups_function(name: str, payload: dict[str, Any], facts: tuple[str, ...], result_path: str) -> Any:
    return _function(
        name,
        {"lookups": "$.plan.uris.lookups", "table": "${LookupTableName}"} | payload,
        function="PublishLookups",
        result_selector={fact: f"$.Payload.{fact}" for fact in facts},
        result_path=result_path,
        # Lambda's own limit is 900 seconds.
        seconds=930,
    )


def _deploy(settings: PipelineSettings) -> Any:
    """The Deploy workflow, waited for: a new model that goes back by itself has failed here."""
    return Task(
        "Deploy",
        resource="arn:aws:states:::states:startExecution.sync:2",
        parameters={
            "StateMachineArn": "${DeployWorkflowArn}",
            "Name": jobs.job_name("deploy"),
            "Input": {
                "prefix": "$.plan.prefix",
                "model": {"name": "$.lookup_model.name"},
                "model_version": "$.lookups.model_version",
                # Step Functions' console links the two executions by it.
                "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "$$.Execution.Id",
            },
        },
        result_selector={
            "execution": "$.ExecutionArn",
            "config": "$.Output.endpoint_config.name",
            "canary": "$.Output.canary.verdict",
        },
        result_path="$.deployment",
        timeout_seconds=settings.deployment.timeout_seconds + OVERHEAD_SECONDS + 60,
        retry=[retry(_TRANSIENT_NESTED_ERRORS, attempts=4, seconds=2, max_seconds=60)],
    )


def _smoke_test() -> Any:
    return _function(
        "SmokeTest",
        {
            "endpoint": "${EndpointName}",
            "model_version": "$.lookups.model_version",
            "lookups": "$.plan.uris.lookups",
            "scoring": "$.plan.uris.scoring",
        },
        result_selector={"checked": "$.Payload.checked"},
        result_path="$.smoke_test",
        seconds=330,
    )


def _notify() -> Any:
    return publish(
        "Notify",
        subject="topic-model: an execution succeeded",
        message=(
            "States.Format('Execution {} succeeded: model {}. Lookups: {}. Canary: {}.', $$.Execution.Name, "
            "$.published.model_version, $.published.outcome, $.deployment.canary)"
        ),
    )


def _function(
    name: str,
    payload: dict[str, Any],
    *,
    result_selector: dict[str, Any],
    result_path: str,
    seconds: int,
    function: str | None = None,
) -> Any:
    return Task(
        name,
        resource="arn:aws:states:::lambda:invoke",
        parameters={"FunctionName": f"${{{function or name}FunctionArn}}", "Payload": payload},
        result_selector=result_selector,
        result_path=result_path,
        timeout_seconds=seconds,
        retry=function_retries(),
    )


def _function_logs(name: str) -> str:
    return f"the log group of ${{{name}FunctionArn}}"
