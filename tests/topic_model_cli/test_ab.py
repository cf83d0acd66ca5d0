"""``topic-model ab`` on a real local AWS: two variants, real requests, analysts whose taste is known."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from local_aws.config import LocalConfig
from lookup_api.assignment import Assignment
from lookup_api.calls import AwsCalls
from lookup_api.endpoint import Endpoint
from lookup_api.tables import ensure_tables
from pipelines.deployment import build_deploy_workflow
from pipelines.settings import load_settings
from pipelines.substitutions import names_used, substitute
from tests.local_aws.toy_server import IMAGE, ROLE, archive, put, settled, toy_aws, wait_for
from tests.workflow_functions.test_publish_lookups import row
from topic_model.published import AB_TEST
from topic_model_cli.ab_models import published_version
from topic_model_cli.main import app
from topic_model_cli.stack import (
    DEPLOY_MACHINE,
    ENDPOINT_NAME,
    LOOKUP_TABLE,
    PREFIX,
    ensure_stack,
    ensure_state_machine,
)
from workflow_functions import aws as function_clients
from workflow_functions import publish_lookups
from workflow_functions.retire_models import ENDPOINT_TAG, SERVED_TAG

VERSIONS = {"first": "aaaaaaaaaaaa", "second": "bbbbbbbbbbbb"}
A, B = (f"{side}-{version}" for side, version in zip("AB", VERSIONS.values(), strict=True))
FEEDBACK = f"{PREFIX}-feedback"
CLIENTS = (function_clients.s3, function_clients.dynamodb, function_clients.sagemaker, function_clients.cloudwatch)


@dataclass(frozen=True)
class Lab:
    """A local AWS whose endpoint serves the model of the run ``first``."""

    config: LocalConfig

    def ab(self, *arguments: str, fails: bool = False) -> str:
        """What ``topic-model ab`` prints."""
        done = CliRunner().invoke(app, ["ab", *arguments, "--root", str(self.config.root)])
        assert (done.exit_code != 0) is fails, done.output
        return done.output

    def status(self) -> Any:
        """What ``topic-model ab status --json`` prints."""
        return json.loads(self.ab("status", "--json"))

    def describe(self) -> dict[str, Any]:
        """The endpoint."""
        return settled(self.config, ENDPOINT_NAME)

    def ask(self, number: int, **fields: Any) -> Counter[str]:
        """The variants that answered so many requests."""
        runtime = self.config.client("sagemaker-runtime")
        return Counter(
            runtime.invoke_endpoint(EndpointName=ENDPOINT_NAME, Body=b"who", **fields)["InvokedProductionVariant"]
            for _ in range(number)
        )

    def rate(self, variant: str, version: str, accepted: float, answers: int, seed: int) -> None:
        """An analyst's verdicts on three keywords of each of some answers, put as the lookup API puts them."""
        random = np.random.default_rng(seed)
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        requests = [
            {
                "feedback_id": f"{variant}-{seed}-{answer}-{rank}",
                "answer_id": f"{variant}-{seed}-{answer}",
                "model_version": version,
                "variant": variant,
                "kind": "keyword",
                "item": f"keyword {rank}",
                "verdict": "accepted" if random.random() < accepted else "rejected",
                "by": "ana",
                "given_at": now,
            }
            for answer in range(answers)
            for rank in range(1, 4)
        ]
        items = [{name: {"S": value} for name, value in request.items()} for request in requests]
        for start in range(0, len(items), 25):
            batch: Any = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            self.config.client("dynamodb").batch_write_item(RequestItems={FEEDBACK: batch})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    before = dict(os.environ)
    with toy_aws(tmp_path_factory.mktemp("ab") / "root") as config:
        os.environ.update(config.environment())
        for client in CLIENTS:
            client.cache_clear()
        ensure_stack(config)
        ensure_tables(config.client("dynamodb"), f"{PREFIX}-clients", FEEDBACK)
        config.client("s3").create_bucket(Bucket="models")
        for run, version in VERSIONS.items():
            body = json.dumps(row("c1", version)).encode()
            files = [{"name": "rows-00000.jsonl", "rows": 1, "sha256": hashlib.sha256(body).hexdigest()}]
            manifest = {"format_version": 2, "model_version": version, "rows": 1, "files": files, "documents": []}
            folder = f"runs__{run}"
            put(config, "models", **{f"{folder}__lookups__manifest.json": json.dumps(manifest).encode()})
            put(config, "models", **{f"{folder}__lookups__rows-00000.jsonl": body})
            put(config, "models", **{f"{folder}__lookup-model__model.tar.gz": archive("weights")})
        put(config, "models", runs__rejected__corpus__manifest=b"{}")
        _serve_first(config)
        publish_lookups.handler({"lookups": "s3://models/runs/first/lookups", "table": LOOKUP_TABLE}, None)
        yield Lab(config)
    os.environ.clear()
    os.environ.update(before)
    for client in CLIENTS:
        client.cache_clear()


