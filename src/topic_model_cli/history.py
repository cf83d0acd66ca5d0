"""What an execution's history says, a state at a time: which states ran, when, for which channel, with which job.

Works on the events of GetExecutionHistory as boto3 returns them, in order, in as many portions as they come.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["running", "succeeded", "handled", "failed", "stopped"]
"""``handled``: the task failed and the workflow went on by one of its Catch paths, which may be what is meant."""

JOB_NAME_KEYS = {
    "ProcessingJobName": "processing",
    "TrainingJobName": "training",
    "TransformJobName": "transform",
    "HyperParameterTuningJobName": "tuning",
}
"""The parameter that names a SageMaker job, to the kind of job."""

_QUIET_TYPES = {"Choice", "Pass", "Wait", "Succeed", "Fail"}
_ENDED = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}
_FAILED = {
    "TaskFailed",
    "TaskTimedOut",
    "TaskStartFailed",
    "TaskSubmitFailed",
    "LambdaFunctionFailed",
    "LambdaFunctionTimedOut",
    "LambdaFunctionStartFailed",
    "LambdaFunctionScheduleFailed",
}
_SCHEDULED = {"TaskScheduled", "LambdaFunctionScheduled"}


@dataclass(frozen=True)
class Job:
    """A SageMaker job that a state runs."""

    kind: str
    name: str


@dataclass
class StateRun:
    """One state of one execution, or of one iteration of a Map; a state in a loop counts its visits."""

    name: str
    type: str
    iteration: int | None
    channel: str | None
    entered: datetime.datetime
    exited: datetime.datetime | None = None
    visits: int = 1
    attempts: int = 0
    service: str | None = None
    job: Job | None = None
    error: str | None = None
    cause: str | None = None
    outcome: Outcome = "running"

    @property
    def label(self) -> str:
        """The state's name, with the channel where a Map runs it once a channel."""
        return f"{self.name} [{self.channel}]" if self.channel else self.name

    @property
    def quiet(self) -> bool:
        """Whether it only steers: no work, nothing to show."""
        return self.type in _QUIET_TYPES

    def seconds(self, now: datetime.datetime) -> float:
        """From its first entry to its last exit, or to ``now`` while it runs."""
        return max(0.0, ((self.exited or now) - self.entered).total_seconds())


class StateHistory:
    """The states of one execution, put together from its events."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        self.runs: list[StateRun] = []
        self.last_event = 0
        self.ended = False
        self._mapped = set(_mapped_states(definition))
        self._looping = _looping_states(definition)
        self._recovering = _recovering_states(definition)
        self._iterations: dict[int, int | None] = {0: None}
        self._current: dict[int, StateRun | None] = {0: None}
        self._told: set[int] = set()

    def feed(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take further events; those already taken are passed over."""
        for event in sorted(events, key=lambda event: int(event["id"])):
            if event["id"] > self.last_event:
                self.last_event = event["id"]
                self._take(event)

    def newly_settled(self) -> list[StateRun]:
        """States that ended for good since the last call, in the order in which they ended; steering ones left out.

        A state in a loop is settled when the execution has moved on to a state outside the loop.
        """
        settled = []
        for position, run in enumerate(self.runs):
            if position in self._told or run.quiet or run.exited is None:
                continue
            if run.name in self._looping and not self.ended and not self._left_loop(position):
                continue
            self._told.add(position)
            settled.append(run)
        return sorted(settled, key=lambda run: run.exited or run.entered)

    def running(self) -> list[StateRun]:
        """States at work now; a state in a loop counts while the loop goes round."""
        return [
            run
            for position, run in enumerate(self.runs)
            if not run.quiet and position not in self._told and not self.ended
            if run.exited is None or run.name in self._looping
        ]

    def failed(self) -> StateRun | None:
        """The state whose failure ended the execution; None where it ended for another reason, such as a verdict.

        A failure that the workflow expected (there is no endpoint yet) is not it: other work was done after that.
        """
        at_work = [run for run in self.runs if not run.quiet and run.type == "Task" and run.service != "sns"]
        broken = [run for run in self.runs if run.error is not None and run.outcome != "succeeded"]
        if not broken:
            return None
        last = broken[-1]
        went_on = any(run.entered > last.entered and run.outcome == "succeeded" for run in at_work)
        return None if went_on and last.iteration is None else last

    def last_at_work(self) -> StateRun | None:
        """The last state that did work, messages aside."""
        at_work = [run for run in self.runs if run.type == "Task" and run.service != "sns"]
        return at_work[-1] if at_work else None

    def _left_loop(self, position: int) -> bool:
        return any(run.name not in self._looping and not run.quiet for run in self.runs[position + 1 :])

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, before = event["type"], int(event.get("previousEventId", 0))
        details = _details(event)
        iteration = self._iterations.get(before)
        current = self._current.get(before)
        if kind == "MapIterationStarted":
            iteration = details.get("index")
        elif kind.endswith("StateEntered"):
            iteration = iteration if details["name"] in self._mapped else None
            current = self._enter(event, details, iteration)
        elif kind.endswith("StateExited"):
            iteration = iteration if details["name"] in self._mapped else None
            current = self._find(details["name"], iteration)
            if current is not None:
                current.exited = event["timestamp"]
                current.outcome = self._outcome(current)
        elif kind in _ENDED:
            self._end(event)
        elif current is not None:
            _note_task(current, kind, details)
        self._iterations[event["id"]] = iteration
        self._current[event["id"]] = current

    def _enter(self, event: Mapping[str, Any], details: Mapping[str, Any], iteration: int | None) -> StateRun:
        run = self._find(details["name"], iteration)
        if run is None:
            run = StateRun(
                name=details["name"],
                type=event["type"].removesuffix("StateEntered"),
                iteration=iteration,
                channel=_channel(details.get("input")) if details["name"] in self._mapped else None,
                entered=event["timestamp"],
            )
            self.runs.append(run)
        else:
            run.visits += 1
            run.exited, run.outcome = None, "running"
        return run

    def _outcome(self, run: StateRun) -> Outcome:
        if run.error is None:
            return "succeeded"
        return "handled" if run.name in self._recovering else "failed"

    def _find(self, name: str, iteration: int | None) -> StateRun | None:
        return next((run for run in self.runs if run.name == name and run.iteration == iteration), None)

    def _end(self, event: Mapping[str, Any]) -> None:
        self.ended = True
        outcomes: dict[str, Outcome] = {"ExecutionSucceeded": "succeeded", "ExecutionAborted": "stopped"}
        for run in self.runs:
            if run.exited is None:
                run.exited = event["timestamp"]
                run.outcome = "failed" if run.error else outcomes.get(event["type"], "failed")
        if event["type"] != "ExecutionSucceeded":
            for run in self.runs:
                if run.outcome == "handled":
                    run.outcome = "failed"


