"""Drawing campaigns: whose, about what, which keywords, what people typed, and how it went.

Everything comes from seeded uniform numbers; a campaign's own stream depends on the seed and its number alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from topic_model.arrays import FloatArray
from topic_model.sample.vocabulary import Draws, Phrases, Theme, common_words, phrases, themes

CHANNELS = ("google_ads", "microsoft_ads")
_GOOGLE_SHARE = 0.6
_SPREAD = 0.9  # sigma of the log-normal number of keywords and search terms a campaign
_MIN_TERMS, _MAX_TERMS_FACTOR = 4, 12
_BRAND_CAMPAIGNS = 0.15  # campaigns around the client's own name, which says little about what it sells
_MIXED_CAMPAIGNS = 0.15  # campaigns that also bid on another theme, mostly of their vertical
_STRAY_TERMS = 0.06  # search terms that broad match let in from anywhere
_EXCLUDED_TERMS = 0.03
_MATCH_TYPES = ("exact", "phrase", "broad")


class Row(NamedTuple):
    """A keyword or search term with its performance over the period; ``keyword`` triggered a search term."""

    text: str
    match_type: str
    ad_group: str
    keyword: str
    excluded: bool
    impressions: int
    clicks: int
    cost: float
    conversions: float


@dataclass(frozen=True)
class DrawnCampaign:
    """A campaign with its ground truth (``theme``)."""

    campaign_id: str
    client: int
    channel: str
    name: str
    theme: Theme
    keywords: list[Row]
    search_terms: list[Row]
    negatives: list[str]


def draw_campaigns(campaigns: int, seed: int, terms_per_campaign: int) -> Iterator[DrawnCampaign]:
    """The campaigns in the order of their numbers, one at a time, so that any number fits in memory."""
    plan = Draws(seed, "plan")
    clients = common_words().clients
    owners = _owners(len(clients), plan)
    popularity = _theme_popularity(plan)
    theme_of = np.searchsorted(popularity, plan.generator.random(campaigns), side="right")
    # The first campaigns go round the themes, so that a small sample holds every vertical too.
    rounds = plan.shuffled(range(len(themes())))
    theme_of[: len(rounds)] = rounds[:campaigns]
    for number in range(campaigns):
        theme = themes()[int(theme_of[number])]
        yield _draw_campaign(number, theme, owners[theme.vertical], Draws(seed, number), terms_per_campaign)


def _owners(num_clients: int, plan: Draws) -> dict[str, list[int]]:
    """Two to five clients a vertical; agencies' clients sell several things."""
    verticals = sorted({theme.vertical for theme in themes()})
    return {vertical: plan.shuffled(range(num_clients))[: 2 + int(plan.uniform() * 4)] for vertical in verticals}


def _theme_popularity(plan: Draws) -> FloatArray:
    weights = np.exp(1.2 * (plan.generator.random(len(themes())) - 0.5))
    cumulative = np.cumsum(weights)
    return np.asarray(cumulative / cumulative[-1])


def _bell(draws: Draws, size: int) -> FloatArray:
    """Nearly normal numbers, in [-3.46, 3.46]: sums of four uniforms, the same on every platform."""
    return np.asarray((draws.generator.random((4, size)).sum(axis=0) - 2.0) * np.sqrt(3.0))


def _draw_campaign(
    number: int, theme: Theme, owners: list[int], draws: Draws, terms_per_campaign: int
) -> DrawnCampaign:
    client = draws.pick_early(owners, 1.5)
    channel = CHANNELS[0] if draws.uniform() < _GOOGLE_SHARE else CHANNELS[1]
    size = terms_per_campaign * float(np.exp(_SPREAD * _bell(draws, 1)[0]))
    size = min(max(size, _MIN_TERMS), terms_per_campaign * _MAX_TERMS_FACTOR)
    num_keywords = max(2, round(size * 0.45))
    texts, ad_groups = _keyword_texts(theme, client, num_keywords, draws)
    keywords = _keyword_rows(theme, texts, ad_groups, draws)
    terms = _search_term_rows(theme, keywords, max(2, round(size * 0.55)), draws)
    negatives = draws.shuffled(common_words().negatives)[: int(draws.uniform() ** 2 * 9)]
    return DrawnCampaign(
        campaign_id=str((18_000_000_000 if channel == CHANNELS[0] else 380_000_000) + number * 37 + 11),
        client=client,
        channel=channel,
        name=_name(number, theme, draws),
        theme=theme,
        keywords=keywords,
        search_terms=terms,
        negatives=list(dict.fromkeys(negatives + [row.text for row in terms if row.excluded])),
    )


