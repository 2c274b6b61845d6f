"""Division of many numbers by one: by its reciprocal, and yet rounded as division rounds.

A vector's division takes as long as some ten multiply-adds. With r = 1 / d, rounded, and q = v * r, the remainder
v - q * d is exact in a fused multiply-add, and q + remainder * r is the quotient, rounded correctly where q is off by
one unit in the last place (Markstein, "Computation of elementary functions on the IBM RISC System/6000", 1990). q may
be off by more, so that one step comes before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.simd.simd import Simd
from edgeinfer.simd.vectors import fma

# Divisors between these leave reciprocals and remainders far from the bounds of float32.
LEAST, MOST = np.float32(2.0**-50), np.float32(2.0**50)
# Magnitude of what may be divided by them.
MOST_DIVIDED = np.float32(2.0**70)


@dataclass(frozen=True)
class Division:
    """Compiled functions.

    Attributes:
        by: ``by(divisor, quick)``: what ``divide`` needs for a float32 divisor. With ``quick`` magnitudes of
            values are at most ``MOST_DIVIDED``, and quotients below 2**-30 need not be exact. Its last element tells
            whether there will be no division.
        divide: ``divide(vector, numbers)``: the quotients.
    """

    by: Callable[..., Any]
    divide: Callable[..., Any]


@functools.cache
def division(simd: Simd) -> Division:
    """The functions of a level; where it has no fused multiply-adds they divide."""
    splat, fuses = simd.splat, simd.level.fuses

    @njit(forceinline=True, error_model="numpy")
    def by(divisor: Any, quick: Any) -> Any:
        in_range = quick and divisor >= LEAST and divisor <= MOST
        return splat(divisor), splat(-divisor), splat(np.float32(1) / divisor), in_range and fuses

    @njit(forceinline=True, error_model="numpy")
    def divide(value: Any, numbers: Any) -> Any:
        divisor, negative, reciprocal, quick = numbers
        if not quick:
            return value / divisor
        quotient = value * reciprocal
        quotient = fma(fma(quotient, negative, value), reciprocal, quotient)
        return fma(fma(quotient, negative, value), reciprocal, quotient)

    return Division(by, divide)
