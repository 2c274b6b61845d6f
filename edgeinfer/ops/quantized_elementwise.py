"""Element-wise operators of 8-bit tensors, rounded once, half to even."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, DType, TensorType
from edgeinfer.ops.broadcast import broadcast_shapes
from edgeinfer.ops.fused_activation import apply_activation
from edgeinfer.ops.quantize import quantized
from edgeinfer.ops.registry import Inference, operator


def dequantized(x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    """``(x - zero_point) * scale`` in float32, per tensor."""
    integers = x.astype(np.int32) - zero_point.astype(np.int32).reshape(())
    return integers.astype(np.float32) * scale.reshape(())


def quantized_as(y: np.ndarray, scale: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    """float32 as integers of the zero point's dtype, per tensor."""
    return quantized(y, scale.reshape(()), int(zero_point.reshape(())), DType.of(zero_point))


def _infer_binary(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(7), broadcast_shapes([inference.shape(0), inference.shape(3)]))]


@operator("QAdd", _infer_binary, domain=FUSED)
def quantized_add(
    a: np.ndarray,
    a_scale: np.ndarray,
    a_zero_point: np.ndarray,
    b: np.ndarray,
    b_scale: np.ndarray,
    b_zero_point: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray,
    *,
    activation: str = "",
    activation_parameters: list[float] | None = None,
) -> np.ndarray:
    """``quantize(act(dequantize(a) + dequantize(b)))``."""
    y = dequantized(a, a_scale, a_zero_point) + dequantized(b, b_scale, b_zero_point)
    return quantized_as(apply_activation(y, activation, activation_parameters or []), y_scale, y_zero_point)


@operator("QMul", _infer_binary, domain=FUSED)
def quantized_mul(
    a: np.ndarray,
    a_scale: np.ndarray,
    a_zero_point: np.ndarray,
    b: np.ndarray,
    b_scale: np.ndarray,
    b_zero_point: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray,
    *,
    activation: str = "",
    activation_parameters: list[float] | None = None,
) -> np.ndarray:
    """``quantize(act(dequantize(a) * dequantize(b)))``."""
    y = dequantized(a, a_scale, a_zero_point) * dequantized(b, b_scale, b_zero_point)
    return quantized_as(apply_activation(y, activation, activation_parameters or []), y_scale, y_zero_point)


def _infer_table(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(1), inference.shape(0))]


@operator("QTable", _infer_table, domain=FUSED)
def quantized_table(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """``table[x]`` with 256 entries of 8 bits, x taken as an unsigned byte."""
    return table[x.view(np.uint8)]
