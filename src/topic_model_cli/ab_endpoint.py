"""An A/B test on an endpoint: two production variants with weights, each named for its model's version.

All that a test is stands in the endpoint's configuration: its variants ``A-<version>`` (what served before) and
``B-<version>``, their weights, when it began, and in a tag the difference that it is to find. It begins and ends by an
UpdateEndpoint without DeploymentConfig: SageMaker's blue/green update with all traffic at once. Its canary and linear
updates need variants of the same names before and behind, and B's weight limits what a bad model can do anyway.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from topic_model.ab_statistics import Plan
from topic_model.published import AB_TEST
from topic_model_cli.ab_models import AbTestError, challenger, lookup_model, published_version
from workflow_functions import aws
from workflow_functions.retire_models import ENDPOINT_TAG

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

AB_TEST_CONFIG = "-config-ab-"
"""What tells a test's configuration by its name; the Deploy workflow refuses to replace one."""
DETECT_TAG = "topic-model:ab-detect"
VARIANT_NAME = "AllTraffic"
"""Of an endpoint without a test, as the Deploy workflow names it; a canary keeps the name."""
WAIT_SECONDS = 3_600
POLL_SECONDS = 0.5

_VARIANT = re.compile(r"([AB])-([0-9a-f]{6,40})")
_KEPT_OF_CONFIG = ("DataCaptureConfig", "KmsKeyId", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")
_CHANGING = frozenset({"Creating", "Updating", "RollingBack", "SystemUpdating"})

Say = Callable[[str], object]


@dataclass(frozen=True)
class Names:
    """What a stack's endpoint and tables are called."""

    endpoint: str
    lookup_table: str
    feedback_table: str


@dataclass(frozen=True)
class Variant:
    """One side of a test."""

    name: str
    version: str
    model: str
    weight: float
    """Share of the traffic now, in [0, 1]."""


@dataclass(frozen=True)
class AbTest:
    """A test that is under way."""

    config: str
    started: dt.datetime
    a: Variant
    b: Variant
    plan: Plan
    status: str
    """The endpoint's."""

    def variant(self, side: str) -> Variant:
        """``A`` or ``B``."""
        return self.a if side == "A" else self.b


def find_test(endpoint: str) -> AbTest | None:
    """The test that is under way on an endpoint, if one is.

    Raises:
        AbTestError: there is no such endpoint.
    """
    shown = _describe(endpoint)
    name = shown["EndpointConfigName"]
    if AB_TEST_CONFIG not in name:
        return None
    config = aws.sagemaker().describe_endpoint_config(EndpointConfigName=name)
    now = {one["VariantName"]: one.get("CurrentWeight", 0.0) for one in shown.get("ProductionVariants", [])}
    planned = {one["VariantName"]: one.get("InitialVariantWeight", 0.0) for one in config["ProductionVariants"]}
    sides: dict[str, Variant] = {}
    for one in config["ProductionVariants"]:
        if (match := _VARIANT.fullmatch(one["VariantName"])) is None:
            raise AbTestError(f"variant {one['VariantName']!r} of {name} is none of an A/B test's: A-… or B-<version>")
        share = now.get(one["VariantName"], 0.0) / (sum(now.values()) or 1.0)
        sides[match[1]] = Variant(one["VariantName"], match[2], str(one.get("ModelName")), share)
    tags = aws.sagemaker().list_tags(ResourceArn=config["EndpointConfigArn"])["Tags"]
    detect = next((float(tag["Value"]) for tag in tags if tag["Key"] == DETECT_TAG), Plan.detect)
    plan = Plan(detect, planned[sides["B"].name] / sum(planned.values()))
    return AbTest(name, config["CreationTime"], sides["A"], sides["B"], plan, shown["EndpointStatus"])


def needed_test(endpoint: str) -> AbTest:
    """The test that is under way on an endpoint.

    Raises:
        AbTestError: none is, or there is no such endpoint.
    """
    if (test := find_test(endpoint)) is None:
        raise AbTestError(f"no A/B test is under way on endpoint {endpoint}")
    return test


def start(names: Names, plan: Plan, *, model: str | None = None, run: str | None = None, say: Say = print) -> AbTest:
    """Put a model beside the one that serves; ``model`` is a SageMaker model's name, ``run`` a run whose model it is.

    Raises:
        AbTestError: there is no such model, it is the one that serves, the endpoint is changing or has a test, or the
            new variants did not come into service; then the endpoint serves what it served. Where they take longer
            than is waited for, nothing is undone, and they may still come.
    """
    shown = _settled(names.endpoint)
    if AB_TEST_CONFIG in shown["EndpointConfigName"]:
        raise AbTestError(
            f"an A/B test is under way on endpoint {names.endpoint} ({shown['EndpointConfigName']}); end it with "
            "`topic-model ab stop --keep A` or B"
        )
    before = aws.sagemaker().describe_endpoint_config(EndpointConfigName=shown["EndpointConfigName"])
    if len(before["ProductionVariants"]) != 1:
        raise AbTestError(f"endpoint {names.endpoint} has {len(before['ProductionVariants'])} variants; expected one")
    [serving] = before["ProductionVariants"]
    published_version(names.lookup_table)  # a table that is not there is found before anything is made
    a = lookup_model(str(serving.get("ModelName")))
    prefix = shown["EndpointConfigName"].partition("-config-")[0]
    b, made = challenger(a, prefix, model, run)
    if a.version == b.version:
        what = f"model {b.name}" if run is None else f"run {run}"
        raise AbTestError(f"{what} is version {b.version}, which serves already; a test compares two versions")
    config = f"{prefix}{AB_TEST_CONFIG}{secrets.token_hex(4)}"
    weights = {f"A-{a.version[:40]}": 1 - plan.weight, f"B-{b.version[:40]}": plan.weight}
    instances = shown["ProductionVariants"][0].get("CurrentInstanceCount") or serving.get("InitialInstanceCount", 1)
    variants = [
        {
            **serving,
            "VariantName": variant,
            "ModelName": one.name,
            "InitialInstanceCount": instances,
            "InitialVariantWeight": weights[variant],
        }
        for variant, one in zip(weights, (a, b), strict=True)
    ]
    try:
        _create_config(config, names.endpoint, before, variants, {DETECT_TAG: str(plan.detect)})
        _assign(names, config, weights)
        say(f"endpoint {names.endpoint}: {' beside '.join(weights)} …")
        _update(names.endpoint, config)
    except (AbTestError, ClientError):
        if _undo(names.endpoint, config, b.name if made else None):
            _forget(names)
        raise
    test = find_test(names.endpoint)
    if test is None:
        raise AbTestError(f"endpoint {names.endpoint} no longer serves {config}; somebody else has changed it")
    return test


def decide(names: Names, keep: str) -> AbTest:
    """Give all traffic to one side of the test that is under way; the test.

    Raises:
        AbTestError: there is no test, or the endpoint is changing.
    """
    test = needed_test(names.endpoint)
    _settled(names.endpoint)
    kept, other = test.variant(keep), test.variant("B" if keep == "A" else "A")
    _forget(names)
    aws.sagemaker().update_endpoint_weights_and_capacities(
        EndpointName=names.endpoint,
        DesiredWeightsAndCapacities=[
            {"VariantName": kept.name, "DesiredWeight": 1.0},
            {"VariantName": other.name, "DesiredWeight": 0.0},
        ],
    )
    _wait(names.endpoint, test.config)
    return test


def end(names: Names, test: AbTest, keep: str) -> str:
    """Make the side that has all traffic the endpoint's only variant again; the new configuration's name.

    Raises:
        AbTestError: the endpoint is changing, or did not take the change; deciding and ending again finishes it.
    """
    shown, kept = _settled(names.endpoint), test.variant(keep)
    before = aws.sagemaker().describe_endpoint_config(EndpointConfigName=test.config)
    [side] = [one for one in before["ProductionVariants"] if one["VariantName"] == kept.name]
    counts = {one["VariantName"]: one.get("CurrentInstanceCount") for one in shown["ProductionVariants"]}
    variant = {
        **side,
        "VariantName": VARIANT_NAME,
        "InitialInstanceCount": counts.get(kept.name) or side.get("InitialInstanceCount", 1),
        "InitialVariantWeight": 1.0,
    }
    config = f"{test.config.partition(AB_TEST_CONFIG)[0]}-config-{secrets.token_hex(4)}"
    try:
        _create_config(config, names.endpoint, before, [variant], {})
        _update(names.endpoint, config)
    except (AbTestError, ClientError):
        _undo(names.endpoint, config, None)
        raise
    return config


def _describe(endpoint: str) -> DescribeEndpointOutputTypeDef:
    try:
        return aws.sagemaker().describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if "ould not find" not in str(error):
            raise
        raise AbTestError(f"there is no endpoint {endpoint}; deploy a model first (`topic-model run`)") from error


def _settled(endpoint: str) -> DescribeEndpointOutputTypeDef:
    shown = _describe(endpoint)
    if shown["EndpointStatus"] in _CHANGING:
        raise AbTestError(
            f"endpoint {endpoint} is {shown['EndpointStatus']}: a deployment is under way; try again when it is over"
        )
    if shown["EndpointStatus"] != "InService":
        reason = (shown.get("FailureReason") or "SageMaker gives no reason").strip()
        raise AbTestError(f"endpoint {endpoint} is {shown['EndpointStatus']}; deploy a model first: {reason}")
    return shown


def _create_config(name: str, endpoint: str, like: Any, variants: list[dict[str, Any]], tags: dict[str, str]) -> None:
    """A configuration with the variants, and all else as another one has it."""
    kept = {key: like[key] for key in _KEPT_OF_CONFIG if like.get(key)}
    aws.sagemaker().create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=variants,  # type: ignore[arg-type]  # as DescribeEndpointConfig gave them
        Tags=[{"Key": key, "Value": value} for key, value in {ENDPOINT_TAG: endpoint, **tags}.items()],
        **kept,
    )


