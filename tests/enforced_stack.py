"""The template's stack on a local AWS that enforces IAM, and all that its roles are for, done once.

``Environment`` makes the stack by CloudFormation, as it is deployed: with the roles as they are written.
"""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws.config import LocalConfig
from local_aws.iam_identities import TRUST
from local_aws.iam_policies import Statement, StatementId, parse_policy
from topic_model_cli.package_command import _with_short_waits
from topic_model_cli.package_upload import Destination, uploaded_template
from topic_model_cli.packaged_template import packaged_template, read_template, rendered
from topic_model_cli.template_roles import LocalNames, ensure_template_role, template_roles

ROOT = Path(__file__).parents[1]
STACK = "topic-model-test"
IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/topic-model@sha256:{'0' * 64}"
_SECONDS = 900.0
"""That anything may take before it counts as stuck."""
_BAKE_SECONDS = 12
"""In which a poll must see that the endpoint changes and set an alarm; a machine that is busy is slow to do it."""


@dataclass(frozen=True)
class Role:
    """A role of the stack: its ARN, and its statements, those of its trust policy among them."""

    logical_id: str
    arn: str
    statements: tuple[Statement, ...]
    names: dict[StatementId, str]
    """A statement's Sid; what it is called in lists."""
    actions: dict[StatementId, tuple[str, ...]]

    def identity(self) -> list[Statement]:
        """The statements of its policies."""
        return [one for one in self.statements if one.id.policy != TRUST]

    def trust(self) -> list[Statement]:
        """The statements that say who may assume it."""
        return [one for one in self.statements if one.id.policy == TRUST]


