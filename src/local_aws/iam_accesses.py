"""What a call asks permission for: actions, the ARNs that they are about, and condition keys.

After AWS's Service Authorization Reference, for the services and operations that this project uses. A call that is not
here is refused as not mapped, unless its caller may do everything: no hole is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from local_aws.config import LocalConfig
from local_aws.iam_accesses_s3 import s3_accesses
from local_aws.iam_accesses_states import state_machine_accesses
from local_aws.iam_calls import Call
from local_aws.iam_policies import Context


class UnmappedError(Exception):
    """It is not known what a call asks permission for."""


@dataclass(frozen=True)
class Access:
    """One permission that a call needs."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)
    role_arn: str | None = None
    """The role that needs it where that is not the caller: a service asks as the role that it is given."""
    service: str | None = None
    """For ``sts:AssumeRole``: the service that is to assume the resource."""
    refusal: tuple[str, str] | None = None
    """Code and message of the service's own where it does not answer with AccessDenied."""


@dataclass(frozen=True)
class Place:
    """Where ARNs are: account and region."""

    account: str
    region: str

    def arn(self, service: str, rest: str) -> str:
        """An ARN of this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"


def accesses_of(call: Call, config: LocalConfig) -> list[Access]:
    """All permissions that a call needs; the caller must have every one.

    Raises:
        UnmappedError: that is not known.
    """
    place = Place(config.account, call.region)
    found = list(_SERVICES[call.service](call, place)) if call.service in _SERVICES else []
    if not found:
        raise UnmappedError(f"{call.service}:{call.operation}")
    return [*found, *_passed_roles(call), *_with_tags(call, found)]


def mapped() -> dict[str, list[str]]:
    """The operations that are mapped, by signing name; ``*`` for the services whose operations follow a rule."""
    return {
        **{service: sorted({*table}) for service, (_, table) in _TABLES.items()},
        "s3": ["*"],
        "apigateway": ["*"],
    }


# ---------------------------------------------------------------------- services whose calls name their resource

_Resources = str | Callable[[Call, Place], Sequence[str]] | None
"""The rest of an ARN, ``{Parameter}`` standing for the parameter's value (an ARN stays one); None for ``*``."""


def _each(parameter: str, prefix: str, *, nothing: str = "*") -> Callable[[Call, Place], Sequence[str]]:
    """The resources that a list names; ``nothing`` where it is empty."""

    def resources(call: Call, place: Place) -> Sequence[str]:
        del place
        return [f"{prefix}{name}" for name in call.params.get(parameter) or [nothing]]

    return resources


def _tables(call: Call, place: Place) -> Sequence[str]:
    del place
    return [_table_part(name) for name in call.params.get("RequestItems") or {}]


def _table_part(name: str) -> str:
    return name if name.startswith("arn:") else f"table/{name}"


def _table_or_index(call: Call, place: Place) -> Sequence[str]:
    del place
    table, index = _table_part(str(call.params.get("TableName"))), call.text("IndexName")
    return [f"{table}/index/{index}" if index else table]


_SAGEMAKER: dict[str, _Resources] = {
    "AddTags": "{ResourceArn}", "DeleteTags": "{ResourceArn}", "ListTags": "{ResourceArn}",
    "CreateEndpoint": lambda call, _: [f"endpoint/{call.text('EndpointName')}",
                                       f"endpoint-config/{call.text('EndpointConfigName')}"],
    "UpdateEndpoint": lambda call, _: [f"endpoint/{call.text('EndpointName')}",
                                       f"endpoint-config/{call.text('EndpointConfigName')}"],
    "InvokeEndpoint": "endpoint/{EndpointName}",
    "UpdateEndpointWeightsAndCapacities": "endpoint/{EndpointName}",
    "ListTrainingJobsForHyperParameterTuningJob": "hyper-parameter-tuning-job/{HyperParameterTuningJobName}",
    "CreateModelPackage": lambda call, _: [f"model-package-group/{call.text('ModelPackageGroupName')}",
                                           f"model-package/{call.text('ModelPackageGroupName')}/*"],
    "DescribeModelPackage": "{ModelPackageName}", "UpdateModelPackage": "{ModelPackageArn}",
    "DeleteModelPackage": "{ModelPackageName}",
    "ListModelPackages": None,
}  # fmt: skip
for _kind, _verbs in {
    "ProcessingJob": "Create Describe Stop", "TrainingJob": "Create Describe Stop",
    "TransformJob": "Create Describe Stop", "HyperParameterTuningJob": "Create Describe Stop",
    "Model": "Create Describe Delete", "EndpointConfig": "Create Describe Delete", "Endpoint": "Describe Delete",
    "ModelPackageGroup": "Create Describe Delete",
}.items():  # fmt: skip
    _slug = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in _kind).removeprefix("-")
    for _verb in _verbs.split():
        _SAGEMAKER[f"{_verb}{_kind}"] = f"{_slug}/{{{_kind}Name}}"
    _SAGEMAKER[f"List{_kind}s"] = None

