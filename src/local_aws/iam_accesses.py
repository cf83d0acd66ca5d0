"""What a call asks permission for: actions, the ARNs that they are about, and condition keys.

After AWS's Service Authorization Reference, for the services and operations that this project uses. A call that is not
here is refused as not mapped, unless its caller may do everything: no hole is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from local_aws.config import LocalConfig
from local_aws.iam_access import Access, Place, UnmappedError
from local_aws.iam_accesses_keys import key_accesses, log_group_key_accesses
from local_aws.iam_accesses_s3 import s3_accesses
from local_aws.iam_accesses_states import state_machine_accesses
from local_aws.iam_calls import Call
from local_aws.iam_operations import NAMES, OPERATIONS, WITHOUT_REGION
from local_aws.iam_policies import Context


def accesses_of(call: Call, config: LocalConfig) -> list[Access]:
    """All permissions that a call needs; the caller must have every one.

    Raises:
        UnmappedError: that is not known.
    """
    place = Place(config.account, call.region)
    found = list(_SERVICES[call.service](call, place)) if call.service in _SERVICES else []
    if not found:
        raise UnmappedError(f"{call.service}:{call.operation}")
    keys = [key for access in found for key in key_accesses(access, config)]
    return [*found, *_passed_roles(call), *_with_tags(call, place, found), *keys, *log_group_key_accesses(call, config)]


def mapped() -> dict[str, list[str]]:
    """The operations that are mapped, by signing name; ``*`` for the services whose operations follow a rule."""
    return {
        **{service: sorted(operations) for service, (_, operations) in OPERATIONS.items()},
        "s3": ["*"],
        "apigateway": ["*"],
    }


def _by_resource(call: Call, place: Place) -> Iterator[Access]:
    prefix, operations = OPERATIONS[call.service]
    if call.operation not in operations:
        return
    resources, context = operations[call.operation], _context(call)
    operation = f"{prefix}:{call.operation}"
    for action in NAMES.get(operation, (operation,)):
        if resources is None:
            yield Access(action, context=context)
            continue
        where = replace(place, region="") if prefix in WITHOUT_REGION else place
        for rest in [_filled(resources, call)] if isinstance(resources, str) else resources(call, place):
            yield Access(action, where.arn(prefix, rest), context)


def _filled(template: str, call: Call) -> str:
    """A template with the parameters' values; a single one that is an ARN (a function's, a table's) stays one."""
    values = {name: value for name, value in call.params.items() if isinstance(value, str)}
    rest = template.partition("{")[2]
    first = values.get(rest.partition("}")[0], "")
    if first.startswith("arn:") and rest.endswith("}"):
        return first
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    if "{" in template:
        missing = template.partition("{")[2].partition("}")[0]
        raise UnmappedError(f"{call.service}:{call.operation} without the parameter {missing}")
    return template


def _context(call: Call) -> Context:
    found: dict[str, tuple[str, ...]] = {}
    if call.service == "monitoring" and (namespace := call.text("Namespace")):
        found["cloudwatch:namespace"] = (namespace,)
    if call.service == "application-autoscaling" and (namespace := call.text("ServiceNamespace")):
        found["application-autoscaling:service-namespace"] = (namespace,)
    if call.service == "dynamodb" and (keys := _leading_keys(call)):
        found["dynamodb:leadingkeys"] = keys
    for tag in _tags(call):
        found[f"aws:requesttag/{tag[0].lower()}"] = (tag[1],)
        found["aws:tagkeys"] = (*found.get("aws:tagkeys", ()), tag[0])
    return found


def _leading_keys(call: Call) -> tuple[str, ...]:
    """The partition keys that an item's operation is about; nothing for scans and queries."""
    from moto.dynamodb.models import dynamodb_backends

    table = str(call.text("TableName")).rpartition("/")[2]
    backends = dynamodb_backends[next(iter(dynamodb_backends))] if dynamodb_backends else {}
    found = backends[call.region].tables.get(table) if call.region in backends else None
    item = call.params.get("Key") or call.params.get("Item") or {}
    value = item.get(found.hash_key_attr) if found is not None else None
    return tuple(str(one) for one in value.values()) if isinstance(value, Mapping) else ()


def _tags(call: Call) -> list[tuple[str, str]]:
    given = call.params.get("Tags", call.params.get("tags")) or []
    if isinstance(given, Mapping):
        return [(str(name), str(value)) for name, value in given.items()]
    spelt = {name.lower().removeprefix("tag"): name for tag in given for name in tag}  # KMS has TagKey and TagValue
    return [(str(tag.get(spelt.get("key", ""))), str(tag.get(spelt.get("value", "")))) for tag in given]


# ---------------------------------------------------------------------- what comes with a call

