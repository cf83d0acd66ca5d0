"""EventBridge's patterns: which events a rule is about, and what its target is told of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

_ABSENT = object()
_PART = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_PLACE = re.compile(r"<([^<>]+)>")


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event is one of a pattern's: every field that it names has one of its values.

    Raises:
        ValueError: a filter is none that is known here.
    """
    for name, wanted in pattern.items():
        if name == "$or":
            if not any(matches(one, event) for one in wanted):
                return False
            continue
        found = event.get(name, _ABSENT)
        if isinstance(wanted, Mapping):
            if not isinstance(found, Mapping):
                found = {}  # where "exists": false may still hold
            if not matches(wanted, found):
                return False
        elif not any(_holds(one, value) for one in wanted for value in (found if isinstance(found, list) else [found])):
            return False
    return True


def _holds(wanted: Any, value: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return bool(wanted == value)
    ((name, argument),) = wanted.items()
    if name == "exists":
        return bool(argument) == (value is not _ABSENT)
    if value is _ABSENT:
        return False
    if name == "anything-but":
        return value not in (argument if isinstance(argument, list) else [argument])
    checks: dict[str, Callable[[str], bool]] = {
        "prefix": lambda text: text.startswith(argument),
        "suffix": lambda text: text.endswith(argument),
        "equals-ignore-case": lambda text: text.lower() == argument.lower(),
        "wildcard": lambda text: fnmatchcase(text, argument),
    }
    if name not in checks:
        raise ValueError(f"the filter {name!r} of an event pattern is none that the local AWS evaluates")
    return isinstance(value, str) and bool(checks[name](value))


def message(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """What a target is told: the event, or what its input settings make of it."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(at(event, target["InputPath"]))
    transformer = target.get("InputTransformer")
    if not transformer:
        return json.dumps(event)
    values = {name: at(event, path) for name, path in (transformer.get("InputPathsMap") or {}).items()}
    template = str(transformer["InputTemplate"])

    def value(found: re.Match[str]) -> str:
        given = values.get(found[1])
        # Between quotes a text goes in as it is; a template in JSON gets it quoted.
        quoted = template[: found.start()].count('"') % 2 == 1
        return str(given or "") if quoted else json.dumps(given if given is not None else "")

    return _PLACE.sub(lambda found: value(found) if found[1] in values else found[0], template)


def at(event: Any, path: str) -> Any:
    """The value at a path such as ``$.detail.name`` or ``$.resources[0]``; None where there is none."""
    for name, position in _PART.findall(path.removeprefix("$")):
        if name:
            event = event.get(name) if isinstance(event, Mapping) else None
        else:
            event = event[int(position)] if isinstance(event, list) and int(position) < len(event) else None
    return event