_LOG_GROUP = "log-group:{logGroupName}:log-stream:"
_ALARM = "alarm:{AlarmName}"
_FUNCTION = "function:{FunctionName}"
_RULE = "rule/{Name}"
_ROLE, _USER, _POLICY = "role/{RoleName}", "user/{UserName}", "{PolicyArn}"

_TABLES: dict[str, tuple[str, dict[str, _Resources]]] = {
    "sagemaker": ("sagemaker", _SAGEMAKER),
    "states": ("states", {
        "CreateStateMachine": "stateMachine:{name}", "ListStateMachines": None,
        **dict.fromkeys(("UpdateStateMachine", "DeleteStateMachine", "DescribeStateMachine", "StartExecution",
                         "StartSyncExecution", "ListExecutions", "ListStateMachineVersions",
                         "ListStateMachineAliases"), "{stateMachineArn}"),
        **dict.fromkeys(("DescribeExecution", "StopExecution", "GetExecutionHistory", "RedriveExecution",
                         "DescribeStateMachineForExecution", "ListMapRuns"), "{executionArn}"),
        **dict.fromkeys(("TagResource", "UntagResource", "ListTagsForResource"), "{resourceArn}"),
        **dict.fromkeys(("SendTaskSuccess", "SendTaskFailure", "SendTaskHeartbeat",
                         "ValidateStateMachineDefinition")),
    }),
    "dynamodb": ("dynamodb", {
        **dict.fromkeys(("GetItem", "PutItem", "UpdateItem", "DeleteItem", "CreateTable", "DescribeTable",
                         "DeleteTable", "UpdateTable", "UpdateTimeToLive", "DescribeTimeToLive",
                         "UpdateContinuousBackups", "DescribeContinuousBackups"), lambda call, _: [
                             _table_part(str(call.params.get("TableName")))]),
        **dict.fromkeys(("Query", "Scan"), _table_or_index),
        **dict.fromkeys(("BatchGetItem", "BatchWriteItem"), _tables),
        **dict.fromkeys(("TagResource", "UntagResource", "ListTagsOfResource"), "{ResourceArn}"),
        "ListTables": None,
    }),
    "monitoring": ("cloudwatch", {
        "DescribeAlarms": _each("AlarmNames", "alarm:"), "DeleteAlarms": _each("AlarmNames", "alarm:"),
        "DescribeAlarmHistory": lambda call, _: [f"alarm:{call.text('AlarmName') or '*'}"],
        "PutMetricAlarm": _ALARM, "SetAlarmState": _ALARM,
        **dict.fromkeys(("TagResource", "UntagResource", "ListTagsForResource"), "{ResourceARN}"),
        **dict.fromkeys(("PutMetricData", "GetMetricData", "GetMetricStatistics", "ListMetrics", "PutDashboard",
                         "GetDashboard", "DeleteDashboards", "ListDashboards")),
    }),
    "logs": ("logs", {
        **dict.fromkeys(("CreateLogGroup", "DeleteLogGroup", "DescribeLogStreams", "FilterLogEvents",
                         "PutRetentionPolicy", "DeleteRetentionPolicy", "PutMetricFilter", "DeleteMetricFilter",
                         "DescribeMetricFilters", "StartQuery", "TagLogGroup", "AssociateKmsKey"), _LOG_GROUP),
        **dict.fromkeys(("CreateLogStream", "PutLogEvents", "GetLogEvents"), _LOG_GROUP + "{logStreamName}"),
        "DescribeLogGroups": "log-group::log-stream:",
        **dict.fromkeys(("TagResource", "UntagResource", "ListTagsForResource"), "{resourceArn}"),
    }),
    "sns": ("sns", {
        "CreateTopic": "{Name}", "ListTopics": None, "ListSubscriptions": None,
        **dict.fromkeys(("Publish", "Subscribe", "GetTopicAttributes", "SetTopicAttributes", "DeleteTopic",
                         "ListSubscriptionsByTopic", "AddPermission"), "{TopicArn}"),
        "Unsubscribe": lambda call, _: [str(call.text("SubscriptionArn")).rpartition(":")[0]],
        **dict.fromkeys(("TagResource", "UntagResource", "ListTagsForResource"), "{ResourceArn}"),
    }),
    "events": ("events", {
        **dict.fromkeys(("PutRule", "DeleteRule", "DescribeRule", "EnableRule", "DisableRule"), _RULE),
        **dict.fromkeys(("PutTargets", "RemoveTargets", "ListTargetsByRule"), "rule/{Rule}"),
        "ListRules": None, "PutEvents": "event-bus/default",
        **dict.fromkeys(("TagResource", "UntagResource", "ListTagsForResource"), "{ResourceARN}"),
    }),
    "lambda": ("lambda", {
        "Invoke": lambda call, _: [_qualified(call)],
        **dict.fromkeys(("CreateFunction", "GetFunction", "GetFunctionConfiguration", "DeleteFunction",
                         "UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "CreateAlias",
                         "GetAlias", "UpdateAlias", "DeleteAlias", "ListAliases", "ListVersionsByFunction",
                         "AddPermission", "RemovePermission", "GetPolicy", "PutFunctionConcurrency",
                         "DeleteFunctionConcurrency", "GetFunctionConcurrency"), _FUNCTION),
        "ListFunctions": None, "ListTags": "{Resource}", "TagResource": "{Resource}", "UntagResource": "{Resource}",
    }),
    "iam": ("iam", {
        **dict.fromkeys(("CreateRole", "GetRole", "DeleteRole", "UpdateRole", "UpdateAssumeRolePolicy",
                         "PutRolePolicy", "GetRolePolicy", "DeleteRolePolicy", "ListRolePolicies",
                         "AttachRolePolicy", "DetachRolePolicy", "ListAttachedRolePolicies", "TagRole", "UntagRole",
                         "ListRoleTags", "PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary"), _ROLE),
        **dict.fromkeys(("GetPolicy", "GetPolicyVersion", "ListPolicyVersions", "DeletePolicy"), _POLICY),
        **dict.fromkeys(("GetUser", "ListAccessKeys"), _USER),
        "CreatePolicy": "policy/{PolicyName}", "ListRoles": None, "ListPolicies": None,
    }),
    "sts": ("sts", {"AssumeRole": "{RoleArn}"}),
    "kms": ("kms", {
        **dict.fromkeys(("Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "DescribeKey",
                         "GetKeyPolicy", "PutKeyPolicy", "EnableKeyRotation", "GetKeyRotationStatus",
                         "ScheduleKeyDeletion", "CreateGrant"), lambda call, _: [_key(str(call.text("KeyId")))]),
        "CreateKey": None, "ListKeys": None, "ListAliases": None,
    }),
    "ecr": ("ecr", {
        "GetAuthorizationToken": None,
        **dict.fromkeys(("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer", "DescribeImages",
                         "DescribeImageScanFindings", "CreateRepository", "DeleteRepository", "PutImage"),
                        "repository/{repositoryName}"),
    }),
    "cloudformation": ("cloudformation", {
        **dict.fromkeys(("CreateStack", "UpdateStack", "DeleteStack", "DescribeStacks", "DescribeStackEvents",
                         "DescribeStackResources", "ListStackResources", "CreateChangeSet", "DescribeChangeSet",
                         "ExecuteChangeSet", "DeleteChangeSet", "GetTemplate"),
                        lambda call, _: [_stack(call.text("StackName"))]),
        "ValidateTemplate": None, "ListStacks": None,
    }),
    "application-autoscaling": ("application-autoscaling", dict.fromkeys((
        "RegisterScalableTarget", "DeregisterScalableTarget", "DescribeScalableTargets", "PutScalingPolicy",
        "DeleteScalingPolicy", "DescribeScalingPolicies"), "scalable-target/*")),
}  # fmt: skip
"""By signing name: the actions' prefix, and what each operation is about."""