def _serve_first(config: LocalConfig) -> None:
    sagemaker = config.client("sagemaker")
    artifact = "s3://models/runs/first/lookup-model/model.tar.gz"
    sagemaker.create_model(
        ModelName="tm-first-lookup-00000000",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": artifact, "Environment": {"VERSION": "toy"}},
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "tm-first-lookup-00000000",
        "InstanceType": "ml.m6i.large",
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1.0,
    }
    tags = [{"Key": ENDPOINT_TAG, "Value": ENDPOINT_NAME}, {"Key": SERVED_TAG, "Value": "2026-01-01T00:00:00Z"}]
    name = "tm-first-config-00000000"
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)
    sagemaker.create_endpoint(EndpointName=ENDPOINT_NAME, EndpointConfigName=name)
    assert settled(config, ENDPOINT_NAME)["EndpointStatus"] == "InService"


@pytest.fixture
def tested(lab: Lab) -> Lab:
    """The lab with a test of the two models under way; B has three requests in ten."""
    if lab.status() is None:
        other = "second" if published_version(LOOKUP_TABLE) == VERSIONS["first"] else "first"
        lab.ab("start", "--run", other, "--weight", "0.3")
    return lab


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "either --model NAME or --run NAME"),
        (["--run", "a", "--model", "b"], "either --model NAME or --run NAME"),
        (["--run", "secand"], "there is no run 'secand' under s3://models/runs/; did you mean second?"),
        (["--run", "nowhere"], "there is no run 'nowhere' under s3://models/runs/; there are first, rejected, second"),
        (["--run", "rejected"], "run 'rejected' has no lookup model under s3://models/runs/rejected/: it failed, was"),
        (["--run", "../first"], "--run is '../first'; expected a run's name"),
        (["--model", "nobody"], "no SageMaker model 'nobody'"),
        (["--run", "first"], "run first is version aaaaaaaaaaaa, which serves already"),
        (["--model", "tm-first-lookup-00000000"], "which serves already"),
        (["--run", "second", "--endpoint", "nowhere"], "no endpoint nowhere"),
        (["--run", "second", "--lookup-table", "nowhere"], "no lookup table 'nowhere'"),
    ],
)
def test_what_cannot_be_compared_is_refused(lab: Lab, arguments: list[str], told: str) -> None:
    """The message says what was wrong, the endpoint serves what it served, and nothing was made."""
    sagemaker = lab.config.client("sagemaker")
    before = lab.describe()["EndpointConfigName"]
    made = len(sagemaker.list_endpoint_configs()["EndpointConfigs"]), len(sagemaker.list_models()["Models"])
    assert told in lab.ab("start", *arguments, fails=True)
    assert lab.describe()["EndpointConfigName"] == before
    assert made == (len(sagemaker.list_endpoint_configs()["EndpointConfigs"]), len(sagemaker.list_models()["Models"]))


def test_a_model_that_does_not_start_changes_nothing(lab: Lab) -> None:
    """The old variant serves on, and what was made for the test is deleted."""
    sagemaker = lab.config.client("sagemaker")
    before = lab.describe()["EndpointConfigName"]
    sagemaker.create_model(
        ModelName="broken",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={
            "Image": IMAGE,
            "ModelDataUrl": "s3://models/runs/second/lookup-model/model.tar.gz",
            "Environment": {"TOY_EXIT": "1"},
        },
    )
    assert "no model here" in lab.ab("start", "--model", "broken", fails=True)
    assert lab.describe()["EndpointConfigName"] == before
    configs = [one["EndpointConfigName"] for one in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    assert not [name for name in configs if "-config-ab-" in name]
    key = {"campaign_id": {"S": AB_TEST}, "model_version": {"S": AB_TEST}}
    assert "Item" not in lab.config.client("dynamodb").get_item(TableName=LOOKUP_TABLE, Key=key)
    sagemaker.delete_model(ModelName="broken")


def test_a_deployment_is_not_disturbed(lab: Lab) -> None:
    """While the endpoint changes, a test does not begin."""
    sagemaker = lab.config.client("sagemaker")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=lab.describe()["EndpointConfigName"])
    again = f"{config['EndpointConfigName']}-again"
    tags = [{"Key": ENDPOINT_TAG, "Value": ENDPOINT_NAME}]
    sagemaker.create_endpoint_config(
        EndpointConfigName=again, ProductionVariants=config["ProductionVariants"], Tags=tags
    )
    sagemaker.update_endpoint(EndpointName=ENDPOINT_NAME, EndpointConfigName=again)
    assert "a deployment is under way" in lab.ab("start", "--run", "second", fails=True)
    assert lab.describe()["EndpointConfigName"] == again


