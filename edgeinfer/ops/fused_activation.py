"""The activations that fused operators apply to their result."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, computed in float64 and rounded to the dtype of ``x``."""
    return _erf(x).astype(x.dtype) if x.size else x.copy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))`` without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def gelu(x: np.ndarray) -> np.ndarray:
    """``0.5 x (1 + erf(x / sqrt 2))``."""
    half = x.dtype.type(0.5)
    return half * x * (1 + erf(x * x.dtype.type(1 / math.sqrt(2))))


def apply_activation(y: np.ndarray, activation: str, parameters: Sequence[float] = ()) -> np.ndarray:
    """Apply the ``activation`` attribute of a fused operator.

    Args:
        y: the operator's result.
        activation: name, ``""`` for none.
        parameters: Clip (min, max), LeakyRelu (alpha), HardSigmoid (alpha, beta), Elu (alpha).

    Returns:
        An array of the same dtype.
    """
    p = [y.dtype.type(value) for value in parameters]
    one = y.dtype.type(1)
    if activation == "":
        return y
    if activation == "Relu":
        result = np.maximum(y, 0)
    elif activation == "Clip":
        result = np.minimum(np.maximum(y, p[0]), p[1])
    elif activation == "LeakyRelu":
        result = np.where(y < 0, p[0] * y, y)
    elif activation == "HardSigmoid":
        result = np.clip(p[0] * y + p[1], 0, one)
    elif activation == "HardSwish":
        result = y * np.clip(y / y.dtype.type(6) + y.dtype.type(0.5), 0, one)
    elif activation == "Sigmoid":
        result = sigmoid(y)
    elif activation == "Silu":
        result = y * sigmoid(y)
    elif activation == "Tanh":
        result = np.tanh(y)
    elif activation == "Gelu":
        result = gelu(y)
    elif activation == "Elu":
        result = np.where(y < 0, p[0] * np.expm1(y), y)
    else:
        raise ValueError(f"unknown activation '{activation}'")
    return result.astype(y.dtype, copy=False)
