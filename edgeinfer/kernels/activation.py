"""The fused activations, applied to one vector by the code that the planner stored."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.activation_codes import ACTIVATION_CODES
from edgeinfer.kernels.registry import Simd
from edgeinfer.kernels.vector_math import vector_erf, vector_exp, vector_sigmoid, vector_tanh
from edgeinfer.simd.vectors import select, widen

_F = np.float32
_RELU, _CLIP, _LEAKY_RELU, _HARD_SIGMOID, _HARD_SWISH, _SIGMOID, _SILU, _TANH, _GELU, _ELU = (
    ACTIVATION_CODES[name]
    for name in (
        "Relu", "Clip", "LeakyRelu", "HardSigmoid", "HardSwish", "Sigmoid", "Silu", "Tanh", "Gelu", "Elu",
    )
)  # fmt: skip


def _activate_wide(simd: Simd) -> Callable[..., Any]:
    """Activations of float16, computed in float32."""
    apply, narrow = activate(simd.wide), simd.narrow

    @njit(forceinline=True, error_model="numpy")
    def run(value: Any, code: Any, first: Any, second: Any) -> Any:
        return narrow(apply(widen(value), code, first, second))

    return run


@functools.cache
def activate(simd: Simd) -> Callable[..., Any]:
    """``apply(value, code, first, second)``: the activation of a code with its parameters; 0 changes nothing.

    Parameters as in ONNX: Clip (min, max), LeakyRelu (alpha), HardSigmoid (alpha, beta), Elu (alpha).
    """
    if simd.numbers == "f16":
        return _activate_wide(simd)
    splat, clamp = simd.splat, simd.clamp
    exp, sigmoid, tanh, erf = vector_exp(simd), vector_sigmoid(simd), vector_tanh(simd), vector_erf(simd)

    @njit(forceinline=True, error_model="numpy")
    def apply(value: Any, code: Any, first: Any, second: Any) -> Any:
        zero, one = splat(_F(0)), splat(_F(1))
        if code == _RELU:
            return select(value < zero, zero, value)
        if code == _CLIP:
            return clamp(value, splat(first), splat(second))
        if code == _LEAKY_RELU:
            return select(value < zero, value * splat(first), value)
        if code == _HARD_SIGMOID:
            return clamp(value * splat(first) + splat(second), zero, one)
        if code == _HARD_SWISH:
            return value * clamp(value * splat(_F(1 / 6)) + splat(_F(0.5)), zero, one)
        if code == _SIGMOID:
            return sigmoid(value)
        if code == _SILU:
            return value * sigmoid(value)
        if code == _TANH:
            return tanh(value)
        if code == _GELU:
            return value * splat(_F(0.5)) * (one + erf(value * splat(_F(0.7071067811865476))))
        if code == _ELU:
            return select(value < zero, splat(first) * (exp(value) - one), value)
        return value

    return apply
