"""Processing and training jobs: through boto3, against real processes of the toy container."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from local_aws.config import LocalConfig
from tests.local_aws.toy_server import (
    finished,
    get,
    keys,
    log_text,
    processing_request,
    put,
    toy_aws,
    training_request,
    wait_for,
)
from tests.small_disk import fill, small_disk


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalConfig]:
    with toy_aws(tmp_path_factory.mktemp("jobs") / "root") as config:
        config.client("s3").create_bucket(Bucket="data")
        put(config, "data", in__a=b"hello", in__sub__b=b"world")
        yield config


def process(aws: LocalConfig, name: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    aws.client("sagemaker").create_processing_job(**processing_request(name, *arguments, **fields))
    return finished(aws, "processing", name)


def train(aws: LocalConfig, name: str, **fields: Any) -> dict[str, Any]:
    aws.client("sagemaker").create_training_job(**training_request(name, **fields))
    return finished(aws, "training", name)


def log_of(aws: LocalConfig, kind: str, name: str) -> str:
    return log_text(aws, f"/aws/sagemaker/{kind}Jobs", f"{name}/")


def model_of(aws: LocalConfig, shown: dict[str, Any]) -> dict[str, Any]:
    bucket, _, key = shown["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    with tarfile.open(fileobj=io.BytesIO(get(aws, bucket, key))) as tar:
        member = tar.extractfile("model.json")
        assert member is not None
        content: dict[str, Any] = json.loads(member.read())
        return content


class TestProcessing:
    """Processing jobs."""

    def test_inputs_go_in_and_outputs_come_out(self, aws: LocalConfig) -> None:
        """Every object of the prefix is a file at its relative path, and every output file an object."""
        shown = process(aws, "plain", "go", "--channel", "google")
        assert shown["ProcessingJobStatus"] == "Completed"
        assert keys(aws, "data", "plain") == ["plain/a", "plain/sub/b"]
        assert get(aws, "data", "plain/sub/b") == b"WORLD"
        assert shown["ProcessingStartTime"] <= shown["ProcessingEndTime"]

    def test_the_request_is_echoed_and_the_log_is_in_cloudwatch(self, aws: LocalConfig) -> None:
        """Describe has the request's own fields; the container's lines, its arguments among them, are log events."""
        request = processing_request("echoed", "go", "--k", "3", Environment={"COLOUR": "red"})
        aws.client("sagemaker").create_processing_job(**request)
        shown = finished(aws, "processing", "echoed")
        assert {name: shown[name] for name in request} == request
        assert "arguments ['go', '--k', '3'] job echoed" in log_of(aws, "Processing", "echoed")

    def test_outputs_of_a_failed_job_are_not_uploaded(self, aws: LocalConfig) -> None:
        """What a failing container left half-written stays out of S3; the reason has the code and the log's end."""
        shown = process(aws, "half", "fail")
        assert shown["ProcessingJobStatus"] == "Failed"
        assert shown["FailureReason"].startswith("AlgorithmError: ")
        assert "about to fail" in shown["FailureReason"] and shown["FailureReason"].endswith("exit code: 3")
        assert keys(aws, "data", "half") == []

    @pytest.mark.parametrize("uri", ["s3://data/absent/", "s3://no-such-bucket/in/"])
    def test_a_missing_input_is_the_clients_error_and_named(self, aws: LocalConfig, uri: str) -> None:
        """The job fails before its container starts."""
        name = "missing-" + uri.split("/")[2]
        request = processing_request(name, "go")
        request["ProcessingInputs"][0]["S3Input"]["S3Uri"] = uri
        aws.client("sagemaker").create_processing_job(**request)
        shown = finished(aws, "processing", name)
        assert shown["FailureReason"].startswith("ClientError: Data download failed") and uri in shown["FailureReason"]

    def test_a_stopped_job_leaves_no_process(self, aws: LocalConfig) -> None:
        """Stop ends the container and the child that it started."""
        aws.client("sagemaker").create_processing_job(**processing_request("endless", "sleep"))
        log = aws.root / "sagemaker/jobs/processing/endless/log.txt"
        child = wait_for(lambda: log.exists() and log.read_text().partition("child ")[2].strip())
        aws.client("sagemaker").stop_processing_job(ProcessingJobName="endless")
        assert finished(aws, "processing", "endless")["ProcessingJobStatus"] == "Stopped"
        wait_for(lambda: not Path(f"/proc/{child}").exists())
        with pytest.raises(ClientError, match="is in status Stopped"):
            aws.client("sagemaker").stop_processing_job(ProcessingJobName="endless")

    def test_a_job_is_stopped_at_its_maximum_runtime(self, aws: LocalConfig) -> None:
        """The stopping condition ends the job and says so."""
        shown = process(aws, "too-long", "sleep", StoppingCondition={"MaxRuntimeInSeconds": 1})
        assert shown["ProcessingJobStatus"] == "Stopped"
        assert "MaxRuntimeExceeded" in shown["FailureReason"]

    def test_a_key_that_leads_out_of_the_folder_is_refused(self, aws: LocalConfig) -> None:
        """An object named ``../x`` writes no file beside the job's folder."""
        aws.client("s3").put_object(Bucket="data", Key="evil/../../../x", Body=b"x")
        request = processing_request("evil", "go")
        request["ProcessingInputs"][0]["S3Input"]["S3Uri"] = "s3://data/evil/"
        aws.client("sagemaker").create_processing_job(**request)
        shown = finished(aws, "processing", "evil")
        assert shown["ProcessingJobStatus"] == "Failed" and "'evil/../../../x'" in shown["FailureReason"]

    def test_an_entry_point_of_the_requests_own_runs(self, aws: LocalConfig) -> None:
        """ContainerEntrypoint replaces the image's, with paths below /opt/ml in their place."""
        aws.client("s3").put_object(Bucket="data", Key="code/run.py", Body=b"import sys; print('ran', sys.argv[1:])")
        request = processing_request("own", "--x", "1")
        request["AppSpecification"] |= {
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/in/run.py"],
            "ContainerArguments": ["--x", "1"],
        }
        request["ProcessingInputs"][0]["S3Input"]["S3Uri"] = "s3://data/code/"
        aws.client("sagemaker").create_processing_job(**request)
        assert finished(aws, "processing", "own")["ProcessingJobStatus"] == "Completed"
        assert "ran ['--x', '1']" in log_of(aws, "Processing", "own")


