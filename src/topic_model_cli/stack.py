"""The application stack on the local AWS: what ``template.yaml`` makes on AWS, made here through boto3 alone.

Every step looks first and makes or changes only what differs, so a second call is quick and changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model_cli.local import IMAGE_URI

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

PREFIX = "topic-model-local"
ENDPOINT_NAME = PREFIX
LOOKUP_TABLE = f"{PREFIX}-lookups"
STATE_MACHINE = f"{PREFIX}-training"
DEPLOY_MACHINE = f"{PREFIX}-deploy"

FUNCTIONS = {
    "validate-request": "validate_request",
    "read-evaluation": "read_evaluation",
    "publish-lookups": "publish_lookups",
    "smoke-test": "smoke_test",
    "explain-deployment": "explain_deployment",
    "retire-models": "retire_models",
}
"""A function's name after the prefix, to the module of ``workflow_functions`` whose ``handler`` it runs."""

RUNTIME = "python3.12"
FUNCTION_TIMEOUT_SECONDS = 900  # Lambda's longest; the states have time-outs of their own
FUNCTION_MEMORY_MB = 512


@dataclass(frozen=True)
class Stack:
    """The names and ARNs of one application stack."""

    bucket: str
    image_uri: str
    endpoint_name: str
    lookup_table: str
    topic_arn: str
    job_role_arn: str
    workflow_role_arn: str
    deploy_role_arn: str
    deploy_machine_arn: str
    function_arns: Mapping[str, str]
    """By the function's name without the stack's prefix."""

    def substitutions(self) -> dict[str, str]:
        """The values for the ``${Name}`` places of the workflows' definitions."""
        return {
            "Bucket": self.bucket,
            "DeployWorkflowArn": self.deploy_machine_arn,
            "EndpointName": self.endpoint_name,
            "ExplainDeploymentFunctionArn": self.function_arns["explain-deployment"],
            "ImageUri": self.image_uri,
            "JobRoleArn": self.job_role_arn,
            # Nothing is encrypted here; what asks for a key names the one that S3 uses by itself.
            "KeyArn": ":".join(("arn:aws:kms", *self.topic_arn.split(":")[3:5], "alias/aws/s3")),
            "LookupTableName": self.lookup_table,
            "NotificationTopicArn": self.topic_arn,
            "PublishLookupsFunctionArn": self.function_arns["publish-lookups"],
            "ReadEvaluationFunctionArn": self.function_arns["read-evaluation"],
            "RetireModelsFunctionArn": self.function_arns["retire-models"],
            "SecurityGroupIds": "sg-00000000",
            "SmokeTestFunctionArn": self.function_arns["smoke-test"],
            "StackName": PREFIX,
            "SubnetIds": "subnet-00000000",
            "ValidateRequestFunctionArn": self.function_arns["validate-request"],
        }


def ensure_stack(config: LocalConfig, *, package: Path | None = None) -> Stack:
    """Make what is missing of the application stack, bring the functions up to the code's state, and name it all.

    ``package`` is the functions' zip; by default it is built from this installation.
    """
    bucket = bucket_name(config)
    roles = ensure_roles(config)
    _ensure_bucket(config, bucket)
    _ensure_table(config, LOOKUP_TABLE)
    topic = config.client("sns").create_topic(Name=f"{PREFIX}-notifications")["TopicArn"]  # idempotent by contract
    code = package.read_bytes() if package is not None else _build_package()
    functions = {
        name: _ensure_function(
            config,
            f"{PREFIX}-{name}",
            handler=f"workflow_functions.{module}.handler",
            role=roles[f"{_logical(name)}Role"],
            code=code,
        )
        for name, module in FUNCTIONS.items()
    }
    return Stack(
        bucket=bucket,
        image_uri=IMAGE_URI,
        endpoint_name=ENDPOINT_NAME,
        lookup_table=LOOKUP_TABLE,
        topic_arn=topic,
        job_role_arn=roles["JobRole"],
        workflow_role_arn=roles["WorkflowRole"],
        deploy_role_arn=roles["DeployRole"],
        deploy_machine_arn=state_machine_arn(config, DEPLOY_MACHINE),
        function_arns=functions,
    )


def bucket_name(config: LocalConfig) -> str:
    """The stack's only bucket."""
    return f"{PREFIX}-{config.account}"


def state_machine_arn(config: LocalConfig, name: str = STATE_MACHINE) -> str:
    """The ARN that a workflow has (the training workflow by default), whether it exists yet or not."""
    return f"arn:aws:states:{config.region}:{config.account}:stateMachine:{name}"


def ensure_state_machine(
    config: LocalConfig, stack: Stack, definition: Mapping[str, Any], name: str = STATE_MACHINE
) -> str:
    """Create a workflow, or give it this definition; its ARN."""
    states = config.client("stepfunctions")
    arn = state_machine_arn(config, name)
    role = stack.deploy_role_arn if name == DEPLOY_MACHINE else stack.workflow_role_arn
    text = json.dumps(definition)
    current = found(lambda: states.describe_state_machine(stateMachineArn=arn), "StateMachineDoesNotExist")
    if current is None:
        created = states.create_state_machine(name=name, definition=text, roleArn=role)
        return str(created["stateMachineArn"])
    if current["definition"] != text or current["roleArn"] != role:
        states.update_state_machine(stateMachineArn=arn, definition=text, roleArn=role)
    return arn


