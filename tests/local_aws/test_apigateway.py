"""API Gateway as it serves: keys, throttles, quotas, validation, cache, canary, logs, over a toy function that runs."""

from __future__ import annotations

import datetime as dt
import io
import json
import socket
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_aws.apigateway_limits import Throttles, period_start
from local_aws.config import LocalConfig
from tests.local_aws.conftest import kill_and_restart, running

FUNCTION = "toy"
ARN = f"arn:aws:lambda:us-east-1:123456789012:function:{FUNCTION}"
URI = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{ARN}:${{stageVariables.alias}}/invocations"
CODE = """
import itertools, json, os, time

calls = itertools.count(1)

def handler(event, context):
    query = event["queryStringParameters"] or {}
    wanted = query.get("answer")
    if wanted == "raise":
        raise RuntimeError("the function is broken")
    if wanted == "malformed":
        return {"status": 200}
    if wanted == "slow":
        time.sleep(2)
    version, call = os.environ["AWS_LAMBDA_FUNCTION_VERSION"], f"{os.getpid()}-{next(calls)}"
    told = {"version": version, "call": call, "event": event}
    return {"statusCode": 200, "headers": {"Server": "toy", "x-toy": "1"}, "body": json.dumps(told)}
"""


def _integration(**more: Any) -> dict[str, Any]:
    return {"type": "aws_proxy", "httpMethod": "POST", "uri": URI, "passthroughBehavior": "when_no_match", **more}


