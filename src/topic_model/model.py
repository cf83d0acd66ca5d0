"""A trained topic model and the fingerprints it gives; deterministic, and still a Gensim model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import psi

from topic_model.arrays import FloatArray, IntArray
from topic_model.corpus import Vocabulary
from topic_model.errors import NoKnownTermsError
from topic_model.settings import TextSettings

if TYPE_CHECKING:
    from gensim.models import LdaModel

MAX_ITERATIONS = 200
GAMMA_THRESHOLD = 1e-4
# Float32 exp(E[log beta]) goes subnormal where eta is small, and subnormal arithmetic is tens of times slower; nothing
# below this bound changes a fingerprint.
SMALLEST = 1e-30


@dataclass(frozen=True)
class TopicModel:
    """An LDA posterior.

    ``lambda_`` of shape (K, n_terms) holds the variational Dirichlet parameters of the topics (Hoffman et al. 2010,
    "Online Learning for Latent Dirichlet Allocation"), ``alpha`` of shape (K,) the prior of the topic mixtures.
    """

    vocabulary: Vocabulary
    lambda_: FloatArray
    alpha: FloatArray
    eta: float
    text_settings: TextSettings

    @property
    def num_topics(self) -> int:
        """K."""
        return int(self.lambda_.shape[0])

    @cached_property
    def beta(self) -> FloatArray:
        """Topic-word probabilities of shape (K, n_terms): the posterior's mean; rows sum to 1."""
        return np.asarray(self.lambda_ / self.lambda_.sum(axis=1, keepdims=True), dtype=np.float64)

    @cached_property
    def _exp_e_log_beta(self) -> FloatArray:
        """exp(E[log beta]) transposed to (n_terms, K), so that a campaign's terms are contiguous rows."""
        e_log_beta = psi(self.lambda_) - psi(self.lambda_.sum(axis=1, keepdims=True))
        return np.ascontiguousarray(np.maximum(np.exp(e_log_beta), SMALLEST).T)

    def infer_bow(self, ids: IntArray, counts: IntArray) -> FloatArray:
        """The fingerprint of one bag of words: an array of shape (K,) that sums to 1.

        Equation 5 of Hoffman et al. 2010. Gamma starts from ones, not from a random draw, and each campaign iterates
        alone: its fingerprint depends on its own text and on nothing computed before or beside it.

        Raises:
            NoKnownTermsError: the bag is empty. The prior is nobody's fingerprint.
        """
        if not len(ids):
            raise NoKnownTermsError("the campaign has no known terms, so it has no fingerprint; add keywords")
        topics = self._exp_e_log_beta[ids]
        weights = counts.astype(np.float64)
        gamma = np.ones(self.num_topics)
        for _ in range(MAX_ITERATIONS):
            # exp(E[log theta]) up to the factor exp(-psi(sum gamma)), which the division below cancels.
            mixture = np.exp(psi(gamma))
            updated = self.alpha + mixture * ((weights / (topics @ mixture)) @ topics)
            change = np.abs(updated - gamma).mean()
            gamma = updated
            if change < GAMMA_THRESHOLD:
                break
        return np.asarray(gamma / gamma.sum(), dtype=np.float64)

    def infer(self, terms: dict[str, int]) -> FloatArray:
        """The fingerprint of a campaign's terms with their counts; see :meth:`infer_bow`."""
        ids, counts = self.vocabulary.bow(terms)
        if not len(ids):
            shown = ", ".join(list(terms)[:10]) or "none"
            raise NoKnownTermsError(
                f"the campaign has no known terms (its terms: {shown}); "
                "use keywords of the kind the model was trained on"
            )
        return self.infer_bow(ids, counts)

    def infer_theta(self, indptr: IntArray, indices: IntArray, counts: IntArray) -> FloatArray:
        """Fingerprints of shape (n_campaigns, K) of bags as compressed sparse rows, ids ascending in each row.

        Raises:
            NoKnownTermsError: a row is empty; leave such campaigns out and list them.
        """
        theta = np.empty((len(indptr) - 1, self.num_topics))
        for row, (start, stop) in enumerate(pairwise(indptr)):
            theta[row] = self.infer_bow(indices[start:stop], counts[start:stop])
        return theta

    def top_terms(self, topic: int, number: int = 10) -> list[tuple[str, float]]:
        """The most probable terms of a topic with their probabilities, ties by term id."""
        row = self.beta[topic]
        return [(self.vocabulary.terms[term], float(row[term])) for term in np.argsort(-row, kind="stable")[:number]]

    @cached_property
    def topic_terms(self) -> list[list[str]]:
        """The six most characteristic terms of each topic: by probability times log lift over the other topics.

        Probability alone names every topic "best", "online", "buy"; the relevance of Sievert and Shirley 2014
        ("LDAvis", lambda = 0.5) weighs how much likelier a term is here than elsewhere.
        """
        log_beta = np.log(np.maximum(self.beta, 1e-300))
        marginal = np.log(np.maximum(self.beta.mean(axis=0), 1e-300))
        relevance = log_beta - 0.5 * marginal
        order = np.argsort(-relevance, axis=1, kind="stable")[:, :6]
        return [[self.vocabulary.terms[term] for term in row] for row in order]

    def to_gensim(self) -> LdaModel:
        """The same model as a Gensim ``LdaModel``, for Gensim's own tools."""
        from gensim.models import LdaModel

        id2word = dict(enumerate(self.vocabulary.terms))
        model = LdaModel(num_topics=self.num_topics, id2word=id2word, alpha=self.alpha, eta=self.eta, dtype=np.float64)
        model.state.sstats = self.lambda_ - self.eta
        model.sync_state()
        return model
