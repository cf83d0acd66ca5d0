"""Examples of the OpenAPI document, by the names of their models; a test holds each against its schema."""

from __future__ import annotations

from typing import Any

_VERSION = "8f3c0d5e7a91"
_ANSWER = (
    "Xt0C3pQ0m6q1Y5b0cY2w7wEBAZzK1qNHpFt_WzE3NjM3MTY4MDAsIjdjMWYyYTM0LTk4YmUtNGEwZS05YzNlLTJmNmM1ZDFiOGE5MCIsIjhmM2Mw"
    "ZDVlN2E5MSIsImNoYW1waW9uIixudWxsXQ"
)
_TOPIC = {"topic": 12, "share": 0.71, "terms": ["runner", "trail", "shoe"]}
_SIMILAR = {
    "campaign_id": "google-1042",
    "client_id": "acme",
    "name": "Trail shoes | DE",
    "channel": "google_ads",
    "similarity": 0.64,
    "shared_topics": [{"topic": 12, "share": 0.93, "terms": ["runner", "trail", "shoe"]}],
    "shared_terms": ["trail", "shoe"],
    "related_terms": ["marathon"],
    "explanation": {
        "terms": [{"term": "trail", "contribution": 0.31}, {"term": "shoe", "contribution": 0.12}],
        "other_terms": 0.04,
        "related_terms": [{"term": "marathon", "contribution": 0.02}],
        "other_related_terms": 0.0,
        "topics": [{"topic": 12, "terms": ["runner", "trail", "shoe"], "contribution": 0.14}],
        "other_topics": 0.01,
    },
}
_RECOMMENDED = {
    "keyword": "waterproof trail shoes",
    "score": 0.182,
    "campaigns": 3,
    "similarity": 0.52,
    "clicks": 412.0,
    "conversions": 17.5,
    "cost": 288.4,
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "FreshCampaign": {
        "keywords": ["trail running shoes", {"text": "running shoes", "clicks": 120, "cost": 88.4, "conversions": 4}],
        "negative_keywords": ["second hand"],
        "k": 5,
        "explain": True,
    },
    "Feedback": {
        "answer_id": _ANSWER,
        "kind": "keyword",
        "item": "waterproof trail shoes",
        "verdict": "accepted",
        "by": "ana@example.com",
    },
    "KnownCampaign": {
        "campaign_id": "google-77",
        "client_id": "acme",
        "channel": "google_ads",
        "name": "Running | EN",
        "model_version": _VERSION,
        "cluster": 4,
        "cluster_label": "shoe, runner, trail",
        "topics": [_TOPIC],
        "keywords": ["trail running shoes", "running shoes"],
        "num_keywords": 2,
    },
    "SimilarCampaigns": {
        "answer_id": _ANSWER,
        "model_version": _VERSION,
        "campaign_id": "google-77",
        "considered": 10,
        "similar": [_SIMILAR],
    },
    "Recommendations": {
        "answer_id": _ANSWER,
        "model_version": _VERSION,
        "campaign_id": "google-77",
        "recommendations": [_RECOMMENDED],
    },
    "FreshAnswer": {
        "answer_id": _ANSWER,
        "model_version": _VERSION,
        "variant": "champion",
        "campaign_id": None,
        "known_terms": 3,
        "unknown_terms": [],
        "cluster": 4,
        "cluster_label": "shoe, runner, trail",
        "topics": [_TOPIC],
        "similar": [_SIMILAR],
        "recommendations": [_RECOMMENDED],
        "low_confidence": False,
        "confidence": {"known_terms_share": 1.0, "nearest": 0.64},
    },
    "FeedbackKept": {"feedback_id": "3f1d9b6c2a7e4f08b5d1c6e9a0f2d4b7", "stored": "created"},
    "FoundCampaigns": {
        "model_version": _VERSION,
        "query": "trail sho",
        "page": 1,
        "pages": 1,
        "total": 1,
        "more": False,
        "campaigns": [
            {
                "campaign_id": "google-1042",
                "client_id": "acme",
                "name": "Trail shoes | DE",
                "channel": "google_ads",
                "matched": "name",
            }
        ],
    },
    "MapPart": {
        "model_version": _VERSION,
        "part": 1,
        "parts": 1,
        "total": 2,
        "campaign_id": ["google-1042", "google-77"],
        "name": ["Trail shoes | DE", "Running | EN"],
        "x": [1890, 1912],
        "y": [7204, 7188],
        "cluster": [0, 0],
        "cluster_labels": ["shoe, runner, trail"],
    },
    "Topics": {
        "model_version": _VERSION,
        "topics": [{"topic": 0, "share": 0.034, "terms": [{"term": "coffee", "probability": 0.11}]}],
    },
    "TopicOfVersion": {
        "model_version": _VERSION,
        "topic": 0,
        "share": 0.034,
        "terms": [{"term": "coffee", "probability": 0.11}],
    },
    "Health": {"status": "ok", "model_version": _VERSION},
    "Problem404": {
        "type": "urn:topic-model:problem:unknown-campaign",
        "title": "Not Found",
        "status": 404,
        "detail": "there is no campaign 'google-78'",
        "request_id": "b1d0a0e2-6a2e-4b4c-8a55-17f1f5f7f2c3",
    },
    "Problem422": {
        "type": "urn:topic-model:problem:no-known-terms",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "the model knows none of the campaign's terms",
        "request_id": "b1d0a0e2-6a2e-4b4c-8a55-17f1f5f7f2c3",
        "unknown_terms": ["qwertz"],
    },
    "Problem422FeedbackKept": {
        "type": "urn:topic-model:problem:expired-answer",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "the answer is more than 7 days old; ask again, and judge the new answer",
        "request_id": "b1d0a0e2-6a2e-4b4c-8a55-17f1f5f7f2c3",
    },
}
