"""Everything that is checked of a definition without running it; each check answers a list of findings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.check_graph import EXECUTION_INPUT, check_expressions, check_graph, check_paths
from pipelines.check_parameters import (
    MAX_DEFINITION_BYTES,
    MAX_INLINE_BYTES,
    check_names,
    check_parameters,
    check_substitutions,
    parse_resource,
)
from pipelines.states import Definition, all_states
from pipelines.substitutions import SUBSTITUTIONS

_PLACEHOLDER_TEXTS = ("<stepfunctions", "object at 0x", "<sagemaker")


def check_resilience(definition: Definition) -> list[str]:
    """Every Task has a time limit, retriers that back off at random within a bound, and a catcher of everything."""
    findings = []
    for name, state in all_states(definition):
        if state.get("Type") == "Map" and not state.get("Catch"):
            findings.append(f"{name}: a Map without Catch")
        if state.get("Type") != "Task":
            continue
        if not isinstance(state.get("TimeoutSeconds"), int):
            findings.append(f"{name}: no TimeoutSeconds; a lost task would hold the execution for a year")
        if not state.get("Retry"):
            findings.append(f"{name}: no Retry")
        for retrier in state.get("Retry", []):
            missing = {"IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds"} - set(retrier)
            if missing:
                findings.append(f"{name}: a retrier without {sorted(missing)}")
            if retrier.get("JitterStrategy") != "FULL":
                findings.append(f"{name}: a retrier without jitter; many executions would retry at the same moment")
            if "States.ALL" in retrier.get("ErrorEquals", []):
                findings.append(f"{name}: a retrier of States.ALL also retries time-outs and mistakes")
        if not any("States.ALL" in catcher.get("ErrorEquals", []) for catcher in state.get("Catch", [])):
            findings.append(f"{name}: no Catch of States.ALL; its failure would be told to nobody")
        findings += [
            f"{name}: a catcher without ResultPath replaces the execution's data by the error"
            for catcher in state.get("Catch", [])
            if catcher.get("ResultPath", "$") == "$"
        ]
    return findings


def check_placeholders(definition: Definition) -> list[str]:
    """No Python object's text was baked in where a value should be."""
    text = json.dumps(definition)
    return [
        f"{mark!r} is in the definition: a placeholder was left as text" for mark in _PLACEHOLDER_TEXTS if mark in text
    ]


def check_payloads(definition: Definition) -> list[str]:
    """What states pass on is small: results are trimmed, data go by URI, and the definition is within its limit."""
    findings = []
    size = len(json.dumps(definition).encode())
    if size > MAX_DEFINITION_BYTES:
        findings.append(f"the definition has {size:,} bytes; at most {MAX_DEFINITION_BYTES:,}")
    for name, state in all_states(definition):
        if state.get("Type") != "Task":
            continue
        inline = len(json.dumps(state.get("Parameters", {})).encode())
        if inline > MAX_INLINE_BYTES:
            findings.append(f"{name}: {inline:,} bytes of parameters; put the data in S3 and pass its URI")
        if state.get("ResultPath", "$") is not None and "ResultSelector" not in state:
            findings.append(f"{name}: passes its whole result on; pick what is needed with ResultSelector")
        call = parse_resource(str(state.get("Resource")))
        if call is None or call.action != "invoke":
            continue
        if state.get("Parameters", {}).get("Payload.$") == "$":
            findings.append(f"{name}: gets the whole of the execution's data as payload")
    return findings


CHECKS: Mapping[str, Callable[[Definition], list[str]]] = {
    "resilience": check_resilience,
    "placeholders": check_placeholders,
    "expressions": check_expressions,
    "parameters": check_parameters,
    "graph": check_graph,
    "paths": check_paths,
    "names": check_names,
    "payloads": check_payloads,
    "substitutions": lambda definition: check_substitutions(definition, json.dumps(definition)),
}
"""Every check by its name."""


def check_definition(
    definition: Mapping[str, Any],
    substitutions: tuple[str, ...] = SUBSTITUTIONS,
    execution_input: Mapping[str, Any] = EXECUTION_INPUT,
) -> list[str]:
    """The findings of every check, each beginning with the check's name; none means that nothing was found.

    By default a definition is held against the training workflow's names and input.
    """
    checks: Mapping[str, Callable[[Definition], list[str]]] = {
        **CHECKS,
        "paths": lambda definition: check_paths(definition, execution_input),
        "substitutions": lambda definition: check_substitutions(definition, json.dumps(definition), substitutions),
    }
    return [f"{name}: {finding}" for name, check in checks.items() for finding in check(definition)]
