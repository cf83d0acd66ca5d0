"""The sampler as an algorithm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.topic_model.algorithms.planted import planted_source
from topic_model.algorithms.base import Scratch
from topic_model.algorithms.lda_gibbs import GibbsLda, GibbsLdaSettings


def test_sweeps_conserve_counts_and_the_last_half_is_averaged(tmp_path: Path) -> None:
    """Behind every sweep each term has the corpus's weight; the posterior is the mean of the kept sweeps' counts."""
    source = planted_source(120)
    settings = GibbsLdaSettings(num_topics=5, passes=4)
    algorithm = GibbsLda()
    state = algorithm.start(source, settings, 5)
    words = np.asarray(source.bags.matrix(source.n_terms).sum(axis=0)).ravel()
    kept = []
    for number in range(1, 5):
        scratch = Scratch(tmp_path / str(number - 1), tmp_path / str(number))
        after = algorithm.run_pass(source, settings, state, number, lambda: False, scratch)
        assert after is not None
        state = after
        assert np.array_equal(state["counts"].sum(axis=1), words)
        if number > 2:
            kept.append(state["counts"])
    assert np.allclose(algorithm.posterior(settings, state).lambda_, np.mean(kept, axis=0).T + settings.eta)
