"""The vocabulary: terms by id and ids by term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from topic_model.arrays import IntArray, hash_of
from topic_model.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Terms by id; ``ids`` is the inverse."""

    terms: tuple[str, ...]
    ids: dict[str, int]

    @classmethod
    def of(cls, terms: Sequence[str]) -> Vocabulary:
        """A vocabulary whose ids are positions.

        Raises:
            CorpusError: a term stands twice.
        """
        ids = {term: position for position, term in enumerate(terms)}
        if len(ids) != len(terms):
            raise CorpusError(f"the vocabulary names {len(terms) - len(ids)} terms twice; expected each once")
        return cls(tuple(terms), ids)

    def __len__(self) -> int:
        return len(self.terms)

    @property
    def content_hash(self) -> str:
        """SHA-256 over the terms in order."""
        return hash_of(orjson.dumps(self.terms))

    def bow(self, terms: dict[str, int]) -> tuple[IntArray, IntArray]:
        """Ids and counts of the known terms, by ascending id, so that the order of the text does not matter."""
        known = sorted((self.ids[term], count) for term, count in terms.items() if term in self.ids)
        ids = np.array([term_id for term_id, _ in known], dtype=np.int64)
        return ids, np.array([count for _, count in known], dtype=np.int64)
