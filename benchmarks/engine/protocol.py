"""The yardsticks, the same for every trainer: each is given topics and nothing else of a model.

- Smoothing: beta'_kw = (1 - 0.001) beta_kw + 0.001 u_w, with u the training words' frequencies plus one, so that a term
  to which a factorisation gave no topic is rare and not impossible.
- Fingerprints by folding-in (EM, from equal shares, at most 200 iterations):
  theta_k = (alpha + sum_w n_w phi_wk) / (K alpha + n), with phi_wk = theta_k beta'_kw / sum_j theta_j beta'_jw and
  one alpha for all.
- Held-out log-likelihood a word by document completion (Wallach et al. 2009, "Evaluation Methods for Topic Models"):
  a held-out campaign's words are halved by a seeded draw, theta is folded in on one half, and the other half scores:
  mean over words of ln sum_k theta_k beta'_kw.
- c_npmi: the ten most probable terms of each topic, campaigns of the training corpus as windows; the mean over the
  pairs of ln(p12 / p1 p2) / -ln p12, -1 for a pair that never meets (Lau et al. 2014); then over topics.
- Diversity: share of distinct terms among all topics' ten (Dieng et al. 2020).
- Precision@10: campaigns (at most 10,000, a seeded draw) are folded in whole; of the ten nearest by Hellinger distance,
  the share that is of the campaign's own vertical. TF-IDF cosine (1 + ln tf, scikit-learn's idf) on the same campaigns
  stands beside.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.engine.corpora import EngineCorpus
from topic_model.arrays import FloatArray

ALPHA = 0.1
SMOOTHING = 1e-3
ITERATIONS, TOLERANCE = 200, 1e-5
TOP_TERMS = 10
NEIGHBOURS = 10
MAX_CAMPAIGNS = 10_000
SEED = 0
THREADS = 2
_BLOCK = 512


def evaluate_topics(beta: FloatArray, corpus: EngineCorpus, alpha: float = ALPHA) -> dict[str, float]:
    """All yardsticks of topics of shape (K, n_terms)."""
    training = corpus.training
    smoothed = smooth(beta, training)
    folded, scored = halved(corpus.matrix(corpus.held_out))
    rows = sampled_rows(corpus)
    roots = np.sqrt(fold_in(smoothed, corpus.matrix(rows), alpha)).astype(np.float32)
    return {
        "log_likelihood": log_likelihood(smoothed, fold_in(smoothed, folded, alpha), scored),
        "c_npmi": c_npmi(beta, training),
        "diversity": diversity(beta),
        "precision_at_10": precision_at(NEIGHBOURS, roots, corpus.verticals[rows]),
    }


def sampled_rows(corpus: EngineCorpus) -> Any:
    """The rows that precision is measured on, ascending."""
    number = len(corpus.indptr) - 1
    return np.sort(np.random.RandomState(SEED).permutation(number)[:MAX_CAMPAIGNS])


def tfidf_precision(corpus: EngineCorpus) -> float:
    """Precision@10 of TF-IDF cosine on the campaigns that fingerprints are measured on."""
    from sklearn.feature_extraction.text import TfidfTransformer

    rows = sampled_rows(corpus)
    weights = TfidfTransformer(sublinear_tf=True).fit_transform(corpus.matrix(rows))
    return precision_at(NEIGHBOURS, weights, corpus.verticals[rows])


def smooth(beta: FloatArray, training: Any) -> FloatArray:
    """beta' of the module's formula."""
    unigram = np.asarray(training.sum(axis=0), dtype=np.float64).ravel() + 1
    smoothed = (1 - SMOOTHING) * beta.astype(np.float64) + SMOOTHING * unigram / unigram.sum()
    return np.asarray(smoothed, dtype=np.float64)


def halved(counts: Any) -> tuple[Any, Any]:
    """Two CSR matrices that add up to ``counts``: each campaign's words in two halves, by a seeded draw.

    The first has the odd word. Campaigns of one word are left out.
    """
    from scipy import sparse

    random = np.random.RandomState(SEED)
    counts = counts[np.asarray(counts.sum(axis=1)).ravel() >= 2]
    first = np.zeros(counts.nnz)
    for start, stop in zip(counts.indptr, counts.indptr[1:], strict=False):
        words = np.repeat(np.arange(start, stop), counts.data[start:stop].astype(np.int64))
        np.add.at(first, random.permutation(words)[: (len(words) + 1) // 2], 1)
    halves = [
        sparse.csr_matrix((part, counts.indices.copy(), counts.indptr.copy()), counts.shape)
        for part in (first, counts.data - first)
    ]
    for half in halves:
        half.eliminate_zeros()
    return halves[0], halves[1]


def fold_in(beta: FloatArray, counts: Any, alpha: float = ALPHA) -> FloatArray:
    """Fingerprints of shape (n, K), see the module's formula; ``beta`` has shape (K, n_terms) and no zero."""
    from benchmarks.engine.kernels import em_fold_in

    theta = np.empty((counts.shape[0], beta.shape[0]))
    transposed = np.ascontiguousarray(beta.T)

    def fold(start: int) -> None:
        part = counts[start : start + _BLOCK]
        em_fold_in(
            part.indptr.astype(np.int64),
            part.indices.astype(np.int32),
            part.data.astype(np.float64),
            transposed,
            alpha,
            ITERATIONS,
            TOLERANCE,
            theta[start : start + _BLOCK],
        )

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fold, range(0, counts.shape[0], _BLOCK)))
    return theta