def test_an_update_that_still_runs_is_not_undone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command waits no longer, but the update goes on, and the test is whole when it is done."""
    monkeypatch.setattr("topic_model_cli.ab_endpoint.WAIT_SECONDS", -1)
    other = "second" if published_version(LOOKUP_TABLE) == VERSIONS["first"] else "first"
    assert "is still Updating" in lab.ab("start", "--run", other, "--weight", "0.3", fails=True)
    monkeypatch.undo()
    serving = settled(lab.config, ENDPOINT_NAME)["EndpointConfigName"]
    config = lab.config.client("sagemaker").describe_endpoint_config(EndpointConfigName=serving)
    assert {one["VariantName"] for one in config["ProductionVariants"]} == {A, B}
    key = {"campaign_id": {"S": AB_TEST}, "model_version": {"S": AB_TEST}}
    item = lab.config.client("dynamodb").get_item(TableName=LOOKUP_TABLE, Key=key)["Item"]
    assert item["config"]["S"] == serving


def test_the_weights_split_the_traffic(tested: Lab) -> None:
    """Requests go to variants that tell their models' versions, as often as the weights say; status counts them."""
    before = tested.status()["variants"]
    counts = tested.ask(400)
    assert set(counts) == {A, B}
    assert 80 <= counts[B] <= 160  # 120 expected, 9 the standard deviation
    after = tested.status()["variants"]
    for side, name in (("A", A), ("B", B)):
        assert after[side]["name"] == name
        assert after[side]["requests"] - before[side]["requests"] == counts[name]
    assert after["B"]["weight"] == pytest.approx(0.3)


def test_the_api_asks_the_same_variant_for_the_same_question(tested: Lab) -> None:
    """A client's question meets one variant, however often it is asked; questions are split by the weights."""
    calls = AwsCalls()
    assignment = Assignment(calls, LOOKUP_TABLE, ENDPOINT_NAME, 60)
    endpoint = Endpoint(calls, ENDPOINT_NAME, assignment)

    async def variants() -> list[str | None]:
        questions = [{"keywords": [f"who {number}"], "k": 3} for number in range(60)]
        again = [{**question, "k": 9} for question in questions]
        return [await assignment.variant(question, "client-1") for question in [*questions, *again]]

    chosen = asyncio.run(variants())
    assert chosen[:60] == chosen[60:] and set(chosen) == {A, B}
    for wanted in (A, B):
        assert asyncio.run(endpoint._answer(b"who", wanted)).variant == wanted
    calls.close()


def test_a_variant_that_is_gone_costs_no_request(tested: Lab) -> None:
    """What was read of a test that has ended meanwhile: the request is answered, and the test forgotten."""
    calls = AwsCalls()
    assignment = Assignment(calls, LOOKUP_TABLE, ENDPOINT_NAME, 60)
    endpoint = Endpoint(calls, ENDPOINT_NAME, assignment)
    assert asyncio.run(assignment.variant({"keywords": []}, None)) in (A, B)
    assert asyncio.run(endpoint._answer(b"who", "B-0123456789ab")).variant in (A, B)
    assert asyncio.run(assignment.variant({"keywords": []}, None)) is None
    calls.close()


def test_a_deployment_does_not_end_a_test(tested: Lab) -> None:
    """The Deploy workflow fails, says how to go on, and the test goes on."""
    stack = ensure_stack(tested.config)
    template = build_deploy_workflow(load_settings())
    values = {name: value for name, value in stack.substitutions().items() if name in names_used(template)}
    machine = ensure_state_machine(tested.config, stack, substitute(template, values), DEPLOY_MACHINE)
    states = tested.config.client("stepfunctions")
    data = {"prefix": "tm-next", "model": {"name": "tm-first-lookup-00000000"}, "model_version": VERSIONS["first"]}
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(data))["executionArn"]

    def ended() -> Any:
        shown = states.describe_execution(executionArn=execution)
        return None if shown["status"] == "RUNNING" else shown

    shown = wait_for(ended)
    assert (shown["status"], shown["error"]) == ("FAILED", "AbTestUnderWay")
    assert "topic-model ab stop" in shown["cause"]
    assert tested.status() is not None
    assert "an A/B test is under way" in tested.ab("start", "--run", "second", fails=True)


