"""exp(psi(x)) against SciPy."""

from __future__ import annotations

import numpy as np
from numba import float32
from scipy.special import psi

from topic_model.kernels.jit import array, kernel
from topic_model.kernels.special import exp_of, exp_psi_parts


@kernel(array(float32, 1, writable=True)(array(float32, 1)))
def _exponents(x):  # type: ignore[no-untyped-def]
    """log y + e of each x."""
    found = np.empty_like(x)
    for i in range(len(x)):
        y, e = exp_psi_parts(x[i])
        found[i] = np.log(y) + e
    return found


@kernel(array(float32, 1, writable=True)(array(float32, 1)))
def _exps(x):  # type: ignore[no-untyped-def]
    """exp of each x."""
    found = np.empty_like(x)
    for i in range(len(x)):
        found[i] = exp_of(x[i])
    return found


def test_the_parts_make_the_digamma_function() -> None:
    """From the smallest prior to the largest count of a million campaigns together, to float32's precision."""
    x = np.geomspace(1e-4, 1e18, 3_000, dtype=np.float32)
    expected = psi(x.astype(np.float64))
    assert np.abs(_exponents(x) - expected).max() / np.abs(expected).max() < 1e-6
    inner = x > 0.1
    assert np.abs(_exponents(x) - expected)[inner].max() < 1e-5


def test_the_exponential_is_numpys() -> None:
    """To 1e-5 where it weighs anything, and to 1e-4 at the far end."""
    x = np.linspace(-40, 0, 4_001, dtype=np.float32)
    wrong = np.abs(_exps(x) / np.exp(x.astype(np.float64)) - 1)
    assert wrong.max() < 1e-4
    assert wrong[x > -10].max() < 1e-5
