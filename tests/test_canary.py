"""The Deploy workflow under load from a second process: good models are promoted, bad ones go back by themselves.

The local AWS, the workflow's definition, its functions, the model's containers and their failures are real; only the
waits are shorter than on AWS.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_aws.config import LocalConfig
from pipelines.deployment import build_deploy_workflow
from pipelines.deployment_settings import on_a_laptop
from pipelines.settings import parse_settings
from pipelines.substitutions import names_used, substitute
from pipelines.training import build_training_workflow
from tests.local_aws.toy_server import IMAGE, archive, put, toy_aws, wait_for
from topic_model.published import POINTER
from topic_model_cli.stack import (
    DEPLOY_MACHINE,
    ENDPOINT_NAME,
    STATE_MACHINE,
    Stack,
    ensure_stack,
    ensure_state_machine,
)

LOAD = Path(__file__).parent / "local_aws" / "load.py"
RATE = 60
BAKE_SECONDS = 20
"""Of deployments that something must happen to while they bake; a machine that is busy is slow to do it."""
SECONDS = 0.06  # of a good model's work; twenty times that is slow, and a busy machine is not
SETTINGS = """
deployment:
  retained_models: 2
  alarms: {min_requests: 5, max_error_share: 0.05, max_latency_p99_ms: 900, max_low_confidence_share: 0.5}
"""


@dataclass(frozen=True)
class Canary:
    """A local AWS whose endpoint serves the model ``v0``."""

    config: LocalConfig
    stack: Stack
    machine: str
    quick: str
    """The same, but it bakes as on a laptop: for good models that nothing is done to."""
    release: str
    """The training workflow from CheckLookups on: what becomes of a lookup model that is made."""

    def model(self, version: str, *, artifact: str = "s3://models/good", **variables: str) -> str:
        """A SageMaker model that answers as ``version``; its name."""
        name = f"tm-canary-{version}-{uuid.uuid4().hex[:8]}"
        variables = {"VERSION": version, "TOY_SECONDS": str(SECONDS)} | variables
        self.config.client("sagemaker").create_model(
            ModelName=name,
            ExecutionRoleArn=self.stack.job_role_arn,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": artifact, "Environment": variables},
        )
        return name

    def begin(self, version: str, *, machine: str | None = None, **variables: str) -> str:
        """A started deployment."""
        model = self.model(version, **variables)
        data = {"prefix": "tm-canary", "model": {"name": model}, "model_version": version}
        started = self.config.client("stepfunctions").start_execution(
            stateMachineArn=machine or self.machine, input=json.dumps(data)
        )
        return str(started["executionArn"])

    def begin_of_run(self, version: str, share: float = 0.7, **variables: str) -> str:
        """A started deployment of a run's model, whose answers give the run's campaign that share of its topic."""
        files = {f"lookups__{name}": body for name, body in rows(version, topic_share=0.7).items()}
        files["lookup-model__model.tar.gz"] = archive("weights")
        files["scoring__all__campaigns.jsonl"] = b'{"campaign_id": "c1", "keywords": ["who"]}\n'
        put(self.config, "models", **{f"runs__{version}__{name}": body for name, body in files.items()})
        answer = {"model_version": version, "fingerprint": [share, 1 - share]}
        artifact = f"s3://models/runs/{version}/lookup-model/model.tar.gz"
        return self.begin(version, artifact=artifact, TOY_ANSWER=json.dumps(answer), **variables)

    def begin_release(self, version: str, lookups: str, *, deploy: bool = True, **variables: str) -> str:
        """The training workflow, begun behind CreateLookupModel with lookups of the version ``lookups``."""
        uri = f"s3://models/{lookups}/lookups"
        put(self.config, "models", **{f"{lookups}__lookups__{name}": body for name, body in rows(lookups).items()})
        plan: dict[str, Any] = {"prefix": "tm-canary", "deploy": deploy, "publish": "always"}
        plan["uris"] = {"lookups": uri, "scoring": "s3://models/scoring"}
        name = self.model(version, **variables) if deploy else "not-used"
        data = {"plan": plan, "lookup_model": {"name": name}}
        started = self.config.client("stepfunctions").start_execution(
            stateMachineArn=self.release, input=json.dumps(data)
        )
        return str(started["executionArn"])

    def published(self) -> str:
        """The version of the lookups that readers get."""
        key = {"campaign_id": {"S": POINTER}, "model_version": {"S": POINTER}}
        item = self.config.client("dynamodb").get_item(TableName=self.stack.lookup_table, Key=key)["Item"]
        return str(item["version"]["S"])

    def last_deployment(self) -> dict[str, Any]:
        """The deployment that was begun last."""
        states = self.config.client("stepfunctions")
        (last,) = states.list_executions(stateMachineArn=self.machine, maxResults=1)["executions"]
        shown: dict[str, Any] = states.describe_execution(executionArn=last["executionArn"])
        return shown

    def end(self, execution: str) -> dict[str, Any]:
        """What an execution came to."""

        def look() -> Any:
            shown = self.config.client("stepfunctions").describe_execution(executionArn=execution)
            return None if shown["status"] == "RUNNING" else shown

        found: dict[str, Any] = wait_for(look, 300)
        return found

    def describe(self) -> dict[str, Any]:
        """The endpoint."""
        shown: dict[str, Any] = self.config.client("sagemaker").describe_endpoint(EndpointName=ENDPOINT_NAME)
        return shown

    def baking(self) -> str | None:
        """The configuration that bakes now."""
        pending = self.describe().get("PendingDeploymentSummary")
        bakes = pending and pending["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Baking"
        return str(pending["EndpointConfigName"]) if pending and bakes else None

    def last_config(self) -> str:
        """The endpoint configuration that was made last: that of a deployment that is over."""
        listed = self.config.client("sagemaker").list_endpoint_configs()["EndpointConfigs"]
        return str(max(listed, key=lambda entry: entry["CreationTime"])["EndpointConfigName"])

    def measured(self, metric: str, config: str) -> float:
        """The sum of one of SageMaker's metrics over all that a configuration answered."""
        now = time.time()
        dimensions = {"EndpointName": ENDPOINT_NAME, "VariantName": "AllTraffic", "EndpointConfigName": config}
        points = self.config.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=now - 3_600,
            EndTime=now + 60,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))


