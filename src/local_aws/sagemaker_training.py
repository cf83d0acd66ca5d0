"""Training jobs: channels and hyperparameters in, checkpoints and ``model.tar.gz`` out."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.sagemaker.exceptions import ValidationError

from local_aws.job_errors import JobFailedError, JobStoppedError
from local_aws.job_files import FolderSync, download, list_objects, resolve_source, upload, upload_archive
from local_aws.sagemaker_job import Job, compiled_metrics, final_metrics
from local_aws.saved_state import now

logger = logging.getLogger(__name__)

_NAMESPACE = "/aws/sagemaker/TrainingJobs"
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Resource released due to job exceeding its maximum runtime",
}


class TrainingJob(Job):
    """A training job."""

    kind = "Training"
    slug = "training"
    start_field = "TrainingStartTime"
    end_field = "TrainingEndTime"

    def check(self) -> None:
        """Refuses what cannot run here.

        Raises:
            ValidationError: names the parameter and what is supported.
        """
        request, algorithm = self.request, self.request["AlgorithmSpecification"]
        if "TrainingImage" not in algorithm:
            raise ValidationError(message="AlgorithmSpecification.TrainingImage is missing; the local AWS runs images")
        if request.get("ResourceConfig", {}).get("InstanceCount", 1) > 1:
            raise ValidationError(
                message="ResourceConfig.InstanceCount must be 1: the local AWS runs one instance a job"
            )
        modes = [algorithm["TrainingInputMode"], *(c.get("InputMode") for c in request.get("InputDataConfig", []))]
        if "Pipe" in modes:
            raise ValidationError(message="the input mode Pipe is not supported by the local AWS; use File or FastFile")
        for channel in request.get("InputDataConfig", []):
            source = channel["DataSource"].get("S3DataSource")
            if source is None or source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
                raise ValidationError(
                    message=f"channel {channel['ChannelName']!r}: the local AWS reads S3Prefix and ManifestFile alone"
                )
        if request.get("CheckpointConfig"):
            self.local_path(request["CheckpointConfig"].get("LocalPath", "/opt/ml/checkpoints"))
        condition = request.get("StoppingCondition", {})
        if request.get("EnableManagedSpotTraining") and "MaxWaitTimeInSeconds" not in condition:
            raise ValidationError(message="MaxWaitTimeInSeconds is required with EnableManagedSpotTraining")
        if condition.get("MaxWaitTimeInSeconds", 2**31) < condition.get("MaxRuntimeInSeconds", 0):
            raise ValidationError(message="MaxWaitTimeInSeconds must be at least MaxRuntimeInSeconds")
        compiled_metrics(algorithm.get("MetricDefinitions") or [])

    def run(self) -> None:
        """Downloads, trains, uploads.

        Raises:
            JobFailedError: a step failed.
            JobStoppedError: it was stopped; what it had written to ``/opt/ml/model`` is uploaded.
        """
        self._enter("Starting")
        self._write_contract()
        self._enter("Downloading")
        for channel in self.request.get("InputDataConfig", []):
            objects = resolve_source(self.s3, channel["DataSource"]["S3DataSource"])
            download(self.s3, objects, self.base_dir / "input" / "data" / channel["ChannelName"])
            self.check_stopped()
        self._enter("Training")
        stopped: JobStoppedError | None = None
        try:
            with self._checkpoints():
                self._train()
        except JobStoppedError as stop:
            stopped = stop
        finally:
            metrics = compiled_metrics(self.request["AlgorithmSpecification"].get("MetricDefinitions") or [])
            measured = final_metrics(self.log_path, metrics)
            self.update({"FinalMetricDataList": measured})
            self._publish(measured)
        if stopped is None or any((self.base_dir / "model").iterdir()):
            self._enter("Uploading")
            self._upload()
        if stopped is not None:
            raise stopped

    def _write_contract(self) -> None:
        """The configuration files and folders that a training container finds."""
        resources = self.request.get("ResourceConfig", {})
        instance = resources.get("InstanceType", "local")
        self.write_config("input/config/hyperparameters.json", self.request.get("HyperParameters") or {})
        channels = {}
        for channel in self.request.get("InputDataConfig", []):
            source = channel["DataSource"]["S3DataSource"]
            channels[channel["ChannelName"]] = {
                "TrainingInputMode": channel.get("InputMode", "File"),
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
        self.write_config("input/config/inputdataconfig.json", channels)
        group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": ["algo-1"]}
        self.write_config(
            "input/config/resourceconfig.json",
            {
                "current_host": "algo-1",
                "current_instance_type": instance,
                "current_group_name": "homogeneousCluster",
                "hosts": ["algo-1"],
                "instance_groups": [group],
                "network_interface_name": "eth0",
            },
        )
        for folder in ("input/data", "model", "output/data", "checkpoints"):
            (self.base_dir / folder).mkdir(parents=True, exist_ok=True)

    def _checkpoints(self) -> contextlib.AbstractContextManager[object]:
        """Brings back the checkpoints of an earlier attempt, and copies new ones to S3 while the job runs."""
        settings = self.request.get("CheckpointConfig")
        if not settings:
            return contextlib.nullcontext()
        folder = self.local_path(settings.get("LocalPath", "/opt/ml/checkpoints"))
        folder.mkdir(parents=True, exist_ok=True)
        prefix = settings["S3Uri"].rstrip("/") + "/"
        try:
            objects = list_objects(self.s3, prefix)
        except JobFailedError as nothing:
            if "No S3 objects found" not in str(nothing):
                raise
            objects = []
        download(self.s3, objects, folder)
        return FolderSync(self.s3, folder, prefix)

    def _train(self) -> None:
        algorithm = self.request["AlgorithmSpecification"]
        environment = {
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn,
            **(self.request.get("Environment") or {}),
        }
        entry_point = algorithm.get("ContainerEntrypoint") or []
        arguments = algorithm.get("ContainerArguments") or []
        self.execute(
            algorithm["TrainingImage"],
            arguments if entry_point else ["train", *arguments],
            environment,
            entry_point=entry_point,
            max_seconds=self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds"),
        )

    def _publish(self, measured: list[dict[str, Any]]) -> None:
        """Puts the metrics into CloudWatch, as the job's role; a refusal costs the metrics and not the job."""
        dimensions = [{"Name": "TrainingJobName", "Value": self.name}]
        data = [{**one, "Dimensions": dimensions} for one in measured]
        try:
            if data:
                self.caller.client("cloudwatch").put_metric_data(Namespace=_NAMESPACE, MetricData=data)
        except (ClientError, BotoCoreError, JobFailedError) as error:
            logger.warning("the metrics of training job %s are not in CloudWatch: %s", self.name, error)

    def _upload(self) -> None:
        output = self.request["OutputDataConfig"]
        base = f"{output['S3OutputPath'].rstrip('/')}/{self.name}/output"
        if output.get("CompressionType") == "NONE":
            artifacts = f"{base}/model/"
            upload(self.s3, self.base_dir / "model", artifacts)
        else:
            artifacts = f"{base}/model.tar.gz"
            upload_archive(self.s3, self.base_dir / "model", artifacts)
        if any((self.base_dir / "output" / "data").iterdir()):
            upload_archive(self.s3, self.base_dir / "output" / "data", f"{base}/output.tar.gz")
        self.update({"ModelArtifacts": {"S3ModelArtifacts": artifacts}})

    def _enter(self, phase: str) -> None:
        self.update(self._transition(phase))

    def _transition(self, phase: str) -> dict[str, Any]:
        moment = now()
        transitions = [dict(entry) for entry in self.fields.get("SecondaryStatusTransitions", [])]
        if transitions:
            transitions[-1].setdefault("EndTime", moment)
        transitions.append({"Status": phase, "StartTime": moment, "StatusMessage": _MESSAGES[phase]})
        if phase in ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded"):
            transitions[-1]["EndTime"] = moment
        return {"SecondaryStatus": phase, "SecondaryStatusTransitions": transitions}

    def final_fields(self, status: str) -> dict[str, Any]:
        """The last transition and the seconds that AWS would bill."""
        started, phases = None, self.fields.get("SecondaryStatusTransitions", [])
        for entry in phases:
            started = started or entry["StartTime"]
        seconds = max(1, round((now() - started).total_seconds())) if started else 1
        phase = status
        if status == "Stopped" and not self.stop_asked:
            phase = "MaxRuntimeExceeded"
        return {**self._transition(phase), "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
