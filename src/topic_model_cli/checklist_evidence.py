"""What the files of a checkout say of one line of the checklist: the evidence in words, or None."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from topic_model_cli.packaged_template import TEMPLATE, TemplateError, read_template

OPERATING = Path("docs/operating.md")
PIPELINE = Path("delivery/pipeline.yaml")

Evidence = Callable[[Path], str | None]
"""Given the checkout's folder."""


def _text(folder: Path, path: Path | str) -> str:
    try:
        return (folder / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def has(path: str, *needed: str) -> Evidence:
    """The file is there and has the words that make it what it should be."""

    def look(folder: Path) -> str | None:
        text = _text(folder, path)
        return f"`{path}`" if text and all(word in text for word in needed) else None

    return look


def finds(path: str, pattern: str, told: str) -> Evidence:
    """The file has what the pattern finds; its groups fill ``told``."""

    def look(folder: Path) -> str | None:
        found = re.search(pattern, _text(folder, path), re.MULTILINE)
        return f"{told.format(*found.groups())} (`{path}`)" if found else None

    return look


def counts(path: str, pattern: str, told: str, least: int = 1) -> Evidence:
    """The file has the pattern at least so often."""

    def look(folder: Path) -> str | None:
        number = len(re.findall(pattern, _text(folder, path), re.MULTILINE))
        return f"{number} {told} (`{path}`)" if number >= least else None

    return look


def files(pattern: str, told: str, least: int = 1) -> Evidence:
    """Files of a pattern are there, at least so many."""

    def look(folder: Path) -> str | None:
        number = len(list(folder.glob(pattern)))
        return f"{number} {told} (`{pattern}`)" if number >= least else None

    return look


def resources(folder: Path, path: Path = TEMPLATE) -> dict[str, dict[str, Any]]:
    """A template's resources by their names; nothing where there is no template."""
    try:
        template = read_template(folder / path)
    except (TemplateError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    found: dict[str, dict[str, Any]] = (template or {}).get("Resources", {})
    return found


def alarm_names(folder: Path) -> list[str]:
    """What each alarm of the template is called after the stack's name."""
    alarms = [entry for entry in resources(folder).values() if entry["Type"] == "AWS::CloudWatch::Alarm"]
    names = [str(entry["Properties"]["AlarmName"]["Fn::Sub"]) for entry in alarms]
    return [name.removeprefix("${AWS::StackName}-") for name in names]


def alarms_explained(folder: Path) -> str | None:
    """The operating guide names every alarm of the template."""
    names, text = alarm_names(folder), _text(folder, OPERATING)
    if not names or any(f"`{name}`" not in text for name in names):
        return None
    return f"all {len(names)} of the template's (`{OPERATING}`)"


def states(path: str) -> Evidence:
    """A workflow's definition, with those of its branches."""

    def number(definition: dict[str, Any]) -> int:
        states = definition.get("States", {}).values()
        inner = [branch for state in states for branch in (*state.get("Branches", ()), state.get("ItemProcessor", {}))]
        return len(states) + sum(number(branch) for branch in inner if branch)

    def look(folder: Path) -> str | None:
        try:
            return f"{number(json.loads(_text(folder, path)))} states (`{path}`)"
        except ValueError:
            return None

    return look


def resources_counted(folder: Path) -> str | None:
    """The template has resources."""
    number = len(resources(folder))
    return f"{number} resources (`{TEMPLATE}`)" if number else None


def encrypted(folder: Path) -> str | None:
    """Every resource of the template that keeps data names a key."""
    kept = {
        "AWS::S3::Bucket": "BucketEncryption",
        "AWS::DynamoDB::Table": "SSESpecification",
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::SQS::Queue": "KmsMasterKeyId",
    }
    found = [entry for entry in resources(folder).values() if entry["Type"] in kept]
    if not found or any(kept[entry["Type"]] not in entry["Properties"] for entry in found):
        return None
    return f"all {len(found)} of them (`{TEMPLATE}`)"


def stages(folder: Path) -> str | None:
    """The pipeline has its stages."""
    pipelines = [one for one in resources(folder, PIPELINE).values() if one["Type"] == "AWS::CodePipeline::Pipeline"]
    names = [str(stage["Name"]) for one in pipelines for stage in _stages(one)]
    return f"{', '.join(names)} (`{PIPELINE}`)" if len(names) >= 4 else None


def _stages(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Also those behind a condition."""
    listed = pipeline["Properties"]["Stages"]
    either = [one for stage in listed for one in stage.get("Fn::If", [stage])]
    return [one for one in either if isinstance(one, dict) and "Name" in one]


def built(pattern: str) -> Evidence:
    """A build's files, all of them younger than the commit that is checked out."""

    def look(folder: Path) -> str | None:
        found = list(folder.glob(pattern))
        committed = commit(folder, "%ct")
        if not found or not committed or min(path.stat().st_mtime for path in found) < int(committed):
            return None
        return f"{len(found)} file(s) (`{pattern}`)"

    return look


def commit(folder: Path, wanted: str) -> str:
    """Of the commit that is checked out, by a placeholder of ``git log``; empty where there is none."""
    command = ["git", "-C", str(folder), "log", "-1", f"--format={wanted}"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no input of a user
    return asked.stdout.strip()


def budget(folder: Path) -> str | None:
    """Production has a budget."""
    text = _text(folder, "delivery/parameters/production.json")
    found = re.search(r'"MonthlyBudgetUsd": "([1-9]\d*)"', text)
    return f"{found.group(1)} USD a month (`delivery/parameters/production.json`)" if found else None


def delivered(folder: Path) -> str | None:
    """A delivery of the commit that is checked out, carried out on this machine, succeeded."""
    reports = sorted(folder.glob("runs/delivery-*/delivery.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in reports:
        try:
            told = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if str(told.get("status", "")).lower() == "succeeded" and commit(folder, "%H") in json.dumps(told):
            return f"`{path.relative_to(folder)}`"
    return None
