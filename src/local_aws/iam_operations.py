"""Services whose calls name their resource: which operation is about what, by the Service Authorization Reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from local_aws.iam_access import Place
from local_aws.iam_calls import Call

Resources = str | Callable[[Call, Place], Sequence[str]] | None
"""The rest of an ARN, ``{Parameter}`` standing for the parameter's value (an ARN stays one); None for ``*``."""
Operations = Mapping[str, Resources]


def _all(names: str, resources: Resources = None) -> dict[str, Resources]:
    """The same for operations by their names, between blanks."""
    return dict.fromkeys(names.split(), resources)


def _listed(parameter: str, prefix: str) -> Callable[[Call, Place], Sequence[str]]:
    """What a list names; all there is where it names nothing."""
    return lambda call, _: [f"{prefix}{name}" for name in call.params.get(parameter) or ["*"]]


def _named(parameter: str, prefix: str) -> Callable[[Call, Place], Sequence[str]]:
    """What a parameter names, by name or ARN; all there is where it is not given."""

    def resources(call: Call, place: Place) -> Sequence[str]:
        del place
        name = str(call.params.get(parameter) or "*")
        return [name if name.startswith("arn:") else f"{prefix}{name}"]

    return resources


# ---------------------------------------------------------------------- SageMaker


def _endpoint_and_config(call: Call, place: Place) -> Sequence[str]:
    del place
    return [f"endpoint/{call.text('EndpointName')}", f"endpoint-config/{call.text('EndpointConfigName')}"]


def _package_in_group(call: Call, place: Place) -> Sequence[str]:
    del place
    group = call.text("ModelPackageGroupName")
    return [f"model-package-group/{group}", f"model-package/{group}/*"]


def _sagemaker() -> Operations:
    found: dict[str, Resources] = {
        **_all("AddTags DeleteTags ListTags", "{ResourceArn}"),
        **_all("CreateEndpoint UpdateEndpoint", _endpoint_and_config),
        **_all("InvokeEndpoint UpdateEndpointWeightsAndCapacities", "endpoint/{EndpointName}"),
        **_all("CreateModelPackage", _package_in_group),
        **_all("DescribeModelPackage DeleteModelPackage", "{ModelPackageName}"),
        **_all("UpdateModelPackage", "{ModelPackageArn}"),
        **_all("ListModelPackages", _named("ModelPackageGroupName", "model-package-group/")),
        "ListTrainingJobsForHyperParameterTuningJob": "hyper-parameter-tuning-job/{HyperParameterTuningJobName}",
    }
    slugs = {"ProcessingJob": "processing-job", "TrainingJob": "training-job", "TransformJob": "transform-job",
             "HyperParameterTuningJob": "hyper-parameter-tuning-job", "Model": "model", "Endpoint": "endpoint",
             "EndpointConfig": "endpoint-config", "ModelPackageGroup": "model-package-group"}  # fmt: skip
    for kind, slug in slugs.items():
        verbs = ("Create", "Describe", "Stop") if kind.endswith("Job") else ("Create", "Describe", "Delete")
        for verb in verbs:
            found.setdefault(f"{verb}{kind}", f"{slug}/{{{kind}Name}}")
        found[f"List{kind}s"] = None
    return found


# ---------------------------------------------------------------------- others


def _tables(call: Call, place: Place) -> Sequence[str]:
    del place
    return [_table(name) for name in call.params.get("RequestItems") or {}]


def _table(name: str) -> str:
    return name if name.startswith("arn:") else f"table/{name}"


def _table_or_index(call: Call, place: Place) -> Sequence[str]:
    del place
    table, index = _table(str(call.params.get("TableName"))), call.text("IndexName")
    return [f"{table}/index/{index}" if index else table]


def _function(call: Call, place: Place) -> Sequence[str]:
    del place
    name, qualifier = str(call.text("FunctionName")), call.text("Qualifier")
    function = name if name.startswith(("arn:", "function:")) else f"function:{name}"
    return [f"{function}:{qualifier}" if qualifier else function]


def _dashboards(call: Call, place: Place) -> Sequence[str]:
    names = call.params.get("DashboardNames") or [call.text("DashboardName")]
    return [f"arn:aws:cloudwatch::{place.account}:dashboard/{name}" for name in names]


def _secret(call: Call, place: Place) -> Sequence[str]:
    """A secret's ARN ends in letters that its name does not have."""
    from moto.secretsmanager.models import secretsmanager_backends

    name = str(call.text("SecretId"))
    found = secretsmanager_backends[place.account][place.region].secrets.get(name)
    return [str(found.arn) if found is not None else name if name.startswith("arn:") else f"secret:{name}"]


def _queue(call: Call, place: Place) -> Sequence[str]:
    del place
    return [str(call.text("QueueName") or str(call.text("QueueUrl")).rpartition("/")[2])]


def _stack(call: Call, place: Place) -> Sequence[str]:
    del place
    name = call.text("StackName") or "*"
    return [name if name.startswith("arn:") else f"stack/{name}/*"]


