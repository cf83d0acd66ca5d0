"""A model's container that serves: started with its artifact, asked over one kept connection a concurrent request."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from local_aws.config import LocalAwsError, LocalConfig
from local_aws.iam_enforcement import refused_image
from local_aws.job_files import (
    S3Object,
    download,
    download_object,
    extract_archive,
    list_objects,
    remove_folder,
    split_uri,
)
from local_aws.runner import SERVE_GRACE_SECONDS, Container, Launch, Runner

logger = logging.getLogger(__name__)

STARTUP_SECONDS = float(os.environ.get("LOCAL_AWS_STARTUP_SECONDS", "120"))
"""Seconds a container has to answer ``/ping`` with 200, where the variant does not say."""
_PING_SECONDS = 2.0
_KEPT_CONNECTIONS = 32
_DRAIN_LOOK_SECONDS = 0.02
_STARTS = 3  # another process may take a free port before the container binds it


class ModelServerError(Exception):
    """The container did not answer: it ended, refused the connection, or took too long."""


class UnansweredError(ModelServerError):
    """The container refused the connection or closed it before it sent a byte: another may be asked instead."""


@dataclass(frozen=True)
class ModelContainer:
    """What ``CreateModel`` said of the container: its image, its artifact and its variables."""

    model_name: str
    image: str
    artifact: str | None = None
    """An archive's URI, or a prefix's where ``unpacked``."""
    unpacked: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    role_arn: str | None = None
    """The model's ``ExecutionRoleArn``."""

    def to_state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**vars(self), "environment": dict(self.environment)}


def model_container(config: LocalConfig, model_name: str) -> ModelContainer:
    """The container of a SageMaker model.

    Raises:
        ValidationError: there is no such model, or it is of a kind that the local AWS does not serve.
    """
    sagemaker = config.client("sagemaker")
    try:
        model = sagemaker.describe_model(ModelName=model_name)
    except sagemaker.exceptions.ClientError as error:
        raise ValidationError(message=f'Could not find model "{model_name}".') from error
    containers = model.get("Containers") or []
    container = model.get("PrimaryContainer") or (containers[0] if len(containers) == 1 else None)
    if container is None or "Image" not in container:
        raise ValidationError(
            message=f"model {model_name!r} has {len(containers)} containers; the local AWS serves models of one image"
        )
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    return ModelContainer(
        model_name=model_name,
        image=container["Image"],
        artifact=source["S3Uri"] if source else container.get("ModelDataUrl"),
        unpacked=source is not None and source["CompressionType"] == "None",
        environment=dict(container.get("Environment") or {}),
        role_arn=model.get("ExecutionRoleArn"),
    )


@dataclass(frozen=True)
class Answer:
    """What a container answered: HTTP status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body's start, for a message."""
        return self.body[:1_000].decode(errors="replace")


