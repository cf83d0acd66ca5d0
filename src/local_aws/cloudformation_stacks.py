"""Stacks and change sets as the local AWS keeps them: in memory, and in a folder each that a restart reads again.

``<root>/cloudformation/<stack's uuid>/``: ``stack.json``, ``events.jsonl`` (the oldest first), ``change-sets.json``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from local_aws.cloudformation_parameters import Parameter
from local_aws.saved_state import now, read_state, write_state

LOG = logging.getLogger(__name__)

STACK_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
_KEPT_DELETED = 50  # stacks that are gone and can still be described by their ids
_GONE = "DELETE_COMPLETE"
UPDATABLE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE",
                       "IMPORT_ROLLBACK_COMPLETE"})  # fmt: skip


@dataclass
class Resource:
    """A resource of a stack.

    Args:
        properties: as evaluated; dynamic references stand in them as written, so that no secret is kept.
        attributes: what ``Fn::GetAtt`` answers.
        depends_on: the logical ids that it was made behind, and so goes before.
    """

    logical_id: str
    type: str
    physical_id: str = ""
    status: str = ""
    reason: str | None = None
    at: datetime = field(default_factory=now)
    properties: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    depends_on: list[str] = field(default_factory=list)
    deletion_policy: str = "Delete"
    replace_policy: str = "Delete"
    token: str = ""
    """What names made up for it end in."""
    operation: str = ""
    """What is, or was last, done with it: :mod:`local_aws.cloudformation_operations`."""


@dataclass
class Goal:
    """What a stack is to be: a template with its parameters and tags."""

    template: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """The file that holds the template, in the stack's folder: it is written once, and the stack at every event."""
        return f"{hashlib.sha256(self.template.encode()).hexdigest()[:16]}.template"

    def to_dict(self) -> dict[str, Any]:
        """As it is saved, but for the template."""
        return {
            "file": self.file_name,
            "parameters": {name: one.to_dict() for name, one in self.parameters.items()},
            "tags": self.tags,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], folder: Path) -> Goal:
        """The inverse of :meth:`to_dict`; OSError if the template is not there."""
        parameters = {name: Parameter(**one) for name, one in saved["parameters"].items()}
        return cls((folder / saved["file"]).read_text(encoding="utf-8"), parameters, dict(saved["tags"]))


