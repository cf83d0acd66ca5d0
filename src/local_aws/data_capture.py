"""Data capture: a sample of what an endpoint was asked and answered, as JSON Lines in S3, off the request's path.

The layout is SageMaker's: ``<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/<minute>-<second>-<ms>-<uuid>.jsonl``, a
line a request. A request only puts its record into a queue; a thread writes files of some seconds each.
"""

from __future__ import annotations

import base64
import logging
import os
import queue
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from local_aws.config import LocalConfig
from local_aws.iam_enforcement import acting_as
from local_aws.iam_identities import AssumeRoleRefusedError
from local_aws.job_files import split_uri

logger = logging.getLogger(__name__)

FLUSH_SECONDS = float(os.environ.get("LOCAL_AWS_CAPTURE_SECONDS", "5"))
"""Seconds of requests that one file holds; AWS does not say how long its own buffer is."""
_MOST_WAITING = 10_000  # records; what comes while S3 is that far behind is left out and counted
_MODES = {"Input": ("INPUT",), "Output": ("OUTPUT",), "InputAndOutput": ("INPUT", "OUTPUT")}


@dataclass(frozen=True)
class Exchange:
    """One answered request."""

    variant: str
    request: bytes
    request_type: str
    answer: bytes
    answer_type: str
    event_id: str
    moment: datetime
    custom_attributes: str | None = None
    inference_id: str | None = None


class DataCapture:
    """The capture of one deployment of an endpoint."""

    def __init__(
        self, config: LocalConfig, endpoint: str, settings: Mapping[str, Any], role_arn: str | None = None
    ) -> None:
        self.settings = settings
        self._config = config
        self._role_arn = role_arn
        self._endpoint = endpoint
        self._share = int(settings["InitialSamplingPercentage"]) / 100 if settings.get("EnableCapture") else 0.0
        self._modes = {mode for option in settings["CaptureOptions"] for mode in _MODES[option["CaptureMode"]]}
        headers = settings.get("CaptureContentTypeHeader") or {}
        self._encodings = dict.fromkeys(headers.get("CsvContentTypes") or (), "CSV")
        self._encodings |= dict.fromkeys(headers.get("JsonContentTypes") or (), "JSON")
        self._waiting: queue.Queue[Exchange] = queue.Queue(_MOST_WAITING)
        self._left_out = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture-{endpoint[:40]}", daemon=True)
        self._started = threading.Lock()

    @property
    def summary(self) -> dict[str, Any]:
        """As DescribeEndpoint shows it."""
        enabled = bool(self.settings.get("EnableCapture"))
        return {
            "EnableCapture": enabled,
            "CaptureStatus": "Started" if enabled else "Stopped",
            "CurrentSamplingPercentage": self.settings["InitialSamplingPercentage"],
            "DestinationS3Uri": self.settings["DestinationS3Uri"],
            "KmsKeyId": self.settings.get("KmsKeyId") or "",
        }

    def wants_this_one(self) -> bool:
        """Whether this request is in the sample."""
        return self._share > 0 and random.random() < self._share  # noqa: S311 - a sample, no secret

    def take(self, exchange: Exchange) -> None:
        """Keeps an exchange to be written; never waits."""
        if self._thread.ident is None:
            with self._started:
                if self._thread.ident is None and not self._stopping.is_set():
                    self._thread.start()
        try:
            self._waiting.put_nowait(exchange)
        except queue.Full:
            self._left_out += 1

    def close(self) -> None:
        """Writes what is left; idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._flush()

    def _run(self) -> None:
        while not self._stopping.wait(FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        taken: defaultdict[str, list[Exchange]] = defaultdict(list)
        while True:
            try:
                exchange = self._waiting.get_nowait()
            except queue.Empty:
                break
            taken[exchange.variant].append(exchange)
        if self._left_out:
            logger.warning("endpoint %s: %d requests were too many to capture", self._endpoint, self._left_out)
            self._left_out = 0
        for variant, exchanges in taken.items():
            try:
                self._write(variant, exchanges)
            except (ClientError, BotoCoreError, OSError, AssumeRoleRefusedError) as error:
                logger.warning("endpoint %s: %d captured requests are lost: %s", self._endpoint, len(exchanges), error)

    def _write(self, variant: str, exchanges: list[Exchange]) -> None:
        bucket, prefix = split_uri(self.settings["DestinationS3Uri"])
        first = exchanges[0].moment
        folder = f"{prefix.strip('/')}/{self._endpoint}/{variant}/{first:%Y/%m/%d/%H}".lstrip("/")
        name = f"{first:%M-%S}-{first.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
        # By orjson, for while json writes megabytes no request goes on.
        lines = [orjson.dumps(self._record(exchange), option=orjson.OPT_APPEND_NEWLINE) for exchange in exchanges]
        body = b"".join(lines)
        caller = acting_as(self._config, self._role_arn, "sagemaker.amazonaws.com", "SageMaker")
        caller.client("s3").put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=body)

    def _record(self, exchange: Exchange) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if "INPUT" in self._modes:
            data["endpointInput"] = self._side("INPUT", exchange.request, exchange.request_type)
        if "OUTPUT" in self._modes:
            data["endpointOutput"] = self._side("OUTPUT", exchange.answer, exchange.answer_type)
        metadata: dict[str, Any] = {"eventId": exchange.event_id}
        if exchange.custom_attributes:
            metadata["customAttributes"] = [exchange.custom_attributes]
        if exchange.inference_id:
            metadata["inferenceId"] = exchange.inference_id
        moment = exchange.moment.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"captureData": data, "eventMetadata": metadata | {"inferenceTime": moment}, "eventVersion": "0"}

    def _side(self, mode: str, body: bytes, content_type: str) -> dict[str, str]:
        """What went one way; in base64 unless the settings name its content type as CSV or JSON, and it is text."""
        encoding = self._encodings.get(content_type.partition(";")[0].strip(), "BASE64")
        shown = {"observedContentType": content_type, "mode": mode}
        if encoding != "BASE64":
            try:
                return {**shown, "data": body.decode("utf-8"), "encoding": encoding}
            except UnicodeDecodeError:
                pass
        return {**shown, "data": base64.b64encode(body).decode("ascii"), "encoding": "BASE64"}


def exchange_of(
    variant: str, request: bytes, headers: Mapping[str, str], answer: bytes, answer_type: str, event_id: str
) -> Exchange:
    """An exchange that has just taken place."""
    return Exchange(
        variant=variant,
        request=request,
        request_type=headers.get("content-type", "application/octet-stream"),
        answer=answer,
        answer_type=answer_type,
        event_id=event_id,
        moment=datetime.fromtimestamp(time.time(), UTC),
        custom_attributes=headers.get("x-amzn-sagemaker-custom-attributes"),
        inference_id=headers.get("x-amzn-sagemaker-inference-id"),
    )
