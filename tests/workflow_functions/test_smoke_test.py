"""SmokeTest against a real table, files and endpoint interface, whose answers each test sets."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.workflow_functions.conftest import BUCKET, TABLE, Cloud
from workflow_functions.errors import SmokeTestError
from workflow_functions.smoke_test import MAX_CAMPAIGNS, handler

VERSION = "0123456789ab"
SHARES = [0.7, 0.2, 0.1]
EVENT = {"endpoint": "e", "table": TABLE, "model_version": VERSION, "scoring": f"s3://{BUCKET}/runs/r/scoring"}


def answer(**changes: Any) -> dict[str, Any]:
    return {"model_version": VERSION, "fingerprint": SHARES, "similar": [{"campaign_id": "other"}]} | changes


def serve(cloud: Cloud, *answers: dict[str, Any] | str) -> None:
    bodies = [text if isinstance(text, str) else json.dumps(text) for text in answers]
    response = requests.post(
        f"{cloud.url}/moto-api/static/sagemaker/endpoint-results",
        json={"account_id": "123456789012", "region": "us-east-1", "results": [{"Body": body} for body in bodies]},
        timeout=10,
    )
    assert response.status_code == 201


def known(cloud: Cloud, channel: str, *campaign_ids: str, similar: bool = True, publish: bool = True) -> None:
    lines = [json.dumps({"campaign_id": campaign_id, "keywords": ["shoes"]}) + "\n" for campaign_id in campaign_ids]
    cloud.put(f"runs/r/scoring/{channel}/campaigns.jsonl", "".join(lines))
    for campaign_id in campaign_ids if publish else ():
        document = {
            "campaign_id": campaign_id,
            "topics": [{"topic": 0, "share": 0.7, "terms": ["shoe"]}, {"topic": 1, "share": 0.2, "terms": ["hat"]}],
            "similar": [{"campaign_id": "other"}] if similar else [],
        }
        cloud.dynamodb.put_item(
            TableName=TABLE,
            Item={
                "campaign_id": {"S": campaign_id},
                "model_version": {"S": VERSION},
                "document": {"S": json.dumps(document)},
            },
        )


def test_answers_that_agree_pass(cloud: Cloud) -> None:
    """An endpoint that answers as the lookup table says passes for every campaign tried, of every channel."""
    known(cloud, "google", "a", "b")
    known(cloud, "meta", "c")
    serve(cloud, *[answer()] * 3)
    assert handler(EVENT, None) == {"checked": 3, "model_version": VERSION}


def test_only_a_few_campaigns_are_tried(cloud: Cloud) -> None:
    """A channel of many campaigns costs a few requests."""
    known(cloud, "google", *(f"c{number}" for number in range(3 * MAX_CAMPAIGNS)))
    serve(cloud, *[answer()] * 3 * MAX_CAMPAIGNS)
    assert handler(EVENT, None)["checked"] == MAX_CAMPAIGNS


def test_campaigns_without_a_row_are_passed_over(cloud: Cloud) -> None:
    """A campaign without known terms has no row and no answer; the ones after it are tried."""
    known(cloud, "google", "unscored", publish=False)
    known(cloud, "meta", "scored")
    serve(cloud, answer())
    assert handler(EVENT, None)["checked"] == 1


@pytest.mark.parametrize(
    ("served", "told"),
    [
        (answer(model_version="ffffffffffff"), "'ffffffffffff' answers; '0123456789ab' was deployed"),
        (answer(fingerprint=None), "no fingerprint"),
        (answer(fingerprint=[0.1, 0.1, 0.1]), "no fingerprint whose shares sum to 1"),
        (answer(fingerprint=[0.2, 0.7, 0.1]), "topic 0 has share 0.700 in the lookup table and 0.200"),
        (answer(fingerprint=[1.0]), "topic 0 has share 0.700"),
        (answer(similar=[]), "1 similar campaigns in the lookup table, none from"),
        ("oops", "no JSON"),
        ("[]", "no JSON object"),
    ],
)
def test_an_answer_that_differs_is_an_error(cloud: Cloud, served: Any, told: str) -> None:
    """What a health check does not see is found: another model, another reading of the text, no neighbours."""
    known(cloud, "google", "a")
    serve(cloud, served)
    with pytest.raises(SmokeTestError, match="campaign 'a'") as caught:
        handler(EVENT, None)
    assert told in str(caught.value)


def test_a_campaign_without_neighbours_may_stay_without(cloud: Cloud) -> None:
    """Neighbours are asked of the endpoint only where the table has them."""
    known(cloud, "google", "a", similar=False)
    serve(cloud, answer(similar=[]))
    assert handler(EVENT, None)["checked"] == 1


def test_nothing_to_check_with_is_an_error(cloud: Cloud) -> None:
    """A smoke test that tried nothing has not passed."""
    known(cloud, "google", "a", publish=False)
    with pytest.raises(SmokeTestError, match="could not be checked"):
        handler(EVENT, None)
