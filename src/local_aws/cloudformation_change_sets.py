"""Change sets: what an update would do, kept until it is executed."""

from __future__ import annotations

import re
import uuid
from typing import Any

from moto.core.exceptions import ServiceException

from local_aws.cloudformation_changes import changes, has_updates
from local_aws.cloudformation_engine import Engine
from local_aws.cloudformation_plan import Plan
from local_aws.cloudformation_stacks import UPDATABLE, Goal, Stack, Stacks
from local_aws.cloudformation_template import TemplateError
from local_aws.saved_state import now

_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
_NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSetNotFoundError(ServiceException):  # type: ignore[misc]
    """There is no change set of the name."""

    code = "ChangeSetNotFoundException"


class InvalidChangeSetStatusError(ServiceException):  # type: ignore[misc]
    """A change set cannot be executed or deleted as it is."""

    code = "InvalidChangeSetStatusException"


class ChangeSets:
    """The change sets of all stacks."""

    def __init__(self, stacks: Stacks, engine: Engine) -> None:
        self._stacks = stacks
        self._engine = engine

    def create(
        self,
        stack: Stack,
        name: str,
        kind: str,
        goal: Goal,
        plan: Plan,
        description: str | None,
        settings: dict[str, Any],
    ) -> dict[str, Any]:
        """A change set that brings ``stack`` to ``goal``; FAILED if that is what it is.

        Raises:
            TemplateError: the name is none, or taken.
        """
        if not _NAME.fullmatch(name):
            raise TemplateError(
                f"1 validation error detected: Value '{name}' at 'changeSetName' failed to satisfy constraint: Member "
                f"must satisfy regular expression pattern: {_NAME.pattern}"
            )
        with stack.lock:
            if any(one["name"] == name for one in stack.change_sets.values()):
                raise TemplateError("AlreadyExistsException", f"ChangeSet {name} already exists")
            found = changes(stack, plan)
            empty = kind == "UPDATE" and not has_updates(stack, plan, goal.tags, lambda: found)
            made: dict[str, Any] = {
                "id": stack.id.replace(":stack/", ":changeSet/").rsplit("/", 2)[0] + f"/{name}/{uuid.uuid4()}",
                "name": name,
                "kind": kind,
                "created": now(),
                "status": "FAILED" if empty else "CREATE_COMPLETE",
                "reason": _NO_CHANGES if empty else None,
                "execution": "UNAVAILABLE" if empty else "AVAILABLE",
                "description": description,
                "goal": goal.to_dict(),
                "changes": found,
                "settings": settings,
            }
            stack.folder.mkdir(parents=True, exist_ok=True)
            (stack.folder / goal.file_name).write_text(goal.template, encoding="utf-8")
            stack.change_sets[made["id"]] = made
            stack.save_change_sets()
        return made

    def find(self, name: str, stack_name: str | None) -> tuple[Stack, dict[str, Any]]:
        """A change set by its id, or by its name and its stack's.

        Raises:
            ChangeSetNotFoundError: there is none.
        """
        if stack_name:
            stack = self._stacks.find(stack_name)
            if stack is None:
                raise TemplateError(f"Stack [{stack_name}] does not exist")
            candidates = [stack]
        else:
            candidates = list(self._stacks)
        for stack in candidates:
            for found in stack.change_sets.values():
                if found["id"] == name or (stack_name and found["name"] == name):
                    return stack, found
        raise ChangeSetNotFoundError(f"ChangeSet [{name}] does not exist")

    def summary(self, stack: Stack, found: dict[str, Any]) -> dict[str, Any]:
        """What ListChangeSets says of one."""
        return {
            "ChangeSetName": found["name"],
            "ChangeSetId": found["id"],
            "StackId": stack.id,
            "StackName": stack.name,
            "Description": found["description"],
            "CreationTime": found["created"],
            "ExecutionStatus": found["execution"],
            "Status": found["status"],
            "StatusReason": found["reason"],
        }

    def execute(self, stack: Stack, found: dict[str, Any]) -> None:
        """Begin the operation that a change set stands for.

        Raises:
            InvalidChangeSetStatusError: it was executed, or the stack is another by now.
            TemplateError: the stack is busy.
        """

        with stack.lock:
            if found["execution"] != "AVAILABLE":
                raise InvalidChangeSetStatusError(
                    f"ChangeSet [{found['id']}] cannot be executed in its current execution status of "
                    f"[{found['execution']}]"
                )
            creates = found["kind"] == "CREATE"
            if stack.status not in (("REVIEW_IN_PROGRESS",) if creates else UPDATABLE):
                raise TemplateError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
            goal = Goal.from_dict(found["goal"], stack.folder)
            settings = found["settings"]
            stack.role = settings["role"] or stack.role
            stack.capabilities = settings["capabilities"]
            stack.notified = stack.notified if settings["notified"] is None else settings["notified"]
            stack.change_set = found["id"]
            for other in stack.change_sets.values():
                if other["execution"] == "AVAILABLE":
                    other["execution"] = "OBSOLETE"
            found["execution"] = "EXECUTE_COMPLETE"
            stack.save_change_sets()
            if creates:
                stack.goal = goal
                stack.on_failure = settings["on_failure"] or stack.on_failure
                stack.turn("CREATE_IN_PROGRESS", "User Initiated")
            else:
                stack.begin_update(goal)
                stack.turn("UPDATE_IN_PROGRESS", "User Initiated")
        self._engine.start(self._engine.create if creates else self._engine.update, stack)

    def delete(self, stack: Stack, found: dict[str, Any]) -> None:
        """Drop a change set; a stack that was never made stays in review."""
        with stack.lock:
            stack.change_sets.pop(found["id"], None)
            stack.save_change_sets()
