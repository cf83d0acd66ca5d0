"""The pipeline's actions, each by its provider, through the services of the local AWS."""

from __future__ import annotations

import contextlib
import io
import json
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from topic_model_cli import deliver_stacks as stacks
from topic_model_cli.deliver_build import BuildPlan, artifacts_of, read_buildspec, run_build
from topic_model_cli.deliver_environment import clean_variables
from topic_model_cli.deliver_errors import ActionFailedError, NotApprovedError
from topic_model_cli.deliver_invoke import invoke_function, run_state_machine
from topic_model_cli.deliver_local import put_template
from topic_model_cli.deliver_pipeline import substituted
from topic_model_cli.deliver_verify import verify_resources

if TYPE_CHECKING:
    from local_aws.config import LocalConfig
    from topic_model_cli.deliver_local import DeliveryStack
    from topic_model_cli.deliver_pipeline import Action
    from topic_model_cli.deliver_records import DeliveryRecord
    from topic_model_cli.deliver_source import Commit

Note = Callable[[str], None]
_CHANGES_SHOWN = 12


@dataclass(frozen=True)
class Surroundings:
    """What actions work with."""

    config: LocalConfig
    stack: DeliveryStack
    record: DeliveryRecord
    commit: Commit
    checkout: Path
    folder: Path
    """Receives logs and reports."""
    build_overrides: Mapping[str, str]
    """What a laptop's build is told beside the project's variables."""
    build_image: str | None
    approve: Callable[[str], bool]


@dataclass(frozen=True)
class Done:
    """What an action came to: a sentence, its output variables and its artifacts."""

    summary: str
    variables: Mapping[str, str]
    artifacts: Mapping[str, bytes]


def done(
    summary: str, variables: Mapping[str, str] | None = None, artifacts: Mapping[str, bytes] | None = None
) -> Done:
    """What an action came to."""
    return Done(summary, variables or {}, artifacts or {})


def carry_out(action: Action, around: Surroundings, note: Note) -> Done:
    """Carry an action out.

    Raises:
        ActionFailedError: it failed, and why.
        UnknownVariableError: its configuration names a variable that nobody set.
    """
    variables = {**around.record.variables, "codepipeline": {"PipelineExecutionId": around.record.id}}
    given = {
        name: substituted(value, variables, f"{action.label}: {name}") for name, value in action.configuration.items()
    }
    return _PROVIDERS[action.provider](action, given, around, note)


def put_artifact(around: Surroundings, name: str, content: bytes) -> None:
    """Keep an artifact in the pipeline's bucket, where CodePipeline keeps it."""
    key = f"{around.stack.pipeline.name}/{name}/{around.record.id[:8]}.zip"
    around.config.client("s3").put_object(Bucket=around.stack.pipeline.bucket, Key=key, Body=content)
    around.record.artifacts[name] = key


def get_artifact(around: Surroundings, name: str) -> bytes:
    """An artifact that an action before made."""
    key = around.record.artifacts[name]
    answer = around.config.client("s3").get_object(Bucket=around.stack.pipeline.bucket, Key=key)
    return bytes(answer["Body"].read())


def _source(action: Action, given: Mapping[str, str], around: Surroundings, note: Note) -> Done:
    del note
    archive = around.commit.archive()
    variables = {**around.commit.variables(), "ConnectionArn": given.get("ConnectionArn", "")}
    left_out = f"; {around.commit.uncommitted} uncommitted files are not in it" if around.commit.uncommitted else ""
    summary = f"{around.commit.id[:8]} {around.commit.subject}{left_out}"
    return done(summary, variables, dict.fromkeys(action.outputs, archive))


def _build(action: Action, given: Mapping[str, str], around: Surroundings, note: Note) -> Done:
    overrides = json.loads(given.get("EnvironmentVariables", "[]"))
    variables = {
        "CODEBUILD_BUILD_ID": f"{given['ProjectName']}:{uuid.uuid4()}",
        "CODEBUILD_SRC_DIR": str(around.checkout),
        "CODEBUILD_RESOLVED_SOURCE_VERSION": around.commit.id,
        "CI": "true",
        **around.stack.build_variables,
        **{one["name"]: one["value"] for one in overrides},
        **around.config.environment(),
        **around.build_overrides,
    }
    plan = BuildPlan(
        folder=around.checkout,
        buildspec=read_buildspec(around.checkout / "buildspec.yml"),
        variables=variables,
        environment=clean_variables(),
        log=around.folder / f"{action.name.lower()}.log",
        timeout_seconds=60.0 * action.timeout_minutes,
        image=around.build_image,
    )
    run_build(plan, note)
    where = f"in {around.build_image}" if around.build_image else "in processes"
    told = ", ".join(f"{name}={value}" for name, value in around.build_overrides.items())
    return done(f"{where}; on a laptop: {told}", {}, artifacts_of(plan, action.outputs))


