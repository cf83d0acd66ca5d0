"""Stack operations: what is planned is made, and what fails is taken back.

Each operation is a thread that takes one resource after the other, as the plan's order says, and writes the stack down
after each step. What was cut off by the server's end is found in that state: :meth:`Engine.resume` takes an unfinished
creation or update back, and goes on with a deletion, a rollback or a clean-up.
"""

from __future__ import annotations

import copy
import functools
import logging
import secrets
import string
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from local_aws import cloudformation_schema as schema
from local_aws.cloudformation_operations import new_operation, operating
from local_aws.cloudformation_plan import Plan, planned, pseudo_parameters, replaces
from local_aws.cloudformation_providers import Call, Properties, Provider, ResourceError, normal, providers
from local_aws.cloudformation_references import resolved
from local_aws.cloudformation_stacks import Goal, Resource, Stack, Stacks
from local_aws.cloudformation_template import TemplateError
from local_aws.config import LocalConfig

LOG = logging.getLogger(__name__)

NOT_EMULATED = "Recorded, not emulated: the local AWS does not have this service"
_LETTERS = string.ascii_letters + string.digits
_REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."
_CUT_OFF = "The local AWS ended during the operation"


class _StoppingError(Exception):
    """The server ends: the operation goes on when it is started again."""