_TAGGING = {"sagemaker": "sagemaker:AddTags", "states": "states:TagResource", "sns": "sns:TagResource",
            "dynamodb": "dynamodb:TagResource", "monitoring": "cloudwatch:TagResource", "logs": "logs:TagResource",
            "events": "events:TagResource", "lambda": "lambda:TagResource", "iam": "iam:TagRole",
            "kms": "kms:TagResource", "ecr": "ecr:TagResource", "sqs": "sqs:TagQueue",
            "secretsmanager": "secretsmanager:TagResource", "scheduler": "scheduler:TagResource"}  # fmt: skip
_PASSED = {
    "sagemaker": ("sagemaker.amazonaws.com", ("RoleArn", "ExecutionRoleArn", "TrainingJobDefinition.RoleArn")),
    "states": ("states.amazonaws.com", ("roleArn",)),
    "lambda": ("lambda.amazonaws.com", ("Role",)),
    "scheduler": ("scheduler.amazonaws.com", ("Target.RoleArn",)),
    "apigateway": ("apigateway.amazonaws.com", ("patchOperations.value",)),
    "cloudformation": ("cloudformation.amazonaws.com", ("RoleARN",)),
    "events": ("events.amazonaws.com", ("Targets.RoleArn",)),
    "application-autoscaling": ("application-autoscaling.amazonaws.com", ("RoleARN",)),
}
"""By signing name: who is given a role, and in which parameters."""

_CANNOT_ASSUME = {
    "lambda": ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."),
    "states": ("AccessDeniedException", "Neither the global service principal states.amazonaws.com, nor the regional "
                                        "one is authorized to assume the provided role."),
    "sagemaker": ("ValidationException", "Could not assume role {role}. Please ensure that the role exists and allows "
                                         "principal 'sagemaker.amazonaws.com' to assume the role."),
}  # fmt: skip


def _passed_roles(call: Call) -> Iterator[Access]:
    """``iam:PassRole`` on each role that a call hands to a service, which then must be able to assume it."""
    service, parameters = _PASSED.get(call.service, ("", ()))
    for role_arn in {role_arn for path in parameters for role_arn in _at(call.params, path.split("."))}:
        if role_arn.startswith("arn:") and ":role/" in role_arn:
            yield Access("iam:PassRole", role_arn, {"iam:passedtoservice": (service,)})
            refusal = _CANNOT_ASSUME.get(call.service)
            said = (refusal[0], refusal[1].format(role=role_arn)) if refusal else None
            yield Access("sts:AssumeRole", role_arn, service=service, refusal=said)


def _at(value: Any, path: Sequence[str]) -> list[str]:
    """The texts at a path, in each of a list's elements."""
    if isinstance(value, list):
        return [text for one in value for text in _at(one, path)]
    if not path:
        return [value] if isinstance(value, str) else []
    return _at(value.get(path[0]), path[1:]) if isinstance(value, Mapping) else []


def _with_tags(call: Call, place: Place, found: Sequence[Access]) -> Iterator[Access]:
    """A thing that is made with tags needs the permission to tag it, too."""
    if _tags(call) and call.operation.startswith(("Create", "Put")) and call.service in _TAGGING:
        # A key has no name before it is made.
        resource = place.arn("kms", "key/new") if call.operation == "CreateKey" else found[0].resource
        yield Access(_TAGGING[call.service], resource, found[0].context)


def _sagemaker(call: Call, place: Place) -> Iterator[Access]:
    yield from _by_resource(call, place)
    # A deployment's alarms are looked at as the caller when it begins, and as the model's role while it bakes.
    for name in _at(call.params, ["DeploymentConfig", "AutoRollbackConfiguration", "Alarms", "AlarmName"]):
        yield Access("cloudwatch:DescribeAlarms", place.arn("cloudwatch", f"alarm:{name}"))


def _states(call: Call, place: Place) -> Iterator[Access]:
    yield from _by_resource(call, place)
    if call.operation in ("CreateStateMachine", "UpdateStateMachine"):
        for action, resource, refusal in state_machine_accesses(call.params, place.account, place.region):
            yield Access(action, resource, role_arn=call.text("roleArn"), refusal=refusal)


def _apigateway(call: Call, place: Place) -> Iterator[Access]:
    """API Gateway's actions are HTTP's methods, on ARNs that are paths."""
    yield Access(f"apigateway:{call.operation}", f"arn:aws:apigateway:{place.region}::{call.params['path']}")


def _s3(call: Call, place: Place) -> Iterator[Access]:
    for action, resource, context in s3_accesses(call.operation, call.params, place.account):
        yield Access(f"s3:{action}", resource, context)


_SERVICES: Mapping[str, Callable[[Call, Place], Iterator[Access]]] = {
    **dict.fromkeys(OPERATIONS, _by_resource),
    "sagemaker": _sagemaker,
    "states": _states,
    "apigateway": _apigateway,
    "s3": _s3,
}