def _cloudformation(action: Action, given: Mapping[str, str], around: Surroundings, note: Note) -> Done:
    config, mode, name = around.config, given["ActionMode"], given["StackName"]
    seconds = 60.0 * action.timeout_minutes
    if mode == "CREATE_UPDATE":
        stacks.create_or_update(config, _request(action, given, around), note, seconds)
        return done(verify_resources(config, name), stacks.outputs(config, name))
    if mode == "CHANGE_SET_REPLACE":
        request = _request(action, given, around)
        changes = stacks.replace_change_set(config, request, given["ChangeSetName"], note, seconds)
        (around.folder / f"{action.stage.lower()}-changes.txt").write_text("\n".join(changes) + "\n", encoding="utf-8")
        return done(_changes_in_short(changes))
    if mode == "CHANGE_SET_EXECUTE":
        stacks.execute_change_set(config, name, given["ChangeSetName"], note, seconds)
        return done(verify_resources(config, name), stacks.outputs(config, name))
    raise ActionFailedError(f"ActionMode {mode!r} is not carried out here")


def _changes_in_short(changes: list[str]) -> str:
    if not changes:
        return "no changes"
    if len(changes) > _CHANGES_SHOWN:
        kinds = [change.split(" ", 1)[0].lower() for change in changes]
        return ", ".join(f"{kinds.count(kind)} to {kind}" for kind in dict.fromkeys(kinds))
    return "; ".join(changes)


def _request(action: Action, given: Mapping[str, str], around: Surroundings) -> stacks.StackRequest:
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}
    if place := given.get("TemplateConfiguration"):
        parameters, tags = stacks.configuration_of(_file(around, place), place)
    if overrides := given.get("ParameterOverrides"):
        try:
            parameters |= {str(name): str(value) for name, value in json.loads(overrides).items()}
        except ValueError as error:
            raise ActionFailedError(f"ParameterOverrides are no JSON: {error}: {overrides}") from error
    template = _file(around, given["TemplatePath"])
    url = put_template(around.config, around.stack.pipeline.bucket, f"{around.record.id}/{action.name}.json", template)
    capabilities = tuple(one for one in given.get("Capabilities", "").split(",") if one)
    return stacks.StackRequest(given["StackName"], url, parameters, tags, capabilities, given.get("RoleArn", ""))


def _file(around: Surroundings, place: str) -> bytes:
    """A file of an artifact, ``Artifact::path``."""
    artifact, _, path = place.partition("::")
    with zipfile.ZipFile(io.BytesIO(get_artifact(around, artifact))) as archive:
        try:
            return archive.read(path)
        except KeyError as error:
            raise ActionFailedError(
                f"artifact {artifact} has no file {path}; it has {archive.namelist()[:10]}"
            ) from error


def _s3(action: Action, given: Mapping[str, str], around: Surroundings, note: Note) -> Done:
    content = get_artifact(around, action.inputs[0])
    s3, bucket, key = around.config.client("s3"), given["BucketName"], given.get("ObjectKey", "")
    try:
        if given.get("Extract") != "true":
            s3.put_object(Bucket=bucket, Key=key, Body=content)
            return done(f"s3://{bucket}/{key}")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [member.filename for member in archive.infolist() if not member.is_dir()]
            for name in names:
                note(name)
                s3.put_object(Bucket=bucket, Key=f"{key}/{name}" if key else name, Body=archive.read(name))
    except ClientError as error:
        raise ActionFailedError(f"s3://{bucket}/{key}: {error}") from error
    return done(f"{len(names)} files to s3://{bucket}/{key}")


def _lambda(action: Action, given: Mapping[str, str], around: Surroundings, note: Note) -> Done:
    parameters = given.get("UserParameters", "")
    try:
        summary, variables = invoke_function(around.config, action, given["FunctionName"], parameters, note)
    finally:
        _keep_report(parameters, action, around)
    return done(summary, variables)


def _keep_report(parameters: str, action: Action, around: Surroundings) -> None:
    """The report that the acceptance suite left in the artifact bucket, if it came to that."""
    key = json.loads(parameters).get("report") if parameters.startswith("{") else None
    if key:
        target = around.folder / f"{action.stage.lower()}-{action.name.lower()}.xml"
        with contextlib.suppress(ClientError):
            around.config.client("s3").download_file(around.stack.pipeline.bucket, key, str(target))


def _step_functions(action: Action, given: Mapping[str, str], around: Surroundings, note: Note) -> Done:
    name = f"{given.get('ExecutionNamePrefix', 'execution')}-{uuid.uuid4()}"
    seconds = 60.0 * action.timeout_minutes
    machine = given["StateMachineArn"]
    summary = run_state_machine(around.config, machine, name, given.get("Input", "{}"), seconds, note)
    arn = f"{machine.replace(':stateMachine:', ':execution:', 1)}:{name}"
    return done(summary, {"StateMachineArn": machine, "ExecutionArn": arn})


def _approval(action: Action, given: Mapping[str, str], around: Surroundings, note: Note) -> Done:
    del note
    question = given.get("CustomData", f"Approve {action.label}?")
    if topic := given.get("NotificationArn"):
        around.config.client("sns").publish(
            TopicArn=topic, Subject=f"APPROVAL NEEDED: {action.label}", Message=question
        )
    if not around.approve(question):
        raise NotApprovedError("rejected")
    return done("approved")


_PROVIDERS: dict[str, Callable[[Action, Mapping[str, str], Surroundings, Note], Done]] = {
    "CodeStarSourceConnection": _source,
    "CodeCommit": _source,
    "CodeBuild": _build,
    "CloudFormation": _cloudformation,
    "S3": _s3,
    "Lambda": _lambda,
    "StepFunctions": _step_functions,
    "Manual": _approval,
}
