"""The template as it is deployed: valid, with the API in it, and what the lookup API's code needs, made on moto."""

from __future__ import annotations

import ast
import asyncio
import fnmatch
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_aws.config import LocalConfig
from lookup_api.answer_ids import Judged
from lookup_api.answer_key import AnswerKey
from lookup_api.app import bare_app
from lookup_api.calls import AwsCalls
from lookup_api.endpoint import Endpoint
from lookup_api.feedback import BY_VERSION, FeedbackStore
from lookup_api.gateway import gateway_document
from lookup_api.keys import KeyRing, Principal, gateway_key
from lookup_api.problems import Problem
from lookup_api.schemas import Feedback
from lookup_api.settings import ApiSettings
from lookup_api.table import LookupTable
from pipelines.deployment_alarms import VARIANT_NAME
from pipelines.settings import load_settings
from topic_model.published import POINTER
from topic_model_cli.packaged_template import (
    TEMPLATE,
    TemplateError,
    packaged_template,
    read_template,
    rendered,
)

ROOT = Path(__file__).parents[2]
DOCUMENT = gateway_document(bare_app().openapi())


def packaged(template: dict[str, Any] | None = None, document: Any = DOCUMENT, code: bytes = b"zip") -> dict[str, Any]:
    """The template as ``make package`` makes it."""
    return packaged_template(
        template or read_template(ROOT / TEMPLATE), document, code, root=Path(), folder=Path("dist")
    )


# ---- What is made


def test_the_packaged_template_passes_cfn_lint(tmp_path: Path) -> None:
    """The API's document included, whose references to resources are then checked too."""
    (tmp_path / "template.json").write_bytes(rendered(packaged()))
    linter = Path(sys.executable).with_name("cfn-lint")
    command = [linter, tmp_path / "template.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_the_packaged_template_is_what_cloudformation_takes() -> None:
    """Within its limits, without a macro, which would ask for CAPABILITY_AUTO_EXPAND; local paths from its folder."""
    made = packaged()
    text = rendered(made).decode()
    assert len(text) < 1 << 20
    assert len(made["Resources"]) <= 500
    assert len(made["Outputs"]) <= 200
    assert "Fn::Transform" not in text
    api = made["Resources"]["LookupApi"]["Properties"]
    assert api["Body"] == {**DOCUMENT, "info": {**DOCUMENT["info"], "title": api["Name"]}}
    assert made["Resources"]["LookupApiFunction"]["Properties"]["Code"] == "lookup-api.zip"
    definition = made["Resources"]["DeployWorkflow"]["Properties"]["DefinitionS3Location"]
    assert definition == "../pipelines/rendered/deploy.asl.json"
    assert rendered(packaged()) == rendered(packaged())


def names(template: dict[str, Any]) -> tuple[str, str]:
    """The logical ids of the function's version and of the API's deployment."""
    kinds = {resource["Type"]: name for name, resource in template["Resources"].items()}
    return kinds["AWS::Lambda::Version"], kinds["AWS::ApiGateway::Deployment"]


def test_what_changes_is_snapshot_anew_and_nothing_else() -> None:
    """Without another logical id CloudFormation would go on serving the old code under the old document."""
    version, deployment = names(packaged())
    other = read_template(ROOT / TEMPLATE)
    other["Resources"]["LookupApiFunction"]["Properties"]["MemorySize"] = 4096
    assert names(packaged()) == (version, deployment)
    for changed in (packaged(code=b"other"), packaged(other)):
        assert names(changed)[0] != version
        assert names(changed)[1] == deployment
    changed = packaged(document={**DOCUMENT, "info": {"title": "other", "version": "2"}})
    assert names(changed)[0] == version
    assert names(changed)[1] != deployment
    text = rendered(changed).decode()
    assert '"LookupApiDeployment"' not in text
    assert '"LookupApiVersion"' not in text


def test_a_template_without_a_place_is_refused() -> None:
    """The API is never deployed without its document, or with one that nobody renews."""
    template = read_template(ROOT / TEMPLATE)
    template["Resources"]["LookupApi"]["Properties"]["Body"] = {}
    with pytest.raises(TemplateError, match="Body of LookupApi is not"):
        packaged(template)
    del template["Resources"]["LookupApiVersion"]
    with pytest.raises(TemplateError, match=r"no resource \['LookupApiVersion'\]"):
        packaged(template)
    with pytest.raises(TemplateError, match=r"nowhere\.yaml cannot be read .* repository's folder"):
        read_template(Path("nowhere.yaml"))


def test_the_document_and_the_template_name_one_function() -> None:
    """The stage gives the variable that the document's integrations use, and each alias may be invoked by the API."""
    resources = packaged()["Resources"]
    uris = {
        operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
        if "uri" in operation["x-amazon-apigateway-integration"]
    }
    assert all("${LookupApiFunction.Arn}:${!stageVariables.alias}" in uri for uri in uris)
    stage = resources["LookupApiStage"]["Properties"]
    canary = stage["CanarySetting"]["Fn::If"][1]
    aliases = {stage["Variables"]["alias"], canary["StageVariableOverrides"]["alias"]}
    made = {name: one["Properties"] for name, one in resources.items() if one["Type"] == "AWS::Lambda::Alias"}
    assert {alias["Name"] for alias in made.values()} == aliases == {"live", "canary"}
    permissions = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::Lambda::Permission"]
    assert {permission["FunctionName"]["Ref"] for permission in permissions} == set(made)
    assert all("${LookupApi}/${Environment}/*" in permission["SourceArn"]["Fn::Sub"] for permission in permissions)


def test_only_what_has_a_key_is_cached() -> None:
    """An answer without cache keys of its own would be everybody's, whatever is asked: such a method is not cached."""
    settings = packaged()["Resources"]["LookupApiStage"]["Properties"]["MethodSettings"]
    uncached = {one["ResourcePath"] for one in settings if one["CachingEnabled"] is False}
    without_key = {
        "/" + path.replace("/", "~1")
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        if method == "get" and "cacheKeyParameters" not in operation["x-amazon-apigateway-integration"]
    }
    assert uncached == without_key
    assert "/~1health" in uncached


def test_no_log_holds_a_campaign_and_no_key_leaves_the_stack() -> None:
    """Access logs are JSON of routes and ids of keys; data traces are off; keys are neither made nor told here."""
    made = packaged()
    stage = made["Resources"]["LookupApiStage"]["Properties"]
    line = json.loads(stage["AccessLogSetting"]["Format"])
    assert {"$context.resourcePath", "$context.status", "$context.identity.apiKeyId"} <= set(line.values())
    # The path has ids in it, a validation's error the value, and these the whole request or its key.
    secrets = ("$context.path", "$input", "validationErrorString", "$context.identity.apiKey", "authorizer")
    assert not [value for value in line.values() if value.endswith(secrets)]
    for setting in stage["MethodSettings"]:
        assert (setting["DataTraceEnabled"], setting["LoggingLevel"]) == (False, "OFF")
        assert setting.get("CacheDataEncrypted", True)
    assert not [one for one in made["Resources"].values() if one["Type"].startswith("AWS::ApiGateway::ApiKey")]
    groups = [one["Properties"] for one in made["Resources"].values() if one["Type"] == "AWS::Logs::LogGroup"]
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups)


