"""Walking a definition: its states, their edges, and the expressions in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Definition = Mapping[str, Any]

INTRINSICS = frozenset(
    {
        *("Array", "ArrayContains", "ArrayGetItem", "ArrayLength", "ArrayPartition", "ArrayRange", "ArrayUnique"),
        *("Base64Decode", "Base64Encode", "Format", "Hash", "JsonMerge", "JsonToString", "MathAdd", "MathRandom"),
        *("StringSplit", "StringToJson", "UUID"),
    }
)
"""Step Functions' intrinsic functions, without ``States.``"""

_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'")
_CALL = re.compile(r"States\.(\w+)\s*\(")
_PATH = re.compile(r"\${1,2}(?:\.[A-Za-z_][\w-]*|\[[^\]]*\])*")


@dataclass(frozen=True)
class Scope:
    """A state machine's own states, or those inside a Map or a branch; ``path`` says where."""

    path: str
    start: str
    states: Mapping[str, Mapping[str, Any]]


def scopes(definition: Definition, path: str = "") -> Iterator[Scope]:
    """The definition's states, then those of every Map and Parallel in it."""
    yield Scope(path, definition.get("StartAt", ""), definition.get("States", {}))
    for name, state in definition.get("States", {}).items():
        inner = [state[key] for key in ("ItemProcessor", "Iterator") if key in state]
        for branch in [*inner, *state.get("Branches", [])]:
            yield from scopes(branch, f"{path}{name}/")


def all_states(definition: Definition) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state by its name, a nested one as ``Map/State``."""
    for scope in scopes(definition):
        for name, state in scope.states.items():
            yield f"{scope.path}{name}", state


def edges(state: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Names of the states that may follow, with the catcher that leads there if it is one."""
    if "Next" in state:
        yield state["Next"], None
    if "Default" in state:
        yield state["Default"], None
    for choice in state.get("Choices", []):
        yield choice.get("Next", ""), None
    for catcher in state.get("Catch", []):
        yield catcher.get("Next", ""), catcher


def expressions(template: Any) -> Iterator[str]:
    """The JSONPaths and intrinsics under the ``.$`` keys of a payload template."""
    if isinstance(template, Mapping):
        for key, value in template.items():
            if key.endswith(".$"):
                yield str(value)
            else:
                yield from expressions(value)
    elif isinstance(template, list):
        for value in template:
            yield from expressions(value)


def paths_in(expression: str) -> list[str]:
    """The JSONPaths of an expression: itself, or the arguments of an intrinsic."""
    return _PATH.findall(_QUOTED.sub("", expression))


def intrinsics_in(expression: str) -> list[str]:
    """The names of the intrinsic functions that an expression calls, without ``States.``"""
    return _CALL.findall(_QUOTED.sub("", expression))


def choice_variables(rule: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The paths that a choice rule reads, and whether it merely asks if the path is there."""
    for key in ("And", "Or"):
        for inner in rule.get(key, []):
            yield from choice_variables(inner)
    if "Not" in rule:
        yield from choice_variables(rule["Not"])
    if "Variable" in rule:
        yield rule["Variable"], "IsPresent" in rule
    for key, value in rule.items():
        if key.endswith("Path"):
            yield value, False
