"""Tuning jobs: a random search over real training jobs of the toy container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws.config import LocalConfig
from tests.local_aws.toy_server import finished, get, put, toy_aws, training_request, wait_for


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    with toy_aws(tmp_path_factory.mktemp("tuning") / "root") as config:
        config.client("s3").create_bucket(Bucket="data")
        put(config, "data", in__a=b"hello")
        yield config


def request(name: str, *, trials: int = 4, static: Any = None, seed: int = 7, **settings: Any) -> dict[str, Any]:
    definition = training_request("unused")
    for left_out in ("TrainingJobName", "HyperParameters"):
        del definition[left_out]
    definition["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "objective", "Regex": "objective=([0-9.]+)"}]
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "objective"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {"Name": "x", "MinValue": "0.001", "MaxValue": "10", "ScalingType": "Logarithmic"}
                ],
                "IntegerParameterRanges": [{"Name": "steps", "MinValue": "1", "MaxValue": "3"}],
                "CategoricalParameterRanges": [{"Name": "colour", "Values": ["red", "blue"]}],
            },
            "RandomSeed": seed,
            **settings,
        },
        "TrainingJobDefinition": {**definition, "StaticHyperParameters": static or {}},
    }


def tune(aws: LocalConfig, name: str, **fields: Any) -> dict[str, Any]:
    aws.client("sagemaker").create_hyper_parameter_tuning_job(**request(name, **fields))
    return wait(aws, name)


def wait(aws: LocalConfig, name: str) -> dict[str, Any]:
    describe = aws.client("sagemaker").describe_hyper_parameter_tuning_job

    def look() -> Any:
        shown = describe(HyperParameterTuningJobName=name)
        return None if shown["HyperParameterTuningJobStatus"] in ("InProgress", "Stopping") else shown

    result: dict[str, Any] = wait_for(look)
    return result


def trials(aws: LocalConfig, name: str, **fields: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = aws.client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, **fields
    )["TrainingJobSummaries"]
    return listed


def test_the_best_training_job_has_the_best_objective(aws: LocalConfig) -> None:
    """The container prints x as the objective: the best trial is the one with the largest x, and all trials ran."""
    shown = tune(aws, "best")
    assert shown["HyperParameterTuningJobStatus"] == "Completed"
    assert shown["TrainingJobStatusCounters"]["Completed"] == shown["ObjectiveStatusCounters"]["Succeeded"] == 4
    found = trials(aws, "best")
    largest = max(found, key=lambda trial: float(trial["TunedHyperParameters"]["x"]))
    best = shown["BestTrainingJob"]
    assert best["TrainingJobName"] == largest["TrainingJobName"]
    value = best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert value == pytest.approx(float(best["TunedHyperParameters"]["x"]), abs=1e-6)
    assert get(aws, "data", f"training/{best['TrainingJobName']}/output/model.tar.gz")


def test_trials_are_within_the_ranges_and_the_same_for_the_same_seed(aws: LocalConfig) -> None:
    """Strings within the bounds; another seed draws others."""
    tune(aws, "seed-a", seed=1)
    tune(aws, "seed-b", seed=1)
    tune(aws, "seed-c", seed=2)
    drawn = {
        name: sorted(str(trial["TunedHyperParameters"]) for trial in trials(aws, name))
        for name in ("seed-a", "seed-b", "seed-c")
    }
    assert drawn["seed-a"] == drawn["seed-b"] != drawn["seed-c"]
    for trial in trials(aws, "seed-a"):
        told = trial["TunedHyperParameters"]
        assert 0.001 <= float(told["x"]) <= 10 and told["steps"] in "123" and told["colour"] in ("red", "blue")


def test_trials_are_listed_by_their_objective(aws: LocalConfig) -> None:
    """SortBy FinalObjectiveMetricValue, the largest first."""
    tune(aws, "listed")
    found = trials(aws, "listed", SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
    values = [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in found]
    assert values == sorted(values, reverse=True) and len(values) == 4


def test_a_search_whose_trials_all_fail_has_failed(aws: LocalConfig) -> None:
    """The reason names the objective that nobody reported."""
    shown = tune(aws, "hopeless", trials=2, static={"fail": "no"})
    assert shown["HyperParameterTuningJobStatus"] == "Failed"
    assert "'objective'" in shown["FailureReason"]
    assert shown["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    assert "BestTrainingJob" not in shown


def test_stopping_the_search_stops_its_trials(aws: LocalConfig) -> None:
    """Running trials end as Stopped, and no new one begins."""
    told = request("stopped", static={"sleep": "100"})
    told["HyperParameterTuningJobConfig"]["ParameterRanges"].pop("IntegerParameterRanges")
    told["TrainingJobDefinition"]["StaticHyperParameters"]["steps"] = "100"
    aws.client("sagemaker").create_hyper_parameter_tuning_job(**told)
    wait_for(lambda: len(trials(aws, "stopped")) == 2)
    aws.client("sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    assert wait(aws, "stopped")["HyperParameterTuningJobStatus"] == "Stopped"
    assert [trial["TrainingJobStatus"] for trial in trials(aws, "stopped")] == ["Stopped", "Stopped"]


def test_a_trial_is_a_training_job_like_any_other(aws: LocalConfig) -> None:
    """Described with the tuning job's ARN, its own hyperparameters and the objective's name as SageMaker adds it."""
    arn = tune(aws, "members", trials=1, static={"note": "kept"})["HyperParameterTuningJobArn"]
    (trial,) = trials(aws, "members")
    shown = finished(aws, "training", trial["TrainingJobName"])
    assert shown["TuningJobArn"] == arn
    assert shown["HyperParameters"] == {
        "note": "kept", "_tuning_objective_metric": "objective", **trial["TunedHyperParameters"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"Strategy": "Hyperband"}, "Strategy 'Hyperband' is not supported"),
        ({"ParameterRanges": {}}, "ParameterRanges is empty"),
        (
            {"HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "absent"}},
            "'absent' is none of the MetricDefinitions",
        ),
        (
            {"ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "2", "MaxValue": "1"}]}},
            "MinValue above its MaxValue",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused(aws: LocalConfig, settings: dict[str, Any], message: str) -> None:
    """Validation errors, before anything runs."""
    with pytest.raises(ClientError, match=message):
        aws.client("sagemaker").create_hyper_parameter_tuning_job(**request("refused", **settings))


def test_the_longest_name_leaves_room_for_the_trials(aws: LocalConfig) -> None:
    """32 characters are allowed, and one more is refused."""
    assert tune(aws, "n" * 32, trials=1)["HyperParameterTuningJobStatus"] == "Completed"
    with pytest.raises(ClientError, match="length less than or equal to 32"):
        tune(aws, "n" * 33, trials=1)