def _name(number: int, theme: Theme, draws: Draws) -> str:
    """As people name campaigns: most say what is sold, some only how it is bid on."""
    market = draws.pick(("UK", "US", "IE", "EN", "Nat.", "Zürich", "AU", "CA"))
    goal = draws.pick(("Search", "Generic", "Brand + Generic", "Core", "Exact", "Broad", "New customers", "Q3 push"))
    subject = draws.pick((theme.label, theme.heads[0].capitalize(), theme.heads[1].capitalize(), theme.label))
    shape = draws.uniform()
    if shape < 0.35:
        return f"{subject} - {market} - {goal} {number:04d}"
    if shape < 0.70:
        return f"{market} | {goal} | {subject} #{number}"
    return f"{market}_{goal.replace(' ', '')}_{number:05d}"


def _keyword_texts(theme: Theme, client: int, size: int, draws: Draws) -> tuple[list[str], list[str]]:
    """Distinct keywords, most of them about the few heads the campaign is built around, and their ad groups."""
    focus = draws.generator.random(len(theme.heads)) < 0.08 + 0.4 * draws.uniform()
    found = _draw_phrases(phrases(theme), size, focus, draws)
    if draws.uniform() < _MIXED_CAMPAIGNS:
        anywhere = draws.uniform() < 0.3
        others = [other for other in themes() if other != theme and (anywhere or other.vertical == theme.vertical)]
        other = draws.pick(others)
        share = 0.15 + 0.3 * draws.uniform()
        added = _draw_phrases(phrases(other), round(size * share) + 1, np.ones(len(other.heads), dtype=bool), draws)
        found = found[: max(1, size - len(added))] + [(text, head % len(theme.heads)) for text, head in added]
    if draws.uniform() < _BRAND_CAMPAIGNS:
        found = _branded(theme, client, found, draws)
    distinct = dict(found)
    groups = {
        head: f"{theme.heads[head].capitalize()} {position + 1}" for position, head in enumerate(distinct.values())
    }
    return list(distinct), [groups[head] for head in distinct.values()]


def _branded(theme: Theme, client: int, found: list[tuple[str, int]], draws: Draws) -> list[tuple[str, int]]:
    """Some of the keywords turned into the client's name with a head, or with a word that says nothing of the theme."""
    common = common_words()
    brand = common.clients[client].lower().split(" ")[0]
    share = 0.2 + 0.6 * draws.uniform()
    branded = [(brand, 0)]
    for text, head in found:
        if draws.uniform() > share:
            branded.append((text, head))
        elif draws.uniform() < 0.5:
            branded.append((f"{brand} {theme.heads[head]}", head))
        else:
            branded.append((f"{brand} {draws.pick(common.after[theme.kind])}", head))
    return branded


def _draw_phrases(pool: Phrases, size: int, focus: npt.NDArray[np.bool_], draws: Draws) -> list[tuple[str, int]]:
    """Up to ``size`` distinct phrases by popularity, four in five of them about heads in focus."""
    uniforms = draws.generator.random((2, size * 5 + 40))
    picked = np.searchsorted(pool.cumulative, uniforms[0], side="right")
    picked = picked[focus[pool.heads[picked]] | (uniforms[1] < 0.08)]
    distinct = list(dict.fromkeys(picked.tolist()))[:size] or [0, 1]
    return [(pool.texts[position], int(pool.heads[position])) for position in distinct]


def _keyword_rows(theme: Theme, texts: list[str], ad_groups: list[str], draws: Draws) -> list[Row]:
    size = len(texts)
    kinds = np.minimum((draws.generator.random(size) ** 0.8 * 3).astype(int), 2).tolist()
    figures = _figures(theme, size, 5.2, draws)
    return [
        Row(text, _MATCH_TYPES[kind], group, text, False, *figure)
        for text, kind, group, figure in zip(texts, kinds, ad_groups, figures, strict=True)
    ]


