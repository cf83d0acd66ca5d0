"""The environments: what the parameter files make of the template, in which they differ, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from local_aws.cloudformation_template import TemplateError
from tests.pipelines.rendered_stack import IMAGE, RESOURCES, ROOT, TEMPLATE, parameters, rendered

DIFFERENCES = {
    r".*\.Tags\[\d\]\.Value|Budget\..*\.ResourceTags.*": "costs are told apart by environment",
    r"\w+Table\.Properties\.DeletionProtectionEnabled": "production's data are not deleted by mistake",
    r"LookupApiFunction\.Properties\.Environment\.Variables\.FEEDBACK_DAYS": "a test's feedback is of no later use",
    r"LookupApiFunction\.Properties\.ReservedConcurrentExecutions": "test environments do not take from the account's",
    r"\w+Logs\.Properties\.RetentionInDays": "a test's logs are of no later use",
    r"AccessLogsBucket\..*\.ExpirationInDays": "a test's logs are of no later use",
    r"LookupApiStage\.Properties\.MethodSettings\[0\]\.Throttling(Rate|Burst)Limit": "production has the callers",
    r"(Analysts|Systems)UsagePlan\.Properties\.(Throttle|Quota)\..*": "production has the callers",
    r"LookupApiStage\.Properties\.StageName": "the stage is called as the environment",
    r"LookupApiMayInvoke\w+\.Properties\.SourceArn": "the stage is called as the environment",
    r"LookupApi\w+\.Properties\.(Dimensions|Metrics)\[\d\].*\.Value": "the stage is called as the environment",
    r"Dashboard\.Properties\.DashboardBody": "the stage is called as the environment",
    r"Budget\..*": "a test environment is gone before a month is over",
}
"""Where the environments may differ, and why; whatever else differs was not meant to."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar with its place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{number}]")
    else:
        yield path, value


@pytest.fixture(scope="module")
def differing() -> set[str]:
    """The places in which the two environments differ, as their parameter files are, under one name."""
    test, production = (dict(leaves(rendered(parameters(name)))) for name in ("test", "production"))
    return {place for place in test.keys() | production.keys() if test.get(place) != production.get(place)}


def test_the_environments_differ_only_where_they_are_meant_to(differing: set[str]) -> None:
    """What was tested is what runs in production, but for limits, retention and names."""
    unintended = sorted(place for place in differing if not any(re.fullmatch(one, place) for one in DIFFERENCES))
    assert unintended == []


@pytest.mark.parametrize("pattern", DIFFERENCES)
def test_every_difference_that_is_allowed_is_there(differing: set[str], pattern: str) -> None:
    """One that is not would let another through later."""
    assert any(re.fullmatch(pattern, place) for place in differing)


@pytest.mark.parametrize("environment", ["test", "production"])
def test_an_environment_has_what_its_file_says(environment: str) -> None:
    """The template takes the file, and the environment in it is the one that the file is called after."""
    given = parameters(environment)
    assert given["Environment"] == environment
    assert rendered(given)["LookupApiStage"]["Properties"]["StageName"] == environment
    # The account's own things belong to no environment: the first to go would take them from the other.
    assert (given["ApiGatewayAccountRole"], given["JobLogGroups"]) == ("existing", "existing")


def test_several_environments_stand_in_one_account() -> None:
    """No two stacks name a thing alike: every name that is given has the stack's in it, or is inside such a thing."""
    own = {
        # Names inside of something else.
        *("LookupApiStage.StageName", "LookupApiLiveAlias.Name", "LookupApiCanaryAlias.Name"),
        *("EndpointScalingPolicy.PolicyName", "JobVpcPolicy.PolicyName", "JobExportsPolicy.PolicyName"),
        *("ValidateRequestExportsPolicy.PolicyName", "ExportsKeyPolicy.PolicyName"),
    }
    account = {f"{kind}JobLogs.LogGroupName" for kind in ("Training", "Processing", "Transform")}  # one stack has them
    one, other = (rendered(everything(), name) for name in ("topic-model-one", "topic-model-other"))
    assert one.keys() == RESOURCES.keys()
    alike = set()
    for name, resource in one.items():
        for key, value in resource["Properties"].items():
            is_name = re.fullmatch(r"(\w*Name|AliasName|Name)", key) and isinstance(value, str)
            if is_name and not value.startswith("<") and value == other[name]["Properties"][key]:
                alike.add(f"{name}.{key}")
    of_aws = {place for place in alike if place.endswith((".ServiceName", ".MetricName"))}
    assert alike - of_aws == own | account


def everything() -> dict[str, str]:
    """Parameters with which every resource is made."""
    return parameters("production") | {
        "ApiGatewayAccountRole": "create",
        "EndpointMaxInstances": "4",
        "ExportsBucket": "exports-of-ours",
        "ExportsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef",
        "JobLogGroups": "create",
        "RetrainingExports": "s3://exports-of-ours/weekly/",
        "RetrainingSchedule": "cron(0 3 ? * MON *)",
        "RouteTableIds": "rtb-01234567",
        "SecurityGroupIds": "sg-01234567",
        "SubnetIds": "subnet-01234567,subnet-89abcdef",
        "VpcId": "vpc-01234567",
        "WebAclArn": "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/x/y",
    }


