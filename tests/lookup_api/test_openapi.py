"""The OpenAPI documents: committed as the routes make them, true of real answers, and API Gateway's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import orjson
import pytest

from lookup_api import page_files, routes
from lookup_api.app import bare_app
from lookup_api.documented import reference
from lookup_api.examples import EXAMPLES
from lookup_api.gateway import PAGE, gateway_document, resolved
from lookup_api.openapi import DOCUMENT_PATH, main, rendered
from lookup_api.proxy_events import as_cached
from tests.lookup_api.conftest import KEYS, Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return bare_app().openapi()


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Hold a value against a schema of the document, whose references it may follow."""
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def test_the_committed_document_is_fresh(document: dict[str, Any]) -> None:
    """``docs/openapi.json`` is what the routes say."""
    fresh = rendered(document) == (ROOT / DOCUMENT_PATH).read_bytes()
    assert fresh, "stale; renew it with `python -m lookup_api.openapi`"


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    """An example that is refused or is never answered is worse than none."""
    for name, example in EXAMPLES.items():
        check(document, reference("ProblemDocument" if name.startswith("Problem") else name), example)


def test_every_operation_is_documented(document: dict[str, Any]) -> None:
    """With an example of its answer and of its body, its errors as problems, and a key where it asks for one."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["description"]
            assert ("security" in operation) == path.startswith("/v1/")
            answers = {status for status in operation["responses"] if status < "300"}
            for status, response in operation["responses"].items():
                [(kind, content)] = response["content"].items()
                assert kind == ("application/json" if status in answers else "application/problem+json")
                assert "example" in content or status not in answers
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["example"]


def test_real_answers_are_as_documented(document: dict[str, Any], api: Server) -> None:
    """Every operation's answers, of both kinds of key, and its problems, by their schemas to the last field."""
    campaigns = [quote(campaign_id, safe="") for campaign_id in api.rows()]
    known, answered = "/v1/campaigns/{campaign_id}", set()
    recommended = api.get("/v1/campaigns/coffee-0001/recommendations")
    item = recommended["recommendations"][0]["keyword"]
    feedback = {**EXAMPLES["Feedback"], "answer_id": recommended["answer_id"], "item": item}
    asked: list[tuple[str, str, str, Any]] = [
        *(("get", f"{known}{below}?explain=true", campaign, None) for campaign in campaigns for below in ("/similar",)),
        *(
            ("get", f"{known}{below}", campaign, None)
            for campaign in campaigns[:20]
            for below in ("", "/recommendations")
        ),
        *(("get", f"{known}{below}", "nobody", None) for below in ("", "/similar", "/recommendations")),
        ("get", "/v1/campaigns?query=latte", "", None),
        ("get", "/v1/campaigns?page=99", "", None),
        ("get", "/v1/map", "", None),
        ("get", "/v1/map?part=2", "", None),
        ("get", "/v1/topics", "", None),
        ("get", "/v1/topics/{topic}", "2", None),
        ("get", "/v1/topics/{topic}", "99", None),
        ("get", "/health", "", None),
        ("post", "/v1/similar", "", EXAMPLES["FreshCampaign"] | {"keywords": ["latte", "espresso grinder"]}),
        ("post", "/v1/similar", "", {"keywords": ["zzzz"]}),
        ("post", "/v1/similar", "", {"k": 0}),
        ("post", "/v1/feedback", "", feedback),
    ]
    for key in ("key-of-nobody", *KEYS.values(), None):
        for method, path, place, body in asked:
            template, _, query = path.partition("?")
            url = re.sub(r"\{\w+\}", place, template) + (f"?{query}" if query else "")
            arguments = {} if key is None else {"key": key}
            response = api.request(method.upper(), url, **arguments, **({} if body is None else {"json": body}))
            operation = document["paths"][template][method]
            told = operation["responses"][str(response.status_code)]
            schema = told["content"][response.headers["content-type"]]["schema"]
            check(document, schema, response.json())
            answered.add((method, template, response.status_code))
    succeeded = {(method, path) for method, path, status in answered if status < 300}
    assert succeeded == {(method, path) for path, methods in document["paths"].items() for method in methods}


