"""What every part of the local AWS needs to know: its folder, its port, how jobs run, and how to call it."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from topic_model.errors import TopicModelError

Mode = Literal["process", "docker"]

DEFAULT_ROOT = Path(".local-aws")
DEFAULT_PORT = 4610
ACCOUNT = "123456789012"  # moto's own account id
REGION = "us-east-1"

_NO_IMAGES: Mapping[str, str] = MappingProxyType({})
_CREATION = threading.Lock()  # botocore sessions are not thread safe while they make a client


class LocalAwsError(TopicModelError):
    """The local AWS cannot start, be reached, or read its state; the message names the remedy."""


def root_option(root: Path) -> str:
    """What a command in a hint needs so that it means this folder: `` --root DIR``, or nothing for the default one."""
    absolute, here = root.absolute(), Path.cwd()
    if absolute == DEFAULT_ROOT.absolute():
        return ""
    shown = absolute.relative_to(here) if absolute.is_relative_to(here) else absolute
    return f" --root {shlex.quote(str(shown))}"


@dataclass(frozen=True)
class Credentials:
    """Keys that requests are signed with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


_DUMMIES = Credentials("local", "local")


@dataclass(frozen=True)
class LocalConfig:
    """One local AWS: where its state is, where it listens, and how it runs SageMaker's containers.

    Modules that change moto take it through the plug contract: ``install(config)`` patches moto before the server
    listens; an optional ``restore(config)`` brings state back once the server listens and the journal is replayed; an
    idempotent ``shutdown()`` stops every child process.
    """

    root: Path
    port: int
    mode: Mode = "process"
    images: Mapping[str, str] = field(default_factory=lambda: _NO_IMAGES)
    """In docker mode: an image URI, as requests name it, to the tag of a local Docker image."""
    account: str = ACCOUNT
    region: str = REGION
    enforce_iam: bool = False
    """Whether a request is checked against the policies of who sends it."""
    credentials: Credentials | None = None
    """Whose requests those of :meth:`client` are; dummies where nothing is enforced."""
    _clients: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def endpoint_url(self) -> str:
        """The URL for ``AWS_ENDPOINT_URL``; loopback only."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        """A boto3 client of this server, made once a service and shared by threads.

        Credentials are given explicitly, so no profile or variable of the user's can leak in.
        """
        with _CREATION:
            if service not in self._clients:
                self._clients[service] = new_client(self, service)
            return self._clients[service]

    def environment(self) -> dict[str, str]:
        """The variables with which a child process's own boto3 reaches this server and nothing else."""
        own = self.credentials or _DUMMIES
        token = {"AWS_SESSION_TOKEN": own.session_token} if own.session_token else {}
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": own.access_key_id,
            "AWS_SECRET_ACCESS_KEY": own.secret_access_key,
            **token,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def new_client(
    config: LocalConfig, service: str, *, read_seconds: int = 300, attempts: int = 2, check_parameters: bool = True
) -> Any:
    """A boto3 client of the local AWS; call it under a lock where threads may."""
    import boto3
    from botocore.config import Config

    own = config.credentials or _DUMMIES
    session: Any = boto3.session.Session()  # typed stubs know no service by a variable's name
    return session.client(
        service,
        endpoint_url=config.endpoint_url,
        region_name=config.region,
        aws_access_key_id=own.access_key_id,
        aws_secret_access_key=own.secret_access_key,
        aws_session_token=own.session_token,
        config=Config(
            max_pool_connections=64,
            connect_timeout=5,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},  # loopback: what fails twice is broken
            parameter_validation=check_parameters,
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )
