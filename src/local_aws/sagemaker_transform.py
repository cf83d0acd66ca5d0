"""Batch transform jobs: a model's own server, asked with every record of the input."""

from __future__ import annotations

import gzip
import json
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from moto.sagemaker.exceptions import ValidationError

from local_aws.job_errors import JobFailedError
from local_aws.job_files import S3Object, download_object, resolve_source, split_uri, upload_file
from local_aws.job_logs import LogShipper
from local_aws.model_server import ModelServer, ModelServerError, model_container
from local_aws.sagemaker_job import Job

logger = logging.getLogger(__name__)

_MEBIBYTE = 1 << 20
_MAX_TOTAL_MB = 100  # MaxPayloadInMB times MaxConcurrentTransforms
_READ_BYTES = 1 << 20

Strategy = Literal["MultiRecord", "SingleRecord"]


@dataclass(frozen=True)
class Batching:
    """How records become requests; the job's own values stand over what the container asks for."""

    strategy: Strategy
    max_payload_bytes: int
    concurrent: int


class TransformJob(Job):
    """A batch transform job."""

    kind = "Transform"
    slug = "transform"
    start_field = "TransformStartTime"
    end_field = "TransformEndTime"

    def check(self) -> None:
        """Refuses what cannot run here.

        Raises:
            ValidationError: names the parameter and what is supported.
        """
        request, source = self.request, self.request["TransformInput"]
        processing = request.get("DataProcessing") or {}
        asked = {name for name, value in processing.items() if value not in (None, "None", "$")}
        if asked:
            raise ValidationError(
                message=f"DataProcessing.{min(asked)} is not supported by the local AWS: outputs hold the model's "
                "answers alone, in the order of the input; join by an id that the model echoes"
            )
        if source.get("SplitType", "None") not in ("None", "Line"):
            raise ValidationError(message=f"SplitType {source['SplitType']!r} is not supported; use Line or None")
        if source.get("CompressionType", "None") == "Bzip2":
            raise ValidationError(message="CompressionType Bzip2 is not supported by the local AWS; use Gzip or None")
        payload, concurrent = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms", 1)
        if payload * concurrent > _MAX_TOTAL_MB:
            raise ValidationError(
                message=f"MaxPayloadInMB ({payload}) times MaxConcurrentTransforms ({concurrent}) must be at most 100"
            )
        model_container(self.config, request["ModelName"])

    @property
    def role_arn(self) -> str | None:
        """A transform job has the role of its model."""
        return model_container(self.config, self.request["ModelName"]).role_arn

    def run(self) -> None:
        """Starts the container, sends every file through it, and stops it.

        Raises:
            JobFailedError: the container did not start, or refused a request.
            JobStoppedError: it was stopped.
        """
        objects = resolve_source(self.s3, self.request["TransformInput"]["DataSource"]["S3DataSource"])
        try:
            model = model_container(self.config, self.request["ModelName"])
        except ValidationError as error:
            raise JobFailedError(f"ClientError: {error.message}") from error
        server = ModelServer(self.caller, self.store.runner, model, self.folder, name=self.name)
        server.environment = {**(self.request.get("Environment") or {}), **self._batch_environment()}
        server.on_launch = self.own  # a stop of the job ends the container
        server.prepare()
        self.check_stopped()
        with LogShipper(self.caller, self.log_path, group=self.log_group, stream=self.stream):
            try:
                server.start()
                self._transform_all(server, objects)
            except ModelServerError as error:
                self.check_stopped()
                raise JobFailedError(f"AlgorithmError: {error}") from error
            finally:
                server.stop()
        self.check_stopped()

    def _batch_environment(self) -> dict[str, str]:
        request = self.request
        asked = {
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_BATCH_STRATEGY": request.get("BatchStrategy"),
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": request.get("MaxPayloadInMB"),
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": request.get("MaxConcurrentTransforms"),
        }
        return {name: str(value) for name, value in asked.items() if value is not None}

    def _batching(self, server: ModelServer) -> Batching:
        """The job's values, else the container's ``/execution-parameters``, else SageMaker's defaults."""
        answer = server.request("GET", "/execution-parameters", None, {})
        told: dict[str, Any] = {}
        if answer.status == 200:
            try:
                told = dict(json.loads(answer.body))
            except (ValueError, TypeError):
                logger.warning("%s: /execution-parameters answered no JSON object", self.name)
        defaults = {"BatchStrategy": "MultiRecord", "MaxPayloadInMB": 6, "MaxConcurrentTransforms": 1}
        values = {name: self.request.get(name, told.get(name, default)) for name, default in defaults.items()}
        megabytes, concurrent = int(values["MaxPayloadInMB"]), int(values["MaxConcurrentTransforms"])
        return Batching(
            strategy=cast(Strategy, values["BatchStrategy"]),
            max_payload_bytes=(megabytes or _MAX_TOTAL_MB) * _MEBIBYTE,
            concurrent=concurrent or 1,  # 0 leaves it to SageMaker
        )

    def _transform_all(self, server: ModelServer, objects: list[S3Object]) -> None:
        batching = self._batching(server)
        bucket, prefix = split_uri(self.request["TransformOutput"]["S3OutputPath"])
        with ThreadPoolExecutor(batching.concurrent, thread_name_prefix=f"transform-{self.name[:20]}") as pool:
            for number, item in enumerate(objects):
                self.check_stopped()
                source, target = self.folder / f"in-{number}", self.folder / f"out-{number}"
                try:
                    download_object(self.s3, item, source)
                    self._transform_file(server, batching, pool, item, source, target)
                    key = "/".join(part for part in (prefix.rstrip("/"), f"{item.relative}.out") if part)
                    upload_file(self.s3, target, bucket, key)
                finally:
                    source.unlink(missing_ok=True)
                    target.unlink(missing_ok=True)

    def _transform_file(
        self,
        server: ModelServer,
        batching: Batching,
        pool: ThreadPoolExecutor,
        item: S3Object,
        source: Path,
        target: Path,
    ) -> None:
        """Sends a file's batches, a few at a time, and writes the answers in the input's order."""
        by_line = self.request["TransformOutput"].get("AssembleWith") == "Line"
        waiting: deque[Future[bytes]] = deque()
        with target.open("wb") as out:
            try:
                for batch in self._batches(source, batching, item):
                    if len(waiting) >= 2 * batching.concurrent:
                        _write(out, waiting.popleft().result(), by_line=by_line)
                    self.check_stopped()
                    waiting.append(pool.submit(self._invoke, server, batch, item))
                while waiting:
                    _write(out, waiting.popleft().result(), by_line=by_line)
            finally:
                for future in waiting:
                    future.cancel()

    def _batches(self, source: Path, batching: Batching, item: S3Object) -> Iterator[Batch]:
        entry = self.request["TransformInput"]
        packed = entry.get("CompressionType") == "Gzip"
        try:
            with gzip.open(source) if packed else source.open("rb") as file:
                if entry.get("SplitType", "None") == "None":
                    body = file.read(batching.max_payload_bytes + 1)
                    if len(body) > batching.max_payload_bytes:
                        raise JobFailedError(_too_large(item, "it", batching))
                    yield Batch(1, body)
                else:
                    yield from _line_batches(cast(IO[bytes], file), batching, item)
        except (gzip.BadGzipFile, EOFError) as error:
            raise JobFailedError(f"ClientError: {item.uri} is no whole gzip file: {error}") from error

    def _invoke(self, server: ModelServer, batch: Batch, item: S3Object) -> bytes:
        settings = self.request.get("ModelClientConfig") or {}
        headers = {"Content-Type": self.request["TransformInput"].get("ContentType", "application/octet-stream")}
        if accept := self.request["TransformOutput"].get("Accept"):
            headers["Accept"] = accept
        timeout = settings.get("InvocationsTimeoutInSeconds", 600)
        for attempt in range(settings.get("InvocationsMaxRetries", 3) + 1):
            self.check_stopped()
            try:
                answer = server.request("POST", "/invocations", batch.body, headers, timeout_seconds=timeout)
            except ModelServerError as error:
                self.check_stopped()
                problem = f"AlgorithmError: {item.uri}, {batch.where}: {error}"
                if not server.alive:
                    raise JobFailedError(f"{problem}. The end of its log:\n{server.container_log()}") from error
            else:
                if answer.status == 200:
                    return answer.body
                said = f"the model answered {answer.status} to {item.uri}, {batch.where}: {answer.text}"
                if answer.status < 500:
                    raise JobFailedError(f"ClientError: {said}")
                problem = f"AlgorithmError: {said}"
            logger.info("attempt %d: %s", attempt + 1, problem)
        raise JobFailedError(problem)


