"""The functions of the Deploy workflow, on a local AWS: what they say of a deployment, and what they remove."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local_aws.config import LocalConfig
from pipelines.states import expressions
from pipelines.workflows import DEPLOY
from tests.local_aws.toy_server import archive, make_endpoint, make_model, put, settled, toy_aws
from workflow_functions import aws as clients
from workflow_functions import explain_deployment, retire_models
from workflow_functions.errors import RetirementError
from workflow_functions.retire_models import ENDPOINT_TAG

ENDPOINT = "e"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    with toy_aws(tmp_path_factory.mktemp("functions") / "root") as config, pytest.MonkeyPatch.context() as patch:
        for name, value in config.environment().items():
            patch.setenv(name, value)
        made = (clients.sagemaker, clients.cloudwatch)
        for client in made:
            client.cache_clear()
        config.client("s3").create_bucket(Bucket="models")
        put(config, "models", good=archive("weights"))
        configure(config, "first")
        make_endpoint(config, ENDPOINT, name_of("first"))
        yield config
        for client in made:
            client.cache_clear()


def name_of(model: str) -> str:
    return f"tm-x-config-{model}"


def configure(config: LocalConfig, model: str, *, endpoint: str = ENDPOINT) -> None:
    """A model, its tagged configuration, and one of the configuration's alarms."""
    make_model(config, model)
    variant = {"VariantName": "v", "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    config.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name_of(model),
        ProductionVariants=[variant],
        Tags=[{"Key": ENDPOINT_TAG, "Value": endpoint}],
    )
    config.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{name_of(model)}-latency", Namespace="n", MetricName="m", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
    )  # fmt: skip


def serve(config: LocalConfig, model: str) -> None:
    config.client("sagemaker").update_endpoint(EndpointName=ENDPOINT, EndpointConfigName=name_of(model))
    settled(config, ENDPOINT)


def there(config: LocalConfig) -> tuple[set[str], set[str], set[str]]:
    """Models, configurations, and configurations with an alarm."""
    sagemaker = config.client("sagemaker")
    alarms = config.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return (
        {entry["ModelName"] for entry in sagemaker.list_models()["Models"]},
        {entry["EndpointConfigName"] for entry in sagemaker.list_endpoint_configs()["EndpointConfigs"]},
        {alarm["AlarmName"].removesuffix("-latency") for alarm in alarms},
    )


def test_a_rollback_is_explained_by_the_alarm_that_fired(aws: LocalConfig) -> None:
    """The cause names both configurations, the alarm and why it fired; without one, that nothing is known."""
    configure(aws, "unloved")
    event = {"endpoint": ENDPOINT, "config": name_of("unloved")}
    quiet = explain_deployment.handler(event, None)["cause"]
    assert "does not serve tm-x-config-unloved; no alarm fired and SageMaker gives no reason" in quiet
    alarm = f"{name_of('unloved')}-latency"
    aws.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="it took 3 s")
    answer = explain_deployment.handler(event, None)
    assert f"went back to {name_of('first')}" in answer["cause"]
    assert answer["cause"].endswith(f"alarm {alarm} fired: it took 3 s")
    state = json.loads(DEPLOY.rendered_path.read_text())["States"]["ExplainRollback"]
    assert {path.removeprefix("$.Payload.") for path in expressions(state["ResultSelector"])} == set(answer)
    assert {key.removesuffix(".$") for key in state["Parameters"]["Payload"]} == set(event)


def test_what_served_long_ago_and_what_never_did_is_removed(aws: LocalConfig) -> None:
    """The last ones that served stay, whatever was rolled back in between; other endpoints' are not touched."""
    configure(aws, "others", endpoint="another")
    event: dict[str, Any] = {"endpoint": ENDPOINT, "retained": 2, "before": "none"}
    for model in ("second", "rejected", "third"):
        configure(aws, model)
        if model != "rejected":
            serve(aws, model)
            answer = retire_models.handler(event | {"config": name_of(model)}, None)
    configure(aws, "coming")
    again = retire_models.handler(event | {"config": name_of("third")}, None)
    assert answer["kept"] == again["kept"] == [name_of("second"), name_of("third")] and again["retired"] == []
    models, configs, alarms = there(aws)
    assert models == {"second", "third", "others", "coming"}
    assert configs == alarms == {name_of(model) for model in models}
    state = json.loads(DEPLOY.rendered_path.read_text())["States"]["RetireModels"]
    assert set(state["Parameters"]["Payload"]) == {"endpoint", "config.$", "before.$", "retained"}
    assert {path.removeprefix("$.Payload.") for path in expressions(state["ResultSelector"])} == set(answer)


def test_what_served_just_before_counts_though_its_deployment_was_cut_short(aws: LocalConfig) -> None:
    """An execution that was stopped in its bake leaves a model that serves without a mark: it is not thrown away."""
    for model in ("unmarked", "newest"):
        configure(aws, model)
        serve(aws, model)
    event = {"endpoint": ENDPOINT, "config": name_of("newest"), "before": name_of("unmarked"), "retained": 2}
    assert retire_models.handler(event, None)["kept"] == [name_of("newest"), name_of("unmarked")]


def test_nothing_is_removed_for_a_configuration_that_does_not_serve(aws: LocalConfig) -> None:
    """Another deployment may have come in between: its model must stay."""
    before = there(aws)
    with pytest.raises(RetirementError, match="and not tm-x-config-coming; nothing was removed"):
        retire_models.handler(
            {"endpoint": ENDPOINT, "config": name_of("coming"), "before": "none", "retained": 1}, None
        )
    assert there(aws) == before