def _details(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((value for key, value in event.items() if key.endswith("EventDetails") and value), {})


def _note_task(run: StateRun, kind: str, details: Mapping[str, Any]) -> None:
    if kind in _SCHEDULED:
        run.attempts += 1
        run.error = run.cause = None
        run.service = details.get("resourceType") or run.service
        run.job = _job(details.get("parameters")) or run.job
    elif kind in _FAILED:
        run.error = details.get("error") or kind
        run.cause = details.get("cause")


def _job(parameters: str | None) -> Job | None:
    with contextlib.suppress(ValueError):
        named = json.loads(parameters or "{}")
        if isinstance(named, dict):
            for key, kind in JOB_NAME_KEYS.items():
                if key in named:
                    return Job(kind, str(named[key]))
    return None


def _channel(state_input: str | None) -> str | None:
    with contextlib.suppress(ValueError):
        item = json.loads(state_input or "null")
        if isinstance(item, dict):
            channel = item.get("channel", item.get("Channel"))
            if isinstance(channel, dict):
                channel = channel.get("channel", channel.get("name"))
            if isinstance(channel, str):
                return channel
    return None


def _scopes(definition: Mapping[str, Any]) -> Iterator[tuple[bool, Mapping[str, Any]]]:
    """Each graph of states in a definition, and whether it is a Map's or a Parallel's inner one."""
    waiting: list[tuple[bool, Mapping[str, Any]]] = [(False, definition)]
    while waiting:
        inner, graph = waiting.pop()
        yield inner, graph.get("States", {})
        for state in graph.get("States", {}).values():
            nested = [state.get("ItemProcessor"), state.get("Iterator"), *state.get("Branches", [])]
            waiting += [(True, child) for child in nested if child]


def _mapped_states(definition: Mapping[str, Any]) -> Iterator[str]:
    for inner, states in _scopes(definition):
        if inner:
            yield from states


def _looping_states(definition: Mapping[str, Any]) -> set[str]:
    """Names of the states from which a path leads back to themselves."""
    return {
        name
        for _, states in _scopes(definition)
        for name, state in states.items()
        if name in _reachable(states, set(_followers(state)))
    }


def _recovering_states(definition: Mapping[str, Any]) -> set[str]:
    """Names of the states whose Catch leads on to work, rather than only to telling of the failure and to Fail."""

    def recovers(states: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
        reached = _reachable(states, {catcher["Next"] for catcher in state.get("Catch", [])})
        return any(states[name].get("Type") == "Succeed" or states[name].get("End") for name in reached)

    return {name for _, states in _scopes(definition) for name, state in states.items() if recovers(states, state)}


def _reachable(states: Mapping[str, Any], waiting: set[str]) -> set[str]:
    """The given states and all that a path leads to from them."""
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached and name in states:
            reached.add(name)
            waiting |= set(_followers(states[name]))
    return reached


def _followers(state: Mapping[str, Any]) -> Iterator[str]:
    choices = [state, *state.get("Choices", []), *state.get("Catch", [])]
    yield from (choice["Next"] for choice in choices if "Next" in choice)
    if "Default" in state:
        yield state["Default"]
