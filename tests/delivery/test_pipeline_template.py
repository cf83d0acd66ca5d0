"""What delivery/pipeline.yaml promises of AWS that nothing on a laptop could break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topic_model_cli.packaged_template import read_template

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = read_template(ROOT / "delivery" / "pipeline.yaml")["Resources"]
    return found


def statements(resources: dict[str, Any], role: str) -> dict[str, Any]:
    """A role's statements by their Sids."""
    policies = resources[role]["Properties"]["Policies"]
    return {one["Sid"]: one for policy in policies for one in policy["PolicyDocument"]["Statement"] if "Sid" in one}


def test_a_preview_never_replaces_what_was_approved(resources: dict[str, Any]) -> None:
    """A delivery behind makes its preview while the one ahead executes: their change sets have different names."""
    stages = resources["Pipeline"]["Properties"]["Stages"]
    names = [
        action["Configuration"]["ChangeSetName"]
        for stage in stages
        for action in stage.get("Actions", [])
        if action.get("Configuration", {}).get("ActionMode") == "CHANGE_SET_REPLACE"
    ]
    assert len(names) == 2 == len(set(names))


def test_the_teardown_knows_keys_by_the_tag_that_the_template_gives_them(resources: dict[str, Any]) -> None:
    """CloudFormation gives a KMS key no tag of its own, and the key's alias goes with the stack."""
    condition = statements(resources, "TeardownFunctionRole")["EndKeys"]["Condition"]["StringLike"]
    key = read_template(ROOT / "template.yaml")["Resources"]["Key"]["Properties"]
    assert {f"aws:ResourceTag/{tag['Key']}" for tag in key["Tags"]} >= set(condition)