_NAMES = {"lambda:Invoke": "lambda:InvokeFunction", "states:RedriveExecution": "states:RedriveExecution"}
"""Actions that are called otherwise than their operation."""
_GLOBAL = {"iam"}  # ARNs without a region


def _qualified(call: Call) -> str:
    name, qualifier = str(call.text("FunctionName")), call.text("Qualifier")
    function = name if name.startswith(("arn:", "function:")) else f"function:{name}"
    return f"{function}:{qualifier}" if qualifier else function


def _key(name: str) -> str:
    return name if name.startswith("arn:") else f"key/{name}"


def _stack(name: str | None) -> str:
    return name if name and name.startswith("arn:") else f"stack/{name or '*'}/*"


def _of_table(call: Call, place: Place) -> Iterator[Access]:
    prefix, operations = _TABLES[call.service]
    if call.operation not in operations:
        return
    resources = operations[call.operation]
    action = f"{prefix}:{call.operation}"
    action = _NAMES.get(action, action)
    context = _context(call)
    if resources is None:
        yield Access(action, context=context)
        return
    for rest in [_filled(resources, call)] if isinstance(resources, str) else resources(call, place):
        if rest.startswith("arn:") or rest == "*":
            yield Access(action, rest, context)
        else:
            where = replace(place, region="") if call.service in _GLOBAL else place
            yield Access(action, where.arn(prefix, rest), context)