class ModelServer:
    """One running copy of a model's container; ``config`` is the local AWS as the model's role sees it."""

    def __init__(self, config: LocalConfig, runner: Runner, model: ModelContainer, folder: Path, *, name: str) -> None:
        self._config = config
        self._runner = runner
        self.model = model
        self.folder = folder
        self.name = name
        self.environment: dict[str, str] = {}
        self.log_path = folder / "log.txt"
        self.port = 0
        self.container: Container | None = None
        self.ready = False
        self.on_launch: Callable[[Container], None] | None = None
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue(_KEPT_CONNECTIONS)
        self._in_flight = 0
        self._counting = threading.Lock()

    def prepare(self) -> None:
        """Brings the artifact to ``/opt/ml/model``.

        Raises:
            JobFailedError: it is not there or no archive.
        """
        model_dir = self.folder / "ml" / "model"
        remove_folder(model_dir)
        model_dir.mkdir(parents=True)
        uri = self.model.artifact
        if not uri:
            return
        s3 = self._config.client("s3")
        if self.model.unpacked:
            download(s3, list_objects(s3, uri), model_dir)
            return
        archive = self.folder / f"model-{uuid.uuid4().hex}.tar.gz"
        try:
            download_object(s3, S3Object(*split_uri(uri), archive.name), archive)
            extract_archive(archive, model_dir, uri=uri)
        finally:
            archive.unlink(missing_ok=True)

    def start(self, *, timeout_seconds: float = STARTUP_SECONDS) -> None:
        """Starts the container and waits for a healthy ``/ping``.

        Raises:
            ModelServerError: it ended or did not become healthy in time; the message has the end of its log.
        """
        for attempt in range(1, _STARTS + 1):
            self.launch()
            try:
                self.wait_healthy(timeout_seconds)
            except ModelServerError:
                self.stop(grace_seconds=0)
                if attempt == _STARTS or "in use" not in self.container_log():
                    raise
            else:
                self.ready = True
                return

    def launch(self) -> None:
        """Starts the container without waiting for it."""
        if refused := refused_image(self.model.role_arn, self.model.image):
            raise ModelServerError(refused)
        self.ready = False  # it may be the second life of one that was
        self._close_connections()
        self.port = _free_port()
        launch = Launch(
            name=self.name,
            image=self.model.image,
            arguments=("serve",),
            base_dir=self.folder / "ml",
            log_path=self.log_path,
            environment={**self.model.environment, **self.environment},
            port=self.port,
            caller=self._config,
        )
        try:
            self.container = self._runner.start(launch)
        except (LocalAwsError, OSError) as error:
            raise ModelServerError(str(error)) from error
        if self.on_launch:
            self.on_launch(self.container)

    def wait_healthy(self, timeout_seconds: float) -> None:
        """Returns once ``/ping`` answers 200; ModelServerError as :meth:`start`."""
        deadline, pause = time.monotonic() + timeout_seconds, 0.01
        while time.monotonic() < deadline:
            if self.container is None or self.container.poll() is not None:
                code = self.container.poll() if self.container else None
                raise ModelServerError(
                    f"The container of model {self.model.model_name} ended with exit code {code} before it passed the "
                    f"ping health check. The end of its log:\n{self.container_log()}"
                )
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ping():
                    return
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)
        raise ModelServerError(
            f"The container of model {self.model.model_name} did not pass the ping health check within "
            f"{timeout_seconds:g} s. The end of its log:\n{self.container_log()}"
        )

    def ping(self) -> bool:
        """Whether ``/ping`` answers 200 within 2 seconds; OSError where nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PING_SECONDS)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def container_log(self) -> str:
        """The end of the container's log."""
        return self.container.log_tail() if self.container else ""

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.container is not None and self.container.poll() is None

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, timeout_seconds: float = 60
    ) -> Answer:
        """Asks the container.

        Raises:
            UnansweredError: it is not there, or went before it answered.
            ModelServerError: no answer within the time, or the connection broke within the answer.
        """
        with self._counting:
            self._in_flight += 1
        try:
            return self._request(method, path, body, headers, timeout_seconds)
        finally:
            with self._counting:
                self._in_flight -= 1

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_seconds: float
    ) -> Answer:
        try:
            connection, kept = self._idle.get_nowait(), True
        except queue.Empty:
            connection, kept = _Connection("127.0.0.1", self.port), False
        try:
            answer = _ask(connection, method, path, body, headers, timeout_seconds)
        except TimeoutError as error:
            connection.close()
            raise ModelServerError(f"the container did not answer within {timeout_seconds:g} s") from error
        except UnansweredError:
            connection.close()
            if kept:  # a container may close a connection that was idle: this one is sent again on a new one
                self._close_connections()
                return self._request(method, path, body, headers, timeout_seconds)
            raise
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ModelServerError(f"the container's answer broke off: {error!r}") from error
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()
        return answer

    def drain(self, seconds: float) -> None:
        """Takes no further request, and returns once those in flight are answered or the time is over."""
        self.ready = False
        deadline = time.monotonic() + seconds
        while self._in_flight and self.alive and time.monotonic() < deadline:
            time.sleep(_DRAIN_LOOK_SECONDS)

    def stop(self, *, grace_seconds: float = SERVE_GRACE_SECONDS) -> None:
        """Ends the container; idempotent."""
        self.ready = False
        self._close_connections()
        if self.container is not None:
            if grace_seconds <= 0:
                self.container.kill()
                self.container.wait(30)
            else:
                self.container.stop(grace_seconds)

    def remove(self) -> None:
        """Deletes its folder."""
        remove_folder(self.folder)

    def _close_connections(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout_seconds: float,
) -> Answer:
    connection.timeout = timeout_seconds
    if connection.sock is not None:
        connection.sock.settimeout(timeout_seconds)
    try:
        connection.request(method, path, body, dict(headers))
        _acknowledge_at_once(connection)
        response = connection.getresponse()
    except TimeoutError:
        raise
    except OSError as error:  # http.client's RemoteDisconnected too: not a byte of a status line came
        raise UnansweredError(f"the container does not answer: {error}") from error
    payload = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, payload)


def _acknowledge_at_once(connection: http.client.HTTPConnection) -> None:
    if hasattr(socket, "TCP_QUICKACK"):
        # A container that sends head and body apart, with Nagle's algorithm on, waits for our acknowledgement of the
        # head, which the kernel would hold back for 40 ms. The option lasts for the next packets alone.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