def test_the_gateways_document_is_what_api_gateway_takes(document: dict[str, Any]) -> None:
    """OpenAPI 3.0; each operation reaches the function, is validated, and asks for a key if it asked for one."""
    made = gateway_document(document)
    assert made["openapi"] == "3.0.1"
    assert made["paths"].keys() == document["paths"].keys() | set(PAGE)
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            integration = operation["x-amazon-apigateway-integration"]
            assert (integration["type"], integration["httpMethod"]) == ("aws_proxy", "POST")
            assert made["x-amazon-apigateway-request-validator"] in made["x-amazon-apigateway-request-validators"]
            assert operation.get("security", []) == ([{"api_key": []}] if path.startswith("/v1/") else [])
            places = {parameter["name"]: parameter["in"] for parameter in operation.get("parameters", [])}
            own = document["paths"].get(path, {}).get(method, {})
            names = {parameter["name"] for parameter in own.get("parameters", [])}
            assert names <= places.keys()
            if "cacheKeyParameters" in integration:
                assert method == "get"
                wanted = {f"method.request.{'querystring' if w == 'query' else w}.{n}" for n, w in places.items()}
                assert set(integration["cacheKeyParameters"]) == wanted
                assert ("method.request.header.x-api-key" in wanted) == ("security" in operation)
            else:
                assert method == "post" or path == "/health"


def test_the_function_sees_the_parameters_that_the_cache_sees(document: dict[str, Any]) -> None:
    """What is left of a proxy event's query are an operation's cache keys, no fewer and no more."""
    for path, operations in gateway_document(document)["paths"].items():
        keys = operations.get("get", {}).get("x-amazon-apigateway-integration", {}).get("cacheKeyParameters", [])
        declared = {key.rpartition(".")[2] for key in keys if ".querystring." in key}
        event = {"httpMethod": "GET", "resource": path, "queryStringParameters": dict.fromkeys([*declared, "odd"], "1")}
        assert (as_cached(event)["queryStringParameters"] or {}).keys() == declared


def test_every_route_of_the_application_is_behind_the_gateway(document: dict[str, Any]) -> None:
    """The page's too, which the document of the API leaves out."""
    routers = [routes, page_files]
    paths = {str(getattr(route, "path", "")) for module in routers for route in module.router.routes}
    assert {re.sub(r"\{(\w+):\w+\}", r"{\1}", path) for path in paths} <= gateway_document(document)["paths"].keys()


def test_the_functions_arn_is_put_into_the_gateways_document(document: dict[str, Any]) -> None:
    """For an import without CloudFormation; the stage's variable stays one."""
    made = resolved(gateway_document(document), "arn:aws:lambda:eu-west-1:1:function:lookup")
    uris = {
        operation["x-amazon-apigateway-integration"]["uri"]
        for operations in made["paths"].values()
        for operation in operations.values()
    }
    assert uris == {
        "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/"
        "arn:aws:lambda:eu-west-1:1:function:lookup:${stageVariables.alias}/invocations"
    }


def test_api_gateway_refuses_nothing_that_the_application_takes(document: dict[str, Any]) -> None:
    """The models in the gateway's document accept the examples, and refuse a body that is no object."""
    made = gateway_document(document)
    text = orjson.dumps(made["components"]["schemas"]).decode()
    assert "null" not in text.replace('"nullable"', "") and "$ref" not in text and "pattern" not in text
    for name in ("FreshCampaign", "Feedback"):
        model = jsonschema.Draft4Validator(made["components"]["schemas"][name])
        model.validate(EXAMPLES[name])
        assert not model.is_valid([])
        assert not model.is_valid({"surprise": 1})
    model = jsonschema.Draft4Validator(made["components"]["schemas"]["FreshCampaign"])
    assert model.is_valid({"keywords": ["a", {"text": "b", "clicks": None}], "name": None})
    assert not model.is_valid({"keywords": "a"}) and not model.is_valid({"k": 0})


def test_the_command_writes_both(tmp_path: Path, document: dict[str, Any]) -> None:
    """``python -m lookup_api.openapi``, with and without ``--gateway``."""
    assert main([str(tmp_path / "a.json")]) == main(["--gateway", str(tmp_path / "b.json")]) == 0
    assert orjson.loads((tmp_path / "a.json").read_bytes()) == orjson.loads(rendered(document))
    assert orjson.loads((tmp_path / "b.json").read_bytes()) == orjson.loads(rendered(gateway_document(document)))
