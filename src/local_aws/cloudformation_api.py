"""CloudFormation's API: requests checked as AWS checks them, operations handed to the engine."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.exceptions import ClientError
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.core.utils import camelcase_to_underscores, method_names_from_class

from local_aws.cloudformation_change_sets import ChangeSets
from local_aws.cloudformation_changes import changes, has_updates
from local_aws.cloudformation_describe import (
    PAGE,
    page,
    parameters_shown,
    resource_shown,
    stack_shown,
    stack_summary,
    tags_of,
    template_summary,
    types_in,
)
from local_aws.cloudformation_engine import Engine
from local_aws.cloudformation_operations import FOLDER
from local_aws.cloudformation_parameters import parameters_of
from local_aws.cloudformation_providers import ResourceError
from local_aws.cloudformation_stacks import STACK_NAME, UPDATABLE, Goal, Stack, Stacks
from local_aws.cloudformation_template import Template, TemplateError, parsed, required_capabilities
from local_aws.config import LocalConfig

_LARGEST_BODY = 51_200  # bytes, of TemplateBody
_LARGEST_OBJECT = 1_000_000  # bytes, of what TemplateURL names
_VIRTUAL_HOST = re.compile(r"(.+)\.s3[.-].*amazonaws\.com(?:\.cn)?")


class Service:
    """CloudFormation as it stands in this process."""

    def __init__(self, config: LocalConfig, client_for: Callable[[str, str | None], Any]) -> None:
        self.config = config
        self.stacks = Stacks(config.root / FOLDER)
        self.engine = Engine(config, self.stacks, client_for)
        self.change_sets = ChangeSets(self.stacks, self.engine)
        self.client_for = client_for


SERVICE: list[Service] = []
"""At most one: the local AWS that this process serves."""


class InsufficientCapabilitiesError(ServiceException):  # type: ignore[misc]
    """IAM's resources are not acknowledged."""

    code = "InsufficientCapabilitiesException"


class NoSuchActionError(ServiceException):  # type: ignore[misc]
    """An action of CloudFormation that the local AWS does not have."""

    code = "InvalidAction"


class AlreadyExistsError(ServiceException):  # type: ignore[misc]
    """There is a stack of the name."""

    code = "AlreadyExistsException"


