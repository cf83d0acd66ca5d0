"""The workflow's jobs through the SageMaker SDK's local mode: the same settings, image and S3, and no SageMaker.

Local mode (``sagemaker.local``) is what a notebook gets with ``instance_type="local"``: the SDK itself runs the image
under Docker Compose. It knows neither spot capacity nor checkpoints, network isolation or tuning, and its transform
reads the files of one folder without those of folders below, so campaigns are scored a channel at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from pipelines.jobs import arguments, hyperparameters
from pipelines.sdk import (
    Estimator,
    LocalSession,
    Model,
    Predictor,
    ProcessingInput,
    ProcessingOutput,
    Processor,
    TrainingInput,
)
from pipelines.settings import PipelineSettings
from topic_model.errors import SettingsError

DEFAULT_PORT = 8080
ENTRY_POINT = ("python", "-m", "containers")
"""The image's own. Local mode puts a processing job's arguments behind an entry point that the request must name."""

_MACHINE = "local"
_TELEMETRY_OFF = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def open_session(s3_url: str, *, folder: Path, region: str = "us-east-1", port: int = DEFAULT_PORT, label: str) -> Any:
    """A session of the SDK's local mode with a local AWS's S3, dummy credentials and no telemetry.

    Args:
        s3_url: where S3 answers, such as http://127.0.0.1:4610.
        folder: an existing folder that Docker may mount; what containers need is put there, and much of it stays.
        region: the local AWS's.
        port: of this machine, where the container that serves is reached.
        label: ``name=value`` that every container gets, so that it can be found and removed: the SDK leaves it.
    """
    inner = botocore.session.Session()
    inner.set_default_client_config(Config(proxies={}, s3={"addressing_style": "path"}))
    boto_session = boto3.Session(
        botocore_session=inner,
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - a dummy; the server checks no signature
    )
    session = LocalSession(boto_session, s3_endpoint_url=s3_url, sagemaker_config=_TELEMETRY_OFF)
    name, _, value = label.partition("=")
    session.config = {
        "local": {
            "local_code": False,
            "container_root": str(folder),
            "serving_port": port,
            "container_config": {"labels": {name: value}},
        }
    }
    return session


@dataclass(frozen=True)
class ProcessingRequest:
    """One processing job: its step and arguments, and the S3 folders (or objects) by the names of in- and outputs."""

    step: str
    words: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def prepare(
    settings: PipelineSettings, channel: str, *, exports: str, prepared: str, scoring: str
) -> ProcessingRequest:
    """One channel's exports, read and tokenised."""
    words = ("--channel", channel, *arguments(settings.prepare, settings.text))
    return ProcessingRequest("prepare", words, {"exports": exports}, {"prepared": prepared, "scoring": scoring})


def build_corpus(settings: PipelineSettings, *, prepared: str, corpus: str) -> ProcessingRequest:
    """All prepared channels as one corpus of bags of words."""
    return ProcessingRequest("build-corpus", (*arguments(settings.corpus),), {"prepared": prepared}, {"corpus": corpus})


def evaluate(settings: PipelineSettings, *, model: str, corpus: str, evaluation: str) -> ProcessingRequest:
    """The trained model against the gates."""
    inputs = {"model": model, "corpus": corpus}
    return ProcessingRequest("evaluate", (*arguments(settings.gates),), inputs, {"evaluation": evaluation})


def build_neighbours(
    settings: PipelineSettings, *, model: str, prepared: str, fingerprints: str, lookups: str, lookup_model: str
) -> ProcessingRequest:
    """The neighbour index, the lookup rows and the model that serves them."""
    return ProcessingRequest(
        "build-neighbours",
        (*arguments(settings.neighbours),),
        {"model": model, "prepared": prepared, "fingerprints": fingerprints},
        {"lookups": lookups, "lookup-model": lookup_model},
    )


class LocalMode:
    """Runs the workflow's jobs one after the other; each call returns when its job has ended.

    Raises:
        SettingsError: the settings ask for a tuning job, which local mode has not.
    """

    def __init__(self, session: Any, image: str, role: str, settings: PipelineSettings) -> None:
        if settings.tuning.enabled:
            raise SettingsError("SageMaker's local mode cannot tune; set tuning.enabled to false in the settings")
        self._session, self._image, self._role, self._settings = session, image, role, settings

    def process(self, request: ProcessingRequest) -> None:
        """Run one processing job."""
        processor = Processor(
            image_uri=self._image,
            role=self._role,
            instance_count=1,
            instance_type=_MACHINE,
            entrypoint=list(ENTRY_POINT),
            sagemaker_session=self._session,
        )
        processor.run(
            inputs=[
                ProcessingInput(input_name=name, source=uri, destination=f"/opt/ml/processing/input/{name}")
                for name, uri in request.inputs.items()
            ],
            outputs=[
                ProcessingOutput(output_name=name, source=f"/opt/ml/processing/output/{name}", destination=uri)
                for name, uri in request.outputs.items()
            ],
            arguments=["process", request.step, *request.words],
            job_name=request.step,
        )

    def train(self, corpus: str, training: str) -> str:
        """Train on a corpus's folder; the URI of the model's archive below ``training``."""
        estimator = self._estimator(training)
        estimator.fit({"corpus": TrainingInput(corpus)}, job_name="train")
        return str(estimator.model_data)

    def score(self, model: str, scoring: str, fingerprints: str) -> None:
        """Batch transform of the files of one folder with a model's archive; an answer a line."""
        job = self._settings.jobs.score
        transformer = self._model(model).transformer(
            1,
            _MACHINE,
            strategy="MultiRecord",
            # The answers end in a line's end; the SDK would put an empty line behind each request.
            assemble_with=None,
            accept="application/jsonlines",
            output_path=fingerprints,
            max_payload=job.max_payload_mb,
        )
        # A local job has ended when the call returns; waiting would ask CloudWatch for its log.
        transformer.transform(
            scoring, content_type="application/jsonlines", split_type="Line", job_name="score", wait=False, logs=False
        )

    @contextmanager
    def endpoint(self, model: str) -> Iterator[Predictor]:
        """A model's archive behind a local endpoint, for as long as this lasts; JSON in, JSON out, as bytes."""
        # A local endpoint is in service when the call returns; waiting would sleep for 30 s before the first look.
        predictor = self._model(model).deploy(1, _MACHINE, endpoint_name="topic-model", wait=False)
        try:
            yield predictor
        finally:
            predictor.delete_endpoint()

    def _estimator(self, training: str) -> Any:
        return Estimator(
            self._image,
            self._role,
            1,
            _MACHINE,
            output_path=training,
            hyperparameters=hyperparameters(self._settings),
            debugger_hook_config=False,
            disable_profiler=True,
            sagemaker_session=self._session,
        )

    def _model(self, archive: str) -> Any:
        return Model(
            image_uri=self._image,
            model_data=archive,
            role=self._role,
            predictor_cls=Predictor,
            sagemaker_session=self._session,
        )


def ask(predictor: Any, body: bytes) -> bytes:
    """What an endpoint answers to a campaign record."""
    answer: bytes = predictor.predict(body, initial_args={"ContentType": "application/json"})
    return answer
