"""The application's own tables as CreateTable takes them: of clients, and of feedback."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lookup_api.feedback import BY_VERSION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


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
