"""Hyperparameter tuning jobs, in a plain form: a seeded random search that really trains.

``Bayesian`` is accepted and searched at random too; ``Grid`` goes through categorical values in order.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from moto.sagemaker.exceptions import ValidationError

from local_aws.job_errors import JobFailedError, JobStoppedError
from local_aws.sagemaker_job import RUNNING, Job
from local_aws.sagemaker_training import TrainingJob

_COPIED = (
    "AlgorithmSpecification",
    "CheckpointConfig",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "EnableNetworkIsolation",
    "Environment",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "RoleArn",
    "StoppingCondition",
    "VpcConfig",
)
_OBJECTIVE_PARAMETER = "_tuning_objective_metric"  # what SageMaker adds to a tuned job's hyperparameters


class TuningJob(Job):
    """A hyperparameter tuning job."""

    kind = "HyperParameterTuning"
    slug = "hyper-parameter-tuning"
    start_field = "CreationTime"
    end_field = "HyperParameterTuningEndTime"
    training_jobs_key: ClassVar[str] = "Training"

    @property
    def _settings(self) -> Mapping[str, Any]:
        return dict(self.request["HyperParameterTuningJobConfig"])

    @property
    def _objective(self) -> Mapping[str, str]:
        return dict(self._settings["HyperParameterTuningJobObjective"])

    def check(self) -> None:
        """Refuses what cannot run here.

        Raises:
            ValidationError: names the parameter and what is supported.
        """
        request, settings = self.request, self._settings
        for name in ("TrainingJobDefinitions", "WarmStartConfig", "Autotune"):
            if request.get(name):
                raise ValidationError(message=f"{name} is not supported by the local AWS; leave it out")
        if "TrainingJobDefinition" not in request:
            raise ValidationError(message="TrainingJobDefinition is missing")
        if settings["Strategy"] not in ("Random", "Bayesian", "Grid"):
            raise ValidationError(message=f"Strategy {settings['Strategy']!r} is not supported; use Bayesian or Random")
        if "HyperParameterTuningJobObjective" not in settings:
            raise ValidationError(message="HyperParameterTuningJobObjective is missing")
        ranges = settings.get("ParameterRanges") or {}
        if not any(ranges.values()):
            raise ValidationError(message="ParameterRanges is empty; give at least one range")
        if settings["Strategy"] == "Grid" and set(ranges) - {"CategoricalParameterRanges"}:
            raise ValidationError(message="the strategy Grid takes CategoricalParameterRanges alone")
        for entry in [*ranges.get("ContinuousParameterRanges", []), *ranges.get("IntegerParameterRanges", [])]:
            _check_range(entry)
        limits = settings["ResourceLimits"]
        if settings["Strategy"] != "Grid" and "MaxNumberOfTrainingJobs" not in limits:
            raise ValidationError(message="ResourceLimits.MaxNumberOfTrainingJobs is missing")
        metrics = request["TrainingJobDefinition"]["AlgorithmSpecification"].get("MetricDefinitions") or []
        if self._objective["MetricName"] not in {metric["Name"] for metric in metrics}:
            raise ValidationError(
                message=f"the objective {self._objective['MetricName']!r} is none of the MetricDefinitions' names"
            )
        self._training_job(0, {}).check()

    def run(self) -> None:
        """Trains every trial, a few at a time.

        Raises:
            JobFailedError: no trial reported the objective.
            JobStoppedError: it was stopped, or ran out of time.
        """
        limits = self._settings["ResourceLimits"]
        parallel = threading.Semaphore(limits["MaxParallelTrainingJobs"])
        deadline = time.monotonic() + limits["MaxRuntimeInSeconds"] if "MaxRuntimeInSeconds" in limits else None
        threads: list[threading.Thread] = []
        for number, parameters in enumerate(self._trials(), start=1):
            while not parallel.acquire(timeout=0.2):
                if self.stop_asked or self._out_of_time(deadline):
                    break
            else:
                if not (self.stop_asked or self._out_of_time(deadline)):
                    thread = threading.Thread(target=self._trial, args=(number, parameters, parallel), daemon=True)
                    thread.start()
                    threads.append(thread)
                    continue
            break
        while any(thread.is_alive() for thread in threads):
            if self.stop_asked or self._out_of_time(deadline):
                self._stop_trials()
            for thread in threads:
                thread.join(0.2)
        if self._out_of_time(deadline):
            raise JobStoppedError("MaxRuntimeExceeded: the tuning job ran longer than ResourceLimits allow")
        self.check_stopped()
        if self.best() is None:
            raise JobFailedError(
                "ClientError: no training job succeeded and reported the objective "
                f"{self._objective['MetricName']!r}; see ListTrainingJobsForHyperParameterTuningJob"
            )

    @staticmethod
    def _out_of_time(deadline: float | None) -> bool:
        return deadline is not None and time.monotonic() > deadline

    def _stop_trials(self) -> None:
        for job in self.training_jobs():
            if job.status == "InProgress":
                try:
                    job.request_stop()
                except ValidationError:
                    continue  # it ended meanwhile

    def _trial(self, number: int, parameters: Mapping[str, str], parallel: threading.Semaphore) -> None:
        try:
            job = self._training_job(number, parameters)
            with self.store.lock:
                self.store.jobs[(job.kind, job.name)] = job
            job.prepare()
            job.run_to_end()
            self.update()
        finally:
            parallel.release()

    def _training_job(self, number: int, parameters: Mapping[str, str]) -> TrainingJob:
        definition = self.request["TrainingJobDefinition"]
        hyperparameters = {
            **(definition.get("StaticHyperParameters") or {}),
            **parameters,
            _OBJECTIVE_PARAMETER: self._objective["MetricName"],
        }
        request = {name: definition[name] for name in _COPIED if name in definition}
        request |= {
            "TrainingJobName": f"{self.name}-{number:03d}-{uuid.uuid4().hex[:8]}",
            "HyperParameters": hyperparameters,
        }
        job = TrainingJob(self.store, request)
        job.fields |= {"TuningJobArn": self.arn, "TunedHyperParameters": dict(parameters)}
        return job

    # ------------------------------------------------------------------ the search

    def _trials(self) -> Iterator[dict[str, str]]:
        """The hyperparameters of every trial, as strings; the same for the same job and seed."""
        ranges = self._settings.get("ParameterRanges") or {}
        most = self._settings["ResourceLimits"].get("MaxNumberOfTrainingJobs")
        if self._settings["Strategy"] == "Grid":
            entries = ranges["CategoricalParameterRanges"]
            grid = itertools.product(*(entry["Values"] for entry in entries))
            names = [entry["Name"] for entry in entries]
            for values in itertools.islice(grid, most):
                yield dict(zip(names, values, strict=True))
            return
        # Random's own version 2 hashing of a text is the same in every process.
        chance = random.Random(str(self._settings.get("RandomSeed", self.name)))  # noqa: S311 - a search, no secret
        for _ in range(most or 0):
            drawn = {}
            for entry in ranges.get("ContinuousParameterRanges", []):
                drawn[entry["Name"]] = repr(_drawn(chance, entry))
            for entry in ranges.get("IntegerParameterRanges", []):
                low, high = int(entry["MinValue"]), int(entry["MaxValue"])
                drawn[entry["Name"]] = str(min(high, max(low, round(_drawn(chance, entry)))))
            for entry in ranges.get("CategoricalParameterRanges", []):
                drawn[entry["Name"]] = chance.choice(entry["Values"])
            yield drawn

    # ------------------------------------------------------------------ what the API shows

    def training_jobs(self) -> list[TrainingJob]:
        """Its training jobs, the oldest first."""
        jobs = self.store.of_kind(self.training_jobs_key)
        return [job for job in jobs if isinstance(job, TrainingJob) and job.fields.get("TuningJobArn") == self.arn]

    def objective_of(self, job: TrainingJob) -> float | None:
        """The objective that a training job reported at its end."""
        if job.status in RUNNING:
            return None
        for metric in job.fields.get("FinalMetricDataList", []):
            if metric["MetricName"] == self._objective["MetricName"] and math.isfinite(metric["Value"]):
                return float(metric["Value"])
        return None

    def best(self) -> TrainingJob | None:
        """The completed training job with the best objective; the earliest of equals."""
        sign = -1 if self._objective["Type"] == "Maximize" else 1
        scored = [
            (sign * value, job)
            for job in self.training_jobs()
            if job.status == "Completed" and (value := self.objective_of(job)) is not None
        ]
        return min(scored, key=lambda pair: pair[0])[1] if scored else None

    def summary(self, job: TrainingJob) -> dict[str, Any]:
        """A training job as the tuning job lists it."""
        shown = job.describe()
        names = ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime", "TrainingStartTime",
                 "TrainingEndTime", "FailureReason", "TunedHyperParameters")  # fmt: skip
        summary = {name: shown[name] for name in names if name in shown}
        value = self.objective_of(job)
        if value is not None:
            summary["FinalHyperParameterTuningJobObjectiveMetric"] = {**self._objective, "Value": value}
        if job.status not in RUNNING:
            succeeded = value is not None and job.status == "Completed"
            summary["ObjectiveStatus"] = "Succeeded" if succeeded else "Failed"
        else:
            summary["ObjectiveStatus"] = "Pending"
        return summary

    def describe(self) -> dict[str, Any]:
        """The request, and how far the search is."""
        jobs = self.training_jobs()
        summaries = [self.summary(job) for job in jobs]
        shown = super().describe()
        shown["TrainingJobStatusCounters"] = {
            "Completed": sum(job.status == "Completed" for job in jobs),
            "InProgress": sum(job.status in RUNNING for job in jobs),
            "RetryableError": 0,
            "NonRetryableError": sum(job.status == "Failed" for job in jobs),
            "Stopped": sum(job.status == "Stopped" for job in jobs),
        }
        shown["ObjectiveStatusCounters"] = {
            name: sum(summary["ObjectiveStatus"] == name for summary in summaries)
            for name in ("Succeeded", "Pending", "Failed")
        }
        best = self.best()
        if best is not None:
            shown["BestTrainingJob"] = self.summary(best)
        return shown


def _check_range(entry: Mapping[str, str]) -> None:
    scaling = entry.get("ScalingType", "Auto")
    try:
        low, high = float(entry["MinValue"]), float(entry["MaxValue"])
    except ValueError as error:
        raise ValidationError(message=f"the range of {entry['Name']!r} is not of numbers") from error
    if not low <= high:
        raise ValidationError(message=f"the range of {entry['Name']!r} has a MinValue above its MaxValue")
    if scaling == "Logarithmic" and low <= 0:
        raise ValidationError(message=f"the range of {entry['Name']!r} is Logarithmic and must be above 0")
    if scaling == "ReverseLogarithmic" and not (low >= 0 and high < 1):
        raise ValidationError(message=f"the range of {entry['Name']!r} is ReverseLogarithmic and must be in [0, 1)")


def _drawn(chance: random.Random, entry: Mapping[str, str]) -> float:
    low, high = float(entry["MinValue"]), float(entry["MaxValue"])
    scaling = entry.get("ScalingType", "Auto")
    if scaling == "Logarithmic":
        return min(high, max(low, math.exp(chance.uniform(math.log(low), math.log(high)))))
    if scaling == "ReverseLogarithmic":
        return min(high, max(low, 1 - math.exp(chance.uniform(math.log(1 - high), math.log(1 - low)))))
    return chance.uniform(low, high)
