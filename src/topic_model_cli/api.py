"""``topic-model api``: the lookup API on this machine, over the tables and the endpoint of the local AWS."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from local_aws.config import DEFAULT_ROOT, LocalAwsError, root_option
from topic_model_cli import interrupts
from topic_model_cli.local import RootOption

if TYPE_CHECKING:
    from local_aws.config import LocalConfig
    from lookup_api.settings import ApiSettings

DEFAULT_PORT = 4620
_KEYS_LAST_SECONDS = 30 * 86_400  # for keys that a killed server could not take back


def api(
    root: RootOption = DEFAULT_ROOT,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port on 127.0.0.1.")] = DEFAULT_PORT,
    client: Annotated[
        list[str] | None, typer.Option(help="Make a key that sees this client's campaigns alone; may be repeated.")
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Print a JSON line a request.")] = False,
) -> None:
    """Serve the lookup API and its page: known and fresh campaigns, search, feedback. Its keys end with it."""
    from local_aws import lifecycle
    from topic_model_cli.gateway_stack import published_clients

    config = lifecycle.connect(root)
    listener = _listener(port)
    # As a Lambda function is told: where AWS answers, and the names of the stack.
    os.environ.update(config.environment())
    settings = _settings()
    with (
        interrupts.terminations_as_interrupts(),
        contextlib.suppress(KeyboardInterrupt),
        listener,
        _keys(config, settings, client or []) as keys,
    ):
        url = f"http://127.0.0.1:{port}"
        typer.echo(f"the lookup API answers at {url} (docs/openapi.json); the page for analysts is {url}/page")
        for whose, key in keys.items():
            typer.echo(f"  key for {whose}: {key}")
        typer.echo(f"  curl -H 'x-api-key: {next(iter(keys.values()))}' {url}/v1/topics")
        published = published_clients(config)
        if published is None:
            typer.echo(f"nothing is published yet; `topic-model run{root_option(root)} --input PATH` does")
        elif unknown := [name for name in client or [] if name not in published]:
            typer.echo(f"no campaigns are published for {', '.join(quote(name, safe=' ') for name in unknown)}")
        _serve(settings, listener, access_log=access_log)


def _settings() -> ApiSettings:
    from lookup_api.settings import ApiSettings
    from topic_model_cli.gateway_plans import ANSWER_KEY
    from topic_model_cli.stack import ENDPOINT_NAME, LOOKUP_TABLE, PREFIX

    tables = LOOKUP_TABLE, f"{PREFIX}-clients", f"{PREFIX}-feedback"
    return ApiSettings(*tables, ENDPOINT_NAME, answer_key_secret=ANSWER_KEY)


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise LocalAwsError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error
    return listener


@contextlib.contextmanager
def _keys(config: LocalConfig, settings: ApiSettings, clients: list[str]) -> Iterator[dict[str, str]]:
    """Keys for an administrator and for clients, by whose they are; taken back at the end."""
    from botocore.exceptions import BotoCoreError, ClientError

    from lookup_api.answer_key import ensure_answer_key
    from lookup_api.tables import ensure_tables, put_key, remove_key

    dynamodb, table = config.client("dynamodb"), settings.clients_table
    ensure_tables(dynamodb, table, settings.feedback_table)
    ensure_answer_key(config.client("secretsmanager"), str(settings.answer_key_secret))
    keys = {"all campaigns": secrets.token_urlsafe(18)}
    until = int(time.time()) + _KEYS_LAST_SECONDS
    put_key(dynamodb, table, keys["all campaigns"], None, expires_at=until)
    for client in dict.fromkeys(clients):
        whose = f"the campaigns of client {client}"
        keys[whose] = secrets.token_urlsafe(18)
        put_key(dynamodb, table, keys[whose], client, expires_at=until)
    try:
        yield keys
    finally:
        with contextlib.suppress(BotoCoreError, ClientError), interrupts.interrupts_ignored():
            for key in keys.values():
                remove_key(dynamodb, table, key)


def _serve(settings: ApiSettings, listener: socket.socket, *, access_log: bool) -> None:
    import uvicorn

    from lookup_api.app import create_app
    from lookup_api.gate import print_line

    write = print_line if access_log else (lambda _line: None)
    app = create_app(settings, write=write)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
    uvicorn.Server(config).run(sockets=[listener])
