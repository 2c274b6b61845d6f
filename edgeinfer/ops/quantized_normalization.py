"""Normalisation that reads or writes 8-bit tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import FUSED, TensorType
from edgeinfer.ops.fused_activation import apply_activation
from edgeinfer.ops.normalization import fused_instance_normalization
from edgeinfer.ops.quantized_elementwise import dequantized, quantized_as
from edgeinfer.ops.registry import Inference, operator

# Sums of more pixels lose what float32 cannot hold: they are added up in parts, unlike ONNX Runtime's.
EXACT_ORDER_PIXELS = 2**20


def _infer(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(6), inference.shape(0))]


@operator("QInstanceNormalization", _infer, domain=FUSED)
def quantized_instance_normalization(
    x: np.ndarray,
    x_scale: np.ndarray | None,
    x_zero_point: np.ndarray | None,
    scale: np.ndarray,
    bias: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray,
    residual: np.ndarray | None = None,
    residual_scale: np.ndarray | None = None,
    residual_zero_point: np.ndarray | None = None,
    *,
    epsilon: float = 1e-5,
    activation: str = "",
    activation_parameters: Sequence[float] = (),
    layout: str = "NCHW",
) -> np.ndarray:
    """``quantize(act(InstanceNormalization(dequantize(x), scale, bias) + dequantize(residual)))``.

    Without x_scale x is float32, without residual_scale so is the residual. Integers are normalised bit for bit as
    ONNX Runtime does it on x86.
    """
    if residual is not None and residual_scale is not None and residual_zero_point is not None:
        residual = dequantized(residual, residual_scale, residual_zero_point)
    if x_scale is None or x_zero_point is None:
        y = fused_instance_normalization(x, scale, bias, epsilon=epsilon, layout=layout)
    else:
        numbers = dequantized(x, x_scale, x_zero_point)
        if layout == "NHWC":
            y = np.moveaxis(_normalized(np.moveaxis(numbers, -1, 1), scale, bias, epsilon), 1, -1)
        else:
            y = _normalized(numbers, scale, bias, epsilon)
    if residual is not None:
        y = y + residual
    return quantized_as(apply_activation(y, activation, activation_parameters), y_scale, y_zero_point)


def _normalized(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, epsilon: float) -> np.ndarray:
    """InstanceNormalization of float32 [images, channels, …] in the order of operations of ONNX Runtime."""
    images, channels = x.shape[:2]
    rows = np.ascontiguousarray(x).reshape(images * channels, -1)
    pixels = np.float32(max(rows.shape[1], 1))
    # The first pixel of each row at a multiple of 16 bytes, where the tensor begins at one.
    starts = -np.arange(len(rows)) * rows.shape[1] % 4
    mean = sum_in_order(rows, starts) / pixels
    variance = sum_in_order(np.square(rows - mean[:, None]), np.zeros_like(starts)) / pixels
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.float32(1) / np.sqrt(variance + np.float32(epsilon)) * np.tile(scale, images)
        shift = np.tile(bias, images) - mean * factor
        return (rows * factor[:, None] + shift[:, None]).reshape(x.shape)


def sum_in_order(rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums of the rows of a float32 matrix in the order in which Eigen adds vectors of four numbers up.

    Eight sums of every eighth number each, from the row's start; two and two of them together, and the four numbers
    after the last eight; these four as (0 + 2) + (1 + 3); the numbers before the start, those that are left. Beyond
    EXACT_ORDER_PIXELS each of the eight is made of sums of so many numbers, since float32 could not hold it.

    Args:
        rows: [rows, numbers].
        starts: the first number of each row that counts for the eight sums, at most 3.
    """
    result = np.empty(len(rows), np.float32)
    for start in np.unique(starts):
        chosen = rows[starts == start]
        size = chosen.shape[1]
        first = min(int(start), size)
        eights, fours = first + (size - first) // 8 * 8, first + (size - first) // 4 * 4
        sums = np.zeros((len(chosen), 8), np.float32)
        for chunk in range(first, eights, EXACT_ORDER_PIXELS):
            part = np.zeros_like(sums)
            for at in range(chunk, min(eights, chunk + EXACT_ORDER_PIXELS), 8):
                part += chosen[:, at : at + 8]
            sums += part
        lanes = sums[:, :4] + sums[:, 4:]
        if fours > eights:
            lanes = lanes + chosen[:, eights:fours]
        total = (lanes[:, 0] + lanes[:, 2]) + (lanes[:, 1] + lanes[:, 3])
        for at in (*range(first), *range(fours, size)):
            total = total + chosen[:, at]
        result[starts == start] = total
    return result