class CloudFormation(BaseResponse):  # type: ignore[misc]
    """One request."""

    def __init__(self) -> None:
        super().__init__(service_name="cloudformation")
        self.automated_parameter_parsing = True

    @property
    def service(self) -> Service:
        """What it is asked of."""
        return SERVICE[0]

    def call_action(self) -> Any:
        """Answer it; what this CloudFormation does not have is refused in so many words."""
        action = self._get_action()
        if camelcase_to_underscores(action) in method_names_from_class(CloudFormation):
            return super().call_action()
        refusal = NoSuchActionError(f"the local AWS's CloudFormation has no {action}")
        return self.serialized(ActionResult(refusal))

    def _given(self, name: str, default: Any = None) -> Any:
        value = self._get_param(name)
        return default if value is None else value

    # ------------------------------------------------------------------ stacks are made, changed, deleted

    def create_stack(self) -> ActionResult:
        """``CreateStack``."""
        name = self._new_name()
        service = self.service
        with service.stacks.lock:
            if service.stacks.find(name) is not None:
                raise AlreadyExistsError(f"Stack [{name}] already exists")
            stack = self._new_stack(name, self._goal(None))
            service.engine.plan(stack, stack.goal)
            self._check_capabilities(parsed(stack.goal.template))
            service.stacks.add(stack)
        stack.turn("CREATE_IN_PROGRESS", "User Initiated")
        service.engine.start(service.engine.create, stack)
        return ActionResult({"StackId": stack.id})

    def _new_name(self) -> str:
        name = str(self._given("StackName", ""))
        if not STACK_NAME.fullmatch(name):
            raise TemplateError(
                f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must "
                f"satisfy regular expression pattern: {STACK_NAME.pattern}"
            )
        return name

    def _new_stack(self, name: str, goal: Goal) -> Stack:
        identity = str(uuid.uuid4())
        config = self.service.config
        failure = self._given("OnFailure") or ("DO_NOTHING" if self._given("DisableRollback") else "ROLLBACK")
        stack = Stack(
            id=f"arn:aws:cloudformation:{config.region}:{config.account}:stack/{name}/{identity}",
            name=name,
            goal=goal,
            folder=self.service.stacks.folder / identity,
            on_failure=failure,
            protected=bool(self._given("EnableTerminationProtection", False)),
            parent=self._given("ParentId"),
        )
        self._take_settings(stack)
        return stack

    def _take_settings(self, stack: Stack) -> None:
        stack.role = self._role(stack)
        stack.capabilities = list(self._given("Capabilities", []))
        stack.notified = list(self._given("NotificationARNs", stack.notified))
        stack.description = parsed(stack.goal.template).get("Description")

    def _role(self, stack: Stack) -> str | None:
        role: str | None = self._given("RoleARN") or stack.role
        try:
            self.service.client_for("sts", role)
        except ResourceError as error:
            raise TemplateError(str(error)) from error
        return role

    def _goal(self, stack: Stack | None) -> Goal:
        """What the request asks for.

        Raises:
            TemplateError: it is refused.
        """
        text = self._template_text(stack)
        template = parsed(text)
        before = stack.goal.parameters if stack else {}
        parameters = parameters_of(template, self._given("Parameters", []), before, self._from_ssm)
        tags = self._get_param("Tags")
        if tags is None:
            return Goal(text, parameters, dict(stack.goal.tags) if stack else {})
        return Goal(text, parameters, {one["Key"]: one["Value"] for one in tags})

    def _template_text(self, stack: Stack | None = None) -> str:
        body, url = self._get_param("TemplateBody"), self._get_param("TemplateURL")
        if self._get_param("UsePreviousTemplate") and stack is not None:
            return stack.goal.template
        if (body is None) == (url is None):
            raise TemplateError("Either Template URL or Template Body must be specified.")
        if body is None:
            return self._template_at(str(url))
        if len(str(body).encode()) > _LARGEST_BODY:
            raise TemplateError(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have "
                f"length less than or equal to {_LARGEST_BODY}"
            )
        return str(body)

    def _template_at(self, url: str) -> str:
        parts = urlsplit(url)
        path = unquote(parts.path).lstrip("/")
        found = _VIRTUAL_HOST.fullmatch(parts.hostname or "")
        bucket, key = (found[1], path) if found else (path.partition("/")[0], path.partition("/")[2])
        local = parts.hostname in ("127.0.0.1", "localhost")
        if not (bucket and key) or not (local or "amazonaws.com" in str(parts.hostname)):
            raise TemplateError(f"TemplateURL must be a supported URL; it is {url}")
        version = parse_qs(parts.query).get("versionId")
        try:
            answer = self.service.client_for("s3", None).get_object(
                Bucket=bucket, Key=key, **({"VersionId": version[0]} if version else {})
            )
        except ClientError as error:
            raise TemplateError(f"S3 error: {error.response['Error'].get('Message')} ({url})") from error
        if answer["ContentLength"] > _LARGEST_OBJECT:
            raise TemplateError(f"Template may not exceed {_LARGEST_OBJECT} bytes in size.")
        try:
            return str(answer["Body"].read().decode("utf-8"))
        except UnicodeDecodeError as error:
            raise TemplateError("Template format error: it is no UTF-8 text") from error

    def _from_ssm(self, name: str) -> str:
        try:
            return str(self.service.client_for("ssm", None).get_parameter(Name=name)["Parameter"]["Value"])
        except ClientError as error:
            raise TemplateError(
                f"Unable to fetch parameters [{name}] from parameter store for this account."
            ) from error

    def _check_capabilities(self, template: Template) -> None:
        given = set(self._given("Capabilities", []))
        needed = required_capabilities(template)
        enough = {"CAPABILITY_NAMED_IAM"} | ({"CAPABILITY_IAM"} if needed == ["CAPABILITY_IAM"] else set())
        if needed and not given & enough:
            raise InsufficientCapabilitiesError(f"Requires capabilities : [{', '.join(needed)}]")

    def update_stack(self) -> ActionResult:
        """``UpdateStack``."""
        stack = self._stack()
        service = self.service
        with stack.lock:
            self._check_updatable(stack)
            goal = self._goal(stack)
            plan = service.engine.plan(stack, goal)
            self._check_capabilities(parsed(goal.template))
            if not has_updates(stack, plan, goal.tags, lambda: changes(stack, plan)):
                raise TemplateError("No updates are to be performed.")
            stack.begin_update(goal)
            self._take_settings(stack)
            stack.turn("UPDATE_IN_PROGRESS", "User Initiated")
        service.engine.start(service.engine.update, stack)
        return ActionResult({"StackId": stack.id})

    @staticmethod
    def _check_updatable(stack: Stack) -> None:
        if stack.status not in UPDATABLE:
            raise TemplateError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")

    def delete_stack(self) -> ActionResult:
        """``DeleteStack``: nothing to do for one that there is not."""
        service = self.service
        stack = service.stacks.find(str(self._given("StackName", "")))
        if stack is None or not stack.exists:
            return EmptyResult()
        with stack.lock:
            if stack.protected:
                raise TemplateError(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
            retained = list(self._given("RetainResources", []))
            if retained and stack.status != "DELETE_FAILED":
                raise TemplateError(
                    f"Invalid operation on stack [{stack.id}]. Specify RetainResources only when the stack is in the "
                    "DELETE_FAILED state."
                )
            if stack.status == "CREATE_IN_PROGRESS":
                stack.on_failure, stack.cancelled = "DELETE", "Resource creation cancelled. "
                stack.save()
                return EmptyResult()
            if stack.status == "DELETE_IN_PROGRESS":
                return EmptyResult()
            if stack.busy:
                raise TemplateError(f"Stack [{stack.name}] cannot be deleted while in status {stack.status}")
            for output in stack.outputs:
                name = output.get("ExportName")
                if name and (users := service.stacks.importers(name)):
                    raise TemplateError(f"Export {name} cannot be deleted as it is in use by {', '.join(users)}")
            stack.retained = retained
            stack.role = self._role(stack)
            stack.turn("DELETE_IN_PROGRESS", "User Initiated")
        service.engine.start(service.engine.delete, stack)
        return EmptyResult()

    def cancel_update_stack(self) -> ActionResult:
        """``CancelUpdateStack``."""
        stack = self._stack()
        with stack.lock:
            if stack.status != "UPDATE_IN_PROGRESS":
                raise TemplateError("CancelUpdateStack cannot be called from current stack status")
            stack.cancelled = "Update cancelled by user."
        return EmptyResult()

    def continue_update_rollback(self) -> ActionResult:
        """``ContinueUpdateRollback``, with ``ResourcesToSkip``."""
        stack = self._stack()
        with stack.lock:
            if stack.status != "UPDATE_ROLLBACK_FAILED":
                raise TemplateError(f"Stack:{stack.id} is in {stack.status} state and can not be rolled back.")
            for name in self._given("ResourcesToSkip", []):
                stack.touched.pop(name, None)
            stack.turn("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
        self.service.engine.start(self.service.engine.roll_back_update, stack)
        return EmptyResult()

    def update_termination_protection(self) -> ActionResult:
        """``UpdateTerminationProtection``."""
        stack = self._stack()
        with stack.lock:
            stack.protected = bool(self._given("EnableTerminationProtection"))
            stack.save()
        return ActionResult({"StackId": stack.id})

    # ------------------------------------------------------------------ change sets

    def create_change_set(self) -> ActionResult:
        """``CreateChangeSet``."""
        service = self.service
        kind = str(self._given("ChangeSetType", "UPDATE"))
        with service.stacks.lock:
            stack = service.stacks.find(str(self._given("StackName", "")))
            if kind == "CREATE":
                if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
                    name = self._given("ChangeSetName")
                    raise TemplateError(
                        f"Stack [{stack.name}] already exists and cannot be created again with the changeSet [{name}]."
                    )
                goal = self._goal(None)
                fresh = stack is None
                stack = stack or self._new_stack(self._new_name(), goal)
            else:
                stack, fresh = self._stack(), False
                self._check_updatable(stack)
                goal = self._goal(stack)
            plan = service.engine.plan(stack, goal)
            self._check_capabilities(parsed(goal.template))
            if fresh:
                service.stacks.add(stack)
                stack.turn("REVIEW_IN_PROGRESS", "User Initiated")
        settings = {
            "role": self._given("RoleARN"),
            "capabilities": list(self._given("Capabilities", [])),
            "notified": self._get_param("NotificationARNs"),
            "on_failure": self._given("OnStackFailure"),
        }
        made = service.change_sets.create(
            stack, str(self._given("ChangeSetName")), kind, goal, plan, self._given("Description"), settings
        )
        return ActionResult({"Id": made["id"], "StackId": stack.id})

    def describe_change_set(self) -> ActionResult:
        """``DescribeChangeSet``."""
        stack, found = self._change_set()
        goal = Goal.from_dict(found["goal"], stack.folder)
        answer = {
            **self.service.change_sets.summary(stack, found),
            "Parameters": parameters_shown(goal.parameters),
            "Tags": tags_of(goal.tags),
            "Capabilities": found["settings"]["capabilities"],
            "NotificationARNs": found["settings"]["notified"] or [],
        }
        answer["Changes"], token = page(found["changes"], self._get_param("NextToken"))
        return ActionResult({**answer, **token})

    def list_change_sets(self) -> ActionResult:
        """``ListChangeSets``."""
        stack = self._stack()
        return ActionResult(
            {"Summaries": [self.service.change_sets.summary(stack, one) for one in stack.change_sets.values()]}
        )

    def execute_change_set(self) -> ActionResult:
        """``ExecuteChangeSet``."""
        stack, found = self._change_set()
        self.service.change_sets.execute(stack, found)
        return EmptyResult()

    def delete_change_set(self) -> ActionResult:
        """``DeleteChangeSet``."""
        stack, found = self._change_set()
        self.service.change_sets.delete(stack, found)
        return EmptyResult()

    def _change_set(self) -> tuple[Stack, dict[str, Any]]:
        return self.service.change_sets.find(str(self._given("ChangeSetName", "")), self._get_param("StackName"))

    # ------------------------------------------------------------------ what there is

    def _stack(self, *, gone: bool = False) -> Stack:
        name = str(self._given("StackName", ""))
        stack = self.service.stacks.find(name)
        if stack is None or not (stack.exists or gone):
            raise TemplateError(f"Stack with id {name} does not exist" if gone else f"Stack [{name}] does not exist")
        return stack

    def describe_stacks(self) -> ActionResult:
        """``DescribeStacks``."""
        if self._get_param("StackName"):
            return ActionResult({"Stacks": [stack_shown(self._stack(gone=True))]})
        existing = [stack_shown(stack) for stack in self.service.stacks if stack.exists]
        shown, token = page(existing, self._get_param("NextToken"))
        return ActionResult({"Stacks": shown, **token})

    def list_stacks(self) -> ActionResult:
        """``ListStacks``, with ``StackStatusFilter``."""
        wanted = self._given("StackStatusFilter", [])
        found = [stack_summary(stack) for stack in self.service.stacks if not wanted or stack.status in wanted]
        shown, token = page(found, self._get_param("NextToken"))
        return ActionResult({"StackSummaries": shown, **token})

    def describe_stack_events(self) -> ActionResult:
        """``DescribeStackEvents``: the newest first."""
        stack = self._stack(gone=True)
        with stack.lock:
            events = [{**one, "Timestamp": datetime.fromisoformat(one["Timestamp"])} for one in reversed(stack.events)]
        shown, token = page(events, self._get_param("NextToken"))
        return ActionResult({"StackEvents": shown, **token})

    def describe_stack_resources(self) -> ActionResult:
        """``DescribeStackResources``, of a stack or of the one that has a physical id."""
        if self._get_param("StackName"):
            stack = self._stack(gone=True)
        else:
            wanted = self._given("PhysicalResourceId")
            stacks = [
                one for one in self.service.stacks if any(r.physical_id == wanted for r in one.resources.values())
            ]
            if not stacks:
                raise TemplateError(f"Stack for {wanted} does not exist")
            stack = stacks[0]
        logical = self._get_param("LogicalResourceId")
        found = [
            {"StackName": stack.name, "StackId": stack.id, "Timestamp": one.at, **resource_shown(one)}
            for one in list(stack.resources.values())
            if logical in (None, one.logical_id)
        ]
        return ActionResult({"StackResources": found[:PAGE]})

    def describe_stack_resource(self) -> ActionResult:
        """``DescribeStackResource``."""
        stack = self._stack(gone=True)
        logical = str(self._given("LogicalResourceId"))
        resource = stack.resources.get(logical)
        if resource is None:
            raise TemplateError(f"Resource {logical} does not exist for stack {stack.name}")
        detail = {
            "StackName": stack.name,
            "StackId": stack.id,
            "LastUpdatedTimestamp": resource.at,
            "Metadata": json.dumps(parsed(stack.goal.template)["Resources"].get(logical, {}).get("Metadata", {})),
            **resource_shown(resource),
        }
        return ActionResult({"StackResourceDetail": detail})

    def list_stack_resources(self) -> ActionResult:
        """``ListStackResources``."""
        stack = self._stack(gone=True)
        found = [{"LastUpdatedTimestamp": one.at, **resource_shown(one)} for one in list(stack.resources.values())]
        shown, token = page(found, self._get_param("NextToken"))
        return ActionResult({"StackResourceSummaries": shown, **token})

    def list_exports(self) -> ActionResult:
        """``ListExports``."""
        found = self.service.stacks.exports()
        return ActionResult(
            {
                "Exports": [
                    {"ExportingStackId": stack.id, "Name": name, "Value": value}
                    for name, (stack, value) in found.items()
                ]
            }
        )

    def list_imports(self) -> ActionResult:
        """``ListImports``."""
        name = str(self._given("ExportName"))
        users = self.service.stacks.importers(name)
        if not users:
            raise TemplateError(f"Export '{name}' is not imported by any stack.")
        return ActionResult({"Imports": users})

    def get_template(self) -> ActionResult:
        """``GetTemplate``, of a stack or a change set."""
        if self._get_param("ChangeSetName"):
            stack, found = self._change_set()
            text = Goal.from_dict(found["goal"], stack.folder).template
        else:
            text = self._stack(gone=True).goal.template
        return ActionResult({"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]})

    def get_template_summary(self) -> ActionResult:
        """``GetTemplateSummary``."""
        stack = self._stack(gone=True) if self._get_param("StackName") else None
        template = parsed(stack.goal.template if stack else self._template_text())
        return ActionResult({**template_summary(template), "ResourceTypes": types_in(template)})

    def validate_template(self) -> ActionResult:
        """``ValidateTemplate``."""
        return ActionResult(template_summary(parsed(self._template_text())))
