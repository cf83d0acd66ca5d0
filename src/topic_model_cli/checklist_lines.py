"""The lines of the go-live checklist. A new one names what must be there, where that shows, and what to do else."""

from __future__ import annotations

from dataclasses import dataclass

from topic_model_cli.checklist_evidence import (
    OPERATING,
    Evidence,
    alarms_explained,
    budget,
    built,
    counts,
    delivered,
    encrypted,
    files,
    finds,
    has,
    resources_counted,
    stages,
    states,
)


@dataclass(frozen=True)
class Line:
    """One thing that must be there."""

    group: str
    what: str
    evidence: Evidence
    remedy: str


ARTEFACTS, DOCUMENTATION, PROCESSES = "Artefacts", "Documentation", "Processes"
_OPERATING = str(OPERATING)
_PRODUCTION = "delivery/parameters/production.json"
_GATES = r"^  (?:min_c_npmi|min_topic_diversity|max_perplexity_ratio|min_coverage): (?!null)"

LINES = (
    Line(
        ARTEFACTS,
        "the training workflow",
        states("pipelines/rendered/training.asl.json"),
        "`topic-model pipeline render`",
    ),
    Line(
        ARTEFACTS,
        "the deployment workflow, with rollback",
        states("pipelines/rendered/deploy.asl.json"),
        "`topic-model pipeline render`",
    ),
    Line(ARTEFACTS, "the environment's stack", resources_counted, "write `template.yaml`"),
    Line(
        ARTEFACTS,
        "buckets, tables, topics and queues are encrypted",
        encrypted,
        "encrypt what `template.yaml` keeps",
    ),
    Line(
        ARTEFACTS,
        "the pipeline's stack",
        stages,
        "write `delivery/pipeline.yaml`",
    ),
    Line(
        ARTEFACTS,
        "a base image by its digest",
        finds("containers/Dockerfile", r"ARG BASE_IMAGE=(\S+?)@sha256:([0-9a-f]{12})", "{0}@{1}…"),
        "pin it in `containers/Dockerfile`",
    ),
    Line(
        ARTEFACTS,
        "exact versions of everything installed",
        counts("requirements/container.txt", r"^\S+==", "packages in the image"),
        "`make lock`",
    ),
    Line(ARTEFACTS, "a bill of materials, no older than the commit", built("dist/sbom*.json"), "`make sbom`"),
    Line(ARTEFACTS, "the package to deploy, no older than the commit", built("dist/template.json"), "`make package`"),
    Line(
        ARTEFACTS, "the API's description", counts("docs/openapi.json", r'"operationId"', "operations"), "`make docs`"
    ),
    Line(ARTEFACTS, "a licence", has("LICENSE", "Apache License"), "add `LICENSE`"),
    Line(DOCUMENTATION, "a first run in two commands", has("README.md", "make run", "make test"), "write `README.md`"),
    Line(DOCUMENTATION, "design and contracts", has("ARCHITECTURE.md"), "write `ARCHITECTURE.md`"),
    Line(
        DOCUMENTATION,
        "reasons of the decisions",
        files("docs/decisions/[0-9]*.md", "decisions"),
        "write them to `docs/decisions/`",
    ),
    Line(
        DOCUMENTATION,
        "from an empty account to the first lookup",
        has(_OPERATING, "## From an empty account"),
        f"write it into `{OPERATING}`",
    ),
    Line(
        DOCUMENTATION,
        "what each alarm means and what to do",
        alarms_explained,
        f"name every alarm of `template.yaml` in `{OPERATING}`",
    ),
    Line(DOCUMENTATION, "going back by hand", has(_OPERATING, "## Going back"), f"write it into `{OPERATING}`"),
    Line(
        DOCUMENTATION,
        "what it costs",
        finds(_OPERATING, r"^\| \*\*a month\*\* \| (.*) \|$", "{0} USD a month"),
        "`topic-model costs`",
    ),
    Line(DOCUMENTATION, "quotas to raise", has(_OPERATING, "## Quotas"), f"write it into `{OPERATING}`"),
    Line(
        DOCUMENTATION, "deleting a client's data", has(_OPERATING, "## Deleting data"), f"write it into `{OPERATING}`"
    ),
    Line(
        DOCUMENTATION,
        "retiring an environment, upgrading",
        has(_OPERATING, "## Retiring", "## Upgrading"),
        f"write it into `{OPERATING}`",
    ),
    Line(PROCESSES, "checks on every commit", counts(".ci/run", r'^tier "', "tiers", 3), "write `.ci/run`"),
    Line(
        PROCESSES,
        "acceptance of every deployment",
        files("acceptance/checks/test_*.py", "files of checks"),
        "write `acceptance/`",
    ),
    Line(
        PROCESSES,
        "a canary under alarms",
        finds("pipelines/settings.yaml", r"^  strategy: (canary|linear)\b", "{0}"),
        "set `deployment.strategy`",
    ),
    Line(PROCESSES, "gates that a model must pass", counts("pipelines/settings.yaml", _GATES, "gates"), "set `gates`"),
    Line(
        PROCESSES,
        "least privilege, tested statement by statement",
        has("tests/test_least_privilege.py", "def test_"),
        "test that no statement is idle",
    ),
    Line(
        PROCESSES,
        "this commit was delivered here, from source to production",
        delivered,
        "`make deliver ARGS=--approve`",
    ),
    Line(PROCESSES, "a budget", budget, "set `MonthlyBudgetUsd` in `delivery/parameters/production.json`"),
    Line(
        PROCESSES,
        "retraining by schedule",
        finds(_PRODUCTION, r'"RetrainingSchedule": "([^"]+)"', "{0}"),
        "set `RetrainingSchedule` and `RetrainingExports` for production",
    ),
    Line(
        PROCESSES,
        "drift is watched",
        files("src/topic_model/drift*.py", "file"),
        "not built yet; until it is, watch the low-confidence share and `rejected.jsonl`",
    ),
    Line(
        PROCESSES,
        "a delivery to an AWS account",
        lambda _folder: None,
        "not done yet; follow `docs/operating.md`, and keep the report of the delivery",
    ),
    Line(
        PROCESSES,
        "who is called, and who owns it",
        files("CODEOWNERS", "file"),
        "write `CODEOWNERS`, and subscribe those people to the notification topic",
    ),
)