def rows(version: str, topic_share: float = 0.0) -> dict[str, bytes]:
    """A run's lookups, of one campaign, by the files' names."""
    topics = [{"topic": 0, "share": topic_share, "terms": ["who"]}] if topic_share else []
    row = json.dumps({"campaign_id": "c1", "model_version": version, "topics": topics, "similar": []}).encode()
    file = {"name": "rows-00000.jsonl", "rows": 1, "sha256": hashlib.sha256(row).hexdigest()}
    manifest = {"format_version": 2, "model_version": version, "rows": 1, "files": [file], "documents": []}
    return {"manifest.json": json.dumps(manifest).encode(), "rows-00000.jsonl": row}


def patient(workflow: dict[str, Any]) -> dict[str, Any]:
    """The Deploy workflow with a longer bake; all else, such as the number of probes, is as it was."""
    text, wait = json.dumps(workflow), '"WaitIntervalInSeconds": '
    longer, number = re.subn(rf"{wait}\d+", f"{wait}{BAKE_SECONDS}", text)
    assert number
    found: dict[str, Any] = json.loads(longer)
    return found


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    with toy_aws(tmp_path_factory.mktemp("canary") / "root", LOCAL_AWS_ALARM_SECONDS="0.2") as config:
        config.client("s3").create_bucket(Bucket="models")
        put(config, "models", good=archive("weights"))
        stack = ensure_stack(config)
        settings = parse_settings(SETTINGS)
        settings = settings.model_copy(update={"deployment": on_a_laptop(settings.deployment)})
        release = {**build_training_workflow(settings), "StartAt": "CheckLookups"}
        arns = []
        quick = build_deploy_workflow(settings)
        machines = ((patient(quick), DEPLOY_MACHINE), (quick, f"{DEPLOY_MACHINE}-quick"), (release, STATE_MACHINE))
        for template, name in machines:
            values = {key: value for key, value in stack.substitutions().items() if key in names_used(template)}
            arns.append(ensure_state_machine(config, stack, substitute(template, values), name))
        found = Canary(config, stack, *arns)
        created = found.end(found.begin("v0"))
        assert created["status"] == "SUCCEEDED", created
        yield found


