"""``make audit``: a vulnerable version fails it, and so does a version that nothing is known of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from topic_model_cli import audit_requirements
from topic_model_cli.audit_requirements import FOUND, NO_DATA

# As pip-audit 2.10 writes them.
CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
VULNERABLE = {
    "name": "requests",
    "version": "2.19.0",
    "vulns": [{"id": "PYSEC-2018-28", "fix_versions": ["2.20.0"], "aliases": ["CVE-2018-18074"], "description": "…"}],
}
UNKNOWN = {"name": "blis", "skip_reason": "Dependency not found on PyPI and could not be audited: blis (1.3.3)"}


@pytest.fixture
def pip_audit(tmp_path: Path) -> Any:
    """Makes a program that says what pip-audit said; its exit code is 0 unless something is vulnerable, as there."""

    def make(*dependencies: dict[str, Any]) -> str:
        (tmp_path / "told.json").write_text(json.dumps({"dependencies": dependencies, "fixes": []}))
        program = tmp_path / "pip-audit"
        program.write_text(f"#!/bin/sh\ncat {tmp_path / 'told.json'}\n")
        program.chmod(0o755)
        return str(program)

    return make


@pytest.mark.parametrize(
    ("told", "code"),
    [([CLEAN], 0), ([CLEAN, VULNERABLE], FOUND), ([CLEAN, UNKNOWN], NO_DATA), ([UNKNOWN, VULNERABLE], FOUND)],
)
def test_no_data_is_no_pass(told: list[dict[str, Any]], code: int, pip_audit: Any) -> None:
    """pip-audit passes what it could not look up; this does not."""
    assert audit_requirements.main([pip_audit(*told), "requirements/container.txt"]) == code


def test_an_advisory_is_told_with_its_remedy(pip_audit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Package, version, advisory and the version that mends it, and which lock has it."""
    audit_requirements.main([pip_audit(VULNERABLE), "requirements/run.txt"])
    assert "requirements/run.txt: requests 2.19.0: PYSEC-2018-28, mended in 2.20.0" in capsys.readouterr().out


def test_a_program_that_fails_is_no_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its last word is said, and every version of the lock counts as unknown."""
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'connection refused' >&2\nexit 1\n")
    program.chmod(0o755)
    lock = tmp_path / "lock.txt"
    lock.write_text("numpy==2.4.6\n")
    assert audit_requirements.main([str(program), str(lock)]) == NO_DATA
    assert "connection refused" in capsys.readouterr().err
