"""How well a model explains bags: the variational bound, which every algorithm's passes are reported by."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, psi

from topic_model.bags import Bags
from topic_model.model import SMALLEST, TopicModel


def bound_per_word(model: TopicModel, bags: Bags) -> float:
    """The campaigns' part of the variational bound on the log likelihood, a word, in nats.

    Equation 3 of Hoffman et al. 2010, "Online Learning for Latent Dirichlet Allocation", for fixed topics. Gensim's
    ``bound`` adds the topics' part, which no campaign changes.
    """
    theta = model.infer_theta(bags.indptr, bags.indices.astype(np.int64), bags.counts.astype(np.float64))
    words = np.add.reduceat(bags.counts.astype(np.float64), bags.indptr[:-1])
    alpha = model.alpha
    # Each update of gamma shares out alpha and the campaign's words, so its sum is known and theta gives it back.
    gamma = theta * (alpha.sum() + words)[:, None]
    e_log_theta = psi(gamma) - psi(gamma.sum(axis=1, keepdims=True))
    terms, places = np.unique(bags.indices, return_inverse=True)
    e_log_beta = psi(model.lambda_[:, terms]) - psi(model.lambda_.sum(axis=1, keepdims=True))
    topics = np.maximum(np.exp(e_log_beta), SMALLEST).T
    total = 0.0
    for row, mixture in enumerate(np.exp(e_log_theta)):
        entries = slice(bags.indptr[row], bags.indptr[row + 1])
        total += float(bags.counts[entries] @ np.log(np.maximum(topics[places[entries]] @ mixture, SMALLEST)))
    total += float(((alpha - gamma) * e_log_theta).sum() + (gammaln(gamma) - gammaln(alpha)).sum())
    total += float((gammaln(alpha.sum()) - gammaln(gamma.sum(axis=1))).sum())
    return total / float(words.sum())
