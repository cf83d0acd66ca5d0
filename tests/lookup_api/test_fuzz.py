"""Every operation fuzzed from its own description, against the real application."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lookup_api.app import bare_app
from tests.lookup_api.conftest import ADMIN, KEYS, Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 25
DOCUMENT = bare_app().openapi()
for _operations in DOCUMENT["paths"].values():
    for _operation in _operations.values():
        _operation.pop("security", None)  # keys are the tests' own: of what is wrong a key is never part


def _takes(path: str, method: str) -> bool:
    """Whether an operation takes parameters or a body."""
    operation = DOCUMENT["paths"][path][method]
    return bool(operation.get("parameters") or operation.get("requestBody"))


OPERATIONS = sorted((path, method) for path, methods in DOCUMENT["paths"].items() for method in methods)
# What an operation without parameters and body can be asked is one request.
ASKED = [(*one, mode) for one in OPERATIONS for mode in GenerationMode if mode.is_positive or _takes(*one)]


@pytest.mark.parametrize(("path", "method", "mode"), ASKED, ids=str)
def test_no_request_breaks_an_operation(path: str, method: str, mode: GenerationMode, api: Server) -> None:
    """Valid and invalid requests, some about campaigns that exist, get documented answers and never a 5xx."""
    schema: Any = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.update(base_url=api.url)
    known = sorted(quote(campaign_id, safe="") for campaign_id in api.rows())
    statuses: list[int] = []

    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def ask(case: Any) -> None:
        number = len(statuses)
        if mode.is_positive and "campaign_id" in (case.path_parameters or {}) and number % 2:
            case.path_parameters["campaign_id"] = known[number % len(known)]
        response = case.call(headers={"x-api-key": [ADMIN, *KEYS.values()][number % 3]})
        statuses.append(response.status_code)
        case.validate_response(response, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:
        assert not mode.is_positive  # any text is an id: nothing about it can be wrong
    assert max(statuses, default=400) < 500
