"""Quantization: floats to integers with a scale and a zero point, and back (ONNX QuantizeLinear and its relatives)."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import DType, TensorType
from edgeinfer.graph.dtypes import INTEGER_RANGES
from edgeinfer.ops.registry import Inference, operator
from edgeinfer.ops.unary import CAST_CODES


def saturate(values: np.ndarray, dtype: DType) -> np.ndarray:
    """Whole numbers as integers of a type, those beyond its range as its ends, NaN as its lowest."""
    low, high = INTEGER_RANGES[dtype]
    bounded = np.clip(np.where(np.isnan(values), low, values), low, high)
    return bounded.astype(dtype.numpy)


def along_axis(parameter: np.ndarray, x: np.ndarray, axis: int, block_size: int = 0) -> np.ndarray:
    """A scale or zero point in a shape that broadcasts with x.

    Args:
        parameter: one value; or one for each index of ``axis``; or with a block size one for each block along it.
        x: the tensor.
        axis: axis of x.
        block_size: elements of a block, 0 for none.
    """
    if block_size:
        axis %= x.ndim
        return parameter.repeat(block_size, axis=axis)[(slice(None),) * axis + (slice(x.shape[axis]),)]
    if parameter.size == 1:
        return parameter.reshape(())
    shape = [1] * x.ndim
    shape[axis] = -1
    return parameter.reshape(shape)


def quantized(x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | int, dtype: DType) -> np.ndarray:
    """``saturate(round(x / scale) + zero_point)``, half to even; all arguments broadcast."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return saturate(np.rint(x / scale).astype(np.float64) + zero_point, dtype)


def _infer_quantize(inference: Inference) -> list[TensorType]:
    if inference.has(2):
        return [TensorType(inference.dtype(2), inference.shape(0))]
    code = inference.attribute("output_dtype", 0)
    return [TensorType(CAST_CODES[code] if code else DType.UINT8, inference.shape(0))]


@operator("QuantizeLinear", _infer_quantize)
def quantize_linear(
    x: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> np.ndarray:
    """``saturate(round(x / y_scale) + y_zero_point)``, per tensor, per axis or per block."""
    if y_zero_point is not None:
        zero_point: np.ndarray | int = along_axis(y_zero_point.astype(np.int64), x, axis, block_size)
        dtype = DType.of(y_zero_point)
    else:
        zero_point, dtype = 0, CAST_CODES[output_dtype] if output_dtype else DType.UINT8
    return quantized(x, along_axis(y_scale, x, axis, block_size), zero_point, dtype)


def _infer_dequantize(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(1), inference.shape(0))]


@operator("DequantizeLinear", _infer_dequantize)
def dequantize_linear(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero_point: np.ndarray | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> np.ndarray:
    """``(x - x_zero_point) * x_scale`` in the scale's dtype, per tensor, per axis or per block."""
    integers = x.astype(np.int32)
    if x_zero_point is not None:
        integers = integers - along_axis(x_zero_point.astype(np.int32), x, axis, block_size)
    return integers.astype(x_scale.dtype) * along_axis(x_scale, x, axis, block_size)


def _infer_dynamic_quantize(inference: Inference) -> list[TensorType]:
    return [
        TensorType(DType.UINT8, inference.shape(0)),
        TensorType(DType.FLOAT32, ()),
        TensorType(DType.UINT8, ()),
    ]


@operator("DynamicQuantizeLinear", _infer_dynamic_quantize)
def dynamic_quantize_linear(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x as uint8 with the scale and zero point that its own range asks for; the range always holds 0."""
    low, high = min(np.float32(0), x.min(initial=0)), max(np.float32(0), x.max(initial=0))
    scale = np.float32((high - low) / np.float32(255)) or np.float32(1)
    zero_point = saturate(np.rint(np.asarray(-low / scale)), DType.UINT8)
    return quantized(x, scale, zero_point.astype(np.int64), DType.UINT8), np.asarray(scale), zero_point