def test_scaling_is_of_the_variant_that_is_deployed() -> None:
    """Under its name, and never to fewer instances than a canary needs."""
    target = packaged()["Resources"]["EndpointScaling"]["Properties"]
    assert target["ResourceId"]["Fn::Sub"].endswith(f"/variant/{VARIANT_NAME}")
    assert target["MinCapacity"] == load_settings().deployment.instance_count


# ---- What the API's code finds on it


@dataclass(frozen=True)
class Made:
    """A stack on moto: the function's environment, and what its role allows."""

    environment: dict[str, str]
    statements: list[dict[str, Any]]


KEPT = (
    *("Key", "LookupTable", "ClientsTable", "FeedbackTable"),
    *("LookupApiRole", "LookupApiFunction", "LookupApiLogs"),
)


@pytest.fixture
def stack(moto_aws: LocalConfig) -> Made:
    """The part of the packaged template that the function lives on, created by CloudFormation of moto."""
    template = packaged()
    resources = {name: template["Resources"][name] for name in KEPT}
    resources["LookupApiFunction"]["Properties"]["Code"] = {"ZipFile": "handler = None"}
    del resources["Key"]["Properties"]["Tags"]  # moto looks for other names in them
    template |= {"Resources": resources, "Outputs": {}}
    parameters = {
        "Environment": "test",
        "ImageUri": f"123456789012.dkr.ecr.us-east-1.amazonaws.com/x@sha256:{'0' * 64}",
    }
    # moto's CloudFormation makes no secrets.
    secret = moto_aws.client("secretsmanager").create_secret(Name="answer-key", SecretString="k" * 64)["ARN"]
    body = json.dumps(template).replace(json.dumps({"Ref": "AnswerKey"}), json.dumps(secret))
    cloudformation = moto_aws.client("cloudformation")
    cloudformation.create_stack(
        StackName="topic-model-test",
        TemplateBody=body,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    described = cloudformation.describe_stack_resources(StackName="topic-model-test")["StackResources"]
    physical = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in described}
    functions = moto_aws.client("lambda")
    configuration = functions.get_function_configuration(FunctionName=physical["LookupApiFunction"])
    policy = moto_aws.client("iam").get_role_policy(RoleName=physical["LookupApiRole"], PolicyName="answer")
    # Where CloudFormation made the role, moto answers what Python writes of the document.
    document: Any = policy["PolicyDocument"]
    document = ast.literal_eval(document) if isinstance(document, str) else document
    return Made(configuration["Environment"]["Variables"], document["Statement"])


