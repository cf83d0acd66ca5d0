"""Whole deliveries on the local AWS: one that gets through, and one of each kind that does not."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws import lifecycle
from local_aws.config import LocalConfig
from tests.delivery.conftest import Repository
from topic_model_cli.deliver_teardown import ENVIRONMENTS, left_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("delivery")]


@pytest.fixture
def changed(repository: Repository) -> Iterator[Repository]:
    """The repository, back at its first commit's files behind the test."""
    yield repository
    git = ["git", "-C", str(repository.folder)]
    subprocess.run([*git, "checkout", "--quiet", "--force", "main~1"], check=True, capture_output=True)
    subprocess.run([*git, "branch", "--force", "main", "HEAD"], check=True, capture_output=True)
    subprocess.run([*git, "checkout", "--quiet", "main"], check=True, capture_output=True)


def last(repository: Repository) -> dict[str, Any]:
    """The report of the last delivery."""
    reports = [json.loads(path.read_text()) for path in repository.runs.glob("*/delivery.json")]
    return dict(max(reports, key=lambda report: report["started"]))


def local_aws(repository: Repository) -> LocalConfig:
    return lifecycle.connect(repository.root / "aws")


def assert_stopped_in(repository: Repository, stage: str, action: str) -> None:
    """It failed there, nothing behind it ran, and nothing of its environment is there."""
    report = last(repository)
    assert report["status"] == "Failed", report
    assert [one["name"] for one in report["actions"] if one["status"] == "Failed"] == [action]
    assert report["actions"][-1]["stage"] == stage
    assert left_of(local_aws(repository), report["id"]) == []
    names = [stack["StackName"] for stack in local_aws(repository).client("cloudformation").describe_stacks()["Stacks"]]
    assert not [name for name in names if name.startswith(ENVIRONMENTS) and not name.endswith("production")]


def kill_behind(repository: Repository, action: str) -> str:
    """Begin a delivery and kill it once an action has succeeded; the delivery's id."""
    before = set(repository.root.glob("executions/*.json"))
    delivery = subprocess.Popen(repository.command("--approve"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 1_200
        while time.monotonic() < until and delivery.poll() is None:
            for path in set(repository.root.glob("executions/*.json")) - before:
                record = json.loads(path.read_text())
                if (action, "Succeeded") in [(one["name"], one["status"]) for one in record["actions"]]:
                    return str(record["id"])
            time.sleep(0.2)
    finally:
        delivery.kill()
        delivery.wait()
    pytest.fail(f"the delivery ended, or took too long, before {action}")


def test_a_broken_test_ends_the_delivery_in_its_build_and_cleans_up_behind_a_killed_one(changed: Repository) -> None:
    """What failed is told with the end of its log, and nothing is made; what the killed one had made is removed."""
    killed = kill_behind(changed, "CreateEnvironment")
    (changed.folder / "checks.sh").write_text("echo FAILED tests/test_it.py::test_it; exit 1\n")
    changed.commit("Break a test")
    ended = changed.deliver("--approve")
    assert ended.returncode == 1
    assert "Build/Build: COMMAND_EXECUTION_ERROR" in ended.stderr
    assert "FAILED tests/test_it.py::test_it" in ended.stderr
    assert_stopped_in(changed, "Build", "Build")
    assert f"delivery {killed[:8]}, which was killed" in ended.stdout
    assert left_of(local_aws(changed), killed) == []
    assert json.loads((changed.root / "executions" / f"{killed}.json").read_text())["status"] == "Stopped"


def test_a_template_error_ends_it_at_the_environment(changed: Repository) -> None:
    """A resource that cannot be made: the stack's creation is rolled back, its reason told, and the rest removed."""
    template = changed.folder / "prepared" / "template.json"
    document = json.loads(template.read_text())
    document["Resources"]["AddedByMistake"] = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "Action": "lambda:InvokeFunction",
            "FunctionName": "no-such-function",
            "Principal": "events.amazonaws.com",
        },
    }
    template.write_text(json.dumps(document))
    changed.commit("Break the template")
    ended = changed.deliver("--approve")
    assert ended.returncode == 1
    assert "Test/CreateEnvironment: stack topic-model-t-" in ended.stderr
    assert "AddedByMistake: " in ended.stderr
    assert_stopped_in(changed, "Test", "CreateEnvironment")


def test_a_model_that_the_gates_refuse_ends_it_in_its_workflow(changed: Repository) -> None:
    """The workflow ran in the environment's own state machine; its gate is named."""
    changed.replace("prepared/training.asl.json", r'("--min-c-npmi",\s+)"[^"]+"', r'\1"0.99"')
    changed.commit("Ask too much of a model")
    ended = changed.deliver("--approve")
    assert ended.returncode == 1
    assert "Test/RunWorkflow: " in ended.stderr
    assert "ModelRejected" in ended.stderr
    assert_stopped_in(changed, "Test", "RunWorkflow")


def test_what_the_acceptance_suite_refuses_ends_there_and_a_good_commit_gets_through(changed: Repository) -> None:
    """A check of the suite fails: its message and report are kept. The good commit before it goes to production."""
    changed.replace("acceptance/checks/test_campaigns.py", "MIN_PRECISION = 0.6", "MIN_PRECISION = 1.01")
    changed.commit("Expect more than there can be")
    ended = changed.deliver("--approve")
    assert ended.returncode == 1
    assert "Test/Acceptance: " in ended.stderr
    assert "test_neighbours_are_about_the_same_thing" in ended.stderr
    assert_stopped_in(changed, "Test", "Acceptance")
    report = next(changed.runs.glob(f"delivery-{last(changed)['id'][:8]}/test-acceptance.xml"))
    assert "<failure" in report.read_text()

    ended = changed.deliver("--approve", "--commit", "main~1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    delivered = last(changed)
    assert delivered["status"] == "Succeeded"
    assert set(delivered["stages"].values()) == {"Succeeded"}
    assert left_of(local_aws(changed), delivered["id"]) == []
    config = local_aws(changed)
    endpoint = config.client("sagemaker").describe_endpoint(EndpointName="topic-model-production")
    assert endpoint["EndpointStatus"] == "InService"
    stack = config.client("cloudformation").describe_stacks(StackName="topic-model-production")["Stacks"][0]
    assert stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    _assert_accepted(changed.runs / f"delivery-{delivered['id'][:8]}")


def _assert_accepted(folder: Path) -> None:
    """The reports of all three runs of the suite are there, and no check in them failed."""
    reports = {path.name: path.read_text() for path in folder.glob("*.xml")}
    assert set(reports) == {"test-acceptance.xml", "production-acceptance.xml", "model-acceptance.xml"}
    assert not [name for name, text in reports.items() if "<failure" in text or "<error" in text]