@dataclass
class Stack:
    """A stack; ``lock`` guards all of it.

    Args:
        goal: what it is, or is being made.
        former: during an update, what it was.
        resources: by logical id, what it has now.
        touched: during an update, by logical id, the resource as it was before, or None if it is new.
        retained: logical ids that a deletion leaves alone, as it was asked to.
        leftover: what is to be deleted once the update (or its rollback) is through: removed or replaced resources.
    """

    id: str
    name: str
    goal: Goal
    folder: Path
    status: str = "CREATE_IN_PROGRESS"
    reason: str | None = None
    former: Goal | None = None
    role: str | None = None
    capabilities: list[str] = field(default_factory=list)
    on_failure: str = "ROLLBACK"
    protected: bool = False
    description: str | None = None
    parent: str | None = None
    created: datetime = field(default_factory=now)
    updated: datetime | None = None
    deleted: datetime | None = None
    change_set: str | None = None
    notified: list[str] = field(default_factory=list)
    resources: dict[str, Resource] = field(default_factory=dict)
    touched: dict[str, Resource | None] = field(default_factory=dict)
    leftover: list[Resource] = field(default_factory=list)
    outputs: list[dict[str, str]] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    retained: list[str] = field(default_factory=list)
    cancelled: str = ""
    """Why the creation or update under way is to be taken back: its user asked for it."""
    events: list[dict[str, Any]] = field(default_factory=list, repr=False)
    change_sets: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def exists(self) -> bool:
        """Whether it is not deleted."""
        return self.status != _GONE

    @property
    def busy(self) -> bool:
        """Whether an operation is under way."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    def begin_update(self, goal: Goal) -> None:
        """Set a new goal and keep the former one; hold the lock."""
        self.former, self.goal = self.goal, goal
        self.touched, self.cancelled = {}, ""

    def turn(self, status: str, reason: str | None = None) -> None:
        """Give the stack a status, and say so in an event."""
        with self.lock:
            self.status, self.reason = status, reason
            if status == _GONE:
                self.deleted = now()
            self._tell(self.name, self.id, "AWS::CloudFormation::Stack", status, reason, None)
            self.save()

    def turn_resource(self, resource: Resource, status: str, reason: str | None = None) -> None:
        """Give a resource a status, and say so in an event."""
        with self.lock:
            resource.status, resource.reason, resource.at = status, reason, now()
            self._tell(resource.logical_id, resource.physical_id, resource.type, status, reason, resource.properties)
            self.save()

    def _tell(self, logical: str, physical: str, kind: str, status: str, reason: str | None, properties: Any) -> None:
        event = {
            "StackId": self.id,
            "EventId": str(uuid.uuid4()) if properties is None else f"{logical}-{status}-{uuid.uuid4()}",
            "StackName": self.name,
            "LogicalResourceId": logical,
            "PhysicalResourceId": physical,
            "ResourceType": kind,
            "Timestamp": now().isoformat(),
            "ResourceStatus": status,
        }
        if reason:
            event["ResourceStatusReason"] = reason
        self.events.append(event)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def save(self) -> None:
        """Write it down."""
        with self.lock:
            state: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
            state["goal"] = self.goal.to_dict()
            state["former"] = self.former.to_dict() if self.former else None
            state["resources"] = [asdict(one) for one in self.resources.values()]
            state["touched"] = {name: asdict(one) if one else None for name, one in self.touched.items()}
            state["leftover"] = [asdict(one) for one in self.leftover]
            for goal in (self.goal, self.former):
                if goal is not None and not (path := self.folder / goal.file_name).exists():
                    self.folder.mkdir(parents=True, exist_ok=True)
                    path.write_text(goal.template, encoding="utf-8")
            write_state(self.folder / "stack.json", state, indent=None)

    def save_change_sets(self) -> None:
        """Write its change sets down."""
        with self.lock:
            write_state(self.folder / "change-sets.json", self.change_sets)


_PLAIN = (
    "id", "name", "status", "reason", "role", "capabilities", "on_failure", "protected", "parent", "created", "updated",
    "deleted", "change_set", "notified", "outputs", "imports", "retained", "description",
)  # fmt: skip


class Stacks:
    """All stacks of a local AWS.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._stacks: dict[str, Stack] = {}

    def load(self) -> None:
        """Read what a former server left."""
        for path in sorted(self.folder.glob("*/stack.json")):
            state = read_state(path)
            if state is None:
                continue
            try:
                stack = _restored(path.parent, state)
            except (KeyError, TypeError, OSError) as error:
                LOG.warning("%s is passed over: %r", path, error)
                continue
            self._stacks[stack.id] = stack

    def __iter__(self) -> Iterator[Stack]:
        with self.lock:
            return iter(sorted(self._stacks.values(), key=lambda stack: stack.created, reverse=True))

    def find(self, name: str) -> Stack | None:
        """A stack by its id, or by its name if it is not deleted."""
        with self.lock:
            if name in self._stacks:
                return self._stacks[name]
            return next((stack for stack in self._stacks.values() if stack.name == name and stack.exists), None)

    def add(self, stack: Stack) -> None:
        """Keep a new stack."""
        with self.lock:
            self._stacks[stack.id] = stack
            gone = [one for one in self if not one.exists]
            for old in gone[_KEPT_DELETED:]:
                self.forget(old)

    def forget(self, stack: Stack) -> None:
        """Drop a stack and its folder."""
        with self.lock:
            self._stacks.pop(stack.id, None)
            shutil.rmtree(stack.folder, ignore_errors=True)

    def exports(self) -> dict[str, tuple[Stack, str]]:
        """What stacks export: the name to the stack and the value."""
        return {
            output["ExportName"]: (stack, output["OutputValue"])
            for stack in self
            if stack.exists
            for output in stack.outputs
            if "ExportName" in output
        }

    def importers(self, export: str) -> list[str]:
        """The names of the stacks that import an export."""
        return [stack.name for stack in self if stack.exists and export in stack.imports]


def _restored(folder: Path, state: dict[str, Any]) -> Stack:
    stack = Stack(
        id=state["id"],
        name=state["name"],
        goal=Goal.from_dict(state["goal"], folder),
        folder=folder,
        former=Goal.from_dict(state["former"], folder) if state["former"] else None,
        resources={one["logical_id"]: Resource(**one) for one in state["resources"]},
        touched={name: Resource(**one) if one else None for name, one in state["touched"].items()},
        leftover=[Resource(**one) for one in state["leftover"]],
    )
    for name in _PLAIN:
        setattr(stack, name, state[name])
    stack.change_sets = read_state(folder / "change-sets.json") or {} if (folder / "change-sets.json").exists() else {}
    with contextlib.suppress(OSError):
        for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # a torn last line
                stack.events.append(json.loads(line))
    return stack
