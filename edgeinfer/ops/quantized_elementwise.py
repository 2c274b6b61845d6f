"""Element-wise operators and concatenation of 8-bit tensors, rounded once, half to even."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, ONNX, DType, TensorType
from edgeinfer.ops.broadcast import broadcast_shapes
from edgeinfer.ops.fused_activation import apply_activation
from edgeinfer.ops.quantize import quantized
from edgeinfer.ops.registry import Inference, find_operator, operator


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


def _infer_concat(inference: Inference) -> list[TensorType]:
    concat = find_operator((ONNX, "Concat"))
    assert concat is not None
    parts = Inference(inference.node, inference.inputs[2::3])
    return [TensorType(inference.dtype(1), concat.infer(parts)[0].shape)]


@operator("QConcat", _infer_concat, domain=FUSED)
def quantized_concat(y_scale: np.ndarray, y_zero_point: np.ndarray, *parts: np.ndarray, axis: int) -> np.ndarray:
    """Tensors x, x_scale, x_zero_point, … brought to one scale and zero point and joined along an axis."""
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    arrays = [quantized_as(dequantized(*triple), y_scale, y_zero_point) for triple in triples]
    return np.concatenate(arrays, axis=axis)