def test_a_known_difference_is_found_and_an_absent_one_is_not(tested: Lab) -> None:
    """Nothing is said of few verdicts; of many, what the analysts' taste is; other verdicts do not count."""
    finding = tested.status()["outcomes"]["keyword"]
    assert (finding["finding"], finding["A"]["answers"]) == ("not enough data", 0)
    tested.rate(A, VERSIONS["first"], 0.5, 60, seed=1)
    tested.rate(B, VERSIONS["second"], 0.5, 60, seed=2)
    tested.rate("AllTraffic", VERSIONS["first"], 0.0, 10, seed=3)
    alike = tested.status()
    assert alike["outcomes"]["keyword"]["finding"] == "not enough data"
    assert (alike["outcomes"]["keyword"]["A"]["ratings"], alike["outside"]) == (180, 30)
    tested.rate(A, VERSIONS["first"], 0.5, 150, seed=4)
    tested.rate(B, VERSIONS["second"], 0.9, 150, seed=5)
    found = tested.status()["outcomes"]
    assert found["keyword"]["finding"] == "B is better"
    assert 0 < found["keyword"]["low"] < 0.4 * 150 / 210 < found["keyword"]["high"]
    assert found["neighbour"]["finding"] == "not enough data"
    told = tested.ab("status")
    assert "recommended keywords: B is better" in told
    assert "similar campaigns: not enough data: 0 rated answers; a difference of 10 points takes about" in told


def test_a_test_without_a_table_of_feedback_has_its_requests(tested: Lab) -> None:
    """Requests and errors are told before anybody could give feedback; there is not enough data for a finding."""
    tested.ask(5)
    told = tested.ab("status", "--feedback-table", "nowhere")
    assert "there is no table of feedback 'nowhere'" in told and "not enough data: 0 rated answers" in told
    told = tested.ab("status", "--feedback-table", "nowhere", "--json")
    assert json.loads(told)["missing_table"] == "nowhere" and tested.status()["missing_table"] is None
    assert A in told and B in told


def test_lookups_that_are_gone_are_found_before_anything_changes(tested: Lab) -> None:
    """The test goes on with its weights; how to end it without them is said."""
    s3, before = tested.config.client("s3"), tested.status()["variants"]["B"]
    run = next(run for run, version in VERSIONS.items() if version == before["model_version"])
    place = {"Bucket": "models", "Key": f"runs/{run}/lookups/manifest.json"}
    manifest = s3.get_object(**place)["Body"].read()
    s3.delete_object(**place)
    told = tested.ab("stop", "--keep", "B", fails=True)
    s3.put_object(**place, Body=manifest)
    assert "nothing was changed, and --no-publish does without them" in told
    assert tested.status()["variants"]["B"]["weight"] == before["weight"]


@pytest.mark.parametrize("keep", ["B", "A"])
def test_the_kept_side_serves_alone_and_the_other_is_retired(tested: Lab, keep: str) -> None:
    """All traffic on what is kept, under the name that a canary keeps; lookups are of the model that serves."""
    test = tested.status()["variants"]
    kept, other = test[keep], test["A" if keep == "B" else "B"]
    said = tested.ab("stop", "--keep", keep.lower(), "--retained", "1")
    assert tested.ask(20) == {"AllTraffic": 20}
    sagemaker = tested.config.client("sagemaker")
    configs = [one["EndpointConfigName"] for one in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    serving = tested.describe()["EndpointConfigName"]
    assert not [name for name in configs if "-config-ab-" in name]
    [variant] = sagemaker.describe_endpoint_config(EndpointConfigName=serving)["ProductionVariants"]
    assert variant["ModelName"] == kept["model"]
    assert other["model"] not in [one["ModelName"] for one in sagemaker.list_models()["Models"]]
    assert published_version(LOOKUP_TABLE) == kept["model_version"]
    assert f"lookups {'of' if keep == 'B' else 'are of'} model" in said
    assert "no A/B test is under way" in tested.ab("stop", "--keep", "A", fails=True)
