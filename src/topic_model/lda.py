"""Training: Gensim's variational Bayes from a TF-IDF NMF start, with a checkpoint after every pass.

Stock Gensim starts from noise and, on short commercial text, stays near it. Non-negative matrix factorisation of TF-IDF
finds good topics in a second; a few variational passes then turn them into a proper LDA posterior.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from scipy.special import gammaln, psi

from topic_model.arrays import FloatArray, IntArray, hash_of, written_whole
from topic_model.corpus import Corpus
from topic_model.errors import CheckpointError, CorpusError, DamagedCheckpointError
from topic_model.model import SMALLEST, TopicModel
from topic_model.settings import LdaSettings
from topic_model.weighting import tf_idf

if TYPE_CHECKING:
    from gensim.models import LdaModel

MAX_AUTO_TOPICS = 100
HELD_OUT_SAMPLE = 2_000
CHECKPOINT_NAME = "checkpoint.npz"
CHECKPOINT_FIELDS = ("identity", "number", "sstats", "train_bound", "digest")
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassReport:
    """One pass; bounds are variational lower bounds on the log likelihood a word, in nats."""

    number: int
    seconds: float
    train_bound: float
    held_out_bound: float | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after a pass: the topics' sufficient statistics of shape (K, n_terms), and the pass's bound."""

    number: int
    sstats: FloatArray
    train_bound: float


def resolve_num_topics(settings: LdaSettings, n_campaigns: int) -> int:
    """K for a number of training campaigns.

    'auto' is 2 sqrt(n), at least 2, at most 100 and fewer than the campaigns: the value at which neighbours were best
    on intents, product categories and shoppers' queries (docs/decisions/0005-topic-model.md).

    Raises:
        CorpusError: fewer training campaigns than the topics asked for.
    """
    if settings.num_topics == "auto":
        return max(2, min(MAX_AUTO_TOPICS, round(2 * math.sqrt(n_campaigns)), n_campaigns - 1))
    if not 2 <= settings.num_topics <= n_campaigns:
        raise CorpusError(
            f"num_topics is {settings.num_topics}, but the corpus has {n_campaigns} training campaigns; "
            f"expected 2 to {n_campaigns}, or 'auto'"
        )
    return settings.num_topics


def training_identity(corpus: Corpus, settings: LdaSettings) -> str:
    """SHA-256 over what determines the model: the corpus and the settings."""
    return hash_of(corpus.content_hash.encode(), orjson.dumps(settings.model_dump(), option=orjson.OPT_SORT_KEYS))