def _search_term_rows(theme: Theme, keywords: list[Row], size: int, draws: Draws) -> list[Row]:
    uniforms = draws.generator.random((size, 4)).tolist()
    rows: dict[str, tuple[Row, str, bool]] = {}
    for how, which, word, place in uniforms:
        keyword = keywords[int(which**1.5 * len(keywords))]
        text, match_type, excluded = _typed(keyword, theme, how, word, place)
        rows.setdefault(text, (keyword, match_type, excluded))
    figures = _figures(theme, len(rows), 3.4, draws)
    return [
        Row(text, match_type, keyword.ad_group, keyword.text, excluded, *figure)
        for (text, (keyword, match_type, excluded)), figure in zip(rows.items(), figures, strict=True)
    ]


def _typed(keyword: Row, theme: Theme, how: float, word: float, place: float) -> tuple[str, str, bool]:
    """What somebody typed to be shown the keyword's ad, how it matched, and whether the advertiser excluded it."""
    common = common_words()
    text, match_type = keyword.text, "phrase"
    before, after = common.before[theme.kind], common.after[theme.kind]
    excluded = how < _EXCLUDED_TERMS
    if excluded:
        text, match_type = f"{text} {common.negatives[int(word * len(common.negatives))]}", "broad"
    elif how < _EXCLUDED_TERMS + _STRAY_TERMS:
        pool = phrases(themes()[int(word * len(themes()))])
        text, match_type = pool.texts[int(place**2 * len(pool.texts))], "broad"
    elif how < 0.32:
        match_type = "exact"
    elif how < 0.42:
        text, match_type = _other_number(text), "exact (close variant)"
    elif how < 0.50:
        text, match_type = _typo(text, place), "phrase (close variant)"
    elif how < 0.62:
        text = f"{before[int(word**2 * len(before))]} {text}"
    elif how < 0.74:
        text = f"{text} {after[int(word**2 * len(after))]}"
    elif how < 0.82:
        text = f"{text} {common.places[int(word**2 * len(common.places))]}"
    elif how < 0.87:
        text, match_type = f"{common.questions[int(word * len(common.questions))]} {text}", "broad"
    else:
        pool = phrases(theme)
        text, match_type = pool.texts[int(np.searchsorted(pool.cumulative, word))], "broad"
    return text, match_type, excluded


def _other_number(text: str) -> str:
    """The last word's plural, or its singular where it ends in a plain s."""
    if text.endswith(("ss", "us", "is")):
        return text + "es"
    if text.endswith("s"):
        return text[:-1]
    return text + ("es" if text.endswith(("x", "ch", "sh")) else "s")


def _typo(text: str, place: float) -> str:
    """Two letters swapped, one left out or one doubled, never in the first letter."""
    if len(text) < 5:
        return text
    position = 1 + int(place * (len(text) - 3))
    kind = int(place * 1_000) % 3
    if kind == 0:
        return text[:position] + text[position + 1] + text[position] + text[position + 2 :]
    return text[:position] + (text[position + 1 :] if kind == 1 else text[position] + text[position:])


def _figures(theme: Theme, size: int, level: float, draws: Draws) -> list[tuple[int, int, float, float]]:
    """Impressions, clicks, cost and conversions of ``size`` rows: log-normal rates, whole counts.

    Clicks are never more than impressions nor conversions more than clicks; cost is clicks times the row's price. Some
    conversions are halves, as shared attribution makes them.
    """
    uniforms = draws.generator.random((3, size))
    scale = 1.1 * _bell(draws, 1)[0]
    impressions = np.floor(np.exp(level + scale + 1.4 * _bell(draws, size)))
    rate = np.minimum(0.035 * np.exp(0.7 * _bell(draws, size)), 0.5)
    clicks = np.minimum(np.floor(impressions * rate + uniforms[0]), impressions)
    price = theme.cost_a_click * np.exp(0.45 * _bell(draws, size))
    cost = np.round(clicks * np.round(price, 2), 2)
    conversions = np.minimum(np.floor(clicks * 0.05 * np.exp(0.6 * _bell(draws, size)) + uniforms[1]), clicks)
    conversions = np.where((conversions >= 1) & (uniforms[2] < 0.08), conversions - 0.5, conversions)
    return list(
        zip(
            impressions.astype(int).tolist(),
            clicks.astype(int).tolist(),
            cost.tolist(),
            conversions.tolist(),
            strict=True,
        )
    )