@dataclass(frozen=True)
class Batch:
    """The body of a request and the number of its first line, from 1."""

    first_line: int
    body: bytes

    @property
    def where(self) -> str:
        """For a message."""
        return f"lines from {self.first_line}"


def _line_batches(file: IO[bytes], batching: Batching, item: S3Object) -> Iterator[Batch]:
    batch: list[bytes] = []
    size, first, number = 0, 1, 0
    while line := file.readline(batching.max_payload_bytes + 1):
        number += 1
        if len(line) > batching.max_payload_bytes:
            raise JobFailedError(_too_large(item, f"line {number}", batching))
        if batch and (batching.strategy == "SingleRecord" or size + len(line) > batching.max_payload_bytes):
            yield Batch(first, b"".join(batch))
            batch, size, first = [], 0, number
        batch.append(line)
        size += len(line)
    if batch:
        yield Batch(first, b"".join(batch))


def _too_large(item: S3Object, what: str, batching: Batching) -> str:
    return (
        f"ClientError: {item.uri}: {what} is larger than MaxPayloadInMB "
        f"({batching.max_payload_bytes // _MEBIBYTE}); split it or raise the limit"
    )


def _write(out: IO[bytes], answer: bytes, *, by_line: bool) -> None:
    out.write(answer)
    if by_line and answer and not answer.endswith(b"\n"):
        out.write(b"\n")
