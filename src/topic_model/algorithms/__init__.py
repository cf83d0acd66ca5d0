"""The algorithms by name. A new one is a file with its class and a line in :data:`ALGORITHMS` (docs/algorithms.md)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from topic_model.algorithms.base import Algorithm, AlgorithmSettings
from topic_model.errors import SettingsError

__all__ = ["ALGORITHMS", "DEFAULT_ALGORITHM", "algorithm", "parse_hyperparameters"]

DEFAULT_ALGORITHM = "lda"

ALGORITHMS: dict[str, str] = {
    "lda": "topic_model.algorithms.lda:Lda",
    "lda-gensim": "topic_model.algorithms.lda_gensim:GensimLda",
    "lda-gibbs": "topic_model.algorithms.lda_gibbs:GibbsLda",
    "nmf": "topic_model.algorithms.nmf:Nmf",
}
"""Name → module and class. Modules are imported when they are asked for; what is heavy they import when they run."""


def algorithm(name: str) -> Algorithm[Any]:
    """The algorithm of a name.

    Raises:
        SettingsError: an unknown name; the message has the nearest and all known ones.
    """
    if name not in ALGORITHMS:
        near = difflib.get_close_matches(name, ALGORITHMS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SettingsError(f"unknown algorithm {name!r}; {hint}expected one of {sorted(ALGORITHMS)}")
    module, _, kind = ALGORITHMS[name].partition(":")
    found: Algorithm[Any] = getattr(import_module(module), kind)()
    return found


def parse_hyperparameters(values: Mapping[str, str]) -> tuple[str, AlgorithmSettings]:
    """The algorithm's name and settings of SageMaker's ``hyperparameters.json``: ``algorithm`` and its own.

    Raises:
        SettingsError: an unknown algorithm, a hyperparameter that it does not have, or a value out of range.
    """
    name = values.get("algorithm", DEFAULT_ALGORITHM)
    own = {key: value for key, value in values.items() if key != "algorithm"}
    settings: AlgorithmSettings = algorithm(name).settings_class.from_strings(
        own, what="hyperparameter", also=["algorithm"]
    )
    return name, settings