class TestTraining:
    """Training jobs."""

    def test_the_model_has_what_the_channels_and_hyperparameters_said(self, aws: LocalConfig) -> None:
        """Channels are folders, hyperparameters strings, and the model folder the archive's root."""
        put(aws, "data", corpus__a=b"hello")
        request = training_request("plain", hyperparameters={"steps": "3"})
        request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://data/corpus/"
        aws.client("sagemaker").create_training_job(**request)
        shown = finished(aws, "training", "plain")
        assert shown["TrainingJobStatus"] == "Completed"
        expected = {"channels": {"corpus/a": "hello"}, "hyperparameters": {"steps": "3"}}
        assert model_of(aws, shown) == expected

    def test_metrics_are_the_last_values_that_the_expressions_find(self, aws: LocalConfig) -> None:
        """The third step's loss is final: 1/3 as the container prints it."""
        shown = train(aws, "measured", hyperparameters={"steps": "3"})
        assert [(m["MetricName"], round(m["Value"], 4)) for m in shown["FinalMetricDataList"]] == [("loss", 0.3333)]

    def test_the_status_goes_through_its_phases(self, aws: LocalConfig) -> None:
        """Each phase ends where the next begins, and the times are billed."""
        shown = train(aws, "phases")
        phases = shown["SecondaryStatusTransitions"]
        assert [p["Status"] for p in phases] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
        assert all(a["EndTime"] == b["StartTime"] for a, b in itertools.pairwise(phases))
        assert shown["TrainingTimeInSeconds"] == shown["BillableTimeInSeconds"] >= 1

    def test_what_the_container_wrote_to_failure_is_the_reason(self, aws: LocalConfig) -> None:
        """The first 1,024 characters of output/failure, and the exit code."""
        shown = train(aws, "failing", hyperparameters={"fail": "b" * 2000, "code": "7"})
        assert shown["TrainingJobStatus"] == shown["SecondaryStatus"] == "Failed"
        assert shown["FailureReason"] == f"AlgorithmError: {'b' * 1024}, exit code: 7"

    def test_the_environment_is_minimal_and_has_the_jobs_own_variables(self, aws: LocalConfig) -> None:
        """The request's variables and the platform's are there; the server's own are not."""
        train(aws, "variables", Environment={"COLOUR": "red", "DATA": "/opt/ml/input/data"})
        line = log_of(aws, "Training", "variables").partition("environment ")[2].partition("\n")[0]
        environment = json.loads(line)
        assert environment["COLOUR"] == "red" and environment["TRAINING_JOB_NAME"] == "variables"
        assert environment["AWS_ENDPOINT_URL"] == aws.endpoint_url
        assert environment["DATA"] == f"{environment['SAGEMAKER_BASE_DIR']}/input/data"
        assert not [name for name in environment if name.startswith(("LOCAL_AWS", "PYTEST", "MOTO"))]

    def test_a_stopped_job_resumes_from_its_checkpoint(self, aws: LocalConfig) -> None:
        """Checkpoints are in S3 while the job runs, and the next job of the same folder goes on from them."""
        where = {"S3Uri": "s3://data/checkpoints/resumed"}
        slow = training_request("first", hyperparameters={"steps": "1000", "sleep": "0.1"}, CheckpointConfig=where)
        aws.client("sagemaker").create_training_job(**slow)
        wait_for(lambda: keys(aws, "data", "checkpoints/resumed/step.txt"))
        aws.client("sagemaker").stop_training_job(TrainingJobName="first")
        stopped = finished(aws, "training", "first")
        assert stopped["TrainingJobStatus"] == stopped["SecondaryStatus"] == "Stopped"
        step = int(get(aws, "data", "checkpoints/resumed/step.txt"))
        assert step >= 1
        train(aws, "second", hyperparameters={"steps": str(step + 2)}, CheckpointConfig=where)
        assert f"starts at step {step}\nstep={step + 1} " in log_of(aws, "Training", "second")

    def test_a_container_that_ignores_sigterm_is_killed_after_the_grace(self, aws: LocalConfig) -> None:
        """SIGKILL follows, one second after SIGTERM here, 120 on AWS."""
        told = {"steps": "1000", "sleep": "0.1", "ignore_sigterm": "1"}
        aws.client("sagemaker").create_training_job(**training_request("deaf", hyperparameters=told))
        log = aws.root / "sagemaker/jobs/training/deaf/log.txt"
        wait_for(lambda: log.exists() and "step=2" in log.read_text())
        aws.client("sagemaker").stop_training_job(TrainingJobName="deaf")
        assert aws.client("sagemaker").describe_training_job(TrainingJobName="deaf")["TrainingJobStatus"] == "Stopping"
        assert finished(aws, "training", "deaf")["TrainingJobStatus"] == "Stopped"

    def test_a_training_job_at_its_maximum_runtime_says_so(self, aws: LocalConfig) -> None:
        """AWS's status is Stopped with the secondary status MaxRuntimeExceeded."""
        told = {"steps": "1000", "sleep": "0.1"}
        shown = train(aws, "long", hyperparameters=told, StoppingCondition={"MaxRuntimeInSeconds": 1})
        assert (shown["TrainingJobStatus"], shown["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")

    def test_spot_settings_are_taken_and_must_fit(self, aws: LocalConfig) -> None:
        """Managed spot training needs a waiting time of at least the runtime."""
        limits = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}
        shown = train(aws, "spot", EnableManagedSpotTraining=True, StoppingCondition=limits)
        assert shown["TrainingJobStatus"] == "Completed" and shown["EnableManagedSpotTraining"] is True
        with pytest.raises(ClientError, match="MaxWaitTimeInSeconds"):
            train(aws, "spot2", EnableManagedSpotTraining=True, StoppingCondition={"MaxRuntimeInSeconds": 60})

    def test_equal_models_make_equal_archives(self, aws: LocalConfig) -> None:
        """The archive's bytes depend on the model folder's files alone."""
        bodies = []
        for name in ("once", "again"):
            train(aws, name, hyperparameters={"steps": "3"})
            bodies.append(get(aws, "data", f"training/{name}/output/model.tar.gz"))
        assert bodies[0] == bodies[1]


