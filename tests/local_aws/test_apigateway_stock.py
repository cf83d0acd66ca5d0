"""Stock moto still needs what the local AWS mends of API Gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DROPPED: dict[str, Any] = {
    "asks for a key": False,
    "parameters": None,
    "cache keys": [],
    "validators": [],
    "models": [],
    "gateway responses": [],
    "canary": None,
    "settings after a deployment": {},
    "a rate of 0.5": "ValueError",
    "usage": "ClientError",
}


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    # Another test's local AWS, of which the variables tell, is none of stock moto's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "tests.local_aws.stock_apigateway"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


@pytest.mark.parametrize("what", sorted(DROPPED))
def test_stock_moto_still_drops_it(what: str, seen: dict[str, Any]) -> None:
    """A failure here says that moto has mended something, and that a patch may go."""
    assert seen[what] == DROPPED[what]