def _parameter(name: str, place: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": {"type": "string"}}


def document() -> dict[str, Any]:
    """An API with a cached method, one that checks bodies, and one for all."""
    key: dict[str, Any] = {"security": [{"api_key": []}]}
    model = {
        "type": "object",
        "required": ["words"],
        "properties": {"words": {"type": "array", "maxItems": 3, "items": {"type": "string"}}},
    }
    thing = {
        "parameters": [
            _parameter("id", "path", required=True),
            _parameter("k", "query"),
            _parameter("x-api-key", "header"),
        ],
        "x-amazon-apigateway-integration": _integration(
            cacheNamespace="thing",
            cacheKeyParameters=[
                "method.request.path.id",
                "method.request.querystring.k",
                "method.request.header.x-api-key",
            ],
        ),
    }
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Words"}}}}
    return {
        "openapi": "3.0.1",
        "info": {"title": "toy", "version": "1", "description": "for tests"},
        "paths": {
            "/things/{id}": {"get": {**key, **thing, "responses": {}}},
            "/words": {
                "post": {**key, "requestBody": body, "responses": {}, "x-amazon-apigateway-integration": _integration()}
            },
            "/needs": {
                "get": {
                    **key,
                    "parameters": [_parameter("q", "query", required=True)],
                    "responses": {},
                    "x-amazon-apigateway-integration": _integration(timeoutInMillis=1000),
                }
            },
            "/open": {"get": {"responses": {}, "x-amazon-apigateway-integration": _integration()}},
        },
        "components": {
            "schemas": {"Words": model},
            "securitySchemes": {"api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}},
        },
        "x-amazon-apigateway-request-validators": {
            "all": {"validateRequestBody": True, "validateRequestParameters": True}
        },
        "x-amazon-apigateway-request-validator": "all",
        "x-amazon-apigateway-gateway-responses": {
            "BAD_REQUEST_BODY": {
                "statusCode": "400",
                "responseParameters": {"gatewayresponse.header.x-request-id": "context.requestId"},
                "responseTemplates": {"application/problem+json": '{"detail":"$context.error.validationErrorString"}'},
            }
        },
    }


@dataclass
class Api:
    """A deployed API of the test's own, with a stage ``test`` and a key in a usage plan."""

    config: LocalConfig
    id: str
    deployment: str
    plan: str
    key_id: str
    key: str
    client: httpx.Client

    @property
    def gateway(self) -> Any:
        """The control plane."""
        return self.config.client("apigateway")

    def url(self, path: str) -> str:
        """Where the stage answers."""
        return f"{self.config.endpoint_url}/restapis/{self.id}/test/_user_request_{path}"

    def get(self, path: str, key: str | None = "", **headers: str) -> httpx.Response:
        """A GET with the API's own key, another one, or none."""
        given = {} if key is None else {"x-api-key": key or self.key}
        return self.client.get(self.url(path), headers={**given, **headers})

    def patch(self, *operations: tuple[str, str]) -> None:
        """Replace settings of the stage."""
        changes = [{"op": "replace", "path": path, "value": value} for path, value in operations]
        self.gateway.update_stage(restApiId=self.id, stageName="test", patchOperations=changes)

    def another_key(self, plan: str | None = None) -> tuple[str, str]:
        """Id and value of a new key in the plan."""
        made = self.gateway.create_api_key(name=f"key-{uuid.uuid4().hex[:8]}", enabled=True)
        self.gateway.create_usage_plan_key(usagePlanId=plan or self.plan, keyId=made["id"], keyType="API_KEY")
        return made["id"], made["value"]


def function(config: LocalConfig) -> None:
    """The toy function: versions 1 and 2 behind the aliases ``live`` and ``next``, which API Gateway may invoke."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = config.client("iam").create_role(
        RoleName="functions", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    functions = config.client("lambda")
    for number in (1, 2):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("toy.py", CODE + f"\nNUMBER = {number}\n")
        if number == 1:
            functions.create_function(
                FunctionName=FUNCTION,
                Runtime="python3.12",
                Role=role,
                Handler="toy.handler",
                Code={"ZipFile": buffer.getvalue()},
                Timeout=20,
            )
        else:
            functions.update_function_code(FunctionName=FUNCTION, ZipFile=buffer.getvalue())
        version = functions.publish_version(FunctionName=FUNCTION)["Version"]
        alias = {1: "live", 2: "next"}[number]
        functions.create_alias(FunctionName=FUNCTION, Name=alias, FunctionVersion=version)
        functions.add_permission(
            FunctionName=FUNCTION,
            Qualifier=alias,
            StatementId="gateway",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
        )
    functions.create_alias(FunctionName=FUNCTION, Name="forbidden", FunctionVersion="1")


def made(config: LocalConfig, **plan: Any) -> Api:
    """A new API of the document, deployed."""
    gateway = config.client("apigateway")
    api = gateway.import_rest_api(body=json.dumps(document()).encode())["id"]
    deployment = gateway.create_deployment(restApiId=api)["id"]
    gateway.create_stage(restApiId=api, stageName="test", deploymentId=deployment, variables={"alias": "live"})
    stages = [{"apiId": api, "stage": "test"}]
    plan_id = gateway.create_usage_plan(name="plan", apiStages=stages, **plan)["id"]
    key = gateway.create_api_key(name="first", enabled=True)
    gateway.create_usage_plan_key(usagePlanId=plan_id, keyId=key["id"], keyType="API_KEY")
    return Api(config, api, deployment, plan_id, key["id"], key["value"], httpx.Client(timeout=60))


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    """A local AWS with the function."""
    with running(tmp_path_factory.mktemp("gateway") / "aws") as config:
        function(config)
        yield config


@pytest.fixture
def new_api(aws: LocalConfig) -> Callable[..., Api]:
    """Makes an API; its arguments are the usage plan's."""
    return lambda **plan: made(aws, **plan)


def told(response: httpx.Response) -> dict[str, Any]:
    """What the function told."""
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def calls(api: Api) -> int:
    """How often the function's process was called, this call with it."""
    return int(told(api.get("/open", None))["call"].partition("-")[2])


def test_a_key_of_a_plan_of_the_stage_opens_a_method(new_api: Callable[..., Api]) -> None:
    """Without one, with an unknown one, one of no plan, one of another API's plan or a disabled one: 403, no call."""
    api, other = new_api(), new_api()
    before = calls(api)
    planless = api.gateway.create_api_key(name="planless", enabled=True)["value"]
    for key in (None, "wrong", planless, other.key):
        refused = api.get("/things/a", key)
        assert (refused.status_code, refused.json()) == (403, {"message": "Forbidden"})
        assert refused.headers["x-amzn-errortype"] == "ForbiddenException"
    disable = [{"op": "replace", "path": "/enabled", "value": "false"}]
    assert told(api.get("/things/a"))["event"]["requestContext"]["identity"]["apiKeyId"] == api.key_id
    api.gateway.update_api_key(apiKey=api.key_id, patchOperations=disable)
    assert api.get("/things/a").status_code == 403
    assert calls(api) == before + 2


def test_a_path_a_method_or_a_stage_that_is_not_there_is_403(new_api: Callable[..., Api]) -> None:
    """As on AWS: 'Missing Authentication Token' for a path, 'Forbidden' for a stage."""
    api = new_api()
    for response in (api.get("/nothing"), api.client.delete(api.url("/things/a"), headers={"x-api-key": api.key})):
        assert (response.status_code, response.json()) == (403, {"message": "Missing Authentication Token"})
    gone = api.client.get(api.url("/open").replace("/test/", "/gone/"))
    assert (gone.status_code, gone.json()) == (403, {"message": "Forbidden"})


def test_the_event_is_that_of_a_proxy_integration(new_api: Callable[..., Api]) -> None:
    """Path and its parameters as they came, lists of decoded values, ids in headers too; no header of the wire."""
    api = new_api()
    response = api.get("/things/a%2Fb%20c?k=1&k=2&empty=")
    event = told(response)["event"]
    assert (event["resource"], event["path"], event["httpMethod"]) == ("/things/{id}", "/things/a%2Fb%20c", "GET")
    assert event["pathParameters"] == {"id": "a%2Fb%20c"}
    assert event["queryStringParameters"] == {"k": "2", "empty": ""}
    assert event["multiValueQueryStringParameters"] == {"k": ["1", "2"], "empty": [""]}
    assert (event["body"], event["isBase64Encoded"], event["stageVariables"]) == (None, False, {"alias": "live"})
    context = event["requestContext"]
    assert (context["stage"], context["apiId"]) == ("test", api.id)
    assert api.url(context["path"].partition("_user_request_")[2]).endswith(context["path"])
    assert response.headers["x-amzn-requestid"] == context["requestId"]
    assert response.headers["x-amz-apigw-id"] == context["extendedRequestId"]
    assert response.headers["x-amzn-remapped-server"] == "toy"
    assert "Connection" not in event["headers"]


def test_a_stage_answers_at_its_own_host_too(new_api: Callable[..., Api]) -> None:
    """`<api>.execute-api.localhost/<stage>/…` is laid out as AWS lays it out."""
    api = new_api()
    port = api.config.port
    response = api.client.get(
        f"http://127.0.0.1:{port}/test/open", headers={"Host": f"{api.id}.execute-api.localhost:{port}"}
    )
    event = told(response)["event"]
    assert (event["path"], event["requestContext"]["path"]) == ("/open", "/test/open")


def test_a_plans_throttle_refuses_and_recovers(new_api: Callable[..., Api]) -> None:
    """A burst is let through, the next request is 429, and with time there are tokens again; other keys have theirs."""
    api = new_api(throttle={"rateLimit": 2.0, "burstLimit": 3})
    _, other = api.another_key()
    statuses = [api.get("/things/a").status_code for _ in range(6)]
    assert statuses[:3] == [200] * 3 and 429 in statuses[3:]
    refused = next(response for response in iter(lambda: api.get("/things/a"), None) if response.status_code == 429)
    assert refused.json() == {"message": "Too Many Requests"}
    assert refused.headers["x-amzn-errortype"] == "TooManyRequestsException"
    assert api.get("/things/a", other).status_code == 200
    time.sleep(0.6)  # one token and a bit
    assert api.get("/things/a").status_code == 200


def test_a_method_has_a_throttle_of_its_own(new_api: Callable[..., Api]) -> None:
    """In a usage plan for each of its keys, and in the stage for all."""
    api = new_api()
    where = f"/apiStages/{api.id}:test/throttle/~1things~1{{id}}/GET"
    limits = (("rateLimit", "0.01"), ("burstLimit", "1"))
    changes = [{"op": "replace", "path": f"{where}/{name}", "value": value} for name, value in limits]
    api.gateway.update_usage_plan(usagePlanId=api.plan, patchOperations=changes)
    assert [api.get("/things/a").status_code for _ in range(2)] == [200, 429]
    assert api.get("/needs?q=1").status_code == 200
    api.patch(("/~1needs/GET/throttling/rateLimit", "0.01"), ("/~1needs/GET/throttling/burstLimit", "1"))
    assert [api.get("/needs?q=1").status_code for _ in range(2)] == [200, 429]
    assert api.get("/open", None).status_code == 200


def test_a_quota_is_used_up_told_and_extended(new_api: Callable[..., Api]) -> None:
    """429 'Limit Exceeded' after its number of requests; GetUsage counts them; UpdateUsage gives more."""
    api = new_api(quota={"limit": 3, "period": "MONTH"})
    assert [api.get("/things/a").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = api.get("/things/a")
    assert (refused.json(), refused.headers["x-amzn-errortype"]) == (
        {"message": "Limit Exceeded"},
        "LimitExceededException",
    )
    today = dt.datetime.now(dt.UTC).date().isoformat()
    usage = api.gateway.get_usage(usagePlanId=api.plan, startDate=today, endDate=today)
    assert usage["items"] == {api.key_id: [[3, 0]]}
    more = [{"op": "replace", "path": "/remaining", "value": "1"}]
    api.gateway.update_usage(usagePlanId=api.plan, keyId=api.key_id, patchOperations=more)
    assert [api.get("/things/a").status_code for _ in range(2)] == [200, 429]


def test_a_request_that_is_not_valid_starts_no_function(new_api: Callable[..., Api]) -> None:
    """A parameter that is missing, a body that is no JSON or not of the model: 400 from the gateway itself."""
    api = new_api()
    before = calls(api)
    missing = api.get("/needs")
    assert (missing.status_code, missing.json()) == (400, {"message": "Missing required request parameters: [q]"})
    headers = {"x-api-key": api.key}
    for body, fault in (
        (b"", 'object has missing required properties (["words"])'),
        (b"{", "unable to parse"),
        (b"[]", 'instance type (array) does not match any allowed primitive type (allowed: ["object"])'),
        (b'{"words": ["a", "b", "c", "d"]}', "array is too long: must have at most 3 elements"),
        (b'{"words": [1]}', "instance type (integer)"),
    ):
        refused = api.client.post(api.url("/words"), content=body, headers=headers)
        assert refused.status_code == 400
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["x-request-id"] == refused.headers["x-amzn-requestid"]
        assert fault in refused.json()["detail"]
    assert calls(api) == before + 1
    good = told(api.client.post(api.url("/words"), json={"words": ["ä"]}, headers=headers))
    assert json.loads(good["event"]["body"]) == {"words": ["ä"]}


CACHED = (
    ("/cacheClusterEnabled", "true"),
    ("/cacheClusterSize", "0.5"),
    ("/*/*/caching/enabled", "true"),
    ("/*/*/caching/ttlInSeconds", "60"),
)


def test_the_cache_answers_by_its_key_alone(new_api: Callable[..., Api]) -> None:
    """The same path and declared parameters: no call. What is not declared counts for nothing; POST is not cached."""
    api = new_api()
    api.patch(*CACHED)
    first = told(api.get("/things/a?k=1"))
    assert told(api.get("/things/a?k=1")) == first
    assert told(api.get("/things/a?k=1&undeclared=2", Accept="text/plain")) == first
    for other in ("/things/b?k=1", "/things/a?k=2", "/things/a"):
        assert told(api.get(other))["call"] != first["call"]
    headers = {"x-api-key": api.key}
    posted = [told(api.client.post(api.url("/words"), json={"words": []}, headers=headers)) for _ in range(2)]
    assert posted[0]["call"] != posted[1]["call"]
    api.gateway.flush_stage_cache(restApiId=api.id, stageName="test")
    assert told(api.get("/things/a?k=1"))["call"] != first["call"]


def test_the_cache_keeps_clients_apart(new_api: Callable[..., Api]) -> None:
    """The key's header is part of the cache key: each client gets the answer that was made for it."""
    api = new_api()
    api.patch(*CACHED)
    other_id, other = api.another_key()
    mine, theirs = told(api.get("/things/a")), told(api.get("/things/a", other))
    assert mine["event"]["requestContext"]["identity"]["apiKeyId"] == api.key_id
    assert theirs["event"]["requestContext"]["identity"]["apiKeyId"] == other_id
    assert (told(api.get("/things/a")), told(api.get("/things/a", other))) == (mine, theirs)
    assert api.get("/things/a", "wrong").status_code == 403


def test_a_client_renews_a_cached_answer_only_where_the_stage_lets_it(new_api: Callable[..., Api]) -> None:
    """`Cache-Control: max-age=0` unsigned: a warning, silence, or 403, as the stage says; allowed: a new answer."""
    api = new_api()
    api.patch(*CACHED)
    renew = {"Cache-Control": "max-age=0"}
    first = told(api.get("/things/a"))
    warned = api.get("/things/a", **renew)
    assert told(warned) == first and warned.headers["warning"].startswith("199 ")
    strategy = "/*/*/caching/unauthorizedCacheControlHeaderStrategy"
    api.patch((strategy, "SUCCEED_WITHOUT_RESPONSE_HEADER"))
    silent = api.get("/things/a", **renew)
    assert told(silent) == first and "warning" not in silent.headers
    api.patch((strategy, "FAIL_WITH_403"))
    assert api.get("/things/a", **renew).status_code == 403
    api.patch(("/*/*/caching/requireAuthorizationForCacheControl", "false"))
    renewed = told(api.get("/things/a", **renew))
    assert renewed["call"] != first["call"]
    assert told(api.get("/things/a")) == renewed


def test_a_cached_answer_expires(new_api: Callable[..., Api]) -> None:
    """After its time to live the function is asked again."""
    api = new_api()
    api.patch(
        *CACHED, ("/~1things~1{id}/GET/caching/enabled", "true"), ("/~1things~1{id}/GET/caching/ttlInSeconds", "1")
    )
    first = told(api.get("/things/a"))
    assert told(api.get("/things/a")) == first
    time.sleep(1.1)
    assert told(api.get("/things/a"))["call"] != first["call"]


def test_a_canary_takes_its_share_and_is_promoted(new_api: Callable[..., Api]) -> None:
    """30 % of 400 requests, within five standard deviations, reach the new version; promoted, all do."""
    api = new_api()
    canary = api.gateway.create_deployment(
        restApiId=api.id,
        stageName="test",
        canarySettings={"percentTraffic": 30.0, "stageVariableOverrides": {"alias": "next"}},
    )["id"]
    stage = api.gateway.get_stage(restApiId=api.id, stageName="test")
    assert (stage["deploymentId"], stage["canarySettings"]["deploymentId"]) == (api.deployment, canary)
    answers = [told(api.get("/open", None)) for _ in range(400)]
    new = [answer for answer in answers if answer["version"] == "2"]
    assert abs(len(new) - 120) < 5 * (400 * 0.3 * 0.7) ** 0.5
    assert {answer["event"]["requestContext"]["deploymentId"] for answer in new} == {canary}
    promotion = [
        {"op": "replace", "path": "/canarySettings/percentTraffic", "value": "0.0"},
        {"op": "copy", "from": "/canarySettings/stageVariableOverrides", "path": "/variables"},
        {"op": "copy", "from": "/canarySettings/deploymentId", "path": "/deploymentId"},
    ]
    api.gateway.update_stage(restApiId=api.id, stageName="test", patchOperations=promotion)
    api.gateway.update_stage(
        restApiId=api.id, stageName="test", patchOperations=[{"op": "remove", "path": "/canarySettings"}]
    )
    stage = api.gateway.get_stage(restApiId=api.id, stageName="test")
    assert (stage["deploymentId"], stage["variables"], "canarySettings" in stage) == (canary, {"alias": "next"}, False)
    assert {told(api.get("/open", None))["version"] for _ in range(20)} == {"2"}


def test_a_canary_has_a_cache_of_its_own(new_api: Callable[..., Api]) -> None:
    """An answer of the old version is not served for the new one, unless the canary uses the stage's cache."""
    api = new_api()
    api.patch(*CACHED)
    assert told(api.get("/things/a"))["version"] == "1"
    settings = {"percentTraffic": 100.0, "stageVariableOverrides": {"alias": "next"}}
    api.gateway.create_deployment(restApiId=api.id, stageName="test", canarySettings=settings)
    assert told(api.get("/things/a"))["version"] == "2"
    api.patch(("/canarySettings/useStageCache", "true"))
    assert told(api.get("/things/a"))["version"] == "1"


def test_a_deployment_is_the_api_as_it_was(new_api: Callable[..., Api]) -> None:
    """A changed document serves with the next deployment and not before; the stage keeps its settings with it."""
    api = new_api()
    api.patch(*CACHED)
    changed = document()
    changed["paths"]["/new"] = changed["paths"].pop("/open")
    api.gateway.put_rest_api(restApiId=api.id, mode="overwrite", body=json.dumps(changed).encode())
    assert api.get("/open", None).status_code == 200 and api.get("/new", None).status_code == 403
    api.gateway.create_deployment(restApiId=api.id, stageName="test")
    assert api.get("/open", None).status_code == 403 and api.get("/new", None).status_code == 200
    stage = api.gateway.get_stage(restApiId=api.id, stageName="test")
    assert stage["cacheClusterEnabled"] and stage["methodSettings"]["*/*"]["cachingEnabled"]


def test_the_access_log_has_no_body_and_no_key(new_api: Callable[..., Api]) -> None:
    """A line a request, refused ones too, in the stage's own format; of a key only its last characters."""
    api = new_api()
    logs = api.config.client("logs")
    logs.create_log_group(logGroupName=f"access-{api.id}")
    names = ("requestId", "httpMethod", "resourcePath", "path", "status", "identity.apiKeyId", "identity.apiKey",
             "responseLength", "integrationLatency", "error.responseType")  # fmt: skip
    line = json.dumps({name: f"$context.{name}" for name in names})
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:access-{api.id}"
    api.patch(("/accessLogSettings/destinationArn", arn), ("/accessLogSettings/format", line))
    secret = "a-secret-word"
    posted = api.client.post(api.url("/words"), json={"words": [secret]}, headers={"x-api-key": api.key})
    refused = api.get(f"/things/x?q={secret}", "wrong")
    events = logs.filter_log_events(logGroupName=f"access-{api.id}")["events"]
    assert not any(secret in event["message"] or api.key in event["message"] for event in events)
    first, second = (json.loads(event["message"]) for event in events)
    assert first["requestId"] == posted.headers["x-amzn-requestid"]
    assert (first["status"], first["identity.apiKeyId"], first["resourcePath"]) == ("200", api.key_id, "/words")
    assert first["identity.apiKey"].endswith(api.key[-6:]) and int(first["integrationLatency"]) >= 0
    assert (second["status"], second["error.responseType"]) == (str(refused.status_code), "INVALID_API_KEY")
    assert second["integrationLatency"] == "-"


def test_metrics_tell_hits_and_errors(new_api: Callable[..., Api]) -> None:
    """CloudWatch has the counts of requests, of errors, and of answers from the cache."""
    api = new_api()
    api.gateway.update_rest_api(
        restApiId=api.id, patchOperations=[{"op": "replace", "path": "/name", "value": f"api-{api.id}"}]
    )
    api.patch(*CACHED)
    for path in ("/things/a", "/things/a", "/things/a", "/nothing"):
        api.get(path)
    now = dt.datetime.now(dt.UTC)
    sums = {}
    for name in ("Count", "4XXError", "CacheHitCount", "CacheMissCount"):
        points = api.config.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/ApiGateway",
            MetricName=name,
            Dimensions=[{"Name": "ApiName", "Value": f"api-{api.id}"}, {"Name": "Stage", "Value": "test"}],
            StartTime=now - dt.timedelta(minutes=5),
            EndTime=now + dt.timedelta(minutes=5),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        sums[name] = sum(point["Sum"] for point in points)
    assert sums == {"Count": 4.0, "4XXError": 1.0, "CacheHitCount": 2.0, "CacheMissCount": 1.0}


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [("raise", 502, "Internal server error"), ("malformed", 502, "Internal server error"),
     ("slow", 504, "Endpoint request timed out")],
)  # fmt: skip
def test_what_a_function_does_wrong(answer: str, status: int, message: str, new_api: Callable[..., Api]) -> None:
    """An exception and an answer of another shape are 502, one that comes too late 504; the client learns no more."""
    response = new_api().get(f"/needs?q=1&answer={answer}")
    assert (response.status_code, response.json()) == (status, {"message": message})


def test_a_function_that_does_not_let_the_gateway_invoke_it_is_500(new_api: Callable[..., Api]) -> None:
    """Its policy counts, for the very alias that the stage's variable names; so does an alias that is not there."""
    api = new_api()
    for alias in ("forbidden", "unknown"):
        api.patch(("/variables/alias", alias))
        response = api.get("/open", None)
        assert (response.status_code, response.json()) == (500, {"message": "Internal server error"})


def test_a_body_beyond_ten_megabytes_is_413(new_api: Callable[..., Api]) -> None:
    """It is not read, and no function sees it."""
    api = new_api()
    response = api.client.post(api.url("/words"), content=b" " * (10 * 1024 * 1024 + 1), headers={"x-api-key": api.key})
    assert (response.status_code, response.json()) == (413, {"message": "Request Too Long"})


def test_odd_requests_are_answered(new_api: Callable[..., Api]) -> None:
    """Lengths that are none, chunked bodies, bytes that are no text, endless lists: an answer, and no 500."""
    api = new_api()
    start = f"/restapis/{api.id}/test/_user_request_"
    json_key = f"host: 127.0.0.1\r\nx-api-key: {api.key}\r\nconnection: close\r\n"
    requests: list[tuple[str, bytes, int]] = [
        (f"POST {start}/words HTTP/1.1\r\ncontent-length: many\r\n{json_key}", b"", 400),
        (f"POST {start}/words HTTP/1.1\r\ncontent-length: -5\r\n{json_key}", b"", 400),
        (
            f"POST {start}/words HTTP/1.1\r\ntransfer-encoding: chunked\r\n{json_key}",
            b'd\r\n{"words": []}\r\n0\r\n\r\n',
            200,
        ),
        (f"POST {start}/words HTTP/1.1\r\ntransfer-encoding: chunked\r\n{json_key}", b"one\r\n", 400),
        (f"GET {start}/things/%ff%00%zz?k=%ff&%00=1;2 HTTP/1.1\r\nx-odd: \xff\r\n{json_key}", b"", 200),
        (f"GET {start}//things//a HTTP/1.1\r\n{json_key}", b"", 200),
        (f"GET {start} HTTP/1.1\r\n{json_key}", b"", 403),
    ]
    for head, body, status in requests:
        with socket.create_connection(("127.0.0.1", api.config.port), timeout=20) as connection:
            connection.sendall(head.encode("latin-1") + b"\r\n" + body)
            answer = connection.makefile("rb").readline().decode()
        assert answer.split(" ")[1] == str(status), (head, answer)
    endless = json.dumps({"words": [1] * 1_000_000}).encode()
    refused = api.client.post(api.url("/words"), content=endless, headers={"x-api-key": api.key})
    assert refused.status_code == 400 and "array is too long" in refused.text


@pytest.mark.parametrize(
    ("path", "value"),
    [("/canarySettings/percentTraffic", "101"), ("/deploymentId", "none"), ("/*/*/caching/ttlInSeconds", "3601"),
     ("/*/*/caching/enabled", "perhaps"), ("/nothing", "1")],
)  # fmt: skip
def test_a_change_of_a_stage_that_is_wrong_changes_nothing(path: str, value: str, new_api: Callable[..., Api]) -> None:
    """The operations of an update are all made, or none of them."""
    api = new_api()
    shown = {name: part for name, part in api.gateway.get_stage(restApiId=api.id, stageName="test").items()
             if name != "ResponseMetadata"}  # fmt: skip
    with pytest.raises(api.gateway.exceptions.BadRequestException):
        api.patch(("/variables/alias", "next"), (path, value))
    assert api.gateway.get_stage(restApiId=api.id, stageName="test").items() >= shown.items()


def test_a_document_that_cannot_be_used_makes_no_api(aws: LocalConfig) -> None:
    """A URI that CloudFormation has yet to resolve, or a validator that is not there: refused, and nothing is left."""
    gateway = aws.client("apigateway")
    known = {api["id"] for api in gateway.get_rest_apis()["items"]}
    unresolved, lacking = document(), document()
    unresolved["paths"]["/open"]["get"]["x-amazon-apigateway-integration"]["uri"] = {"Fn::Sub": URI}
    lacking["x-amazon-apigateway-request-validators"] = {}
    for wrong in (unresolved, lacking):
        with pytest.raises(gateway.exceptions.BadRequestException):
            gateway.import_rest_api(body=json.dumps(wrong).encode())
    assert {api["id"] for api in gateway.get_rest_apis()["items"]} == known


@pytest.mark.slow
def test_an_api_survives_a_crash(tmp_path: Path) -> None:
    """Ids, the key's value, the stage's canary and cache, the function's permission and the quota's use are kept."""
    with running(tmp_path / "aws") as config:
        function(config)
        api = made(config, quota={"limit": 3, "period": "MONTH"})
        api.patch(*CACHED)
        settings = {"percentTraffic": 100.0, "stageVariableOverrides": {"alias": "next"}}
        api.gateway.create_deployment(restApiId=api.id, stageName="test", canarySettings=settings)
        assert api.get("/things/a").status_code == 200
        stage, key = (
            api.gateway.get_stage(restApiId=api.id, stageName="test"),
            api.gateway.get_api_key(apiKey=api.key_id, includeValue=True),
        )
        time.sleep(1.5)  # usage is written every second
        again = kill_and_restart(kill_and_restart(config))
        api = Api(again, api.id, api.deployment, api.plan, api.key_id, api.key, httpx.Client(timeout=60))
        for before, after in (
            (stage, api.gateway.get_stage(restApiId=api.id, stageName="test")),
            (key, api.gateway.get_api_key(apiKey=api.key_id, includeValue=True)),
        ):
            assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}
        assert [api.get("/things/a").status_code for _ in range(3)] == [200, 200, 429]
        assert api.get("/things/a", "wrong").status_code == 403


def test_a_token_bucket_lets_through_its_rate() -> None:
    """Over any time: at most the burst and what flows in; and no fewer, where there are as many requests."""
    throttles = Throttles()
    limit = [(("one",), {"rateLimit": 5.0, "burstLimit": 10.0})]
    admitted = sum(throttles.admit(limit, now=step / 100) for step in range(2_000))
    assert admitted == pytest.approx(10 + 20 * 5, abs=1)


def test_a_refusal_costs_no_token_elsewhere() -> None:
    """Where one of two limits refuses, the other one is as it was."""
    throttles = Throttles()
    wide, narrow = (("wide",), {"rateLimit": 0.0, "burstLimit": 2}), (("narrow",), {"rateLimit": 0.0, "burstLimit": 1})
    assert [throttles.admit([wide, narrow], now=0.0) for _ in range(3)] == [True, False, False]
    assert [throttles.admit([wide], now=0.0) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("period", "offset", "day", "start"),
    [
        ("DAY", 0, "2026-11-21", "2026-11-21"),
        ("WEEK", 0, "2026-11-21", "2026-11-15"),  # Saturday; the week began on Sunday
        ("WEEK", 0, "2026-11-22", "2026-11-22"),
        ("WEEK", 1, "2026-11-22", "2026-11-16"),
        ("MONTH", 0, "2026-11-30", "2026-11-01"),
        ("MONTH", 27, "2026-03-01", "2026-02-28"),
        ("MONTH", 27, "2026-01-05", "2025-12-28"),
    ],
)
def test_a_quotas_period_begins_on_its_day(period: str, offset: int, day: str, start: str) -> None:
    """UTC days; weeks from Sunday, months from the first, moved by the offset."""
    assert period_start(dt.date.fromisoformat(day), period, offset).isoformat() == start


def test_many_requests_at_once_share_a_functions_processes(new_api: Callable[..., Api]) -> None:
    """Sixty at once are all answered, by eight processes at most: the rest wait for a turn."""
    api = new_api()
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: told(api.get("/open", None)), range(60)))
    assert len({answer["call"].partition("-")[0] for answer in answers}) <= 8
    assert len({answer["call"] for answer in answers}) == 60