class Engine:
    """Runs the operations of all stacks.

    Args:
        config: whose services are called.
        stacks: what there is.
        client_for: a boto3 client by the service's name and the ARN of the role to call it under, if any.
    """

    def __init__(self, config: LocalConfig, stacks: Stacks, client_for: Callable[[str, str | None], Any]) -> None:
        self.config = config
        self.stacks = stacks
        self._client_for = client_for
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    # ------------------------------------------------------------------ operations, each in a thread

    def start(self, operation: Callable[[Stack], None], stack: Stack) -> None:
        """Run an operation; the stack has its status of progress already."""
        thread = threading.Thread(target=self._run, args=(operation, stack), name=f"stack {stack.name}", daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _run(self, operation: Callable[[Stack], None], stack: Stack) -> None:
        try:
            operation(stack)
        except _StoppingError:
            LOG.info("the operation on stack %s waits for the next start", stack.name)
        except Exception:
            LOG.exception("error in an operation on stack %s", stack.name)
            status = stack.status.removesuffix("_IN_PROGRESS").removesuffix("_COMPLETE_CLEANUP")
            stack.turn(f"{status}_FAILED", "Internal failure of the local AWS; see its server.log")

    def stop(self) -> None:
        """Have operations stop behind the resource that they are at, and wait for that."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(10.0)

    def resume(self) -> None:
        """Go on with what a former server left unfinished."""
        for stack in self.stacks:
            status = stack.status
            if status == "CREATE_IN_PROGRESS" and stack.on_failure == "DELETE":
                stack.turn("DELETE_IN_PROGRESS", f"{_CUT_OFF}. Delete requested by user.")
                self.start(self.delete, stack)
            elif status == "CREATE_IN_PROGRESS":
                stack.turn("ROLLBACK_IN_PROGRESS", f"{_CUT_OFF}. Rollback requested by the local AWS.")
                self.start(self.roll_back_creation, stack)
            elif status == "UPDATE_IN_PROGRESS":
                stack.turn("UPDATE_ROLLBACK_IN_PROGRESS", _CUT_OFF)
                self.start(self.roll_back_update, stack)
            elif status == "ROLLBACK_IN_PROGRESS":
                self.start(self.roll_back_creation, stack)
            elif status == "UPDATE_ROLLBACK_IN_PROGRESS":
                self.start(self.roll_back_update, stack)
            elif status == "DELETE_IN_PROGRESS":
                self.start(self.delete, stack)
            elif status.endswith("_CLEANUP_IN_PROGRESS"):
                self.start(self.clean_up, stack)

    def create(self, stack: Stack) -> None:
        """Make a new stack's resources; what fails is rolled back, or kept, as the stack's ``on_failure`` says."""
        try:
            plan = self._make_all(stack)
            with stack.lock:
                _check_cancelled(stack)
                self._publish(stack, plan)
                stack.turn("CREATE_COMPLETE")
        except (ResourceError, TemplateError) as error:
            reason = _sentence(error, "create")
            if stack.on_failure == "DO_NOTHING":
                stack.turn("CREATE_FAILED", reason)
            elif stack.on_failure == "DELETE":
                stack.turn("DELETE_IN_PROGRESS", f"{reason}Delete requested by user.")
                self.delete(stack)
            else:
                stack.turn("ROLLBACK_IN_PROGRESS", f"{reason}Rollback requested by user.")
                self.roll_back_creation(stack)

    def roll_back_creation(self, stack: Stack) -> None:
        """Delete what a creation made."""
        failed = self._delete_all(stack, keep=("Retain",))
        if failed:
            stack.turn("ROLLBACK_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        else:
            stack.turn("ROLLBACK_COMPLETE")

    def update(self, stack: Stack) -> None:
        """Make a stack what its goal says; back to the former one if that fails."""
        try:
            plan = self._make_all(stack)
            with stack.lock:
                _check_cancelled(stack)
                self._publish(stack, plan)
                removed = [stack.resources.pop(name) for name in list(stack.resources) if name not in plan.definitions]
                stack.leftover += removed
                self._commit(stack)
                stack.turn("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        except (ResourceError, TemplateError) as error:
            stack.turn("UPDATE_ROLLBACK_IN_PROGRESS", _sentence(error, "update"))
            self.roll_back_update(stack)
        else:
            self.clean_up(stack)

    def roll_back_update(self, stack: Stack) -> None:
        """Make a stack again what it was; ``UPDATE_ROLLBACK_FAILED`` if a resource cannot be."""
        for name, before in reversed(list(stack.touched.items())):
            self._check_stopping()
            resource = stack.resources.get(name)
            try:
                if resource is not None:
                    self._take_back(stack, resource, before)
            except ResourceError as error:
                stack.turn_resource(resource or Resource(name, ""), "UPDATE_FAILED", str(error))
                stack.turn("UPDATE_ROLLBACK_FAILED", f"The following resource(s) failed to update: [{name}]. ")
                return
            with stack.lock:
                stack.touched.pop(name)
                stack.save()
        with stack.lock:
            stack.goal = stack.former or stack.goal
            self._commit(stack)
            stack.turn("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        self.clean_up(stack)

    def clean_up(self, stack: Stack) -> None:
        """Delete what an update, or its rollback, left over."""
        failed = []
        for resource in _last_first(stack.leftover):
            self._check_stopping()
            rolled_back = stack.status.startswith("UPDATE_ROLLBACK")
            replaced = resource.logical_id in stack.resources
            policy = resource.replace_policy if replaced else resource.deletion_policy
            if policy == "Retain" or (policy == "RetainExceptOnCreate" and not rolled_back):
                stack.turn_resource(resource, "DELETE_SKIPPED")
            elif not self._delete(stack, resource):
                failed.append(resource.logical_id)
            with stack.lock:
                stack.leftover.remove(resource)
                stack.save()
        done = stack.status.removesuffix("_CLEANUP_IN_PROGRESS")
        reason = (
            f"Update successful. One or more resources could not be deleted: [{', '.join(failed)}]" if failed else None
        )
        stack.turn(done, reason)

    def delete(self, stack: Stack) -> None:
        """Delete a stack."""
        leftover = _last_first(stack.leftover)
        failed = [one.logical_id for one in leftover if not self._delete(stack, one)]
        failed += self._delete_all(stack, keep=("Retain", "RetainExceptOnCreate"))
        if failed:
            stack.turn("DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
            return
        with stack.lock:
            stack.leftover, stack.outputs, stack.imports = [], [], []
            stack.turn("DELETE_COMPLETE")

    # ------------------------------------------------------------------ what they are made of

    def plan(self, stack: Stack, goal: Goal) -> Plan:
        """What a goal of a stack asks for.

        Raises:
            TemplateError: it is refused.
        """
        pseudo = pseudo_parameters(self.config, stack.id, stack.name, stack.notified)
        return planned(goal, pseudo, self._imported)

    def _imported(self, name: str) -> str:
        exports = self.stacks.exports()
        if name not in exports:
            raise TemplateError(f"No export named {name} found.")
        return exports[name][1]

    def _make_all(self, stack: Stack) -> Plan:
        plan = self.plan(stack, stack.goal)
        plan.bind_to(stack.resources)
        for name in plan.order:
            self._check_stopping()
            _check_cancelled(stack)
            self._make(stack, plan, name)
        return plan

    def _publish(self, stack: Stack, plan: Plan) -> None:
        """Set the outputs; hold the stack's lock."""
        outputs = plan.outputs()
        self._check_exports(stack, outputs)
        stack.outputs, stack.imports = outputs, plan.imports()

    def _make(self, stack: Stack, plan: Plan, name: str) -> None:
        """Bring one resource to what the plan says: made, changed, replaced, or left as it is."""
        definition = plan.definitions[name]
        kind, needs = definition["Type"], sorted(plan.needs[name])
        deletion, replacement = plan.policies(name)
        current = stack.resources.get(name)
        try:
            properties = plan.properties(name)
        except TemplateError as error:
            resource = current or Resource(name, kind)
            stack.resources.setdefault(name, resource)
            stack.touched.setdefault(name, copy.deepcopy(current))
            stack.turn_resource(resource, f"{'UPDATE' if current else 'CREATE'}_FAILED", error.message)
            raise ResourceError(name) from error
        made = Resource(name, kind, properties=properties, depends_on=needs, deletion_policy=deletion,
                        replace_policy=replacement, token=_token())  # fmt: skip
        if current is None:
            with stack.lock:
                stack.touched[name] = None
                stack.resources[name] = made
            self._create(stack, made, "CREATE")
        elif normal(current.properties) == normal(properties):
            with stack.lock:
                current.depends_on, current.deletion_policy, current.replace_policy = needs, deletion, replacement
        elif replaces(kind, current.properties, properties):
            self._check_not_named(stack, current, properties)
            stack.turn_resource(current, "UPDATE_IN_PROGRESS", _REPLACING)
            with stack.lock:
                stack.touched[name] = copy.deepcopy(current)
                stack.leftover.append(current)
                stack.resources[name] = made
            self._create(stack, made, "UPDATE")
        else:
            with stack.lock:
                stack.touched[name] = copy.deepcopy(current)
                stack.resources[name] = replace(
                    current,
                    properties=properties,
                    depends_on=needs,
                    deletion_policy=deletion,
                    replace_policy=replacement,
                )
            self._update(stack, stack.resources[name], current.properties)

    def _check_not_named(self, stack: Stack, current: Resource, properties: Properties) -> None:
        """A new resource cannot have the name of the one that it replaces, which is still there."""
        names = schema.identifiers(current.type)
        if all(
            name in properties and normal(properties[name]) == normal(current.properties.get(name)) for name in names
        ):
            reason = (
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename "
                f"{'|'.join(str(properties[name]) for name in names)} and update the stack again."
            )
            with stack.lock:
                stack.touched[current.logical_id] = copy.deepcopy(current)
            stack.turn_resource(current, "UPDATE_FAILED", reason)
            raise ResourceError(current.logical_id)

    def _create(self, stack: Stack, resource: Resource, verb: str) -> None:
        resource.operation = new_operation()
        stack.turn_resource(resource, f"{verb}_IN_PROGRESS")
        provider = providers()[resource.type]

        def create() -> Call:
            call = self._call(stack, resource)
            provider.create(call)
            return call

        self._do(stack, resource, provider, verb, create)

    def _update(self, stack: Stack, resource: Resource, before: Properties) -> None:
        resource.operation = new_operation()
        stack.turn_resource(resource, "UPDATE_IN_PROGRESS")
        provider = providers()[resource.type]

        def update() -> Call:
            call = self._call(stack, resource, before)
            provider.update(call)
            return call

        self._do(stack, resource, provider, "UPDATE", update)

    def _do(self, stack: Stack, resource: Resource, provider: Provider, verb: str, action: Callable[[], Call]) -> None:
        try:
            if found := schema.faults(resource.type, resource.properties):
                raise ResourceError(f"Properties validation failed for resource {resource.logical_id} with message:\n"
                                    f"[{', '.join(found)}]")  # fmt: skip
            with operating(resource.operation):
                call = action()
        except Exception as error:  # whatever a provider raises fails its resource, and what was made is taken back
            stack.turn_resource(resource, f"{verb}_FAILED", _why(error))
            raise ResourceError(resource.logical_id) from error
        with stack.lock:
            resource.physical_id, resource.attributes = call.physical_id, call.attributes
        stack.turn_resource(resource, f"{verb}_COMPLETE", None if provider.emulated else NOT_EMULATED)

    def _take_back(self, stack: Stack, resource: Resource, before: Resource | None) -> None:
        """Undo what an update did to one resource; the new one of a replacement goes with the clean-up."""
        name = resource.logical_id
        if before is None:
            with stack.lock:
                stack.leftover.append(stack.resources.pop(name))
            return
        old = next(
            (one for one in stack.leftover if one.logical_id == name and one.physical_id == before.physical_id), None
        )
        if old is not None:
            with stack.lock:
                stack.leftover.remove(old)
                # What an update made in vain goes, whatever the policy says of what it replaced.
                stack.leftover.append(replace(resource, replace_policy="Delete"))
                stack.resources[name] = before
            stack.turn_resource(before, "UPDATE_COMPLETE")
            return
        with stack.lock:
            stack.resources[name] = restored = copy.deepcopy(before)
        if resource.status in ("UPDATE_IN_PROGRESS", "UPDATE_FAILED", "UPDATE_COMPLETE"):
            if resource.status == "UPDATE_FAILED" and normal(resource.properties) == normal(before.properties):
                stack.turn_resource(restored, "UPDATE_COMPLETE")
                return
            try:
                self._update(stack, restored, resource.properties)
            except ResourceError as error:
                raise ResourceError(restored.reason or str(error)) from error

    def _delete_all(self, stack: Stack, keep: tuple[str, ...]) -> list[str]:
        """Delete a stack's resources, the last first; returns those that stay against its will."""
        failed: list[str] = []
        gone = {"DELETE_COMPLETE", "DELETE_SKIPPED"}
        for resource in _last_first(list(stack.resources.values())):
            self._check_stopping()
            if resource.status in gone:
                continue
            needed = [
                one.logical_id
                for one in stack.resources.values()
                if resource.logical_id in one.depends_on and one.status == "DELETE_FAILED"
            ]
            if needed:
                failed.append(resource.logical_id)
            elif resource.logical_id in stack.retained or (
                resource.deletion_policy in keep and resource.status not in ("CREATE_FAILED", "CREATE_IN_PROGRESS")
            ):
                stack.turn_resource(resource, "DELETE_SKIPPED")
            elif not self._delete(stack, resource):
                failed.append(resource.logical_id)
        return failed

    def _delete(self, stack: Stack, resource: Resource) -> bool:
        resource.operation = new_operation()
        stack.turn_resource(resource, "DELETE_IN_PROGRESS")
        try:
            if resource.physical_id:
                with operating(resource.operation):
                    providers()[resource.type].delete(self._call(stack, resource))
        except Exception as error:  # noqa: BLE001 - as above: it fails this resource, and the others still go
            stack.turn_resource(resource, "DELETE_FAILED", _why(error))
            return False
        stack.turn_resource(resource, "DELETE_COMPLETE")
        return True

    def _check_exports(self, stack: Stack, outputs: list[dict[str, str]]) -> None:
        now = {one["ExportName"]: one["OutputValue"] for one in outputs if "ExportName" in one}
        if len(now) < sum("ExportName" in one for one in outputs):
            raise TemplateError("Template format error: two outputs export the same name")
        for name in now:
            owner = self.stacks.exports().get(name)
            if owner is not None and owner[0].id != stack.id:
                raise TemplateError(f"Export with name {name} is already exported by stack {owner[0].name}")
        for one in stack.outputs:
            name = one.get("ExportName", "")
            if name and now.get(name) != one["OutputValue"] and (users := self.stacks.importers(name)):
                verb = "update" if name in now else "delete"
                raise TemplateError(f"Cannot {verb} export {name} as it is in use by {', '.join(users)}")

    def _commit(self, stack: Stack) -> None:
        stack.former, stack.touched = None, {}

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise _StoppingError

    def _call(self, stack: Stack, resource: Resource, before: Properties | None = None) -> Call:
        client = functools.partial(self._client, stack.role)

        def keep(physical_id: str) -> None:
            with stack.lock:
                resource.physical_id = physical_id
                stack.save()

        return Call(
            config=self.config,
            client=client,
            stack_name=stack.name,
            stack_id=stack.id,
            logical_id=resource.logical_id,
            type=resource.type,
            properties=resolved(resource.properties, client),
            before=resolved(before or {}, client),
            token=resource.token,
            physical_id=resource.physical_id,
            attributes=dict(resource.attributes),
            tags=stack.goal.tags,
            keep=keep,
        )

    def _client(self, role: str | None, service: str) -> Any:
        return self._client_for(service, role)


def _last_first(resources: list[Resource]) -> list[Resource]:
    """Resources so that each goes before those that it was made behind."""
    by_name: dict[str, list[Resource]] = {}
    for one in resources:
        by_name.setdefault(one.logical_id, []).append(one)
    ordered: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in ordered or name in path:
            return
        for one in by_name[name]:
            for other in one.depends_on:
                if other in by_name:
                    visit(other, (*path, name))
        ordered[name] = None

    for name in by_name:
        visit(name, ())
    return [one for name in reversed(ordered) for one in by_name[name]]


def _token() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(12))


def _check_cancelled(stack: Stack) -> None:
    if stack.cancelled:
        raise TemplateError(stack.cancelled)


def _sentence(error: Exception, verb: str) -> str:
    if isinstance(error, TemplateError):
        return str(error.message)
    return f"The following resource(s) failed to {verb}: [{error}]. "


def _why(error: Exception) -> str:
    if isinstance(error, ResourceError):
        return str(error)
    if not isinstance(error, ClientError):
        LOG.error("a provider's error", exc_info=error)
        return f"Internal failure of the local AWS ({type(error).__name__}: {error}); see its server.log"
    answer = error.response
    about: Any = answer.get("ResponseMetadata", {})
    return (
        f'Resource handler returned message: "{answer["Error"].get("Message", "")} (Service: {error.operation_name}, '
        f'Status Code: {about.get("HTTPStatusCode")}, Request ID: {about.get("RequestId", "")})" '
        f"(HandlerErrorCode: {answer['Error'].get('Code', '')})"
    )
