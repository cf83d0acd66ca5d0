"""exp(psi(x)) in float32, without a call and without a branch, so that loops over topics vectorise.

The digamma function psi gives variational Bayes its expectations: E[log theta_k] = psi(gamma_k) - psi(sum gamma). The
exponential of it is what is needed, and it is had in two factors, for psi of a small prior goes far below what an
exponential in float32 can hold: exp(psi(x)) = y exp(e).
"""

from __future__ import annotations

from numba import float32

from topic_model.kernels.jit import FAST_MATH, kernel

#: Exponents below count as this: exp(-40) = 4e-18 of the largest is nothing, and its products stay normal numbers.
LOWEST_EXPONENT = float32(-40.0)
#: Above, what the recurrence adds to psi is below what float32 tells apart.
LARGE = float32(1e9)


@kernel(inline="always", fastmath=FAST_MATH)
def exp_psi_parts(x):  # type: ignore[no-untyped-def]
    """(y, e) with exp(psi(x)) = y exp(e), for x > 0 of float32; relative error some 1e-6 of the product.

    The recurrence psi(x) = psi(x + 4) - sum_i 1 / (x + i), its four terms paired from both ends, then the asymptotic
    series (Abramowitz and Stegun 6.3.6 and 6.3.18). The recurrence's sum is some 4 / x, nothing where x is large: it is
    that of LARGE then, since products of four x would not fit into float32.
    """
    bounded = min(x, LARGE)
    u = bounded * (bounded + float32(3))
    shift = (float32(2) * bounded + float32(3)) * (float32(2) * u + float32(2)) / (u * (u + float32(2)))
    y = x + float32(4)
    r = float32(1) / y
    q = r * r
    return y, -float32(0.5) * r - q * (float32(1 / 12) - q * (float32(1 / 120) - q * float32(1 / 252))) - shift


@kernel(inline="always", fastmath=FAST_MATH)
def exp_of(x):  # type: ignore[no-untyped-def]
    """exp(x) for x of float32 in [-40, 0], to 5e-5 of itself at the far end and 1e-6 above -10.

    Taylor's series at x / 64, squared six times.
    """
    t = x * float32(1 / 64)
    p = float32(1 / 720) + t * float32(1 / 5040)
    p = float32(1 / 24) + t * (float32(1 / 120) + t * p)
    p = float32(1 / 2) + t * (float32(1 / 6) + t * p)
    p = float32(1) + t * (float32(1) + t * p)
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    return p * p