def _update(endpoint: str, config: str) -> None:
    aws.sagemaker().update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    _wait(endpoint, config)


def _wait(endpoint: str, config: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while (shown := _describe(endpoint))["EndpointStatus"] in _CHANGING:
        if time.monotonic() > deadline:
            raise AbTestError(f"endpoint {endpoint} is still {shown['EndpointStatus']} after {WAIT_SECONDS} s")
        time.sleep(POLL_SECONDS)
    if shown["EndpointStatus"] != "InService" or shown["EndpointConfigName"] != config:
        reason = (shown.get("FailureReason") or "SageMaker gives no reason").strip()
        raise AbTestError(
            f"endpoint {endpoint} is {shown['EndpointStatus']} on {shown['EndpointConfigName']} and does not serve "
            f"{config}: {reason}"
        )


def _undo(endpoint: str, config: str, model: str | None) -> bool:
    """Delete what was made for an update that did not come about; what is not there, or still used, stays.

    False where the endpoint serves the configuration or may yet come to: then nothing is deleted.
    """
    try:
        shown = _describe(endpoint)
    except (AbTestError, ClientError):
        return False  # nobody knows what it serves
    pending = shown.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
    if config in (shown["EndpointConfigName"], pending) or (shown["EndpointStatus"] in _CHANGING and pending is None):
        return False
    for delete, name in ((_delete_config, config), (_delete_model, model)):
        try:
            if name is not None:
                delete(name)
        except ClientError:
            continue
    return True


def _delete_config(name: str) -> None:
    aws.sagemaker().delete_endpoint_config(EndpointConfigName=name)


def _delete_model(name: str) -> None:
    aws.sagemaker().delete_model(ModelName=name)


def _key() -> dict[str, Any]:
    return {"campaign_id": {"S": AB_TEST}, "model_version": {"S": AB_TEST}}


def _assign(names: Names, config: str, weights: dict[str, float]) -> None:
    """Let the lookup API assign questions to variants (``lookup_api.assignment``)."""
    variants = {name: {"N": str(weight)} for name, weight in weights.items()}
    item: dict[str, Any] = {"endpoint": {"S": names.endpoint}, "config": {"S": config}, "variants": {"M": variants}}
    aws.dynamodb().put_item(TableName=names.lookup_table, Item={**_key(), **item})


def _forget(names: Names) -> None:
    aws.dynamodb().delete_item(TableName=names.lookup_table, Key=_key())
