"""The application's own tables as CreateTable takes them: of clients, and of feedback."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lookup_api.feedback import BY_VERSION
from lookup_api.keys import hashed_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


def ensure_tables(dynamodb: DynamoDBClient, clients_table: str, feedback_table: str) -> None:
    """Make the tables that are not there; expired items go by themselves."""
    with contextlib.suppress(dynamodb.exceptions.ResourceInUseException):
        dynamodb.create_table(
            TableName=clients_table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        )
    with contextlib.suppress(dynamodb.exceptions.ResourceInUseException):
        dynamodb.create_table(
            TableName=feedback_table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "feedback_id", "KeyType": "HASH"}],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("feedback_id", "model_version", "given_at")
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": BY_VERSION,
                    "KeySchema": [
                        {"AttributeName": "model_version", "KeyType": "HASH"},
                        {"AttributeName": "given_at", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        for table in (clients_table, feedback_table):
            dynamodb.update_time_to_live(
                TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
            )


def put_key(
    dynamodb: DynamoDBClient, table: str, api_key: str, client_id: str | None, *, expires_at: int | None = None
) -> None:
    """Let a key that is given directly see one client's campaigns, or all where ``client_id`` is None."""
    whose: dict[str, AttributeValueTypeDef] = (
        {"admin": {"BOOL": True}} if client_id is None else {"client_id": {"S": client_id}}
    )
    until: dict[str, AttributeValueTypeDef] = {} if expires_at is None else {"expires_at": {"N": str(expires_at)}}
    dynamodb.put_item(TableName=table, Item={"key": {"S": hashed_key(api_key)}, **whose, **until})


def remove_key(dynamodb: DynamoDBClient, table: str, api_key: str) -> None:
    """Forget a key that is given directly."""
    dynamodb.delete_item(TableName=table, Key={"key": {"S": hashed_key(api_key)}})
