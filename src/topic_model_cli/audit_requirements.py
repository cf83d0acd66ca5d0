"""``make audit``: known vulnerabilities of the locked versions, by pip-audit; no data is no pass.

pip-audit itself exits with 0 where a package "could not be audited", even where none could.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOUND, NO_DATA = 1, 3
"""Exit codes: a version with a known vulnerability; the data of some version cannot be had."""


@dataclass(frozen=True)
class Audit:
    """What is known of one lock."""

    lock: str
    vulnerable: tuple[str, ...]
    """A line each: package, version, advisory, versions that mend it."""
    unknown: tuple[str, ...]
    """Packages whose data could not be had."""
    known: int
    """Packages whose data could be had."""


def main(arguments: Sequence[str]) -> int:
    """``audit_requirements PIP_AUDIT LOCK...``; returns the exit code."""
    if len(arguments) < 2:
        print("usage: python -m topic_model_cli.audit_requirements PIP_AUDIT LOCK...", file=sys.stderr)  # noqa: T201
        return 2
    program, *locks = arguments
    audits = [audit(program, lock) for lock in locks]
    for each in audits:
        for line in each.vulnerable:
            print(f"{each.lock}: {line}")  # noqa: T201 - a command's output
        print(f"{each.lock}: {each.known} audited, {len(each.vulnerable)} advisories, {len(each.unknown)} without data")  # noqa: T201
    if any(each.vulnerable for each in audits):
        return FOUND
    if missing := sorted({name for each in audits for name in each.unknown}):
        print(  # noqa: T201 - a command's message
            f"error: not audited: the advisories of {len(missing)} package(s), such as {missing[0]}, cannot be had; "
            "pip-audit asks https://pypi.org/pypi/<name>/<version>/json, which a mirror of the index may not have. "
            "Run this where pypi.org answers",
            file=sys.stderr,
        )
        return NO_DATA
    return 0


def audit(program: str, lock: str) -> Audit:
    """pip-audit's findings on one file of exact versions; none of its packages is installed."""
    command = [program, "--requirement", lock, "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner"]
    finished = subprocess.run([*command, "off"], capture_output=True, text=True, check=False)  # noqa: S603 - make names it
    try:
        return read_findings(lock, json.loads(finished.stdout))
    except (ValueError, KeyError):
        said = finished.stderr.strip().splitlines()[-1:] or ["nothing"]
        print(f"{lock}: pip-audit fails: {said[0]}", file=sys.stderr)  # noqa: T201 - a command's message
        names = (line.partition("==")[0] for line in Path(lock).read_text(encoding="utf-8").splitlines())
        return Audit(lock, (), tuple(name for name in names if name), 0)


def read_findings(lock: str, told: Any) -> Audit:
    """The findings in pip-audit's JSON."""
    packages = told["dependencies"]
    return Audit(
        lock,
        vulnerable=tuple(
            f"{each['name']} {each['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
            for each in packages
            for found in each.get("vulns", [])
        ),
        unknown=tuple(each["name"] for each in packages if "skip_reason" in each),
        known=sum("skip_reason" not in each for each in packages),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