@contextlib.contextmanager
def load(canary: Canary) -> Iterator[list[dict[str, Any]]]:
    """Steady requests from another process; the list holds what came of them once the block is left.

    They go on for some seconds behind the block: what was sent then is ``after``.
    """
    command = [sys.executable, str(LOAD), canary.config.endpoint_url, ENDPOINT_NAME, str(RATE)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    answers: list[dict[str, Any]] = []
    try:
        time.sleep(1)
        yield answers
        over = time.time()
        time.sleep(3)
    finally:
        output, _ = process.communicate("\n", timeout=120)
    found = [json.loads(line) for line in output.splitlines()]
    answers += [{**answer, "after": answer["sent"] > over} for answer in found]


def failures(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert len(answers) > 10, "there was no load"
    return [answer for answer in answers if answer["status"] != 200]


def serving(answers: list[dict[str, Any]]) -> set[str]:
    """The versions that answered behind the load's block."""
    return {answer["version"] for answer in answers if answer["after"]}


def test_a_model_that_fails_goes_back_and_costs_only_the_canarys_errors(canary: Canary) -> None:
    """One request in five fails: the alarm ends it, the execution names the alarm, old model and old lookups stay."""
    without_endpoint = canary.end(canary.begin_release("v0", "000000000001", deploy=False))
    assert without_endpoint["status"] == "SUCCEEDED" and canary.published() == "000000000001"
    before = canary.describe()["EndpointConfigName"]
    with load(canary) as answers:
        released = canary.end(canary.begin_release("failing", "000000000002", TOY_FAILS_EVERY="5"))
    bad = canary.last_config()
    assert released["status"] == "FAILED" and f"alarm {bad}-errors fired" in released["cause"]
    assert canary.published() == "000000000001"
    ended, failed = canary.last_deployment(), failures(answers)
    assert ended["status"] == "FAILED" and ended["error"] == "DeploymentRolledBack"
    assert f"went back to {before}" in ended["cause"]
    assert f"alarm {bad}-errors fired: Threshold Crossed" in ended["cause"]
    assert re.search(r"; the canary had [\d,]+ requests, \w+ of them probes", ended["cause"])
    shown = canary.describe()
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", before)
    # Probes of the first seconds may have failed too.
    assert 0 < len(failed) <= canary.measured("Invocation5XXErrors", bad)
    assert len(failed) <= canary.measured("Invocations", bad) / 5 + 1
    assert serving(answers) == {"v0"}


@pytest.mark.slow
def test_a_model_that_is_slow_goes_back_and_costs_no_request(canary: Canary) -> None:
    """Twenty times slower: every request is answered, and the latency alarm ends it."""
    before = canary.describe()["EndpointConfigName"]
    with load(canary) as answers:
        ended = canary.end(canary.begin("slow", TOY_SECONDS=str(20 * SECONDS)))
    bad = canary.last_config()
    assert failures(answers) == []
    assert ended["error"] == "DeploymentRolledBack" and f"alarm {bad}-latency fired" in ended["cause"]
    assert canary.describe()["EndpointConfigName"] == before
    slow = [answer for answer in answers if answer["version"] == "slow"]
    assert 0 < len(slow) <= canary.measured("Invocations", bad) and serving(answers) == {"v0"}


@pytest.mark.slow
def test_a_model_that_is_unsure_goes_back(canary: Canary) -> None:
    """Answers of low confidence, which the container itself measures, end a deployment too."""
    with load(canary) as answers:
        ended = canary.end(canary.begin("unsure", TOY_UNSURE="1"))
    bad = canary.last_config()
    assert failures(answers) == []
    assert f"alarm {bad}-confidence fired" in ended["cause"] and serving(answers) == {"v0"}


@pytest.mark.slow
def test_a_model_that_cannot_start_never_gets_a_request(canary: Canary) -> None:
    """The execution says what the container said, and nobody noticed."""
    before = canary.describe()["EndpointConfigName"]
    with load(canary) as answers:
        ended = canary.end(canary.begin("broken", TOY_EXIT="1"))
    assert failures(answers) == [] and {answer["version"] for answer in answers} == {"v0"}
    assert ended["error"] == "DeploymentRolledBack"
    assert "exit code 9" in ended["cause"] and "no model here" in ended["cause"]
    assert canary.describe()["EndpointConfigName"] == before


@pytest.mark.slow
def test_a_killed_process_in_the_bake_costs_no_request(canary: Canary) -> None:
    """An instance of the new fleet dies under load: others answer, it is replaced, and the model is promoted."""
    with load(canary) as answers:
        execution = canary.begin("v1")
        config = wait_for(canary.baking)
        runtime = canary.config.client("sagemaker-runtime")

        def new_process() -> Any:
            body = runtime.invoke_endpoint(EndpointName=ENDPOINT_NAME, Body=b"who")["Body"].read()
            about = json.loads(body)
            return about["pid"] if about["version"] == "v1" else None

        os.kill(wait_for(new_process), signal.SIGKILL)
        assert wait_for(canary.baking) == config, "the process was killed when the bake was over"
        ended = canary.end(execution)
    assert failures(answers) == []
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert canary.describe()["EndpointConfigName"] == config and serving(answers) == {"v1"}
    assert canary.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "told", "fault"),
    [
        ("aaaaaaaaaaa1", "-errors fired", {"TOY_FAILS_EVERY": "3"}),
        ("aaaaaaaaaaa2", "wrong answer: campaign 'c1': topic 0 has share 0.700 in its row and 0.500", {"share": 0.5}),
        ("aaaaaaaaaaa3", "", {}),
    ],
    ids=["fails", "answers otherwise than its run", "good"],
)
def test_a_canary_that_nobody_asks_is_judged_by_probes(
    canary: Canary, version: str, told: str, fault: dict[str, Any]
) -> None:
    """On an endpoint without a request a bad model goes back all the same; of a good one it is said what judged it."""
    before = canary.describe()["EndpointConfigName"]
    ended = canary.end(canary.begin_of_run(version, **fault))
    if told:
        assert ended["error"] == "DeploymentRolledBack" and told in ended["cause"]
        assert canary.describe()["EndpointConfigName"] == before
    else:
        assert ended["status"] == "SUCCEEDED", ended.get("cause")
        found = json.loads(ended["output"])["canary"]
        assert found["requests"] > 0 and found["probes"] > 0
        assert found["verdict"].startswith("judged by")


@pytest.mark.slow
def test_a_good_model_is_promoted_and_old_ones_are_retired(canary: Canary) -> None:
    """Half of the traffic first, then all; models behind the last two go with configurations and alarms."""
    for version in ("v2", "v3"):
        with load(canary) as answers:
            ended = canary.end(canary.begin(version, machine=canary.quick))
        assert failures(answers) == []
        assert ended["status"] == "SUCCEEDED", ended.get("cause")
        assert serving(answers) == {version}
    output = json.loads(ended["output"])
    sagemaker = canary.config.client("sagemaker")
    configs = {entry["EndpointConfigName"] for entry in sagemaker.list_endpoint_configs()["EndpointConfigs"]}
    assert configs == set(output["retirement"]["kept"]) and len(configs) == 2
    assert canary.describe()["EndpointConfigName"] in configs
    models = {entry["ModelName"] for entry in sagemaker.list_models()["Models"]}
    assert {name.split("-")[2] for name in models} == {"v2", "v3"}
    alarms = canary.config.client("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]
    assert {alarm["AlarmName"].rpartition("-")[0] for alarm in alarms} == configs
