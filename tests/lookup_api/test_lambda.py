"""The Lambda function answers API Gateway's proxy events."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from lookup_api.keys import gateway_key
from tests.lookup_api.conftest import CLIENTS, ENDPOINT, FEEDBACK, KEYS, LOOKUPS, Server
from topic_model.errors import SettingsError

ENVIRONMENT = {
    "LOOKUP_TABLE": LOOKUPS,
    "CLIENTS_TABLE": CLIENTS,
    "FEEDBACK_TABLE": FEEDBACK,
    "ENDPOINT_NAME": ENDPOINT,
}


@pytest.fixture(scope="module")
def handler(api: Server) -> Any:
    """The function, with a key that API Gateway knows as ``abc123`` and that is client-1's."""
    item = {"key": {"S": gateway_key("abc123")}, "client_id": {"S": "client-1"}}
    api.config.client("dynamodb").put_item(TableName=CLIENTS, Item=item)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        sys.modules.pop("lookup_api.lambda_handler", None)
        return importlib.import_module("lookup_api.lambda_handler").handler


def event(method: str, path: str, *, key_id: str | None = "abc123", body: Any = None, **more: Any) -> dict[str, Any]:
    """A REST API's proxy event, as API Gateway sends it."""
    identity = {"sourceIp": "10.0.0.1", "userAgent": "tests", **({} if key_id is None else {"apiKeyId": key_id})}
    campaign = re.match("/v1/campaigns/([^/]+)", path)
    return {
        "resource": path.replace(f"/{campaign[1]}", "/{campaign_id}") if campaign else path,
        "path": path,
        "httpMethod": method,
        "headers": {"Host": "api", "content-type": "application/json"},
        "multiValueHeaders": {"Host": ["api"], "content-type": ["application/json"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"campaign_id": campaign[1]} if campaign else None,
        "requestContext": {"requestId": "gateway-request-1", "stage": "v1", "identity": identity, "path": path},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    } | more


def test_an_event_gets_what_the_same_request_gets(handler: Any, api: Server, capsys: Any) -> None:
    """The answers of the function are those of the server; the request id is API Gateway's; a line of metrics each."""
    query = {"multiValueQueryStringParameters": {"k": ["3"]}, "queryStringParameters": {"k": "3"}}
    own = next(campaign_id for campaign_id, row in api.rows().items() if row["client_id"] == "client-1")
    for path, more in ((f"/v1/campaigns/{own}/similar", query), ("/v1/topics", {}), ("/v1/campaigns", {})):
        answer = handler(event("GET", path, **more), None)
        same = api.get(path, KEYS["client-1"], **({"k": 3} if more else {}))
        assert answer["statusCode"] == 200
        assert json.loads(answer["body"]) | {"answer_id": ""} == same | {"answer_id": ""}
        assert answer["headers"]["x-request-id"] == "gateway-request-1"
        line = json.loads(capsys.readouterr().out)
        assert (line["client"], line["status"], line["request_id"]) == ("client-1", 200, "gateway-request-1")
    fresh = handler(event("POST", "/v1/similar", body={"keywords": ["latte"]}), None)
    assert {one["client_id"] for one in json.loads(fresh["body"])["similar"]} == {"client-1"}


@pytest.mark.parametrize("key_id", [None, "", "unknown", 7, KEYS["client-1"]])
def test_only_the_gateways_key_counts(key_id: Any, handler: Any) -> None:
    """Behind API Gateway a header is nobody's proof, however right the key in it."""
    headers = {"x-api-key": [KEYS["client-1"]], "Host": ["api"]}
    asked = event("GET", "/v1/topics", key_id=key_id, multiValueHeaders=headers, headers={"Host": "api"})
    answer = handler(asked, None)
    assert answer["statusCode"] == 403
    # As text: API Gateway would pass base64 on as it is.
    assert (answer["isBase64Encoded"], json.loads(answer["body"])["status"]) == (False, 403)


def test_a_binary_body_is_read(handler: Any) -> None:
    """API Gateway sends some bodies in base64."""
    asked = event("POST", "/v1/similar") | {"body": "eyJrZXl3b3JkcyI6IFsibGF0dGUiXX0=", "isBase64Encoded": True}
    assert handler(asked, None)["statusCode"] == 200


def test_starting_loads_no_model_library() -> None:
    """The function's package needs neither NumPy nor a text library, and starts as fast as its clients do."""
    heavy = "numpy scipy sklearn spacy gensim numba pyarrow pandas"
    code = f"import sys, lookup_api.app; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("variable", [*ENVIRONMENT, "FEEDBACK_DAYS", "CACHE_MB", "STALE_SECONDS", "ANSWER_KEY_SECRET"])
def test_a_missing_or_wrong_variable_is_named(variable: str) -> None:
    """The function does not start with half of its settings."""
    from lookup_api.settings import ApiSettings

    with pytest.raises(SettingsError, match=variable):
        ApiSettings.from_environment({**ENVIRONMENT, variable: "-1 not that"})
