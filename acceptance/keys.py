"""API keys for the length of a run, as docs/deploying-the-api.md makes them: no key is stored anywhere."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from acceptance.api import PATIENCE_SECONDS, Api
from acceptance.environment import Environment, client

_KEY_SECONDS = 3 * 3_600  # of one that a killed run could not take back


@contextlib.contextmanager
def key_for(environment: Environment, client_id: str | None) -> Iterator[str]:
    """A key that sees a client's campaigns, or all of them; taken back at the end."""
    gateway, table = client("apigateway"), client("dynamodb")
    # Teardown finds by this name what a killed run left.
    made = gateway.create_api_key(name=f"{environment.stack}-acceptance-{secrets.token_hex(4)}", enabled=True)
    item = {"S": f"id:{made['id']}"}
    whose = {"admin": {"BOOL": True}} if client_id is None else {"client_id": {"S": client_id}}
    until = {"N": str(int(time.time()) + _KEY_SECONDS)}
    try:
        table.put_item(TableName=environment.clients_table, Item={"key": item, **whose, "expires_at": until})
        gateway.create_usage_plan_key(usagePlanId=environment.usage_plan, keyId=made["id"], keyType="API_KEY")
        # An environment without a model answers 503, which says as well that the key is known.
        _wait_until_known(Api(environment.api_url, made["value"], patience_seconds=0))
        yield str(made["value"])
    finally:
        with contextlib.suppress(BotoCoreError, ClientError):
            table.delete_item(TableName=environment.clients_table, Key={"key": item})
        with contextlib.suppress(BotoCoreError, ClientError):
            gateway.delete_api_key(apiKey=made["id"])


def _wait_until_known(api: Api) -> None:
    """API Gateway takes some seconds until all of it knows a key."""
    until = time.monotonic() + PATIENCE_SECONDS
    while api.get("v1", "topics").status == 403 and time.monotonic() < until:
        time.sleep(1)