def _filled(template: str, call: Call) -> str:
    """A template with the parameters' values; a single one that is an ARN (a function's, a table's) stays one."""
    values = {name: value for name, value in call.params.items() if isinstance(value, str)}
    before, _, rest = template.partition("{")
    first = values.get(rest.partition("}")[0], "")
    if first.startswith("arn:") and rest.endswith("}"):
        return first
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    if "{" in template:
        missing = template.partition("{")[2].partition("}")[0]
        raise UnmappedError(f"{call.service}:{call.operation} without the parameter {missing}")
    del before
    return template


def _context(call: Call) -> Context:
    found: dict[str, tuple[str, ...]] = {}
    if call.service == "monitoring" and (namespace := call.text("Namespace")):
        found["cloudwatch:namespace"] = (namespace,)
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
    pairs = [(tag.get("Key", tag.get("key")), tag.get("Value", tag.get("value"))) for tag in given]
    return [(str(name), str(value)) for name, value in pairs]


# ---------------------------------------------------------------------- what comes with a call

_TAGGING = {"sagemaker": "sagemaker:AddTags", "states": "states:TagResource", "sns": "sns:TagResource",
            "dynamodb": "dynamodb:TagResource", "monitoring": "cloudwatch:TagResource", "logs": "logs:TagResource",
            "events": "events:TagResource", "lambda": "lambda:TagResource", "iam": "iam:TagRole",
            "kms": "kms:TagResource", "ecr": "ecr:TagResource"}  # fmt: skip
_PASSED = {
    "sagemaker": ("sagemaker.amazonaws.com", ("RoleArn", "ExecutionRoleArn", "TrainingJobDefinition.RoleArn")),
    "states": ("states.amazonaws.com", ("roleArn",)),
    "lambda": ("lambda.amazonaws.com", ("Role",)),
    "events": ("events.amazonaws.com", ("RoleArn",)),
    "cloudformation": ("cloudformation.amazonaws.com", ("RoleARN",)),
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
    for path in parameters:
        role_arn = call.text(path)
        if role_arn and role_arn.startswith("arn:"):
            yield Access("iam:PassRole", role_arn, {"iam:passedtoservice": (service,)})
            refusal = _CANNOT_ASSUME.get(call.service)
            said = (refusal[0], refusal[1].format(role=role_arn)) if refusal else None
            yield Access("sts:AssumeRole", role_arn, service=service, refusal=said)


def _with_tags(call: Call, found: Sequence[Access]) -> Iterator[Access]:
    """A thing that is made with tags needs the permission to tag it, too."""
    if _tags(call) and call.operation.startswith(("Create", "Put")) and call.service in _TAGGING:
        yield Access(_TAGGING[call.service], found[0].resource, found[0].context)


def _states(call: Call, place: Place) -> Iterator[Access]:
    yield from _of_table(call, place)
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
    **dict.fromkeys(_TABLES, _of_table),
    "states": _states,
    "apigateway": _apigateway,
    "s3": _s3,
}