def test_the_stack_says_what_the_settings_read(stack: Made) -> None:
    """Every variable is one that is read, and with them the application knows all that it must."""
    read: set[str] = set()

    class Watched(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            read.add(name)
            return super().get(name, default)

    settings = ApiSettings.from_environment(Watched(stack.environment))
    assert stack.environment.keys() <= read
    assert {settings.lookup_table, settings.clients_table, settings.feedback_table} <= set(stack.environment.values())
    assert (settings.endpoint_name, settings.feedback_days) == ("topic-model-test", 30)
    memory = read_template(ROOT / TEMPLATE)["Resources"]["LookupApiFunction"]["Properties"]["MemorySize"]
    assert settings.cache_bytes < memory / 2 * (1 << 20)  # objects are larger than their JSON


def test_the_tables_and_the_role_are_what_the_code_uses(
    stack: Made, moto_aws: LocalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading and writing by the code's keys works, each call is allowed by a statement, and no statement is idle."""
    for name, value in moto_aws.environment().items():
        monkeypatch.setenv(name, value)
    settings = ApiSettings.from_environment(stack.environment)
    dynamodb = moto_aws.client("dynamodb")
    version, row = "0123456789ab", {"client_id": "client-1"}
    pointer = {"campaign_id": {"S": POINTER}, "model_version": {"S": POINTER}, "version": {"S": version}}
    known = {"campaign_id": {"S": "c-1"}, "model_version": {"S": version}, "document": {"S": json.dumps(row)}}
    for item in (pointer, known):
        dynamodb.put_item(TableName=settings.lookup_table, Item=item)
    key = {"key": {"S": gateway_key("abc123")}, "client_id": {"S": "client-1"}}
    dynamodb.put_item(TableName=settings.clients_table, Item=key)

    calls = AwsCalls()
    asked: set[tuple[str, str]] = set()
    arn = f"arn:aws:{{}}:{moto_aws.region}:{moto_aws.account}:{{}}"

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        service = model.service_model.signing_name
        thing = (
            f"table/{params.get('TableName')}" if service == "dynamodb" else f"endpoint/{params.get('EndpointName')}"
        )
        asked.add((f"{service}:{model.name}", params.get("SecretId") or arn.format(service, thing)))

    clients: Any = (calls.dynamodb, calls.runtime, calls.secrets)
    for client in clients:
        client.meta.events.register("provide-client-params", note)

    async def use() -> None:
        event = {"requestContext": {"identity": {"apiKeyId": "abc123"}}}
        principal = await KeyRing(calls, settings.clients_table, 1).principal({"aws.event": event, "headers": []})
        assert principal == Principal("client-1")
        assert await AnswerKey(calls, settings.answer_key_secret).value() == b"k" * 64
        table = LookupTable(calls, settings.lookup_table, version_seconds=1, cache_bytes=1 << 20)
        assert await table.row("c-1", principal) == row
        feedback = Feedback(answer_id="answer-1", kind="keyword", item="latte", verdict="accepted", by="ann")
        judged = Judged("0" * 32, "request-1", version, None, None, 1)
        store = FeedbackStore(calls, settings.feedback_table, settings.feedback_days)
        feedback_id, stored = await store.put(feedback, judged, principal)
        assert (stored, await store.put(feedback, judged, principal)) == ("created", (feedback_id, "unchanged"))
        with pytest.raises(Problem, match="the model that serves failed"):  # moto's is none
            await Endpoint(calls, settings.endpoint_name).ask({"keywords": ["latte"]}, principal, None)

    asyncio.run(use())
    calls.close()

    of_version = {":version": {"S": version}}
    found = dynamodb.query(
        TableName=settings.feedback_table,
        IndexName=BY_VERSION,
        KeyConditionExpression="model_version = :version",
        ExpressionAttributeValues=of_version,
    )
    assert [item["item"]["S"] for item in found["Items"]] == ["latte"]
    assert int(found["Items"][0]["expires_at"]["N"]) > 0

    used: set[str] = set()
    for action, resource in asked:
        allowing = [one for one in stack.statements if action in many(one["Action"])]
        allowing = [one for one in allowing if any(fnmatch.fnmatchcase(resource, to) for to in many(one["Resource"]))]
        assert allowing, f"{action} on {resource} is refused"
        used |= {one["Sid"] for one in allowing}
    # Lambda's own runtime writes logs and traces, and DynamoDB decrypts a table as who reads it.
    assert {one["Sid"] for one in stack.statements} == used | {"WriteItsOwnLogs", "Trace", "DecryptTablesAndAnswerKey"}
    given = {action for one in stack.statements if one["Sid"] in used for action in many(one["Action"])}
    assert given == {action for action, _ in asked}
    resources = {resource for one in stack.statements if one["Sid"] in used for resource in many(one["Resource"])}
    assert resources == {resource for _, resource in asked}


def many(value: Any) -> list[Any]:
    """A policy's one or more."""
    return value if isinstance(value, list) else [value]


def test_items_expire_where_the_code_writes_a_time_to_end() -> None:
    """The table knows of the attribute, or nothing would ever be removed."""
    resources = packaged()["Resources"]
    for name in ("ClientsTable", "FeedbackTable"):
        assert resources[name]["Properties"]["TimeToLiveSpecification"] == {
            "AttributeName": "expires_at",
            "Enabled": True,
        }