REFUSED = {
    "Environment": ["staging", ""],
    "ImageUri": ["topic-model:latest", IMAGE.partition("@")[0] + ":1.0"],
    "ExportsBucket": ["s3://exports", "exports/folder"],
    "ExportsKeyArn": ["alias/exports"],
    "LogRetentionDays": ["31", "for ever"],
    "JobLogGroups": ["yes"],
    "MonthlyBudgetUsd": ["-1", "2000000", "much"],
    "RetrainingSchedule": ["weekly", "0 3 * * 1", "rate(5 minutes)"],
    "RetrainingExports": ["s3://bucket/folder", "bucket/folder/"],
    "LookupApiConcurrency": ["-1", "1001"],
    "LookupApiCacheSize": ["1"],
    "LookupApiCanaryPercent": ["51", "-1"],
    "LookupApiStableVersion": ["$LATEST", "0"],
    "LookupApiStableDeployment": ["Deployment-1"],
    "ApiGatewayAccountRole": ["none"],
    "WebAclArn": ["my-acl"],
    "EndpointMaxInstances": ["1", "-2", "1000"],
    "EndpointRequestsPerInstance": ["0", "2000000"],
    "SubnetIds": ["subnet-1", "subnet-01234567, subnet-89abcdef"],
    "SecurityGroupIds": ["default"],
    "VpcId": ["default"],
    "RouteTableIds": ["main"],
}
"""Of every parameter, what it does not take."""


def test_every_parameter_has_its_limits_tried() -> None:
    """Whoever adds a parameter says what it does not take."""
    assert set(REFUSED) == set(TEMPLATE["Parameters"])


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_a_parameter_out_of_range_is_refused_in_words(name: str, value: str) -> None:
    """Before anything is made, by the parameter's name and what is expected of it."""
    with pytest.raises(TemplateError) as refusal:
        rendered(parameters("test") | {name: value})
    assert name in refusal.value.message
    assert TEMPLATE["Parameters"][name]["ConstraintDescription"] in refusal.value.message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"LookupApiCanaryPercent": "10"}, "A canary needs LookupApiStableVersion"),
        ({"LookupApiStableVersion": "3"}, "LookupApiStableVersion needs LookupApiStableDeployment"),
        ({"LookupApiStableDeployment": "abc123"}, "LookupApiStableDeployment needs LookupApiStableVersion"),
        ({"ExportsKeyArn": everything()["ExportsKeyArn"]}, "ExportsKeyArn needs ExportsBucket"),
        ({"RetrainingSchedule": "rate(7 days)"}, "RetrainingSchedule needs RetrainingExports"),
        ({"RetrainingExports": "s3://bucket/folder/"}, "RetrainingExports needs RetrainingSchedule"),
        ({"SubnetIds": "subnet-01234567"}, "SubnetIds needs SecurityGroupIds"),
        ({"SecurityGroupIds": "sg-01234567"}, "SecurityGroupIds needs SubnetIds"),
        ({"VpcId": "vpc-01234567"}, "VpcId needs RouteTableIds"),
        ({"RouteTableIds": "rtb-01234567"}, "RouteTableIds needs VpcId"),
        ({"VpcId": "vpc-01234567", "RouteTableIds": "rtb-01234567"}, "VpcId needs SubnetIds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parameters_that_do_not_go_together_are_refused(given: dict[str, str], words: str) -> None:
    """By a rule that says which other one is missing."""
    with pytest.raises(TemplateError, match=words):
        rendered(parameters("test") | given)


def test_every_parameter_condition_and_rule_is_used() -> None:
    """A parameter that changes nothing would be believed to."""
    text = json.dumps({name: TEMPLATE[name] for name in ("Conditions", "Resources", "Outputs")})
    referred = set(re.findall(r'"Ref": "(\w+)"', text)) | set(re.findall(r"\$\{(\w+)", text))
    assert set(TEMPLATE["Parameters"]) <= referred
    conditional = set(re.findall(r'"Fn::If": \["(\w+)"', text)) | set(re.findall(r'"Condition": "(\w+)"', text))
    assert set(TEMPLATE["Conditions"]) == conditional
    mapped = set(re.findall(r'"Fn::FindInMap": \["PerEnvironment", \{"Ref": "Environment"\}, "(\w+)"\]', text))
    for environment, values in TEMPLATE["Mappings"]["PerEnvironment"].items():
        assert set(values) == mapped, environment


def test_a_new_vpc_is_a_new_version_of_the_function() -> None:
    """A version is a snapshot: without another, the alias would go on serving from where it was before."""
    before = rendered(parameters("production"))["LookupApiVersion"]["Properties"]["Description"]
    after = rendered(everything())["LookupApiVersion"]["Properties"]["Description"]
    assert before != after


def test_parameter_files_are_what_codepipeline_takes() -> None:
    """A template configuration: parameters and tags as texts, and nothing else."""
    for path in (ROOT / "delivery" / "parameters").glob("*.json"):
        configuration = json.loads(path.read_text(encoding="utf-8"))
        assert configuration.keys() <= {"Parameters", "Tags", "StackPolicy"}
        assert all(isinstance(value, str) for value in configuration["Parameters"].values())
        assert all(isinstance(value, str) for value in configuration["Tags"].values())
