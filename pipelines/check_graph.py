"""Checks of a definition's graph and of the data that flow along it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.states import (
    INTRINSICS,
    Definition,
    Scope,
    all_states,
    choice_variables,
    edges,
    expressions,
    intrinsics_in,
    paths_in,
    scopes,
)

# What is known of the data: a mapping of its known keys, or ANYTHING where nothing is known.
ANYTHING: None = None
Shape = Mapping[str, Any] | None

EXECUTION_INPUT: Mapping[str, Any] = {}
"""What every execution's input has: nothing is sure until ValidateRequest has looked at it."""

_CONTEXT: Mapping[str, Any] = {
    "Execution": {"Id": ANYTHING, "Input": ANYTHING, "Name": ANYTHING, "RoleArn": ANYTHING, "StartTime": ANYTHING},
    "State": {"EnteredTime": ANYTHING, "Name": ANYTHING, "RetryCount": ANYTHING},
    "StateMachine": {"Id": ANYTHING, "Name": ANYTHING},
    "Map": {"Item": {"Index": ANYTHING, "Value": ANYTHING}},
    "Task": {"Token": ANYTHING},
}
_ERROR: Mapping[str, Any] = {"Error": ANYTHING, "Cause": ANYTHING}
_TERMINAL = ("Succeed", "Fail")


def check_graph(definition: Definition) -> list[str]:
    """Every state named is there, every state is reachable and can end, and only ends end."""
    findings = []
    for scope in scopes(definition):
        states = scope.states
        if scope.start not in states:
            findings.append(f"{scope.path or 'definition'}: StartAt {scope.start!r} is no state")
            continue
        for name, state in states.items():
            where = f"{scope.path}{name}"
            kind = state.get("Type")
            findings += [
                f"{where}: leads to {target!r}, which is no state here"
                for target, _ in edges(state)
                if target not in states
            ]
            ends = kind in _TERMINAL or state.get("End") is True
            if kind == "Choice":
                if "Default" not in state:
                    findings.append(f"{where}: a Choice without Default fails when no rule matches")
            elif ends == ("Next" in state):
                findings.append(f"{where}: needs either Next or an end")
        reachable = _closure(scope.start, {name: [t for t, _ in edges(state)] for name, state in states.items()})
        findings += [f"{scope.path}{name}: cannot be reached" for name in states if name not in reachable]
        findings += _check_can_end(scope)
    return findings


def _check_can_end(scope: Scope) -> list[str]:
    before: dict[str, list[str]] = {name: [] for name in scope.states}
    for name, state in scope.states.items():
        for target, _ in edges(state):
            before.setdefault(target, []).append(name)
    ending: set[str] = set()
    for name, state in scope.states.items():
        if state.get("Type") in _TERMINAL or state.get("End") is True:
            ending |= _closure(name, before)
    return [f"{scope.path}{name}: never comes to an end" for name in scope.states if name not in ending]


