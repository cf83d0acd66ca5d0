"""The report's sections on campaigns: the map's stage, similar campaigns with recommended keywords, and topics."""

from __future__ import annotations

from collections.abc import Iterable

from topic_model_cli.final_table import weak_mark
from topic_model_cli.report.text import cluster_colour, esc, number, plural
from topic_model_cli.summary import CampaignLookup, RunSummary, Similar, Topic

EXAMPLES = 12
TOPICS_OPEN = 12
SIMILAR_SHOWN = 5
KEYWORDS_SHOWN = 8


def campaign_map(summary: RunSummary) -> str:
    """The stage of the map; ``page.js`` draws it from the embedded data."""
    shown = len(summary.map.campaign_ids)
    if not shown:
        return ""
    sample = (
        f" ({number(shown)} of {number(summary.num_lookups)}, drawn at random)" if shown < summary.num_lookups else ""
    )
    return (
        f'<section id="map"><h2>Map of campaigns</h2><p>Each dot is a campaign{sample}, coloured by cluster; near dots '
        "have similar fingerprints, far distances mean nothing. Point at one for its name, select it for its similar "
        "campaigns.</p>"
        '<noscript><p class="note">The map needs JavaScript; everything else here does not.</p></noscript>'
        '<div class="map"><div class="card stage"><canvas id="stage" tabindex="0" role="application" '
        'aria-label="Map of campaigns. Arrow keys move it, plus and minus zoom, zero shows all. The search beside it '
        'selects campaigns by name."></canvas>'
        '<div class="buttons"><button type="button" data-zoom="in" aria-label="Zoom in">+</button>'
        '<button type="button" data-zoom="out" aria-label="Zoom out">−</button>'
        '<button type="button" data-zoom="all">Show all</button></div><div id="tip" hidden></div></div>'
        '<div class="card"><div class="find"><label for="find">Find a campaign by name or id</label>'
        '<input id="find" type="search" autocomplete="off">'
        '<ul class="matches" id="matches" aria-live="polite"></ul></div>'
        '<h3 style="margin-top:.8rem">Clusters, the largest first</h3><ul class="legend" id="legend"></ul></div></div>'
        '<div class="card" id="chosen" aria-live="polite"><p class="soft">No campaign is selected.</p></div></section>'
    )


def neighbours(summary: RunSummary) -> str:
    """A few campaigns with their topics, similar campaigns and recommended keywords."""
    examples = summary.examples(EXAMPLES)
    if not examples:
        return ""
    return (
        '<section id="neighbours"><h2>Similar campaigns and recommended keywords</h2>'
        "<p>One campaign of each of the largest clusters: the middle one by id, not the best one. A recommended "
        "keyword is one that similar campaigns use and this one lacks; the figures are sums over those campaigns, "
        "a dash where the export has none. Similarity is between 0 and 1.</p>"
        f'<div class="examples">{"".join(map(_example, examples))}</div></section>'
    )


def _example(lookup: CampaignLookup) -> str:
    chips = "".join(
        f"<li><b>{topic.share:.0%}</b> {esc(', '.join(topic.terms[:3]))}</li>" for topic in lookup.topics[:4]
    )
    colour = cluster_colour(lookup.cluster)
    where = " · ".join(esc(part) for part in (lookup.channel, lookup.client_id, lookup.campaign_id) if part)
    return (
        f'<article class="card example"><header><h3>{esc(lookup.title)}</h3><small class="soft">{where} · '
        f'<span class="swatch" style="background:{colour}"></span>{esc(lookup.cluster_label)}</small>'
        f'<ul class="chips" aria-label="Topics">{chips}</ul></header>'
        f'<div class="pair"><div><h4>Similar campaigns</h4>{_similar_table(lookup)}</div>'
        f"<div><h4>Recommended keywords</h4>{_keyword_table(lookup)}</div></div></article>"
    )


def _similar_table(lookup: CampaignLookup) -> str:
    if not lookup.similar:
        return '<p class="soft">None is similar enough.</p>'
    rows = "".join(
        f'<tr><td class="number" data-label="similarity">{similar.similarity:.2f}{weak_mark(similar.similarity)}</td>'
        '<th scope="row">'
        f'{esc(similar.name or similar.campaign_id)}<br><small class="soft">{esc(similar.channel or "")}</small></th>'
        f"<td>{esc(', '.join(similar.shared_terms[:6]) or '–')}"
        f'<br><small class="soft">{esc(", ".join(_only_related(similar)))}</small></td></tr>'
        for similar in lookup.similar[:SIMILAR_SHOWN]
    )
    return (
        '<table class="data stack"><thead><tr><th scope="col">similarity</th><th scope="col">campaign</th>'
        f'<th scope="col">terms in common, related</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _only_related(similar: Similar) -> list[str]:
    """The campaign's terms that occur with the other's, and are not the other's themselves."""
    return [term for term in similar.related_terms if term not in similar.shared_terms][:6]


def _keyword_table(lookup: CampaignLookup) -> str:
    if not lookup.recommendations:
        return '<p class="soft">None: similar campaigns use nothing that this one lacks.</p>'
    rows = "".join(
        f'<tr><th scope="row">{esc(keyword.keyword)}</th>'
        f'<td class="number" data-label="used by">{keyword.campaigns}</td>'
        f'<td class="number" data-label="clicks">{number(keyword.clicks)}</td>'
        f'<td class="number" data-label="conversions">{number(keyword.conversions, 1)}</td>'
        f'<td class="number" data-label="cost">{number(keyword.cost, 2)}</td>'
        f'<td class="number" data-label="score">{keyword.score:.2f}</td></tr>'
        for keyword in lookup.recommendations[:KEYWORDS_SHOWN]
    )
    return (
        '<table class="data stack"><thead><tr><th scope="col">keyword</th><th scope="col" class="number">used by</th>'
        '<th scope="col" class="number">clicks</th><th scope="col" class="number">conv.</th>'
        '<th scope="col" class="number">cost</th><th scope="col" class="number">score</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def topics(summary: RunSummary) -> str:
    """Topics with their terms, the most common first."""
    if not summary.topics:
        return ""
    ordered = sorted(summary.topics, key=lambda topic: (-topic.share, topic.topic))
    first, rest = ordered[:TOPICS_OPEN], ordered[TOPICS_OPEN:]
    more = (
        f"<details><summary>The other {plural(len(rest), 'topic')}</summary>{_topic_grid(rest)}</details>"
        if rest
        else ""
    )
    return (
        '<section id="topics"><h2>Topics</h2><p>A topic is a way in which terms occur together. Beside its number is '
        "its mean share in the campaigns; bars and figures are the probabilities of its terms.</p>"
        f"{_topic_grid(first)}{more}</section>"
    )


def _topic_grid(shown: Iterable[Topic]) -> str:
    return f'<div class="topics">{"".join(map(_topic_card, shown))}</div>'


def _topic_card(topic: Topic) -> str:
    most = max((probability for _, probability in topic.terms), default=1.0) or 1.0
    terms = "".join(
        f'<li style="--w:{100 * probability / most:.0f}%">{esc(term)} <span>{probability:.3f}</span></li>'
        for term, probability in topic.terms[:10]
    )
    return (
        f'<div class="card topic"><h3>Topic {topic.topic} <span>{topic.share:.1%}</span></h3>'
        f'<ul class="terms">{terms}</ul></div>'
    )