def log_likelihood(beta: FloatArray, theta: FloatArray, counts: Any) -> float:
    """Mean over words of ln sum_k theta_k beta_kw, in nats."""
    total = 0.0
    for start in range(0, counts.shape[0], _BLOCK):
        part = counts[start : start + _BLOCK].tocoo()
        total += float(part.data @ np.log((theta[start : start + _BLOCK] @ beta)[part.row, part.col]))
    return total / float(counts.sum())


def top_terms(beta: FloatArray) -> Any:
    """Ids of each topic's most probable terms, of shape (K, 10); ties by id."""
    return np.argsort(-beta, axis=1, kind="stable")[:, :TOP_TERMS]


def c_npmi(beta: FloatArray, counts: Any) -> float:
    """Mean coherence of the topics, see the module's formula."""
    top = top_terms(beta)
    distinct, places = np.unique(top, return_inverse=True)
    places = places.reshape(top.shape)
    presence = (counts[:, distinct] > 0).astype(np.float64)
    together = (presence.T @ presence).toarray() / counts.shape[0]
    alone = np.diag(together)
    with np.errstate(divide="ignore", invalid="ignore"):
        npmi = np.log(together / np.outer(alone, alone)) / -np.log(together)
    npmi[together == 0] = -1
    npmi[together == 1] = 1
    first, second = np.triu_indices(top.shape[1], k=1)
    return float(npmi[places[:, first], places[:, second]].mean())


def diversity(beta: FloatArray) -> float:
    """Share of distinct terms among the topics' most probable, in (0, 1]."""
    top = top_terms(beta)
    return float(len(np.unique(top)) / top.size)


def precision_at(number: int, vectors: Any, verticals: Any) -> float:
    """Of each row's ``number`` nearest others by inner product, the share of its own vertical."""
    codes = np.unique(verticals, return_inverse=True)[1]
    hits = 0
    for start in range(0, vectors.shape[0], _BLOCK):
        products = vectors[start : start + _BLOCK] @ vectors.T
        products = np.array(products.todense() if hasattr(products, "todense") else products)
        own = np.arange(len(products))
        products[own, start + own] = -np.inf
        nearest = np.argpartition(-products, number - 1, axis=1)[:, :number]
        hits += int((codes[nearest] == codes[start + own, None]).sum())
    return float(hits / (number * vectors.shape[0]))
