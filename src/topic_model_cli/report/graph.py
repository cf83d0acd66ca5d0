"""The state machine's graph as it is drawn: which states are shown, where they stand, and which ways a run took.

A definition has many states that only carry a failure's words to the state that tells them. Pass states, and Choices
whose branches all lead to one place, are left out of the drawing and their edges joined, unless nothing else is left.
States stand in layers (the longest way from the start); the longest way to an end that succeeds is the straight spine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from topic_model_cli.summary import StateTiming

EdgeKind = Literal["next", "choice", "catch"]

_MAX_LABEL = 24


@dataclass
class Node:
    """A state in the drawing; ``column`` 0 is the spine."""

    name: str
    kind: str
    layer: int = 0
    column: int = 0
    lines: tuple[str, ...] = ()
    outcome: str = "not reached"
    visited: bool = False
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Edge:
    """A way from one state to another; ``label`` is a Choice's condition in short."""

    source: str
    target: str
    kind: EdgeKind
    label: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes by name in the order of their layers, and the edges between them."""

    nodes: dict[str, Node]
    edges: tuple[Edge, ...]
    taken: frozenset[tuple[str, str]]


def build_graph(definition: Mapping[str, Any], states: Iterable[StateTiming]) -> Graph:
    """The graph to draw, with what the run did in it."""
    scope: Mapping[str, Any] = definition.get("States", {})
    edges = _reduced(scope, list(_edges(scope)))
    start = _first_shown(scope, str(definition.get("StartAt", "")))
    timings = list(states)
    visited = [timing for timing in timings if timing.name in scope]
    shown = _reachable(start, edges)
    common = _failure_target(edges)
    taken = _taken(visited, edges)
    kept = tuple(
        edge
        for edge in edges
        if edge.source in shown and (edge.kind != "catch" or edge.target != common or (edge.source, common) in taken)
    )
    nodes = {name: Node(name, str(scope[name].get("Type", ""))) for name in scope if name in shown}
    _note_outcomes(nodes, scope, timings)
    _place(nodes, kept, start)
    return Graph(dict(sorted(nodes.items(), key=lambda entry: entry[1].layer)), kept, taken)


def _edges(scope: Mapping[str, Any]) -> Iterator[Edge]:
    for name, state in scope.items():
        if "Next" in state:
            yield Edge(name, state["Next"], "next")
        for choice in state.get("Choices", []):
            yield Edge(name, choice["Next"], "choice", condition(choice))
        if "Default" in state:
            yield Edge(name, state["Default"], "choice", "otherwise")
        for catcher in state.get("Catch", []):
            yield Edge(name, catcher["Next"], "catch")


def condition(choice: Mapping[str, Any]) -> str:
    """A Choice rule in a few words: ``deploy is true``; empty where it is longer than a drawing takes."""
    operator = next((key for key in choice if key.endswith(("Equals", "GreaterThan", "LessThan"))), None)
    if operator is None or "Variable" not in choice:
        return ""
    subject, value = str(choice["Variable"]).rsplit(".", 1)[-1], choice[operator]
    verb = "is" if operator.endswith("Equals") else ">" if operator.endswith("GreaterThan") else "<"
    words = f"{subject} {verb} {str(value).lower() if isinstance(value, bool) else value}"
    return words if len(words) <= _MAX_LABEL else str(value) if len(str(value)) <= _MAX_LABEL else ""


def _reduced(scope: Mapping[str, Any], edges: list[Edge]) -> list[Edge]:
    """The edges between the states that are shown; those that are not are joined through."""
    while True:
        targets: dict[str, set[str]] = {}
        for edge in edges:
            targets.setdefault(edge.source, set()).add(edge.target)
        hidden = next(
            (
                name
                for name, state in scope.items()
                if len(targets.get(name, ())) == 1 and name not in targets[name] and _carries(state)
            ),
            None,
        )
        if hidden is None:
            return _merged(edges)
        (target,) = targets[hidden]
        edges = [
            Edge(edge.source, target if edge.target == hidden else edge.target, edge.kind, edge.label)
            for edge in edges
            if edge.source != hidden
        ]


def _merged(edges: list[Edge]) -> list[Edge]:
    """One edge for each pair and kind; a label only where all of them say the same."""
    alike: dict[tuple[str, str, EdgeKind], list[Edge]] = {}
    for edge in edges:
        alike.setdefault((edge.source, edge.target, edge.kind), []).append(edge)
    return [
        Edge(*key, next(iter(labels)) if len(labels) == 1 else "")
        for key, labels in ((key, {edge.label for edge in same}) for key, same in alike.items())
    ]


def _carries(state: Mapping[str, Any]) -> bool:
    return state.get("Type") in ("Pass", "Choice")


def _first_shown(scope: Mapping[str, Any], start: str) -> str:
    while scope.get(start, {}).get("Type") == "Pass" and "Next" in scope[start]:
        start = scope[start]["Next"]
    return start


def _reachable(start: str, edges: list[Edge]) -> set[str]:
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [edge.target for edge in edges if edge.source == name]
    return seen


def _failure_target(edges: list[Edge]) -> str | None:
    """Where most failures lead: drawing each of those ways would hide the others."""
    counts: dict[str, int] = {}
    for edge in edges:
        if edge.kind == "catch":
            counts[edge.target] = counts.get(edge.target, 0) + 1
    most = max(counts.items(), key=lambda entry: entry[1], default=(None, 0))
    return most[0] if most[1] > 2 else None


def _taken(visited: list[StateTiming], edges: list[Edge]) -> frozenset[tuple[str, str]]:
    """Edges that the run went: from a state to the one that was entered next among those shown.

    A loop is entered once in the history, so an edge between two visited states of a loop counts too.
    """
    ways = {(edge.source, edge.target) for edge in edges}
    names = {edge.source for edge in edges} | {edge.target for edge in edges}
    order = [timing.name for timing in visited if timing.name in names]
    taken = {pair for pair in pairwise(order) if pair in ways}
    looped = {timing.name for timing in visited if timing.visits > 1}
    taken |= {(source, target) for source, target in ways if source in order and target in looped & set(order)}
    for position, name in enumerate(order[1:], start=1):
        if not any(target == name for _, target in taken):
            before = next((source for source in reversed(order[:position]) if (source, name) in ways), None)
            taken |= {(before, name)} if before else set()
    return frozenset(taken)


def _note_outcomes(nodes: dict[str, Node], scope: Mapping[str, Any], timings: list[StateTiming]) -> None:
    inner_of = {
        child: name
        for name, state in scope.items()
        for part in (state.get("ItemProcessor"), state.get("Iterator"), *state.get("Branches", []))
        if part
        for child in part.get("States", {})
    }
    for timing in timings:
        node = nodes.get(timing.name)
        if node is not None:
            node.visited, node.outcome = True, timing.outcome
            node.lines = (f"{timing.seconds:.1f} s",) if not timing.steers else ()
            node.details.append(f"{timing.outcome}, {timing.seconds:.2f} s")
        elif (parent := nodes.get(inner_of.get(timing.name, ""))) is not None and not timing.steers:
            parent.details.append(f"{timing.label}: {timing.outcome}, {timing.seconds:.2f} s")
    for name, node in nodes.items():
        if node.kind in ("Map", "Parallel"):
            times = sum(inner_of.get(timing.name) == name and not timing.steers for timing in timings)
            node.lines = (f"{node.kind} × {times}", *node.lines) if times else (node.kind, *node.lines)


def _place(nodes: dict[str, Node], edges: tuple[Edge, ...], start: str) -> None:
    forward = _without_back_edges(start, edges)
    layers = {start: 0}
    for _ in nodes:  # at most one round a node until nothing moves: the graph has no cycle now
        moved = False
        for edge in forward:
            if edge.source in layers and layers[edge.source] + 1 > layers.get(edge.target, -1):
                layers[edge.target] = layers[edge.source] + 1
                moved = True
        if not moved:
            break
    spine = _spine(nodes, forward, start, layers)
    for position, name in enumerate(spine):
        layers[name] = max(layers[name], position)
    taken: set[tuple[int, int]] = {(layers[name], 0) for name in spine}
    for name, node in nodes.items():
        node.layer = layers.get(name, 0)
    for node in sorted(nodes.values(), key=lambda node: (node.layer, not node.visited)):
        if node.name not in spine:
            # Under the state that leads to it, where that column is free, else in the first free one.
            above = [nodes[edge.source].column for edge in forward if edge.target == node.name and edge.kind == "next"]
            wanted = [column for column in above if column > 0]
            node.column = next(
                column for column in (*wanted, *range(1, len(nodes) + 2)) if (node.layer, column) not in taken
            )
            taken.add((node.layer, node.column))


def _without_back_edges(start: str, edges: tuple[Edge, ...]) -> list[Edge]:
    forward: list[Edge] = []
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        for edge in edges:
            if edge.source == name and edge.target not in (*path, name):
                forward.append(edge)
                if edge.target not in done:
                    visit(edge.target, (*path, name))
        done.add(name)

    visit(start, ())
    return forward


def _spine(nodes: dict[str, Node], forward: list[Edge], start: str, layers: dict[str, int]) -> list[str]:
    """The longest way from the start to an end, one that succeeds where there is any."""
    ends = [name for name in nodes if not any(edge.source == name for edge in forward)]
    good = [name for name in ends if nodes[name].kind != "Fail"] or ends or [start]
    name = max(good, key=lambda end: layers.get(end, 0))
    path = [name]
    while name != start:
        before = [edge.source for edge in forward if edge.target == name and layers[edge.source] == layers[name] - 1]
        if not before:
            break
        name = before[0]
        path.append(name)
    return path[::-1]
