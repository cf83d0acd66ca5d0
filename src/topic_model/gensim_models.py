"""Topic models to and from Gensim: what training ended in, the topics' Dirichlet parameters, is the same in both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from topic_model.errors import ArtifactError, CorpusError
from topic_model.model import TopicModel
from topic_model.settings import TextSettings
from topic_model.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gensim.corpora import Dictionary
    from gensim.models import LdaModel


def to_gensim(model: TopicModel) -> LdaModel:
    """A Gensim ``LdaModel`` with the same lambda and alpha.

    Its ``id2word`` is a ``Dictionary``, which pyLDAvis and ``CoherenceModel`` want; document frequencies, which a model
    does not hold, are not in it.
    """
    from gensim.models import LdaModel

    gensim = LdaModel(
        num_topics=model.num_topics,
        id2word=_dictionary(model.vocabulary),
        alpha=np.array(model.alpha, dtype=np.float64),
        eta=model.eta,
        random_state=0,  # of the start of Gensim's own inference: asked twice, it answers the same
        dtype=np.float64,
    )
    gensim.state.sstats = np.asarray(model.lambda_, dtype=np.float64) - model.eta
    gensim.sync_state()
    return gensim


def _dictionary(vocabulary: Vocabulary) -> Dictionary:
    from gensim.corpora import Dictionary

    dictionary = Dictionary()
    dictionary.token2id = dict(vocabulary.ids)
    dictionary.id2token = dict(enumerate(vocabulary.terms))
    return dictionary


def from_gensim(gensim: LdaModel, text_settings: TextSettings) -> TopicModel:
    """A model that Gensim trained, with whatever priors: alpha symmetric or not, eta a number, a vector or a matrix.

    Lambda already holds eta, so fingerprints and topics are those of the Gensim model. Of an eta that differs between
    terms or topics its smallest value is kept as the model's ``eta``: only training on would need the rest, and that is
    done on the Gensim model.

    Raises:
        ArtifactError: it is no ``LdaModel``, has no words for its ids or has gaps between them, names a word twice, or
            holds parameters that are not above 0 and finite.
    """
    from gensim.models import LdaModel

    if not isinstance(gensim, LdaModel):
        raise ArtifactError(
            f"the model is {type(gensim).__module__}.{type(gensim).__name__}; expected a gensim.models.LdaModel "
            "(or LdaMulticore): of others, train an LdaModel on the same corpus"
        )
    lambda_ = np.asarray(gensim.state.get_lambda(), dtype=np.float64)
    alpha = np.asarray(gensim.alpha, dtype=np.float64)
    eta = np.asarray(gensim.eta, dtype=np.float64)
    for name, values in (("lambda", lambda_), ("alpha", alpha), ("eta", eta)):
        if not (values.size and np.isfinite(values).all() and (values > 0).all()):
            raise ArtifactError(
                f"{name} of the Gensim model goes from {values.min(initial=np.inf)} to {values.max(initial=-np.inf)}; "
                "expected values above 0 and finite: train it on a corpus that is not empty"
            )
    try:
        vocabulary = Vocabulary.of(_terms(gensim.id2word, lambda_.shape[1]))
    except CorpusError as error:
        raise ArtifactError(f"id2word of the Gensim model cannot be used: {error}") from error
    return TopicModel(vocabulary, lambda_, alpha, float(eta.min()), text_settings)


def _terms(id2word: Mapping[int, str], n_terms: int) -> list[str]:
    """The words by id."""
    from gensim.utils import FakeDict

    if isinstance(id2word, FakeDict):
        raise ArtifactError(
            "the Gensim model was trained without id2word, so its ids have no words; "
            "set model.id2word to the dictionary its corpus was made with"
        )
    ids = {int(term_id) for term_id in id2word.keys()}  # noqa: SIM118 - a Dictionary iterates over ids only by keys()
    if ids != set(range(n_terms)):
        missing, unknown = sorted(set(range(n_terms)) - ids), sorted(ids - set(range(n_terms)))
        wrong = f"has no word for id {missing[0]}" if missing else f"has a word for id {unknown[0]}"
        raise ArtifactError(
            f"id2word of the Gensim model {wrong}; expected a word for each of the ids 0 to {n_terms - 1}: "
            "call Dictionary.compactify() before making the corpus, and train again"
        )
    terms: list[Any] = [id2word[term_id] for term_id in range(n_terms)]
    for term_id, term in enumerate(terms):
        if not isinstance(term, str) or not term:
            raise ArtifactError(f"id2word of the Gensim model has {term!r} for id {term_id}; expected a word")
    return terms
