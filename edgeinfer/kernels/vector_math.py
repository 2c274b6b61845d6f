"""Elementary functions of float32 vectors.

Largest errors against the correctly rounded result, in units in the last place (ulp), over all finite arguments:
exp 2, log 2, tanh 2, sigmoid 3, erf 2. Infinities and NaN come out as in IEEE arithmetic.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.vectors import (
    bits_to_f32,
    bits_to_i32,
    copysign,
    fma,
    polynomial,
    select,
    shift_left,
    shift_right,
    to_f32,
    to_i32,
    vector_abs,
    vector_round_even,
)

_F = np.float32

# Chebyshev fit of erf(x) / x - 1 in z = x^2 on [0, 1], lowest power first.
_ERF_SMALL = tuple(
    map(_F, (0.1283791, -0.37612626, 0.11283597, -0.026854328, 0.0051893122, -0.00080188551, 7.8824974e-05))
)
# Chebyshev fit of log(erfc(x)) on [1, 4], lowest power first.
_ERFC_LOG = tuple(
    map(
        _F,
        (0.00030321300, -1.1301666, -0.63193709, -0.10997824, 0.026364717, -0.0047402224, 0.00059276953,
         -4.5590623e-05, 1.6140616e-06),
    )
)  # fmt: skip
# Taylor-like polynomial of (exp(r) - 1 - r) / r^2 on [-ln 2 / 2, ln 2 / 2], highest power first (Cephes expf).
_EXP = tuple(map(_F, (1.9875691e-4, 1.3981999e-3, 8.3334519e-3, 4.1665796e-2, 1.6666665e-1, 5.0000001e-1)))
# Polynomial of log(1 + f) / f^3 on [sqrt(1/2) - 1, sqrt(2) - 1], highest power first (Cephes logf).
_LOG = tuple(
    map(
        _F,
        (7.0376836e-2, -1.1514610e-1, 1.1676998e-1, -1.2420140e-1, 1.4249322e-1, -1.6668057e-1, 2.0000714e-1,
         -2.4999993e-1, 3.3333331e-1),
    )
)  # fmt: skip
# tanh(x) = x + x^3 * polynomial in x^2 for |x| < 0.625, highest power first (Cephes tanhf).
_TANH = tuple(map(_F, (-5.7049887e-3, 2.0639088e-2, -5.3739715e-2, 1.3331442e-1, -3.3333281e-1)))

# ln 2 in two parts: products of the first with small integers are exact.
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)


@functools.cache
def vector_exp(simd: Simd) -> Callable[..., Any]:
    """``exp(x)``: x = n ln 2 + r, exp(x) = 2^n exp(r); the power of two in two factors so that subnormals are right."""
    splat, splat_i32, clamp = simd.splat, simd.splat_i32, simd.clamp
    tail = polynomial(simd.vector, _EXP)

    @njit(forceinline=True, error_model="numpy")
    def exp(x: Any) -> Any:
        bounded = clamp(x, splat(_F(-105)), splat(_F(90)))
        n = vector_round_even(bounded * splat(_F(1.4426950408889634)))
        r = fma(n, splat(-_LN2_HIGH), bounded)
        r = fma(n, splat(-_LN2_LOW), r)
        y = fma(tail(r), r * r, r) + splat(_F(1))
        power = to_i32(n)
        half = shift_right(power, 1)
        bias = splat_i32(np.int32(127))
        y = y * bits_to_f32(shift_left(half + bias, 23))
        y = y * bits_to_f32(shift_left(power - half + bias, 23))
        return select(x != x, x, y)

    return exp


@functools.cache
def vector_log(simd: Simd) -> Callable[..., Any]:
    """``log(x)``: x = m 2^e with m in [sqrt(1/2), sqrt(2)), log(x) = log(m) + e ln 2."""
    splat, splat_i32 = simd.splat, simd.splat_i32
    tail = polynomial(simd.vector, _LOG)

    @njit(forceinline=True, error_model="numpy")
    def log(x: Any) -> Any:
        tiny = x < splat(_F(1.17549435e-38))
        scaled = select(tiny, x * splat(_F(16777216.0)), x)
        bits = bits_to_i32(scaled)
        exponent = to_f32(shift_right(bits, 23) - splat_i32(np.int32(126)))
        exponent = select(tiny, exponent - splat(_F(24)), exponent)
        m = bits_to_f32((bits & splat_i32(np.int32(0x007FFFFF))) | splat_i32(np.int32(0x3F000000)))
        low = m < splat(_F(0.70710678))
        exponent = select(low, exponent - splat(_F(1)), exponent)
        f = select(low, m + m, m) - splat(_F(1))
        square = f * f
        y = fma(exponent, splat(_LN2_LOW), tail(f) * f * square)
        y = fma(square, splat(_F(-0.5)), y)
        y = fma(exponent, splat(_LN2_HIGH), f + y)
        zero, infinity = splat(_F(0)), splat(_F(np.inf))
        y = select(x == zero, zero - infinity, y)
        y = select(x < zero, splat(_F(np.nan)), y)
        return select((x == infinity) | (x != x), x, y)

    return log


@functools.cache
def vector_tanh(simd: Simd) -> Callable[..., Any]:
    """``tanh(x)``: a polynomial for small arguments, 1 - 2 / (exp(2 |x|) + 1) for the others."""
    splat, exp, tail = simd.splat, vector_exp(simd), polynomial(simd.vector, _TANH)

    @njit(forceinline=True, error_model="numpy")
    def tanh(x: Any) -> Any:
        z = x * x
        small = fma(tail(z) * z, x, x)
        one, magnitude = splat(_F(1)), vector_abs(x)
        large = one - splat(_F(2)) / (exp(magnitude + magnitude) + one)
        return copysign(select(magnitude < splat(_F(0.625)), small, large), x)

    return tanh


@functools.cache
def vector_sigmoid(simd: Simd) -> Callable[..., Any]:
    """``1 / (1 + exp(-x))``, written with exp(-|x|) so that nothing overflows."""
    splat, exp = simd.splat, vector_exp(simd)

    @njit(forceinline=True, error_model="numpy")
    def sigmoid(x: Any) -> Any:
        zero, one = splat(_F(0)), splat(_F(1))
        e = exp(zero - vector_abs(x))
        return select(x < zero, e, one) / (one + e)

    return sigmoid


@functools.cache
def vector_erf(simd: Simd) -> Callable[..., Any]:
    """``erf(x)``: x + x P(x^2) up to 1, then 1 - exp(Q(|x|)), which is 1 from 4 on."""
    splat, clamp, exp = simd.splat, simd.clamp, vector_exp(simd)
    near, far = polynomial(simd.vector, _ERF_SMALL[::-1]), polynomial(simd.vector, _ERFC_LOG[::-1])

    @njit(forceinline=True, error_model="numpy")
    def erf(x: Any) -> Any:
        magnitude, one = vector_abs(x), splat(_F(1))
        small = fma(near(x * x), x, x)
        large = one - exp(far(clamp(magnitude, one, splat(_F(4)))))
        y = select(magnitude < one, small, copysign(large, x))
        return select(x != x, x, y)

    return erf
