"""The workflow's SageMaker jobs and models: what each reads, runs and writes (the containers' contract)."""

from __future__ import annotations

import re
from typing import Any

from pipelines.algorithm_settings import RangeSettings
from pipelines.failures import api_retries, job_retries
from pipelines.sdk import (
    CategoricalParameter,
    ContinuousParameter,
    Estimator,
    HyperparameterTuner,
    IntegerParameter,
    Model,
    ModelTask,
    NetworkConfig,
    OfflineSession,
    ProcessingInput,
    ProcessingOutput,
    ProcessingTask,
    Processor,
    TrainingInput,
    TrainingTask,
    Transformer,
    TransformTask,
    TuningTask,
)
from pipelines.settings import JobSettings, PipelineSettings
from pipelines.substitutions import STACK_TAGS
from topic_model.settings import StrictSettings

STARTING_SECONDS = 900
"""Time beyond a job's own that its state allows for finding a machine and pulling the image."""

CHECKPOINTS_PATH = "/opt/ml/checkpoints"

_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
METRICS = [
    {"Name": name, "Regex": f"{name}={_NUMBER}"}
    for name in ("train_bound", "held_out_bound", "c_npmi", "topic_diversity")
]
"""What SageMaker reads from the lines that training prints after every pass and at the end."""

ENCRYPTED = {"KmsKeyId": "${KeyArn}"}
"""Of what a job writes: without it SageMaker encrypts with S3's own key, whatever the bucket's is."""

_VPC_IDS = {"SecurityGroupIds": "SecurityGroupIds", "Subnets": "SubnetIds"}
"""SageMaker's field, to the stack's name for it."""

_LOGS = {
    "processing": "/aws/sagemaker/ProcessingJobs",
    "training": "/aws/sagemaker/TrainingJobs",
    "transform": "/aws/sagemaker/TransformJobs",
}


def job_name(step: str, prefix: str = "$.plan.prefix") -> str:
    """``<prefix>-<step>-<8 hex digits>``, the digits new at each attempt, so that no attempt reuses a name."""
    digits = "States.ArrayGetItem(States.StringSplit(States.UUID(), '-'), 0)"
    return f"States.Format('{{}}-{step}-{{}}', {prefix}, {digits})"


def job_logs(kind: str, step: str) -> str:
    """Where a job's log streams are, for the notification of its failure."""
    return f"States.Format('{_LOGS[kind]}, streams {{}}-{step}-*', $.plan.prefix)"


def folder(path: str) -> str:
    """An input folder's URI with its final slash: without it ``google`` would also read ``google-ads``."""
    return f"States.Format('{{}}/', {path})"


def arguments(*sections: StrictSettings) -> list[str]:
    """Container arguments of settings: ``--min-df 2``, a field after the other in the order of the class."""
    return [
        text
        for section in sections
        for name, value in section.to_strings().items()
        for text in (f"--{name.replace('_', '-')}", value)
    ]


def prepare_channel(settings: PipelineSettings) -> Any:
    """One channel's exports, read and tokenised; its input is the Map's item and the run's prefix."""
    words = ["process", "prepare", "--channel", "$.channel.name"]
    words += arguments(settings.prepare, settings.text)
    return _processing(
        settings,
        "PrepareChannel",
        "prepare",
        settings.jobs.prepare,
        words,
        inputs={"exports": folder("$.channel.exports")},
        outputs={"prepared": "$.channel.prepared", "scoring": "$.channel.scoring"},
        name=job_name("prepare", "$.prefix"),
        # The Map's result is a list with an entry a channel; the names are all that is worth carrying.
        result_path="$",
    )


def build_corpus(settings: PipelineSettings) -> Any:
    """All prepared channels as one corpus of bags of words."""
    return _processing(
        settings,
        "BuildCorpus",
        "corpus",
        settings.jobs.build_corpus,
        ["process", "build-corpus", *arguments(settings.corpus)],
        inputs={"prepared": folder("$.plan.uris.prepared")},
        outputs={"corpus": "$.plan.uris.corpus"},
    )


def evaluate(settings: PipelineSettings) -> Any:
    """The trained model against the gates."""
    return _processing(
        settings,
        "Evaluate",
        "evaluate",
        settings.jobs.evaluate,
        ["process", "evaluate", *arguments(settings.gates)],
        inputs={"model": "$.training.model", "corpus": folder("$.plan.uris.corpus")},
        outputs={"evaluation": "$.plan.uris.evaluation"},
    )


