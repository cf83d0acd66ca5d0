"""How far an answer about a fresh campaign is to be trusted (docs/decisions/0013-confidence.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from topic_model.lookup_model import LookupModel

MIN_KNOWN_TERMS_SHARE = 0.5
"""Of a campaign's distinct terms. Below, most of the text has no say in the answer."""
MIN_NEAREST, MAX_MIN_NEAREST = 0.5, 0.6
"""The bar for the nearest neighbour's similarity lies between: where words drawn at random come to. The more campaigns
there are, the nearer is one to whatever is asked; above the second, short questions of the right kind would be low."""
_QUERIES, _WORDS, _QUANTILE = 200, 10, 0.95


def describe_confidence(known_terms_share: float, nearest: float, min_nearest: float = MIN_NEAREST) -> dict[str, Any]:
    """The two figures that an answer's confidence has, and whether either is below its bar.

    ``known_terms_share`` is the share of the campaign's distinct terms that the vocabulary has, ``nearest`` the
    similarity of the nearest neighbour, 0 where there is none.
    """
    share = round(known_terms_share, 4)
    return {
        "confidence": {"known_terms_share": share, "nearest": nearest},
        "low_confidence": share < MIN_KNOWN_TERMS_SHARE or nearest < min_nearest,
    }


def measured_min_nearest(lookup: LookupModel) -> float:
    """What the nearest must reach: what 95 of 100 questions of ten random words of the vocabulary do not."""
    model = lookup.model
    random = np.random.RandomState(lookup.settings.seed)
    counts = np.ones(min(_WORDS, len(model.vocabulary)), dtype=np.int64)
    found = []
    for _ in range(_QUERIES):
        ids = np.sort(random.choice(len(model.vocabulary), len(counts), replace=False)).astype(np.int64)
        near = lookup.index.nearest(lookup.vectors(model.infer_bow(ids, counts), ids, counts), 1).similarities[0]
        found.append(float(near[0]) if len(near) else 0.0)
    return round(float(np.clip(np.quantile(found, _QUANTILE), MIN_NEAREST, MAX_MIN_NEAREST)), 4)
