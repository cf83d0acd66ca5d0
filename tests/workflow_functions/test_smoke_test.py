"""SmokeTest against real files and endpoint interface, whose answers each test sets."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
import requests

from tests.workflow_functions.conftest import BUCKET, Cloud
from workflow_functions.errors import SmokeTestError
from workflow_functions.smoke_test import MAX_CAMPAIGNS, handler

VERSION = "0123456789ab"
SHARES = [0.7, 0.2, 0.1]
EVENT = {
    "endpoint": "e",
    "model_version": VERSION,
    "lookups": f"s3://{BUCKET}/runs/r/lookups",
    "scoring": f"s3://{BUCKET}/runs/r/scoring",
}


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


def known(cloud: Cloud, **channels: list[str]) -> None:
    """Channels of campaigns to be scored."""
    for channel, campaign_ids in channels.items():
        lines = [json.dumps({"campaign_id": campaign_id, "keywords": ["shoes"]}) + "\n" for campaign_id in campaign_ids]
        cloud.put(f"runs/r/scoring/{channel}/campaigns.jsonl", "".join(lines))


def scored(cloud: Cloud, *campaign_ids: str, similar: bool = True) -> None:
    """The campaigns' lookup rows."""
    row = {
        "model_version": VERSION,
        "topics": [{"topic": 0, "share": 0.7, "terms": ["shoe"]}, {"topic": 1, "share": 0.2, "terms": ["hat"]}],
        "similar": [{"campaign_id": "other"}] if similar else [],
    }
    body = "".join(json.dumps({"campaign_id": campaign_id, **row}) + "\n" for campaign_id in campaign_ids).encode()
    cloud.put("runs/r/lookups/rows-00000.jsonl", body)
    file = {"name": "rows-00000.jsonl", "rows": len(campaign_ids), "sha256": hashlib.sha256(body).hexdigest()}
    facts = {"format_version": 2, "model_version": VERSION, "rows": len(campaign_ids), "documents": []}
    cloud.put("runs/r/lookups/manifest.json", json.dumps({**facts, "files": [file]}))


def test_answers_that_agree_pass(cloud: Cloud) -> None:
    """An endpoint that answers as the rows say passes for every campaign tried, of every channel."""
    known(cloud, google=["a", "b"], meta=["c"])
    scored(cloud, "c", "b", "a")
    serve(cloud, *[answer()] * 3)
    assert handler(EVENT, None) == {"checked": 3, "model_version": VERSION}


def test_only_a_few_campaigns_are_tried(cloud: Cloud) -> None:
    """A channel of many campaigns costs a few requests."""
    ids = [f"c{number}" for number in range(3 * MAX_CAMPAIGNS)]
    known(cloud, google=ids)
    scored(cloud, *ids)
    serve(cloud, *[answer()] * 3 * MAX_CAMPAIGNS)
    assert handler(EVENT, None)["checked"] == MAX_CAMPAIGNS


def test_every_channel_is_tried(cloud: Cloud) -> None:
    """A channel whose rows come last has its share of the requests."""
    ids = {channel: [f"{channel}{number}" for number in range(2 * MAX_CAMPAIGNS)] for channel in ("google", "meta")}
    known(cloud, **ids)
    scored(cloud, *ids["google"], *ids["meta"])
    serve(cloud, *[answer()] * (MAX_CAMPAIGNS // 2), answer(similar=[]))
    with pytest.raises(SmokeTestError, match="campaign 'meta0'"):
        handler(EVENT, None)


def test_campaigns_without_a_row_are_passed_over(cloud: Cloud) -> None:
    """A campaign without known terms has no row and no answer; the ones after it are tried."""
    known(cloud, google=["unscored"], meta=["scored"])
    scored(cloud, "scored")
    serve(cloud, answer())
    assert handler(EVENT, None)["checked"] == 1


@pytest.mark.parametrize(
    ("served", "told"),
    [
        (answer(model_version="ffffffffffff"), "'ffffffffffff' answers; '0123456789ab' was deployed"),
        (answer(fingerprint=None), "no fingerprint"),
        (answer(fingerprint=[0.1, 0.1, 0.1]), "no fingerprint whose shares sum to 1"),
        *(
            (answer(fingerprint=[one, 0.2, 0.1]), "no fingerprint")
            for one in (math.nan, None, "0.7", [0.7], True, 1e999)
        ),
        (answer(fingerprint=[0.7, 0.2, 0.1, 10**400]), "no fingerprint"),
        (answer(fingerprint=[0.7, 0.2, 0.1, math.nan]), "no fingerprint"),
        (answer(fingerprint=[0.2, 0.7, 0.1]), "topic 0 has share 0.700 in its row and 0.200"),
        (answer(fingerprint=[1.0]), "topic 0 has share 0.700"),
        (answer(similar=[]), "1 similar campaigns in its row, none from"),
        ("oops", "no JSON"),
        ("[]", "no JSON object"),
    ],
)
def test_an_answer_that_differs_is_an_error(cloud: Cloud, served: Any, told: str) -> None:
    """What a health check does not see is found: another model, another reading of the text, no neighbours."""
    known(cloud, google=["a"])
    scored(cloud, "a")
    serve(cloud, served)
    with pytest.raises(SmokeTestError, match="campaign 'a'") as caught:
        handler(EVENT, None)
    assert told in str(caught.value)


def test_a_campaign_without_neighbours_may_stay_without(cloud: Cloud) -> None:
    """Neighbours are asked of the endpoint only where the row has them."""
    known(cloud, google=["a"])
    scored(cloud, "a", similar=False)
    serve(cloud, answer(similar=[]))
    assert handler(EVENT, None)["checked"] == 1


def test_nothing_to_check_with_is_an_error(cloud: Cloud) -> None:
    """A smoke test that tried nothing has not passed."""
    known(cloud, google=["a"])
    scored(cloud, "b")
    with pytest.raises(SmokeTestError, match="could not be checked"):
        handler(EVENT, None)


def test_the_rows_are_the_deployed_models(cloud: Cloud) -> None:
    """Rows of another model say nothing about the one that was deployed."""
    scored(cloud, "a")
    with pytest.raises(SmokeTestError, match="'ffffffffffff' was deployed"):
        handler({**EVENT, "model_version": "ffffffffffff"}, None)
