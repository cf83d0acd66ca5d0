"""Weights of terms: BM25 for term overlap and the latent space, TF-IDF for the NMF start and the cluster labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from topic_model.arrays import FloatArray, IntArray

# Okapi BM25's customary values (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework"), not tuned here.
SATURATION = 1.2
LENGTH_SHARE = 0.75


@dataclass(frozen=True)
class TermWeights:
    """BM25 weights, fitted to a set of campaigns.

    ``idf`` of shape (n_terms,) is ln(1 + (n - df + 1/2) / (df + 1/2)); ``average_length`` is the mean number of counted
    words a campaign.
    """

    idf: FloatArray
    average_length: float

    @classmethod
    def of(cls, counts: Any) -> TermWeights:
        """The weights of a CSR matrix of counts of shape (n_campaigns, n_terms)."""
        frequency = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = np.log1p((counts.shape[0] - frequency + 0.5) / (frequency + 0.5))
        return cls(np.asarray(idf, dtype=np.float64), float(counts.sum() / max(1, counts.shape[0])))

    def rows(self, counts: Any) -> Any:
        """Weighted rows of unit Euclidean length; empty rows stay empty.

        A count saturates, and a long campaign's counts weigh less: a search term that a hundred people typed does not
        make a campaign a hundred times more about it.
        """
        weights = counts.astype(np.float64, copy=True)
        lengths = np.asarray(weights.sum(axis=1), dtype=np.float64).ravel() / max(self.average_length, 1e-12)
        damping = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * lengths)
        damping = np.repeat(damping, np.diff(weights.indptr))
        weights.data *= (SATURATION + 1) / (weights.data + damping) * self.idf[weights.indices]
        return _unit_rows(weights)

    def row(self, ids: IntArray, counts: IntArray) -> FloatArray:
        """:meth:`rows` of one campaign's terms."""
        length = float(counts.sum()) / max(self.average_length, 1e-12)
        damping = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * length)
        weights = counts * ((SATURATION + 1) / (counts + damping) * self.idf[ids])
        return np.asarray(weights / np.sqrt(max(float(weights @ weights), 1e-300)), dtype=np.float64)


def inverse_document_frequency(counts: Any) -> FloatArray:
    """Smoothed idf of shape (n_terms,): ln((1 + n) / (1 + df)) + 1, scikit-learn's formula."""
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.asarray(np.log((1 + counts.shape[0]) / (1 + frequency)) + 1, dtype=np.float64)


def tf_idf(counts: Any, idf: FloatArray | None = None) -> Any:
    """Rows of unit Euclidean length with weights (1 + ln count) * idf; empty rows stay empty.

    Counts are damped by the logarithm, for the reason that BM25's saturate.
    """
    weights = counts.astype(np.float64, copy=True)
    weights.data = 1 + np.log(weights.data)
    weights.data *= (inverse_document_frequency(counts) if idf is None else idf)[weights.indices]
    return _unit_rows(weights)


def _unit_rows(weights: Any) -> Any:
    """The rows of a CSR matrix over their Euclidean lengths, in place; empty ones stay empty."""
    sizes = np.diff(weights.indptr)
    squares = np.bincount(np.repeat(np.arange(len(sizes)), sizes), weights.data**2, minlength=len(sizes))
    weights.data /= np.repeat(np.sqrt(np.maximum(squares, 1e-300)), sizes)
    return weights