def build_neighbours(settings: PipelineSettings) -> Any:
    """The neighbour index, the lookup rows and the model that serves them."""
    return _processing(
        settings,
        "BuildNeighbours",
        "neighbours",
        settings.jobs.build_neighbours,
        ["process", "build-neighbours", *arguments(settings.neighbours)],
        inputs={
            "model": "$.training.model",
            "prepared": folder("$.plan.uris.prepared"),
            "fingerprints": folder("$.plan.uris.fingerprints"),
        },
        outputs={"lookups": "$.plan.uris.lookups", "lookup-model": "$.plan.uris.lookup_model"},
    )


def train(settings: PipelineSettings) -> Any:
    """Training with the hyperparameters at ``$.settings``; it resumes from the run's checkpoints.

    Puts ``{"job", "model"}`` at ``$.training``: the job's name and the artifact's URI.
    """
    job = settings.jobs.train
    longest = job.max_wait_seconds if job.spot else job.max_runtime_seconds
    return TrainingTask(
        "Train",
        _estimator(settings, spot=job.spot, checkpoints=True),
        job_name("train"),
        data={"corpus": _corpus_channel()},
        # The SDK turns hyperparameters into text one by one; these are an object of strings already. It also drops
        # the estimator's network isolation.
        parameters={
            "HyperParameters": "$.settings.hyperparameters",
            "EnableNetworkIsolation": True,
            "OutputDataConfig": ENCRYPTED,
            "Tags": STACK_TAGS,
            **vpc_config(settings),
        },
        result_selector={"job": "$.TrainingJobName", "model": "$.ModelArtifacts.S3ModelArtifacts"},
        result_path="$.training",
        timeout_seconds=longest + STARTING_SECONDS,
        retry=job_retries(settings),
    )


def tune(settings: PipelineSettings) -> Any:
    """The search for hyperparameters; puts ``{"job", "best"}`` at ``$.tuning``, the best ones as strings.

    Trials run on demand and without checkpoints: trials that share a folder would resume each other's models.
    """
    tuning = settings.tuning
    tuner = HyperparameterTuner(
        _estimator(settings, spot=False, checkpoints=False),
        tuning.objective,
        {name: _range(ends) for name, ends in tuning.ranges.items()},
        METRICS,
        strategy=tuning.strategy,
        objective_type="Maximize",
        max_jobs=tuning.max_jobs,
        max_parallel_jobs=tuning.max_parallel_jobs,
    )
    # The SDK shares one estimator's definition; what it drops is put back here as well.
    return TuningTask(
        "Tune",
        tuner,
        job_name("tune"),
        {"corpus": _corpus_channel()},
        parameters={
            "TrainingJobDefinition": {
                "EnableNetworkIsolation": True,
                "OutputDataConfig": ENCRYPTED,
                **vpc_config(settings),
            },
            "Tags": STACK_TAGS,
        },
        result_selector={
            "job": "$.HyperParameterTuningJobName",
            "best": "$.BestTrainingJob.TunedHyperParameters",
        },
        result_path="$.tuning",
        timeout_seconds=tuning.timeout_seconds,
        retry=job_retries(settings),
    )


def score_campaigns(settings: PipelineSettings) -> Any:
    """Batch transform: every known campaign's record in, its fingerprint out, a line each."""
    job = settings.jobs.score
    transformer = Transformer(
        model_name="$.scoring_model.name",
        instance_count=job.instance_count,
        instance_type=job.instance_type,
        strategy="MultiRecord",
        assemble_with="Line",
        accept="application/jsonlines",
        output_path="$.plan.uris.fingerprints",
        max_concurrent_transforms=job.max_concurrent_transforms,
        max_payload=job.max_payload_mb,
        sagemaker_session=OfflineSession(),
    )
    return TransformTask(
        "ScoreCampaigns",
        transformer,
        job_name("score"),
        "$.scoring_model.name",
        folder("$.plan.uris.scoring"),
        content_type="application/jsonlines",
        split_type="Line",
        # It runs where its model does.
        parameters={"TransformOutput": ENCRYPTED, "Tags": STACK_TAGS},
        result_selector={"job": "$.TransformJobName"},
        result_path="$.scoring",
        timeout_seconds=job.max_runtime_seconds + STARTING_SECONDS,
        retry=job_retries(settings),
    )


