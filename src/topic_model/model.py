"""A trained topic model and the fingerprints it gives; deterministic, and still a Gensim model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from topic_model.arrays import FloatArray, IntArray
from topic_model.corpus import Vocabulary
from topic_model.errors import NoKnownTermsError
from topic_model.settings import TextSettings

if TYPE_CHECKING:
    from gensim.models import LdaModel

    from topic_model.kernels.inference import Inference

# Float32 exp(E[log beta]) goes subnormal where eta is small, and subnormal arithmetic is tens of times slower; nothing
# below this bound changes a fingerprint.
SMALLEST = 1e-30


@dataclass(frozen=True)
class TopicModel:
    """An LDA posterior.

    ``lambda_`` of shape (K, n_terms) holds the variational Dirichlet parameters of the topics (Hoffman et al. 2010,
    "Online Learning for Latent Dirichlet Allocation"), ``alpha`` of shape (K,) the prior of the topic mixtures.
    ``topic_term_ids`` of shape (K, n) holds the terms that say best what each topic is about, where
    :func:`topic_model.describe.with_topic_terms` was asked.
    """

    vocabulary: Vocabulary
    lambda_: FloatArray
    alpha: FloatArray
    eta: float
    text_settings: TextSettings
    topic_term_ids: IntArray | None = None

    @property
    def num_topics(self) -> int:
        """K."""
        return int(self.lambda_.shape[0])

    @cached_property
    def beta(self) -> FloatArray:
        """Topic-word probabilities of shape (K, n_terms): the posterior's mean; rows sum to 1."""
        return np.asarray(self.lambda_ / self.lambda_.sum(axis=1, keepdims=True), dtype=np.float64)

    @cached_property
    def _inference(self) -> Inference:
        """The compiled E-step over these topics, made at the first fingerprint (or by :meth:`warm_up`)."""
        from topic_model.kernels.inference import Inference

        return Inference(self.lambda_, self.alpha)

    def warm_up(self) -> None:
        """Get ready to infer, which takes a second in a fresh process: what a server does before its first request."""
        self.infer_bow(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64))

    def infer_bow(self, ids: IntArray, counts: IntArray | FloatArray) -> FloatArray:
        """The fingerprint of one bag of words: an array of shape (K,) that sums to 1.

        Gamma starts from ones, not from a random draw, and each campaign iterates alone: its fingerprint depends on its
        own text and on nothing computed before or beside it (:mod:`topic_model.kernels.inference`).

        Raises:
            NoKnownTermsError: the bag is empty. The prior is nobody's fingerprint.
            CorpusError: an id is out of range, or a count is not above 0 and at most 10¹².
        """
        theta: FloatArray = self.infer_theta(np.array([0, len(ids)]), ids, counts)[0]
        return theta

    def infer(self, terms: dict[str, int]) -> FloatArray:
        """The fingerprint of a campaign's terms with their counts; see :meth:`infer_bow`."""
        return self.infer_bow(*self.known_bow(terms))

    def known_bow(self, terms: dict[str, int]) -> tuple[IntArray, IntArray]:
        """Ids, ascending, and counts of a campaign's known terms.

        Raises:
            NoKnownTermsError: there is none.
        """
        ids, counts = self.vocabulary.bow(terms)
        if not len(ids):
            shown = ", ".join(list(terms)[:10]) or "none"
            raise NoKnownTermsError(
                f"the campaign has no known terms (its terms: {shown}); "
                "use keywords of the kind the model was trained on"
            )
        return ids, counts

    def infer_theta(
        self,
        indptr: IntArray,
        indices: npt.NDArray[np.integer[Any]],
        counts: npt.NDArray[np.number[Any]],
        *,
        threads: int = 1,
    ) -> FloatArray:
        """Fingerprints of shape (n_campaigns, K) of bags as compressed sparse rows, ids ascending in each row.

        ``counts`` may be weights. The number of threads changes nothing but the time.

        Raises:
            NoKnownTermsError: a row is empty; leave such campaigns out and list them.
            CorpusError: an id is out of range, or a count is not above 0 and at most 10¹².
        """
        if (np.diff(indptr) == 0).any():
            raise NoKnownTermsError("the campaign has no known terms, so it has no fingerprint; add keywords")
        return self._inference.theta(indptr, indices, counts, threads=threads)

    def top_terms(self, topic: int, number: int = 10) -> list[tuple[str, float]]:
        """Terms of a topic with their probabilities: those that say best what it is about, else the most probable."""
        row = self.beta[topic]
        order = np.argsort(-row, kind="stable") if self.topic_term_ids is None else self.topic_term_ids[topic]
        return [(self.vocabulary.terms[term], float(row[term])) for term in order[:number].tolist()]

    @cached_property
    def topic_terms(self) -> list[list[str]]:
        """The six terms that say best what each topic is about.

        A model that was not given any, as one that Gensim trained, takes them by the relevance of Sievert and Shirley
        2014 ("LDAvis", lambda = 0.5): probability alone names every topic "best", "online", "buy".
        """
        if self.topic_term_ids is not None:
            return [[self.vocabulary.terms[term] for term in row[:6]] for row in self.topic_term_ids.tolist()]
        log_beta = np.log(np.maximum(self.beta, 1e-300))
        marginal = np.log(np.maximum(self.beta.mean(axis=0), 1e-300))
        relevance = log_beta - 0.5 * marginal
        order = np.argsort(-relevance, axis=1, kind="stable")[:, :6]
        return [[self.vocabulary.terms[term] for term in row] for row in order]

    def to_gensim(self) -> LdaModel:
        """The same model as a Gensim ``LdaModel``, for Gensim's own tools; its ``id2word`` is a ``Dictionary``."""
        from topic_model.gensim_models import to_gensim

        return to_gensim(self)

    @classmethod
    def from_gensim(cls, model: LdaModel, text_settings: TextSettings | None = None) -> TopicModel:
        """A model that Gensim trained; ``text_settings`` say how its terms are made of text, by default as ours are.

        Raises:
            ArtifactError: see :func:`topic_model.gensim_models.from_gensim`.
        """
        from topic_model.gensim_models import from_gensim

        return from_gensim(model, text_settings or TextSettings())
