"""A run of the suite: pytest in this process, its outcome in a sentence, and the report where it is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from acceptance.environment import client

Suite = Literal["test", "production"]
CHECKS = Path(__file__).parent / "checks"
_SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    passed: int
    failed: tuple[str, ...]
    """A check and its first line each."""
    skipped: int
    report: bytes
    """JUnit XML."""

    @property
    def accepted(self) -> bool:
        """Whether something was checked and nothing failed."""
        return self.passed > 0 and not self.failed

    def __str__(self) -> str:
        counts = f"{self.passed} passed, {len(self.failed)} failed, {self.skipped} skipped"
        more = len(self.failed) - _SHOWN
        told = [*self.failed[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        return "; ".join([counts, *told])


class _Counter:
    """Counts what pytest reports."""

    def __init__(self) -> None:
        self.passed, self.skipped, self.failed = 0, 0, dict[str, str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.setdefault(report.nodeid.rpartition("/")[2], _first_line(report))
        elif report.skipped:
            self.skipped += 1
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.setdefault(report.nodeid, _first_line(report))


def run_suite(stack: str, suite: Suite, arguments: Sequence[str] = ()) -> Outcome:
    """Check an environment; ``arguments`` are pytest's own, such as ``-k``."""
    counter = _Counter()
    with tempfile.TemporaryDirectory(prefix="acceptance-") as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={CHECKS}", f"--junitxml={report}"]
        options += [f"--stack={stack}", f"--suite={suite}", "-o", f"junit_suite_name=acceptance of {stack}"]
        pytest.main([*options, *arguments, str(CHECKS)], plugins=[counter])
        content = report.read_bytes() if report.is_file() else b""
    failed = tuple(f"{name}: {line}" for name, line in counter.failed.items())
    return Outcome(counter.passed, failed, counter.skipped, content)


def keep_report(outcome: Outcome, bucket: str, key: str) -> str:
    """Put the report into a bucket; its URI."""
    client("s3").put_object(Bucket=bucket, Key=key, Body=outcome.report, ContentType="application/xml")
    return f"s3://{bucket}/{key}"


def _first_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message) if crash is not None else str(report.longrepr)
    return next((line.removeprefix("AssertionError: ") for line in text.splitlines() if line.strip()), "failed")