def found(call: Callable[[], Any], *absence: str) -> Any | None:
    """What a describe call answers; None where it says that the thing does not exist."""
    try:
        return call()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in absence:
            return None
        raise


def ensure_roles(config: LocalConfig) -> dict[str, str]:
    """The ARNs of the template's roles by their logical ids, each with the policies that the template gives it.

    Raises:
        TemplateError: IAM is enforced and there is no template to take policies from, or a role cannot be evaluated.
    """
    from topic_model_cli.template_roles import LocalNames, ensure_template_role, roles_of_the_stack

    def arn(service: str, rest: str) -> str:
        return f"arn:aws:{service}:{config.region}:{config.account}:{rest}"

    names = {_logical(name): f"{PREFIX}-{name}" for name in (*FUNCTIONS, "lookup-api")}
    wanted = {"JobRole": "jobs", "WorkflowRole": "workflow", "DeployRole": "deploy"}
    wanted |= {f"{logical}Role": name.removeprefix(f"{PREFIX}-") for logical, name in names.items()}
    tables = {"LookupTable": LOOKUP_TABLE, "ClientsTable": f"{PREFIX}-clients", "FeedbackTable": f"{PREFIX}-feedback"}
    local = LocalNames(
        stack_name=PREFIX,
        refs={
            "Bucket": bucket_name(config),
            "NotificationTopic": arn("sns", f"{PREFIX}-notifications"),
            "TrainingWorkflow": state_machine_arn(config),
            "DeployWorkflow": state_machine_arn(config, DEPLOY_MACHINE),
            # Secrets Manager puts six characters behind the name.
            "AnswerKey": arn("secretsmanager", f"secret:{PREFIX}-answer-key-??????"),
            **tables,
        },
        arns={
            "Bucket": f"arn:aws:s3:::{bucket_name(config)}",
            # Where the local AWS writes what functions print.
            **dict.fromkeys(("FunctionLogs", "LookupApiLogs"), arn("logs", f"log-group:/aws/lambda/{PREFIX}-*")),
            **{name: arn("dynamodb", f"table/{table}") for name, table in tables.items()},
            **{logical: f"arn:aws:iam::{config.account}:role/{PREFIX}-{name}" for logical, name in wanted.items()},
            **{f"{logical}Function": arn("lambda", f"function:{name}") for logical, name in names.items()},
        },
    )
    roles = roles_of_the_stack(config, local)
    return {
        logical: ensure_template_role(config, f"{PREFIX}-{name}", roles[logical]) for logical, name in wanted.items()
    }


def _logical(name: str) -> str:
    """``validate-request`` as the template's resources are called: ``ValidateRequest``."""
    return "".join(part.capitalize() for part in name.split("-"))


def _ensure_bucket(config: LocalConfig, bucket: str) -> None:
    s3 = config.client("s3")
    if found(lambda: s3.head_bucket(Bucket=bucket), "404", "NoSuchBucket") is None:
        s3.create_bucket(Bucket=bucket)


def _ensure_table(config: LocalConfig, name: str) -> None:
    dynamodb = config.client("dynamodb")
    if found(lambda: dynamodb.describe_table(TableName=name), "ResourceNotFoundException") is None:
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "campaign_id", "KeyType": "HASH"},
                {"AttributeName": "model_version", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "campaign_id", "AttributeType": "S"},
                {"AttributeName": "model_version", "AttributeType": "S"},
            ],
        )


def _build_package() -> bytes:
    from workflow_functions.package import package_functions

    with tempfile.TemporaryDirectory(prefix="topic-model-functions-") as folder:
        return package_functions(Path(folder) / "functions.zip").read_bytes()


def _ensure_function(config: LocalConfig, name: str, *, handler: str, role: str, code: bytes) -> str:
    functions = config.client("lambda")
    current = found(lambda: functions.get_function(FunctionName=name), "ResourceNotFoundException")
    if current is None:
        created = functions.create_function(
            FunctionName=name,
            Runtime=RUNTIME,
            Role=role,
            Handler=handler,
            Code={"ZipFile": code},
            Timeout=FUNCTION_TIMEOUT_SECONDS,
            MemorySize=FUNCTION_MEMORY_MB,
        )
        return str(created["FunctionArn"])
    configuration = current["Configuration"]
    if configuration["CodeSha256"] != base64.b64encode(hashlib.sha256(code).digest()).decode():
        functions.update_function_code(FunctionName=name, ZipFile=code)
    settings = {"Handler": handler, "Timeout": FUNCTION_TIMEOUT_SECONDS, "Role": role}
    if any(configuration[setting] != value for setting, value in settings.items()):
        functions.update_function_configuration(FunctionName=name, **settings)
    return str(configuration["FunctionArn"])