def fit_lda(
    corpus: Corpus,
    settings: LdaSettings,
    *,
    checkpoints: Path | None = None,
    on_pass: Callable[[PassReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TopicModel | None:
    """Train a topic model on the corpus's training campaigns.

    With ``checkpoints`` the state is written after every pass, and a run that finds a checkpoint goes on behind it: the
    final model is the one an uninterrupted run makes, for a pass depends on the state before it and its number alone.
    A run that finds the last pass done reports that pass once more, so that its metrics are in this run's log too.
    Returns None when ``should_stop`` said so; what was done until then is in the checkpoint.

    Raises:
        CorpusError: fewer training campaigns than topics.
        CheckpointError: the checkpoint is damaged, or of another corpus or other settings.
    """
    rows = corpus.training_rows
    num_topics = resolve_num_topics(settings, len(rows))
    identity = training_identity(corpus, settings)
    checkpoint = read_checkpoint(checkpoints, identity) if checkpoints else None
    model = _gensim_model(corpus, settings, num_topics)
    if checkpoint is None:
        model.state.sstats = _start(corpus, rows, settings, num_topics)
        done = 0
    else:
        model.state.sstats = checkpoint.sstats
        done = checkpoint.number
        _LOGGER.info("resuming behind pass %d of %d", done, settings.passes)
    _sync(model)
    if should_stop and should_stop():
        return None
    held_out = list(corpus.bows(corpus.held_out_rows[:HELD_OUT_SAMPLE]))
    if checkpoint and done == settings.passes and on_pass:
        on_pass(PassReport(done, 0.0, checkpoint.train_bound, _held_out_bound(model, held_out, settings)))
    for number in range(done + 1, settings.passes + 1):
        began = time.monotonic()
        train_bound = _run_pass(model, corpus, rows, settings, number, should_stop)
        if train_bound is None:
            return None
        if checkpoints:
            write_checkpoint(checkpoints, identity, Checkpoint(number, model.state.sstats, train_bound))
        if on_pass:
            held_out_bound = _held_out_bound(model, held_out, settings)
            on_pass(PassReport(number, time.monotonic() - began, train_bound, held_out_bound))
    lambda_ = np.asarray(model.state.get_lambda(), dtype=np.float64)
    return TopicModel(
        corpus.vocabulary, lambda_, np.full(num_topics, settings.alpha), settings.eta, corpus.text_settings
    )


def _gensim_model(corpus: Corpus, settings: LdaSettings, num_topics: int) -> LdaModel:
    from gensim.models import LdaModel

    return LdaModel(
        num_topics=num_topics,
        id2word=dict(enumerate(corpus.vocabulary.terms)),
        alpha=[settings.alpha] * num_topics,
        eta=settings.eta,
        iterations=settings.iterations,
        gamma_threshold=settings.gamma_threshold,
        random_state=settings.seed,
        dtype=np.float64,
    )


def _run_pass(
    model: LdaModel,
    corpus: Corpus,
    rows: IntArray,
    settings: LdaSettings,
    number: int,
    should_stop: Callable[[], bool] | None,
) -> float | None:
    """One pass of batch variational Bayes; returns the bound a word before the M-step, or None when stopped."""
    # Gensim draws gamma's start anew in each E-step; seeding by the pass makes a resumed run equal to a whole one.
    model.random_state = np.random.RandomState((settings.seed + number) % 2**32)
    sstats = np.zeros_like(model.state.sstats)
    train_bound = 0.0
    for start in range(0, len(rows), settings.chunksize):
        if should_stop and should_stop():
            return None
        chunk = list(corpus.bows(rows[start : start + settings.chunksize]))
        gamma, chunk_sstats = model.inference(chunk, collect_sstats=True)
        sstats += chunk_sstats
        if start == 0:  # the first chunk stands for all: the bound is for watching, not for deciding
            train_bound = _bound(model, chunk, gamma)
    model.state.sstats = sstats
    _sync(model)
    return train_bound


def _held_out_bound(model: LdaModel, bows: list[list[tuple[int, int]]], settings: LdaSettings) -> float | None:
    if not bows:
        return None
    model.random_state = np.random.RandomState(settings.seed)
    gamma, _ = model.inference(bows)
    return _bound(model, bows, gamma)


def _bound(model: LdaModel, bows: list[list[tuple[int, int]]], gamma: FloatArray) -> float:
    """The campaigns' part of the variational bound (equation 3 of Hoffman et al. 2010) a word, in nats.

    Gensim's own ``bound`` adds the topics' part, which no campaign changes, and takes a Python call a word.
    """
    e_log_theta = psi(gamma) - psi(gamma.sum(axis=1, keepdims=True))
    total = words = 0.0
    for expected, bow in zip(np.exp(e_log_theta), bows, strict=True):
        ids, counts = np.array(bow).T
        total += float(counts @ np.log(expected @ model.expElogbeta[:, ids]))
        words += float(counts.sum())
    alpha = np.asarray(model.alpha)
    total += float(((alpha - gamma) * e_log_theta).sum() + (gammaln(gamma) - gammaln(alpha)).sum())
    total += float((gammaln(alpha.sum()) - gammaln(gamma.sum(axis=1))).sum())
    return total / words


def _sync(model: LdaModel) -> None:
    """Gensim's exp(E[log beta]), kept out of the subnormal range, where arithmetic is several times slower."""
    model.sync_state()
    np.maximum(model.expElogbeta, SMALLEST, out=model.expElogbeta)


def _start(corpus: Corpus, rows: IntArray, settings: LdaSettings, num_topics: int) -> FloatArray:
    """Sufficient statistics to start from, of shape (K, n_terms), scaled to the corpus's number of words."""
    words = float(corpus.counts.sum())
    random = np.random.RandomState(settings.seed)
    if settings.start == "random" or len(rows) < num_topics:
        return random.gamma(100.0, 0.01, (num_topics, len(corpus.vocabulary)))
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if len(rows) > settings.start_sample:
        rows = np.sort(random.choice(rows, settings.start_sample, replace=False))
    weights = tf_idf(corpus.matrix(rows))
    num_parts = min(num_topics, *weights.shape)
    factors = NMF(num_parts, init="nndsvda", max_iter=60, tol=1e-3, random_state=settings.seed)
    # One thread: its products are too small to share, and its result must not depend on the number of cores.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A start need not have converged: the passes that follow go on from it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        factors.fit(weights)
    topics = np.zeros((num_topics, weights.shape[1]))
    topics[:num_parts] = factors.components_
    # A little of every term, so that no topic rules a term out and empty parts are not lost.
    topics += 1e-3 * np.maximum(topics.mean(axis=1, keepdims=True), 1e-12)
    shares = topics / topics.sum(axis=1, keepdims=True)
    return np.asarray(shares * (words / num_topics), dtype=np.float64)


def write_checkpoint(folder: Path, identity: str, checkpoint: Checkpoint) -> None:
    """Write the checkpoint whole or not at all: a kill in the middle leaves the one before."""
    with written_whole(folder / CHECKPOINT_NAME) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            identity=np.array(identity),
            number=np.array(checkpoint.number),
            sstats=checkpoint.sstats,
            train_bound=np.array(checkpoint.train_bound),
            digest=np.array(hash_of(checkpoint.sstats)),
        )


def read_checkpoint(folder: Path, identity: str) -> Checkpoint | None:
    """The folder's checkpoint, or None where there is none.

    Raises:
        CheckpointError: it cannot be read, or another corpus or other settings made it.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            found: dict[str, Any] = {name: archive[name] for name in CHECKPOINT_FIELDS}
    except Exception as error:  # zipfile, zlib and NumPy each raise their own for a damaged archive
        message = f"{path.name} is damaged ({error}); delete the checkpoint folder to start again"
        raise DamagedCheckpointError(message) from error
    if str(found["digest"]) != hash_of(found["sstats"]):
        message = f"{path.name} differs from its digest; delete the checkpoint folder to start again"
        raise DamagedCheckpointError(message)
    if str(found["identity"]) != identity:
        raise CheckpointError(
            f"{path.name} belongs to another corpus or other hyperparameters (identity "
            f"{str(found['identity'])[:12]}, expected {identity[:12]}); use another checkpoint folder or delete it"
        )
    return Checkpoint(int(found["number"]), found["sstats"], float(found["train_bound"]))
