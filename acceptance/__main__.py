"""``python -m acceptance``: the suite on a laptop, and as a task on Fargate."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from acceptance.environment import NoEnvironmentError, environment_of
from acceptance.suite import keep_report, run_suite


def main(arguments: Sequence[str] | None = None) -> int:
    """Check an environment: 0 it is accepted, 1 it is not, 2 there is none."""
    parser = argparse.ArgumentParser(
        prog="python -m acceptance",
        description="Check a deployed environment from outside. Credentials and region are boto3's own.",
    )
    parser.add_argument("--stack", default=os.environ.get("STACK"), help="name of its CloudFormation stack")
    parser.add_argument("--suite", choices=("test", "production"), default=os.environ.get("SUITE", "production"))
    parser.add_argument("--out", type=Path, help="file that receives the report (JUnit XML)")
    parser.add_argument("--report", help="key that the report gets in the bucket that REPORTS names")
    options, for_pytest = parser.parse_known_args(arguments)
    if not options.stack:
        parser.error("--stack is missing: the name of the environment's stack, such as topic-model-production")
    try:
        environment_of(options.stack)
    except NoEnvironmentError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    outcome = run_suite(options.stack, options.suite, for_pytest)
    if options.out:
        options.out.write_bytes(outcome.report)
    if options.report:
        sys.stdout.write(f"report: {keep_report(outcome, os.environ['REPORTS'], options.report)}\n")
    sys.stdout.write(f"{outcome}\n")
    return 0 if outcome.accepted else 1


if __name__ == "__main__":
    sys.exit(main())