_FUNCTION, _LOG_GROUP, _TAGS = "function:{FunctionName}", "log-group:{logGroupName}:log-stream:", "{ResourceArn}"
_MACHINE, _EXECUTION, _ALARM, _TABLE = "{stateMachineArn}", "{executionArn}", "alarm:{AlarmName}", "table/{TableName}"

OPERATIONS: Mapping[str, tuple[str, Operations]] = {
    "sagemaker": ("sagemaker", _sagemaker()),
    "states": ("states", {
        **_all("UpdateStateMachine DeleteStateMachine DescribeStateMachine StartExecution StartSyncExecution "
               "ListExecutions ListStateMachineVersions ListStateMachineAliases", _MACHINE),
        **_all("DescribeExecution StopExecution GetExecutionHistory RedriveExecution ListMapRuns "
               "DescribeStateMachineForExecution", _EXECUTION),
        **_all("TagResource UntagResource ListTagsForResource", "{resourceArn}"),
        **_all("ListStateMachines SendTaskSuccess SendTaskFailure SendTaskHeartbeat ValidateStateMachineDefinition"),
        "CreateStateMachine": "stateMachine:{name}",
    }),
    "dynamodb": ("dynamodb", {
        **_all("GetItem PutItem UpdateItem DeleteItem CreateTable DescribeTable DeleteTable UpdateTable "
               "UpdateTimeToLive DescribeTimeToLive UpdateContinuousBackups DescribeContinuousBackups", _TABLE),
        **_all("Query Scan", _table_or_index), **_all("BatchGetItem BatchWriteItem", _tables),
        **_all("TagResource UntagResource ListTagsOfResource", _TAGS), "ListTables": None,
    }),
    "monitoring": ("cloudwatch", {
        **_all("DescribeAlarms DeleteAlarms", _listed("AlarmNames", "alarm:")),
        **_all("DescribeAlarmHistory", _named("AlarmName", "alarm:")), **_all("PutMetricAlarm SetAlarmState", _ALARM),
        **_all("TagResource UntagResource ListTagsForResource", "{ResourceARN}"),
        **_all("PutMetricData GetMetricData GetMetricStatistics ListMetrics ListDashboards"),
        **_all("PutDashboard GetDashboard DeleteDashboards", _dashboards),
    }),
    "logs": ("logs", {
        **_all("CreateLogGroup DeleteLogGroup DescribeLogStreams FilterLogEvents PutRetentionPolicy "
               "DeleteRetentionPolicy PutMetricFilter DeleteMetricFilter DescribeMetricFilters AssociateKmsKey",
               _LOG_GROUP),
        **_all("CreateLogStream PutLogEvents GetLogEvents", _LOG_GROUP + "{logStreamName}"),
        "DescribeLogGroups": "log-group::log-stream:",
        **_all("TagResource UntagResource ListTagsForResource", "{resourceArn}"),
        **_all("PutResourcePolicy DeleteResourcePolicy DescribeResourcePolicies"),
    }),
    "sns": ("sns", {
        **_all("Publish Subscribe GetTopicAttributes SetTopicAttributes DeleteTopic ListSubscriptionsByTopic",
               "{TopicArn}"),
        **_all("Unsubscribe SetSubscriptionAttributes",
               lambda call, _: [str(call.text("SubscriptionArn")).rpartition(":")[0]]),
        **_all("TagResource UntagResource ListTagsForResource", _TAGS),
        "CreateTopic": "{Name}", **_all("ListTopics ListSubscriptions"),
    }),
    "sqs": ("sqs", {
        **_all("CreateQueue DeleteQueue GetQueueUrl GetQueueAttributes SetQueueAttributes SendMessage ReceiveMessage "
               "DeleteMessage TagQueue UntagQueue ListQueueTags", _queue),
        "ListQueues": None,
    }),
    "events": ("events", {
        **_all("PutRule DeleteRule DescribeRule EnableRule DisableRule", "rule/{Name}"),
        **_all("PutTargets RemoveTargets ListTargetsByRule", "rule/{Rule}"),
        **_all("TagResource UntagResource ListTagsForResource", "{ResourceARN}"),
        "ListRules": None, "PutEvents": "event-bus/default",
    }),
    "scheduler": ("scheduler", {
        **_all("CreateSchedule GetSchedule UpdateSchedule DeleteSchedule",
               lambda call, _: [f"schedule/{call.text('GroupName') or 'default'}/{call.text('Name')}"]),
        **_all("CreateScheduleGroup GetScheduleGroup DeleteScheduleGroup", "schedule-group/{Name}"),
        "ListSchedules": None,
    }),
    "lambda": ("lambda", {
        "Invoke": _function,
        **_all("CreateFunction GetFunction GetFunctionConfiguration DeleteFunction UpdateFunctionCode "
               "UpdateFunctionConfiguration PublishVersion CreateAlias GetAlias UpdateAlias DeleteAlias ListAliases "
               "ListVersionsByFunction AddPermission RemovePermission GetPolicy PutFunctionConcurrency "
               "DeleteFunctionConcurrency GetFunctionConcurrency PutFunctionEventInvokeConfig "
               "DeleteFunctionEventInvokeConfig", _FUNCTION),
        **_all("ListTags TagResource UntagResource", "{Resource}"), "ListFunctions": None,
    }),
    "iam": ("iam", {
        **_all("CreateRole GetRole DeleteRole UpdateRole UpdateAssumeRolePolicy PutRolePolicy GetRolePolicy "
               "DeleteRolePolicy ListRolePolicies AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies TagRole "
               "UntagRole ListRoleTags PutRolePermissionsBoundary DeleteRolePermissionsBoundary", "role/{RoleName}"),
        **_all("GetPolicy GetPolicyVersion ListPolicyVersions DeletePolicy DeletePolicyVersion", "{PolicyArn}"),
        **_all("GetUser ListAccessKeys", "user/{UserName}"),
        "CreatePolicy": "policy/{PolicyName}", **_all("ListRoles ListPolicies"),
    }),
    "sts": ("sts", {"AssumeRole": "{RoleArn}"}),
    "kms": ("kms", {
        **_all("Encrypt Decrypt GenerateDataKey GenerateDataKeyWithoutPlaintext DescribeKey GetKeyPolicy PutKeyPolicy "
               "EnableKeyRotation GetKeyRotationStatus ScheduleKeyDeletion CancelKeyDeletion DisableKey EnableKey "
               "CreateGrant TagResource UntagResource ListResourceTags UpdateKeyDescription", _named("KeyId", "key/")),
        **_all("CreateAlias UpdateAlias", lambda call, _: [str(call.text("AliasName")),
                                                           f"key/{call.text('TargetKeyId')}"]),
        "DeleteAlias": "{AliasName}", **_all("CreateKey ListKeys ListAliases"),
    }),
    "secretsmanager": ("secretsmanager", {
        **_all("GetSecretValue PutSecretValue DescribeSecret UpdateSecret DeleteSecret TagResource UntagResource "
               "GetResourcePolicy", _secret),
        "CreateSecret": "secret:{Name}-*", **_all("ListSecrets GetRandomPassword"),
    }),
    "ssm": ("ssm", {
        **_all("GetParameter PutParameter DeleteParameter",
               lambda call, _: [f"parameter/{str(call.text('Name')).removeprefix('/')}"]),
    }),
    "ecr": ("ecr", {
        **_all("BatchCheckLayerAvailability BatchGetImage GetDownloadUrlForLayer DescribeImages PutImage "
               "DescribeImageScanFindings CreateRepository DeleteRepository SetRepositoryPolicy GetRepositoryPolicy "
               "PutLifecyclePolicy", "repository/{repositoryName}"),
        "GetAuthorizationToken": None,
    }),
    "budgets": ("budgets", {
        **_all("CreateBudget UpdateBudget DeleteBudget", lambda call, _: [
            f"budget/{(call.params.get('Budget') or {}).get('BudgetName') or call.text('BudgetName')}"]),
        "DescribeBudget": "budget/{BudgetName}",
    }),
    "cloudformation": ("cloudformation", {
        **_all("CreateStack UpdateStack DeleteStack DescribeStacks DescribeStackEvents DescribeStackResources "
               "DescribeStackResource ListStackResources CreateChangeSet DescribeChangeSet ExecuteChangeSet "
               "DeleteChangeSet GetTemplate", _stack),
        **_all("ValidateTemplate ListStacks ListExports"),
    }),
    "codepipeline": ("codepipeline", _all("PutJobSuccessResult PutJobFailureResult GetJobDetails AcknowledgeJob")),
    "ecs": ("ecs", {
        **_all("CreateCluster", "cluster/{clusterName}"),
        **_all("DeleteCluster UpdateCluster", _named("cluster", "cluster/")),
        **_all("DescribeClusters", _listed("clusters", "cluster/")),
        **_all("RegisterTaskDefinition DeregisterTaskDefinition DescribeTaskDefinition"),
    }),
    "application-autoscaling": ("application-autoscaling", {
        **_all("RegisterScalableTarget DeregisterScalableTarget PutScalingPolicy DeleteScalingPolicy",
               "scalable-target/*"),
        **_all("DescribeScalableTargets DescribeScalingPolicies"),
    }),
}  # fmt: skip
"""By signing name: the prefix of the service's actions, and what each operation is about."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "lambda:Invoke": ("lambda:InvokeFunction",),
    "budgets:CreateBudget": ("budgets:ModifyBudget",),
    "budgets:UpdateBudget": ("budgets:ModifyBudget",),
    "budgets:DeleteBudget": ("budgets:ModifyBudget",),
    "budgets:DescribeBudget": ("budgets:ViewBudget",),
}
"""Actions that are called otherwise than their operation."""

WITHOUT_REGION = frozenset({"iam", "budgets"})
"""Services whose ARNs have no region."""
