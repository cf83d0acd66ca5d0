"""Processing jobs: S3 inputs to folders, a container's run, folders to S3."""

from __future__ import annotations

import contextlib
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from local_aws.job_files import FolderSync, download, resolve_source, upload
from local_aws.sagemaker_job import Job


class ProcessingJob(Job):
    """A processing job."""

    kind = "Processing"
    slug = "processing"
    start_field = "ProcessingStartTime"
    end_field = "ProcessingEndTime"

    def check(self) -> None:
        """Refuses what cannot run here.

        Raises:
            ValidationError: names the parameter and what is supported.
        """
        if self.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] > 1:
            raise ValidationError(
                message="ClusterConfig.InstanceCount must be 1: the local AWS runs one instance a job"
            )
        names: set[str] = set()
        for entry in [*self.request.get("ProcessingInputs", []), *self._outputs()]:
            name = entry.get("InputName") or entry.get("OutputName")
            storage = entry.get("S3Input") or entry.get("S3Output")
            if storage is None:
                raise ValidationError(message=f"{name!r}: the local AWS knows S3Input and S3Output alone")
            if "LocalPath" not in storage:
                raise ValidationError(message=f"{name!r}: LocalPath is missing")
            self.local_path(storage["LocalPath"])
            if name in names:
                raise ValidationError(message=f"the input or output name {name!r} is given twice")
            names.add(name)

    def _outputs(self) -> list[dict[str, Any]]:
        return list((self.request.get("ProcessingOutputConfig") or {}).get("Outputs", []))

    def run(self) -> None:
        """Downloads, runs, and, if that succeeded, uploads.

        Raises:
            JobFailedError: a step failed; outputs that are uploaded at the end are not.
            JobStoppedError: it was stopped.
        """
        specification = self.request["AppSpecification"]
        self.write_config("config/processingjobconfig.json", {"ProcessingJobArn": self.arn, **self.request})
        self.write_config("config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
        for entry in self.request.get("ProcessingInputs", []):
            source = entry["S3Input"]
            download(self.s3, resolve_source(self.s3, source), self.local_path(source["LocalPath"]))
            self.check_stopped()
        outputs = [entry["S3Output"] for entry in self._outputs()]
        with contextlib.ExitStack() as syncing:
            for output in outputs:
                folder = self.local_path(output["LocalPath"])
                folder.mkdir(parents=True, exist_ok=True)
                if output.get("S3UploadMode") == "Continuous":
                    syncing.enter_context(FolderSync(self.s3, folder, output["S3Uri"]))
            self.execute(
                specification["ImageUri"],
                specification.get("ContainerArguments") or [],
                self.request.get("Environment") or {},
                entry_point=specification.get("ContainerEntrypoint") or [],
                max_seconds=(self.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds"),
            )
        for output in outputs:
            if output.get("S3UploadMode") != "Continuous":
                upload(self.s3, self.local_path(output["LocalPath"]), output["S3Uri"])

    def final_fields(self, status: str) -> dict[str, Any]:
        """The message that the container left, if any."""
        message = self.base_dir / "output" / "message"
        if status == "Completed" and message.is_file():
            with message.open(encoding="utf-8", errors="replace") as file:
                return {"ExitMessage": file.read(1024)}
        return {}