def create_model(settings: PipelineSettings, state: str, step: str, *, model_data: str, result_path: str) -> Any:
    """A SageMaker model around an artifact; puts ``{"name"}`` at ``result_path``."""
    model = Model(
        image_uri="${ImageUri}", model_data=model_data, role="${JobRoleArn}", sagemaker_session=OfflineSession()
    )
    return ModelTask(
        state,
        model,
        job_name(step),
        parameters={"EnableNetworkIsolation": True, "Tags": STACK_TAGS, **vpc_config(settings)},
        # The answer has the ARN alone: arn:…:model/<name>.
        result_selector={"name": "States.ArrayGetItem(States.StringSplit($.ModelArn, '/'), 1)"},
        result_path=result_path,
        timeout_seconds=60,
        retry=api_retries(),
    )


def _processing(
    settings: PipelineSettings,
    state: str,
    step: str,
    job: JobSettings,
    words: list[str],
    *,
    inputs: dict[str, str],
    outputs: dict[str, str],
    name: str | None = None,
    result_path: str | None = None,
) -> Any:
    processor = Processor(
        image_uri="${ImageUri}",
        role="${JobRoleArn}",
        instance_count=job.instance_count,
        instance_type=job.instance_type,
        volume_size_in_gb=job.volume_size_gb,
        max_runtime_in_seconds=job.max_runtime_seconds,
        network_config=NetworkConfig(enable_network_isolation=True),
        sagemaker_session=OfflineSession(),
    )
    return ProcessingTask(
        state,
        processor,
        name or job_name(step),
        inputs=[
            ProcessingInput(
                input_name=name, source=uri, destination=f"/opt/ml/processing/input/{name}", s3_input_mode="File"
            )
            for name, uri in inputs.items()
        ],
        outputs=[
            ProcessingOutput(output_name=name, source=f"/opt/ml/processing/output/{name}", destination=uri)
            for name, uri in outputs.items()
        ],
        parameters={
            "AppSpecification": {"ContainerArguments": _words(words)},
            "NetworkConfig": vpc_config(settings),
            "ProcessingOutputConfig": ENCRYPTED,
            "Tags": STACK_TAGS,
        },
        result_selector={"job": "$.ProcessingJobName"},
        result_path=result_path,
        timeout_seconds=job.max_runtime_seconds + STARTING_SECONDS,
        retry=job_retries(settings),
    )


def vpc_config(settings: PipelineSettings) -> dict[str, Any]:
    """``VpcConfig`` where the settings ask for it: the stack gives ids in one text, which Step Functions splits."""
    if not settings.network.vpc:
        return {}
    ids = {name: f"States.StringSplit('${{{given}}}', ',')" for name, given in _VPC_IDS.items()}
    return {"VpcConfig": ids}


def _words(words: list[str]) -> list[str] | str:
    """Container arguments; where one is read from the execution's data, the list has to be made by an intrinsic."""
    if not any(word.startswith("$.") for word in words):
        return words
    parts = [word if word.startswith("$.") else "'" + re.sub(r"(['{}\\])", r"\\\1", word) + "'" for word in words]
    return f"States.Array({', '.join(parts)})"


def _estimator(settings: PipelineSettings, *, spot: bool, checkpoints: bool) -> Any:
    job = settings.jobs.train
    resumes: dict[str, Any] = (
        {"checkpoint_s3_uri": "$.plan.uris.checkpoints", "checkpoint_local_path": CHECKPOINTS_PATH}
        if checkpoints
        else {}
    )
    return Estimator(
        "${ImageUri}",
        "${JobRoleArn}",
        job.instance_count,
        job.instance_type,
        volume_size=job.volume_size_gb,
        output_path="$.plan.uris.training",
        max_run=job.max_runtime_seconds,
        use_spot_instances=spot,
        max_wait=job.max_wait_seconds if spot else None,
        hyperparameters=hyperparameters(settings),
        metric_definitions=METRICS,
        # Debugger takes no new customers, and its hook would be added by default.
        debugger_hook_config=False,
        disable_profiler=True,
        sagemaker_session=OfflineSession(),
        **resumes,
    )


def _corpus_channel() -> Any:
    return TrainingInput(folder("$.plan.uris.corpus"))


def _range(ends: RangeSettings) -> Any:
    scale = ends.scale.capitalize()
    if ends.type == "integer":
        return IntegerParameter(int(ends.min or 0), int(ends.max or 0), scale)
    if ends.type == "continuous":
        return ContinuousParameter(float(ends.min or 0), float(ends.max or 0), scale)
    return CategoricalParameter(ends.values)


def hyperparameters(settings: PipelineSettings) -> dict[str, str]:
    """The algorithm's name and the settings' own hyperparameters, as SageMaker carries them."""
    return {"algorithm": settings.algorithm.name, **settings.algorithm.hyperparameters.to_strings()}