def _closure(start: str, following: Mapping[str, list[str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        for name in following.get(waiting.pop(), []):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def check_expressions(definition: Definition) -> list[str]:
    """Every ``.$`` value is a JSONPath or calls intrinsic functions that exist; no expression is left as text."""
    findings = []
    for name, state in all_states(definition):
        templates = [state.get(field) for field in ("Parameters", "ItemSelector", "ResultSelector")]
        for expression in (text for template in templates for text in expressions(template)):
            if not expression.startswith(("$", "States.")):
                findings.append(f"{name}: {expression!r} is neither a JSONPath nor an intrinsic function")
            findings += [
                f"{name}: States.{call} is no intrinsic function"
                for call in intrinsics_in(expression)
                if call not in INTRINSICS
            ]
        findings += [f"{name}: {text!r} has a key without '.$' and stays text" for text in _stray(templates)]
    return findings


def _stray(template: Any) -> Iterator[str]:
    if isinstance(template, Mapping):
        for key, value in template.items():
            if not key.endswith(".$"):
                yield from _stray(value)
    elif isinstance(template, list):
        for value in template:
            yield from _stray(value)
    elif isinstance(template, str) and template.startswith(("$.", "$$.", "States.")):
        yield template


def check_paths(definition: Definition, given: Mapping[str, Any] = EXECUTION_INPUT) -> list[str]:
    """Every path that a state reads is written on every way to that state, as far as that can be known.

    What a state passes on is followed from the execution's input through ResultSelector and ResultPath; where two
    ways meet, only what both have is there. A result without a ResultSelector counts as unknown, so paths into it
    are not held against anything.
    """
    findings: list[str] = []
    _follow(definition, "", dict(given), findings)
    return list(dict.fromkeys(findings))


def _follow(definition: Definition, path: str, given: Shape, findings: list[str]) -> None:
    states = definition.get("States", {})
    inputs: dict[str, Shape] = {definition.get("StartAt", ""): given}
    waiting = list(inputs)
    while waiting:
        name = waiting.pop()
        if name not in states:
            continue
        for target, shape in _outputs(states[name], inputs[name]):
            met = shape if target not in inputs else _common(inputs[target], shape)
            if target not in inputs or met != inputs[target]:
                inputs[target] = met
                waiting.append(target)
    # Read only once what reaches each state is settled: on the way there it may know too much.
    for name, shape in inputs.items():
        if name in states:
            findings += _unknown_reads(f"{path}{name}", states[name], shape)
            for inner in (states[name][key] for key in ("ItemProcessor", "Iterator") if key in states[name]):
                item = _template_shape(states[name].get("ItemSelector"), shape)
                _follow(inner, f"{path}{name}/", item, findings)


def _outputs(state: Mapping[str, Any], given: Shape) -> Iterator[tuple[str, Shape]]:
    kind = state.get("Type")
    if kind == "Pass" and "Result" in state:
        result = _literal_shape(state["Result"])
    elif kind in ("Pass", "Choice", "Wait"):
        selected = _at(given, state["InputPath"]) if state.get("InputPath") else given
        result = _template_shape(state["Parameters"], selected) if "Parameters" in state else selected
    else:
        result = _template_shape(state["ResultSelector"], ANYTHING) if "ResultSelector" in state else ANYTHING
    after = given if kind in ("Choice", "Wait") else _put(given, state.get("ResultPath", "$"), result)
    for target, catcher in edges(state):
        yield target, after if catcher is None else _put(given, catcher.get("ResultPath", "$"), _ERROR)


def _unknown_reads(name: str, state: Mapping[str, Any], given: Shape) -> Iterator[str]:
    reads = [text for field in ("Parameters", "ItemSelector") for text in expressions(state.get(field))]
    reads += [state[field] for field in ("InputPath", "ItemsPath", "ErrorPath", "CausePath") if state.get(field)]
    asked_for = set()
    for rule in state.get("Choices", []):
        for variable, only_presence in choice_variables(rule):
            if only_presence:
                asked_for.add(variable)
            else:
                reads.append(variable)
    for read in reads:
        for path in paths_in(read):
            known = _CONTEXT if path.startswith("$$") else given
            if path not in asked_for and not _has(known, path):
                yield f"{name}: reads {path}, which no state before it writes on every way here"


def _steps(path: str) -> list[str]:
    return [step for step in path.lstrip("$").replace("[", ".[").split(".") if step]


def _has(shape: Shape, path: str) -> bool:
    for step in _steps(path):
        if shape is ANYTHING:
            return True
        if step not in shape:
            return False
        shape = shape[step]
    return True


def _at(shape: Shape, path: str) -> Shape:
    for step in _steps(path):
        shape = shape.get(step) if shape is not ANYTHING else ANYTHING
    return shape


def _put(shape: Shape, path: str | None, result: Shape) -> Shape:
    if path is None:
        return shape
    steps = _steps(path)
    if not steps:
        return result
    if shape is ANYTHING:
        return ANYTHING
    first, rest = steps[0], "$" + "".join(f".{step}" for step in steps[1:])
    return {**shape, first: _put(shape.get(first) or {}, rest, result)}


def _template_shape(template: Any, given: Shape) -> Shape:
    if not isinstance(template, Mapping):
        return ANYTHING
    shape: dict[str, Any] = {}
    for key, value in template.items():
        if key.endswith(".$"):
            is_path = value.startswith("$") and not value.startswith("$$")
            shape[key[:-2]] = _at(given, value) if is_path else ANYTHING
        else:
            shape[key] = _template_shape(value, given) if isinstance(value, Mapping) else ANYTHING
    return shape


def _literal_shape(value: Any) -> Shape:
    return {key: _literal_shape(inner) for key, inner in value.items()} if isinstance(value, Mapping) else ANYTHING


def _common(one: Shape, other: Shape) -> Shape:
    if one is ANYTHING or other is ANYTHING:
        # Whatever the other way has is all that is sure.
        return other if one is ANYTHING else one
    return {key: _common(one[key], other[key]) for key in one if key in other}
