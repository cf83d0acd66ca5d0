"""The roles of ``template.yaml`` for the stack that ``topic-model run`` makes: each function its own, as on AWS.

What a role names becomes the local thing that stands for it. The few functions that roles use are evaluated here: the
local AWS's CloudFormation has them all, and imports moto, for which a run would wait.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topic_model_cli.packaged_template import TEMPLATE, TemplateError, read_template

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

_BESIDE_THE_PACKAGE = Path(__file__).parents[2] / TEMPLATE
_ROLES = ("AWS::IAM::Role", "AWS::IAM::RolePolicy", "AWS::IAM::Policy")
_SERVICES = ("lambda.amazonaws.com", "sagemaker.amazonaws.com", "states.amazonaws.com")
_NO_VALUE = object()
_ALWAYS = ""


@dataclass(frozen=True)
class TemplateRole:
    """A role as it is to be: who may assume it, its inline policies by their names, and AWS's own that it has."""

    trust: Mapping[str, Any]
    policies: Mapping[str, Mapping[str, Any]]
    managed: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The hash of all of it, by which an unchanged role is known."""
        text = json.dumps([self.trust, self.policies, self.managed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class LocalNames:
    """What the template's logical ids stand for here: ``Ref`` and ``Fn::GetAtt`` of those that the stack has."""

    stack_name: str
    refs: Mapping[str, str]
    arns: Mapping[str, str]


def roles_of_the_stack(config: LocalConfig, names: LocalNames) -> Mapping[str, TemplateRole]:
    """The template's roles; those of an installation without a template may be assumed and have no policies.

    Raises:
        TemplateError: IAM is enforced and there is no template, or a role in it cannot be evaluated.
    """
    path = template_path()
    if path is not None:
        return template_roles(config, path, names)
    if config.enforce_iam:
        raise TemplateError(
            f"IAM is enforced and there is no {TEMPLATE} with the roles' policies; run in the repository's folder, or "
            "start the local AWS without --enforce-iam"
        )
    trusting = {"Effect": "Allow", "Principal": {"Service": list(_SERVICES)}, "Action": "sts:AssumeRole"}
    return defaultdict(lambda: TemplateRole({"Version": "2012-10-17", "Statement": [trusting]}, {}))


def template_path() -> Path | None:
    """The template: in this folder or in that of the sources; None where the command runs from an installation."""
    return next((path for path in (TEMPLATE, _BESIDE_THE_PACKAGE) if path.is_file()), None)


def template_roles(config: LocalConfig, path: Path, names: LocalNames) -> dict[str, TemplateRole]:
    """The roles of a template by their logical ids, those whose condition does not hold left out.

    Raises:
        TemplateError: there is no template, or a role cannot be evaluated.
    """
    template = read_template(path)
    scope = _Scope(config, template, names)
    there = {
        name: scope.value(resource["Properties"])
        for name, resource in template["Resources"].items()
        if resource["Type"] in _ROLES and scope.holds(resource.get("Condition", _ALWAYS))
    }
    roles = {}
    for name, properties in there.items():
        if "AssumeRolePolicyDocument" in properties:
            beside = [one for one in there.values() if name in (one.get("RoleName"), *one.get("Roles", ()))]
            inline = [*properties.get("Policies", ()), *beside]
            roles[name] = TemplateRole(
                trust=properties["AssumeRolePolicyDocument"],
                policies={one["PolicyName"]: one["PolicyDocument"] for one in inline},
                managed=tuple(one for one in properties.get("ManagedPolicyArns", ()) if ":aws:policy/" in one),
            )
    return roles


def ensure_template_role(config: LocalConfig, name: str, role: TemplateRole) -> str:
    """The ARN of a role that has these policies and no others."""
    from topic_model_cli.stack import found

    iam = config.client("iam")
    trust, tags = json.dumps(role.trust), [{"Key": "topic-model:policies", "Value": role.digest}]
    current = found(lambda: iam.get_role(RoleName=name), "NoSuchEntity")
    if current is None:
        current = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    elif tags[0] in current["Role"].get("Tags", []):
        return str(current["Role"]["Arn"])
    else:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            if policy not in role.policies:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for policy, document in role.policies.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    for arn in role.managed:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    iam.tag_role(RoleName=name, Tags=tags)  # last: a role with the tag is whole
    return str(current["Role"]["Arn"])


class _Scope:
    """The values of a template's functions."""

    def __init__(self, config: LocalConfig, template: Mapping[str, Any], names: LocalNames) -> None:
        self._resources, self._conditions = template["Resources"], template["Conditions"]
        self._names = names
        self._config = config
        self._values = {name: one.get("Default", "") for name, one in template["Parameters"].items()} | {
            "AWS::AccountId": config.account,
            "AWS::Region": config.region,
            "AWS::Partition": "aws",
            "AWS::StackName": names.stack_name,
            "AWS::NoValue": _NO_VALUE,
            "Environment": "local",
        }
        self._functions: Mapping[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": lambda at: self._attribute(*at),
            "Fn::Sub": self._substituted,
            "Fn::If": lambda one: self.value(one[1] if self.holds(one[0]) else one[2]),
        }

    def value(self, part: Any) -> Any:
        """A part of the template with its functions' values.

        Raises:
            TemplateError: it calls a function that is not known here.
        """
        if isinstance(part, list):
            return [one for one in map(self.value, part) if one is not _NO_VALUE]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            ((name, argument),) = part.items()
            if name in self._functions:
                return self._functions[name](argument)
            if name.startswith("Fn::"):
                raise TemplateError(f"a role in the template calls {name}, which `topic-model run` cannot evaluate")
        made = {key: self.value(one) for key, one in part.items()}
        return {key: one for key, one in made.items() if one is not _NO_VALUE}

    def holds(self, condition: Any) -> bool:
        """The value of a condition, or of one by its name."""
        if isinstance(condition, str):
            return condition == _ALWAYS or self.holds(self._conditions[condition])
        ((name, argument),) = condition.items()
        if name == "Condition":
            return self.holds(argument)
        if name == "Fn::Equals":
            return str(self.value(argument[0])) == str(self.value(argument[1]))
        combined = [self.holds(one) for one in argument]
        return not combined[0] if name == "Fn::Not" else (all if name == "Fn::And" else any)(combined)

    def _substituted(self, text: str) -> str:
        return re.sub(r"\$\{([^}!]+)\}", lambda found: self._named(found[1]), text)

    def _named(self, name: str) -> str:
        resource, dot, attribute = name.partition(".")
        return self._attribute(resource, attribute) if dot else str(self._ref(name))

    def _ref(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        # A role is called by its logical id, by which a policy beside it is told to be its.
        is_role = self._resources.get(name, {}).get("Type") == "AWS::IAM::Role"
        return name if is_role else self._names.refs.get(name) or self._made_up(name)

    def _attribute(self, name: str, attribute: str) -> str:
        return (self._names.arns.get(name) or self._made_up(name)) if attribute == "Arn" else f"{name}.{attribute}"

    def _made_up(self, name: str) -> str:
        """An ARN of nothing, for what the local stack does not have."""
        service = str(self._resources.get(name, {}).get("Type", "AWS::none")).split("::")[1].lower()
        return f"arn:aws:{service}:{self._config.region}:{self._config.account}:{self._names.stack_name}/{name}"
