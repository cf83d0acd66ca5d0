"""The local AWS that a commit is delivered to, run by that commit's own code, with the pipeline's stack in it."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from local_aws import lifecycle
from local_aws.config import LocalAwsError, LocalConfig
from topic_model_cli.deliver_environment import clean_variables, python_of
from topic_model_cli.deliver_errors import DeliveryError
from topic_model_cli.deliver_pipeline import Pipeline, pipeline_of
from topic_model_cli.deliver_stacks import StackRequest, create_or_update, delete_failed_creation

if TYPE_CHECKING:
    from topic_model_cli.deliver_source import Commit

STACK = "topic-model-delivery"
PIPELINE_TEMPLATE = Path("delivery/pipeline.yaml")
LOCAL_CONNECTION = "arn:aws:codeconnections:us-east-1:123456789012:connection/00000000-0000-4000-8000-000000000000"
"""Stands for the connection: here the source is the repository on this disk."""
SERVES = "serves"
"""Beside the local AWS's folder: the commit whose code runs it, and the checkout."""
_START_SECONDS = 120
_STACK_SECONDS = 300.0
_PRODUCTION_CAMPAIGNS = 1_000


@dataclass(frozen=True)
class DeliveryStack:
    """The pipeline's stack on the local AWS: the definition that CloudFormation made of the template, and its build."""

    pipeline: Pipeline
    build_variables: Mapping[str, str]
    outputs: Mapping[str, str]


def serve_commit(root: Path, port: int | None, checkout: Path, commit: str, *, enforce_iam: bool) -> LocalConfig:
    """The local AWS of ``root``, run by the checkout's code; one that another commit's code runs is started anew.

    With ``enforce_iam`` stacks, state machines, jobs and functions act under the roles that they have on AWS.

    Raises:
        DeliveryError: the commit's code does not start it.
    """
    mark = root.parent / SERVES
    try:
        running = lifecycle.connect(root)
    except LocalAwsError:
        running = None
    if running is not None:
        served = mark.read_text(encoding="utf-8").split()[:1] if mark.is_file() else []
        if served == [commit] and running.enforce_iam == enforce_iam:
            return running
        port = port or running.port
        lifecycle.down(root)
    command = [str(python_of(checkout)), "-m", "topic_model_cli.main", "local", "up", "--root", str(root)]
    command += ["--port", str(port or _free_port()), *(["--enforce-iam"] if enforce_iam else [])]
    try:
        done = subprocess.run(  # noqa: S603 - the commit's own code, which is what was asked for
            command,
            cwd=checkout,
            env=clean_variables(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise DeliveryError(
            f"the commit's local AWS did not start within {_START_SECONDS} s; see {root}/server.log"
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise DeliveryError(f"the commit's code does not start the local AWS:\n    {said[-800:]}")
    mark.write_text(f"{commit} {checkout.name}\n", encoding="utf-8")
    return lifecycle.connect(root)


def served_checkout(root: Path) -> str | None:
    """The name of the checkout that the local AWS of ``root`` runs from, or ran from last."""
    mark = root.parent / SERVES
    return mark.read_text(encoding="utf-8").split()[-1] if mark.is_file() else None


def ensure_delivery_stack(
    config: LocalConfig, checkout: Path, commit: Commit, given: Mapping[str, str], note: Callable[[str], None]
) -> DeliveryStack:
    """Create the pipeline's stack of the commit's template, or bring it up to it.

    ``given`` are parameters of the template that differ from what a laptop gives.

    Raises:
        ActionFailedError: CloudFormation refuses the template or a parameter.
        DeliveryError: there is no template.
        PipelineDefinitionError: the pipeline is none that can be carried out.
    """
    template = _packaged(config, checkout)
    parameters = {
        "ConnectionArn": LOCAL_CONNECTION,
        "Repository": f"local/{commit.repository.name}",
        "Branch": commit.branch if commit.branch != "HEAD" else "main",
        "TeardownPollSeconds": "1",
        **({} if "ProductionExports" in given else {"ProductionExports": _production_exports(config)}),
        **given,
    }
    unknown = sorted(set(given) - set(template["Parameters"]))
    if unknown:
        raise DeliveryError(
            f"{PIPELINE_TEMPLATE} has no parameter {unknown[0]!r}; expected one of {sorted(template['Parameters'])}"
        )
    url = put_template(config, _bootstrap_bucket(config), "pipeline.json", orjson.dumps(template))
    request = StackRequest(STACK, url, parameters, {"project": "topic-model"}, ("CAPABILITY_IAM",))
    delete_failed_creation(config, STACK, note, _STACK_SECONDS)
    create_or_update(config, request, note, _STACK_SECONDS)
    definition = config.client("codepipeline").get_pipeline(name="topic-model")["pipeline"]
    stack = config.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return DeliveryStack(
        pipeline=pipeline_of(definition),
        build_variables=_build_variables(config, definition),
        outputs={output["OutputKey"]: str(output["OutputValue"]) for output in stack["Outputs"]},
    )


def _production_exports(config: LocalConfig) -> str:
    """Exports that stand for production's own: another sample than the test environment's, made once."""
    from topic_model.sample import DEFAULT_SEED, generate_sample

    name, s3 = f"topic-model-exports-{config.account}", config.client("s3")
    uri = f"s3://{name}/exports/"
    if name in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        return uri
    with tempfile.TemporaryDirectory(prefix="topic-model-exports-") as folder:
        out = Path(folder) / "sample"
        generate_sample(out, campaigns=_PRODUCTION_CAMPAIGNS, seed=DEFAULT_SEED + 1)
        s3.create_bucket(Bucket=name)
        for path in sorted((out / "exports").rglob("*.csv")):
            s3.upload_file(str(path), name, f"exports/{path.relative_to(out / 'exports')}")
    return uri


def put_template(config: LocalConfig, bucket: str, key: str, content: bytes) -> str:
    """Put a template where CloudFormation takes it from; its URL. A request's own body holds 51,200 bytes at most."""
    config.client("s3").put_object(Bucket=bucket, Key=f"templates/{key}", Body=content)
    return f"https://{bucket}.s3.{config.region}.amazonaws.com/templates/{key}"


def _packaged(config: LocalConfig, checkout: Path) -> dict[str, Any]:
    """The template with its function's code uploaded, as ``topic-model package --template --bucket`` makes it."""
    from topic_model_cli.package_upload import Destination, uploaded_template
    from topic_model_cli.packaged_template import read_template

    path = checkout / PIPELINE_TEMPLATE
    if not path.is_file():
        raise DeliveryError(f"the commit has no {PIPELINE_TEMPLATE}: there is no pipeline to carry out")
    destination = Destination(_bootstrap_bucket(config), "packages/")
    return uploaded_template(config.client("s3"), read_template(path), path.parent, destination).template


def _bootstrap_bucket(config: LocalConfig) -> str:
    """The bucket that the pipeline's own stack is made from (docs/delivery.md: the one thing made by hand)."""
    name, s3 = f"topic-model-bootstrap-{config.account}", config.client("s3")
    if name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=name)
    return name


def _build_variables(config: LocalConfig, definition: Mapping[str, Any]) -> dict[str, str]:
    """The environment of the CodeBuild project that the pipeline builds with."""
    names = [
        action["configuration"]["ProjectName"]
        for stage in definition["stages"]
        for action in stage["actions"]
        if action["actionTypeId"]["provider"] == "CodeBuild"
    ]
    projects = config.client("codebuild").batch_get_projects(names=names)["projects"] if names else []
    return {
        variable["name"]: variable["value"]
        for project in projects
        for variable in project["environment"].get("environmentVariables", [])
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