class TestRequests:
    """What AWS refuses is refused here."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"TrainingJobName": "under_score"}, "regular expression"),
            ({"TrainingJobName": "x" * 64}, "length less than or equal to 63"),
            (
                {"ResourceConfig": {"InstanceType": "ml.huge", "InstanceCount": 1, "VolumeSizeInGB": 1}},
                "enum value set",
            ),
            ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}}, "must be 1"),
            ({"Environment": {f"N{i}": "" for i in range(101)}}, "length less than or equal to 100"),
        ],
    )
    def test_a_value_out_of_bounds_is_a_validation_error(
        self, aws: LocalConfig, change: dict[str, Any], message: str
    ) -> None:
        """The error names the value's place and what is allowed; nothing is made."""
        with pytest.raises(ClientError, match=message) as caught:
            aws.client("sagemaker").create_training_job(**(training_request("bounds") | change))
        assert caught.value.response["Error"]["Code"] == "ValidationException"
        with pytest.raises(ClientError, match="not found"):
            aws.client("sagemaker").describe_training_job(TrainingJobName="bounds")

    @pytest.mark.parametrize(
        ("request_body", "message"),
        [
            ({"TrainingJobName": "x"}, "Missing required parameter"),
            (training_request("x") | {"Colour": "red"}, "Unknown parameter"),
            (training_request("x") | {"HyperParameters": {"steps": 3}}, "Invalid type"),
        ],
        ids=["missing", "unknown", "mistyped"],
    )
    def test_a_malformed_request_is_refused_by_the_server(
        self, aws: LocalConfig, request_body: dict[str, Any], message: str
    ) -> None:
        """Even where the client checks nothing, as a workflow's does not."""
        client = botocore.session.get_session().create_client(
            "sagemaker", aws.region, endpoint_url=aws.endpoint_url, aws_access_key_id="a", aws_secret_access_key="b"
        )
        body = json.dumps(request_body).encode()
        client.meta.events.register("before-call.sagemaker", lambda params, **_: params.update(body=body))
        with pytest.raises(ClientError, match=message) as caught:
            client.create_training_job(**training_request("x"))
        assert caught.value.response["Error"]["Code"] == "ValidationException"

    def test_a_name_is_used_once(self, aws: LocalConfig) -> None:
        """The second job of a name is ResourceInUse, whatever became of the first."""
        process(aws, "unique", "go")
        with pytest.raises(ClientError) as caught:
            process(aws, "unique", "go")
        assert caught.value.response["Error"]["Code"] == "ResourceInUse"

    def test_lists_are_filtered_sorted_and_paged(self, aws: LocalConfig) -> None:
        """Newest first; a page's token leads to the next."""
        for name in ("page-1", "page-2", "page-3"):
            process(aws, name, "go")
        pages = (
            aws.client("sagemaker")
            .get_paginator("list_processing_jobs")
            .paginate(NameContains="page-", PaginationConfig={"PageSize": 2})
        )
        names = [[job["ProcessingJobName"] for job in page["ProcessingJobSummaries"]] for page in pages]
        assert names == [["page-3", "page-2"], ["page-1"]]

    def test_tags_are_kept_with_the_job(self, aws: LocalConfig) -> None:
        """Tags of the request, added and deleted ones."""
        sagemaker = aws.client("sagemaker")
        arn = process(aws, "tagged", "go", Tags=[{"Key": "a", "Value": "1"}])["ProcessingJobArn"]
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
        sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
        assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]


