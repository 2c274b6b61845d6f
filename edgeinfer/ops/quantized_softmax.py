"""Softmax of 8-bit tensors: exponentials by a table of whole numbers, so that their sum is exact in any order.

With d the largest integer along the axis less x, and ``t[d] = round(2**20 * exp(-d * x_scale))``,

    y = saturate(round(t[d] / (float32(sum of t) * y_scale)) + y_zero_point)
"""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, DType, TensorType
from edgeinfer.ops.quantize import saturate
from edgeinfer.ops.registry import Inference, operator

UNIT = 1 << 20


def exponentials(x_scale: np.ndarray) -> np.ndarray:
    """``t[d]`` for all differences of two bytes, whole numbers as float32 [256]."""
    return np.rint(UNIT * np.exp(-np.arange(256) * np.float64(x_scale.reshape(())))).astype(np.float32)


def _infer_softmax(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(4), inference.shape(0))]


@operator("QSoftmax", _infer_softmax, domain=FUSED)
def quantized_softmax(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero_point: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray,
    *,
    axis: int = -1,
) -> np.ndarray:
    """ONNX Softmax of the numbers that integers stand for, as integers; ``x_zero_point`` does not matter."""
    integers = x.astype(np.int64)
    found = exponentials(x_scale)[integers.max(axis=axis, keepdims=True) - integers]
    total = found.sum(axis=axis, keepdims=True, dtype=np.float64).astype(np.float32)
    y = np.rint(found / (total * np.float32(y_scale.reshape(()))))
    return saturate(y.astype(np.float64) + int(y_zero_point.reshape(())), DType.of(y_zero_point))