class Environment:
    """One environment of the template."""

    def __init__(self, config: LocalConfig, folder: Path, exports: Path) -> None:
        self.config = config
        self._folder = folder
        self._create(folder)
        self.outputs = {one["OutputKey"]: one["OutputValue"] for one in self._described()["Outputs"]}
        s3 = config.client("s3")
        for path in exports.rglob("*"):
            if path.is_file():
                s3.upload_file(str(path), self.outputs["BucketName"], f"exports/{path.relative_to(exports)}")

    # ------------------------------------------------------------------ the stack

    def _create(self, folder: Path) -> None:
        from lookup_api.app import bare_app
        from lookup_api.gateway import gateway_document
        from topic_model_cli.gateway_stack import _code
        from workflow_functions.package import package_functions

        package_functions(folder / "functions.zip")
        (folder / "lookup-api.zip").write_bytes(_code())
        document = gateway_document(bare_app().openapi())
        code = (folder / "lookup-api.zip").read_bytes()
        made = packaged_template(read_template(ROOT / "template.yaml"), document, code, root=ROOT, folder=folder)
        _with_short_waits(made, folder)
        workflow = folder / "deploy.asl.json"
        definition, number = re.subn(
            r'"WaitIntervalInSeconds": \d+', f'"WaitIntervalInSeconds": {_BAKE_SECONDS}', workflow.read_text("utf-8")
        )
        assert number
        workflow.write_text(definition, "utf-8")
        s3 = self.config.client("s3")
        s3.create_bucket(Bucket="packages")
        template = uploaded_template(s3, made, folder, Destination("packages", "packages/")).template
        s3.put_object(Bucket="packages", Key="packages/template.json", Body=rendered(template))
        parameters = {"Environment": "test", "LookupApiConcurrency": "0", "ImageUri": IMAGE}
        self.config.client("cloudformation").create_stack(
            StackName=STACK,
            TemplateURL=f"{self.config.endpoint_url}/packages/packages/template.json",
            RoleARN=self._role_of_the_pipeline(),
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        )
        _until(lambda: not self._described()["StackStatus"].endswith("_IN_PROGRESS"))
        if self._described()["StackStatus"] != "CREATE_COMPLETE":
            events = self.config.client("cloudformation").describe_stack_events(StackName=STACK)["StackEvents"]
            failed = [f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason')}" for one in events
                      if one["ResourceStatus"].endswith("_FAILED")]  # fmt: skip
            raise AssertionError(f"the stack is {self._described()['StackStatus']}: {failed}")

    def _role_of_the_pipeline(self) -> str:
        """The role that delivery/pipeline.yaml gives CloudFormation to make environments."""
        names = LocalNames("topic-model-delivery", refs={}, arns={"ArtifactBucket": "arn:aws:s3:::packages"})
        roles = template_roles(self.config, ROOT / "delivery" / "pipeline.yaml", names)
        return ensure_template_role(self.config, "topic-model-delivery-environments", roles["EnvironmentRole"])

    def _described(self) -> dict[str, Any]:
        return dict(self.config.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0])

    def roles(self) -> list[Role]:
        """The roles as they are in IAM, by their logical ids."""
        pages = self.config.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
        names = {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
            if one["ResourceType"] == "AWS::IAM::Role"
        }
        return [self._role(logical, name) for logical, name in sorted(names.items())]

    def _role(self, logical: str, name: str) -> Role:
        iam = self.config.client("iam")
        described = iam.get_role(RoleName=name)["Role"]
        documents = {TRUST: described["AssumeRolePolicyDocument"]}
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            documents[policy] = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        found, names, actions = [], {}, {}
        for policy, document in documents.items():
            statements = parse_policy(json.dumps(document), described["Arn"], policy)
            for statement, written in zip(statements, document["Statement"], strict=True):
                names[statement.id] = str(written.get("Sid", f"{policy}[{statement.id.position}]"))
                actions[statement.id] = statement.actions
            found += statements
        return Role(logical, described["Arn"], tuple(found), names, actions)

    @contextmanager
    def without(self, role: Role, sid: str) -> Iterator[None]:
        """While this lasts a role lacks one of its statements."""
        iam, name = self.config.client("iam"), role.arn.rpartition("/")[2]
        statement = next(one for one, called in role.names.items() if called == sid)
        is_trust = statement.policy == TRUST
        if is_trust:
            document = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        else:
            document = iam.get_role_policy(RoleName=name, PolicyName=statement.policy)["PolicyDocument"]
        left = [one for one in document["Statement"] if one.get("Sid") != sid]

        def put(whole: Any) -> None:
            if is_trust:
                iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(whole))
            else:
                iam.put_role_policy(RoleName=name, PolicyName=statement.policy, PolicyDocument=json.dumps(whole))

        assert len(left) == len(document["Statement"]) - 1
        if not left:  # IAM takes no empty list of statements
            left = [{"Effect": "Deny", "Action": "sts:TagSession", **({} if is_trust else {"Resource": "*"})}]
            left[0] |= {"Principal": {"AWS": "*"}} if is_trust else {}
        put({**document, "Statement": left})
        try:
            yield
        finally:
            put(document)

    # ------------------------------------------------------------------ what is done with it

    def train(self, name: str) -> dict[str, Any]:
        """One execution of the training workflow, to its end."""
        exports = f"s3://{self.outputs['BucketName']}/exports/"
        return self._execute(self.outputs["TrainingWorkflowArn"], name, {"exports": exports})

    def deploy(self, name: str, model: str, version: str, *, alarm: bool = False) -> dict[str, Any]:
        """One execution of the Deploy workflow; with ``alarm`` one of its alarms fires while the update bakes."""
        deployed = {"prefix": f"tm-{name}", "model": {"name": model}, "model_version": version}
        return self._execute(self.outputs["DeployWorkflowArn"], name, deployed, alarm=f"tm-{name}" if alarm else None)

    def _execute(self, machine: str, name: str, event: Any, alarm: str | None = None) -> dict[str, Any]:
        states, arn = self.config.client("stepfunctions"), self._start(machine, name, event)
        described: dict[str, Any] = {}

        def ended() -> bool:
            described.update(states.describe_execution(executionArn=arn))
            if described["status"] == "RUNNING" and alarm is not None:
                self._fire(alarm)
            return bool(described["status"] != "RUNNING")

        _until(ended)
        return described

    def _start(self, machine: str, name: str, event: Any) -> str:
        started = self.config.client("stepfunctions").start_execution(
            stateMachineArn=machine, name=name, input=json.dumps(event)
        )
        return str(started["executionArn"])

    def _fire(self, prefix: str) -> None:
        """Set the error alarm of a deployment whose update is under way."""
        cloudwatch, sagemaker = self.config.client("cloudwatch"), self.config.client("sagemaker")
        if sagemaker.describe_endpoint(EndpointName=self.outputs["EndpointName"])["EndpointStatus"] != "Updating":
            return
        for alarm in cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]:
            if alarm["AlarmName"].endswith("-errors"):
                cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason="a test")

    def copy_of_the_model(self, name: str) -> str:
        """The name of another model of what serves: a deployment by hand takes it."""
        sagemaker = self.config.client("sagemaker")
        serving = sagemaker.describe_endpoint(EndpointName=self.outputs["EndpointName"])["EndpointConfigName"]
        variants = sagemaker.describe_endpoint_config(EndpointConfigName=serving)["ProductionVariants"]
        model = sagemaker.describe_model(ModelName=variants[0]["ModelName"])
        sagemaker.create_model(
            ModelName=f"tm-{name}",
            PrimaryContainer=model["PrimaryContainer"],
            ExecutionRoleArn=model["ExecutionRoleArn"],
        )
        return f"tm-{name}"

    def key(self) -> str:
        """An API key that sees all campaigns."""
        gateway = self.config.client("apigateway")
        made = gateway.create_api_key(name="test", enabled=True)
        gateway.create_usage_plan_key(
            usagePlanId=self.outputs["AnalystsUsagePlanId"], keyId=made["id"], keyType="API_KEY"
        )
        self.config.client("dynamodb").put_item(
            TableName=self.outputs["ClientsTableName"],
            Item={"key": {"S": f"id:{made['id']}"}, "admin": {"BOOL": True}},
        )
        return str(made["value"])

    def ask(self, key: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer of the lookup API, through API Gateway."""
        api, stage = self.outputs["LookupApiUrl"].split("//")[1].split(".")[0], "test"
        url = f"{self.config.endpoint_url}/restapis/{api}/{stage}/_user_request_{path}"
        headers = {"x-api-key": key, "content-type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")


def _until(holds: Callable[[], bool], seconds: float = _SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about")
        time.sleep(0.2)