class TestUnwritableFolder:
    """A job whose files the server cannot write."""

    def test_it_is_a_failed_job_and_no_limit_of_the_account(self, aws: LocalConfig) -> None:
        """Workflows wait minutes at ``ResourceLimitExceeded``; a failed job is told at once."""
        taken = aws.root / "sagemaker" / "jobs" / "processing" / "in-the-way"
        taken.parent.mkdir(parents=True, exist_ok=True)
        taken.parent.rename(taken.parent.with_name("processing-aside"))
        taken.parent.write_text("a file where a folder should be")
        try:
            shown = process(aws, "in-the-way")
        finally:
            taken.parent.unlink()
            taken.parent.with_name("processing-aside").rename(taken.parent)
        assert shown["ProcessingJobStatus"] == "Failed"
        assert shown["FailureReason"].startswith("InternalServerError: ")

    def test_a_full_disk_fails_new_jobs_and_lets_running_ones_be_stopped(self, tmp_path: Path) -> None:
        """The reason names the disk and the remedy; a stop ends its job; with space again, jobs run again."""
        with small_disk(tmp_path / "disk", megabytes=8) as disk, toy_aws(disk / "root") as config:
            config.client("s3").create_bucket(Bucket="data")
            put(config, "data", in__a=b"hello")
            sagemaker = config.client("sagemaker")
            sagemaker.create_processing_job(**processing_request("endless", "sleep"))
            log = config.root / "sagemaker/jobs/processing/endless/log.txt"
            wait_for(lambda: log.exists() and "child " in log.read_text())
            filler = fill(disk)
            shown = process(config, "unlucky")
            sagemaker.stop_processing_job(ProcessingJobName="endless")
            stopped = finished(config, "processing", "endless")
            filler.unlink()
            later = process(config, "lucky")
        assert shown["ProcessingJobStatus"] == "Failed"
        assert shown["FailureReason"].startswith("InternalServerError: no space left on the disk that holds ")
        assert "free some space" in shown["FailureReason"]
        assert stopped["ProcessingJobStatus"] == "Stopped"
        assert later["ProcessingJobStatus"] == "Completed"
