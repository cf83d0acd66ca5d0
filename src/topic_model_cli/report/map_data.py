"""What the map's script needs, as compact columns: embedded in the page, so it is kept small."""

from __future__ import annotations

from typing import Any

import orjson

from topic_model_cli.report.text import cluster_colour
from topic_model_cli.summary import RunSummary

MAX_SIMILAR = 10
MAX_SIMILAR_OF_MANY = 6
MANY = 2_500
_KEYWORDS = 5


def map_data(summary: RunSummary) -> dict[str, Any]:
    """Columns over the map's campaigns.

    ``similar`` holds ``[position, similarity, topic, …]`` a neighbour; a position beyond the map's campaigns is that of
    a campaign which is only named. ``topics`` holds ``[topic, percent]``, ``keywords`` ``[keyword, campaigns]``.
    """
    plan = summary.map
    limit = MAX_SIMILAR if len(plan.campaign_ids) <= MANY else MAX_SIMILAR_OF_MANY
    position = {campaign_id: place for place, campaign_id in enumerate(plan.campaign_ids)}
    names, similar, topics, keywords = [], [], [], []
    others: list[str] = []
    for campaign_id in plan.campaign_ids:
        lookup = summary.lookups.get(campaign_id)
        names.append(lookup.title if lookup else campaign_id)
        near = []
        for entry in lookup.similar[:limit] if lookup else ():
            if entry.campaign_id not in position:
                position[entry.campaign_id] = len(plan.campaign_ids) + len(others)
                others.append(entry.name or entry.campaign_id)
            shared = [topic.topic for topic in entry.shared_topics[:2]]
            near.append([position[entry.campaign_id], round(entry.similarity, 3), *shared])
        similar.append(near)
        topics.append([[topic.topic, round(100 * topic.share)] for topic in lookup.topics[:3]] if lookup else [])
        found = lookup.recommendations[:_KEYWORDS] if lookup else ()
        keywords.append([[entry.keyword, entry.campaigns] for entry in found])
    channels = sorted({lookup.channel or "" for lookup in summary.lookups.values()})
    return {
        "ids": plan.campaign_ids,
        "names": names + others,
        "x": plan.x,
        "y": plan.y,
        "cluster": plan.clusters,
        "channels": channels,
        "channel": [
            channels.index(summary.lookups[campaign_id].channel or "") if campaign_id in summary.lookups else -1
            for campaign_id in plan.campaign_ids
        ],
        "similar": similar,
        "topics": topics,
        "keywords": keywords,
        "clusters": [
            [cluster.label, cluster.campaigns, cluster_colour(cluster.cluster)]
            for cluster in sorted(summary.clusters, key=lambda cluster: cluster.cluster)
        ],
        "terms": {str(topic.topic): ", ".join(term for term, _ in topic.terms[:3]) for topic in summary.topics},
    }


def embedded_json(document: Any) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment there."""
    text = orjson.dumps(document).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
