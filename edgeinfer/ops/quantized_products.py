"""Convolutions and matrix products of integers: exact int32 sums, then one rounding.

With x - x_zero_point and w - w_zero_point as integers and acc the sum of their products and the bias,

    y = saturate(round(float32(acc) * (x_scale * w_scale / y_scale)) + y_zero_point)

where all factors are float32 and rounding is half to even. Relu and Clip bound the integers. Other activations are
applied to float32(acc) * (x_scale * w_scale), which is then divided by y_scale. Without y_scale the result is that
float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.activation_codes import CLAMPS
from edgeinfer.graph import FUSED, DType, TensorType
from edgeinfer.graph.dtypes import INTEGER_RANGES
from edgeinfer.ops.channels_last import from_channels_last, to_channels_last
from edgeinfer.ops.conv import conv, conv_shape, conv_transpose, conv_transpose_shape, fused_conv_shape
from edgeinfer.ops.fused_activation import apply_activation
from edgeinfer.ops.matmul import matmul_shape
from edgeinfer.ops.pad import pad_array
from edgeinfer.ops.quantize import saturate
from edgeinfer.ops.registry import Inference, operator


def output_type(inference: Inference, scale: int) -> DType:
    """The dtype of an operator whose optional inputs ``scale`` and the next one quantize its result."""
    if not inference.has(scale):
        return DType.FLOAT32
    return inference.dtype(scale + 1) if inference.has(scale + 1) else DType.UINT8


def integer_bounds(
    activation: str, parameters: Sequence[float], scale: np.float32, zero_point: int, dtype: DType
) -> tuple[int, int]:
    """Bounds of integers less their zero point: those of their type, closer where Relu or Clip bound the numbers."""
    low, high = (bound - zero_point for bound in INTEGER_RANGES[dtype])
    first, last = tuple(parameters) or CLAMPS[activation]
    with np.errstate(over="ignore"):
        first, last = np.rint(np.float32(first) / scale), np.rint(np.float32(last) / scale)
    return int(max(low, min(first, high))), int(min(high, max(last, low)))


def requantized(
    acc: np.ndarray,
    input_scale: np.ndarray,
    y_scale: np.ndarray | None,
    y_zero_point: np.ndarray | None,
    activation: str,
    parameters: Sequence[float],
) -> np.ndarray:
    """Sums as the module's text says; ``input_scale`` is x_scale * w_scale in a shape that broadcasts."""
    if y_scale is None:
        return apply_activation(acc.astype(np.float32) * input_scale, activation, parameters)
    scale = np.float32(y_scale.reshape(()))
    zero_point = int(y_zero_point.reshape(())) if y_zero_point is not None else 0
    dtype = DType.of(y_zero_point) if y_zero_point is not None else DType.UINT8
    if activation and activation not in CLAMPS:
        y = np.rint(apply_activation(acc.astype(np.float32) * input_scale, activation, parameters) / scale)
        return saturate(y.astype(np.float64) + zero_point, dtype)
    rounded = np.rint(acc.astype(np.float32) * (input_scale / scale)).astype(np.float64)
    low, high = integer_bounds(activation or "Clip", parameters, scale, zero_point, dtype)
    return saturate(np.clip(rounded, low, high) + zero_point, dtype)


def centred(integers: np.ndarray, zero_point: np.ndarray | None) -> np.ndarray:
    """Integers less their zero point, one or one for each index of axis 0.

    As float64, in which sums of products of 8-bit and 16-bit numbers are exact.
    """
    numbers = integers.astype(np.float64)
    if zero_point is None:
        return numbers
    shape = (-1, *[1] * (integers.ndim - 1)) if zero_point.size > 1 else ()
    return numbers - zero_point.astype(np.float64).reshape(shape)


def _infer_quantized_conv(inference: Inference) -> list[TensorType]:
    return [TensorType(output_type(inference, 6), fused_conv_shape(inference, 3))]


@operator("QConv", _infer_quantized_conv, domain=FUSED)
def quantized_conv(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero_point: np.ndarray,
    weight: np.ndarray,
    w_scale: np.ndarray,
    w_zero_point: np.ndarray,
    y_scale: np.ndarray | None = None,
    y_zero_point: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    pad_mode: str = "constant",
    upsample: Sequence[int] = (1, 1),
    activation: str = "",
    activation_parameters: Sequence[float] = (),
    layout: str = "NCHW",
) -> np.ndarray:
    """Convolution of integers; attributes as FUSED Conv, bias int32 [O] in units of x_scale * w_scale."""
    pictures = from_channels_last(x) if layout == "NHWC" else x
    numbers = centred(pictures, x_zero_point).repeat(upsample[0], axis=2).repeat(upsample[1], axis=3)
    if pads:
        pairs = [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])]
        numbers = pad_array(numbers, pairs, pad_mode)
    acc = conv(
        numbers, centred(weight, w_zero_point), None if bias is None else bias.astype(np.float64),
        strides=strides, dilations=dilations, group=group,
    )  # fmt: skip
    scale = x_scale.reshape(()) * (w_scale.reshape(-1, 1, 1) if w_scale.size > 1 else w_scale.reshape(()))
    y = requantized(_as_int32(acc), scale, y_scale, y_zero_point, activation, activation_parameters)
    return to_channels_last(y) if layout == "NHWC" else y


def _infer_quantized_conv_transpose(inference: Inference) -> list[TensorType]:
    return [TensorType(output_type(inference, 6), conv_transpose_shape(inference, 3))]


@operator("QConvTranspose", _infer_quantized_conv_transpose, domain=FUSED)
def quantized_conv_transpose(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero_point: np.ndarray,
    weight: np.ndarray,
    w_scale: np.ndarray,
    w_zero_point: np.ndarray,
    y_scale: np.ndarray | None = None,
    y_zero_point: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    activation: str = "",
    activation_parameters: Sequence[float] = (),
    layout: str = "NCHW",
) -> np.ndarray:
    """Transposed convolution of integers with weight [C, O / group, kh, kw], scales and zero points of it as ``QConv``.

    Attributes as FUSED ConvTranspose, bias int32 [O] in units of x_scale * w_scale.
    """
    pictures = from_channels_last(x) if layout == "NHWC" else x
    weights = centred(weight.swapaxes(0, 1), w_zero_point).swapaxes(0, 1)
    acc = conv_transpose(
        centred(pictures, x_zero_point), weights, None if bias is None else bias.astype(np.float64),
        dilations=dilations, group=group, output_padding=output_padding, pads=pads, strides=strides,
    )  # fmt: skip
    scale = x_scale.reshape(()) * (w_scale.reshape(-1, 1, 1) if w_scale.size > 1 else w_scale.reshape(()))
    y = requantized(_as_int32(acc), scale, y_scale, y_zero_point, activation, activation_parameters)
    return to_channels_last(y) if layout == "NHWC" else y


def _as_int32(acc: np.ndarray) -> np.ndarray:
    """Whole numbers wrapped to int32, as the sums of kernels are."""
    return acc.astype(np.int64).astype(np.int32)


def _infer_quantized_matmul(inference: Inference) -> list[TensorType]:
    return [TensorType(output_type(inference, 6), matmul_shape(inference, inference.shape(0), inference.shape(3)))]


@operator("QMatMul", _infer_quantized_matmul, domain=FUSED)
def quantized_matmul(
    a: np.ndarray,
    a_scale: np.ndarray,
    a_zero_point: np.ndarray,
    b: np.ndarray,
    b_scale: np.ndarray,
    b_zero_point: np.ndarray,
    y_scale: np.ndarray | None = None,
    y_zero_point: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    activation: str = "",
    activation_parameters: Sequence[float] = (),
) -> np.ndarray:
    """Product of integer matrices a [.., M, K] and b [.., K, N]; scales and zero points of b per tensor or column."""
    acc = (a.astype(np.float64) - a_zero_point.astype(np.float64).reshape(())) @ (
        b.astype(np.float64) - b_zero_point.astype(np.float64).reshape(-1)
    )
    if bias is not None:
        acc = acc + bias
    scale = a_scale.reshape(()) * b_scale.reshape(-1)
    return requantized(_as_int32(acc), scale, y_scale, y_zero_point, activation, activation_parameters)


def _infer_conv_integer(inference: Inference) -> list[TensorType]:
    return [TensorType(DType.INT32, conv_shape(inference, inference.shape(0)))]


@operator("ConvInteger", _infer_conv_integer)
def conv_integer(
    x: np.ndarray,
    weight: np.ndarray,
    x_zero_point: np.ndarray | None = None,
    w_zero_point: np.ndarray | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> np.ndarray:
    """Convolution of integers with int32 sums."""
    acc = conv(
        centred(x, x_zero_point), centred(weight, w_zero_point), None,
        auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides,
    )  # fmt: skip
    return _as_int32(acc)


def _infer_matmul_integer(inference: Inference) -> list[TensorType]:
    return [TensorType(DType.INT32, matmul_shape(inference, inference.shape(0), inference.shape(1)))]


@operator("MatMulInteger", _infer_matmul_integer)
def matmul_integer(
    a: np.ndarray, b: np.ndarray, a_zero_point: np.ndarray | None = None, b_zero_point: np.ndarray | None = None
) -> np.ndarray:
    """Product of integer matrices with int32 sums; zero points of a per tensor or row, of b per tensor or column."""
    left, right = a.astype(np.float64), b.astype(np.float64)
    if a_zero_point is not None:
        left = left - (a_zero_point[:, None] if a_zero_point.ndim == 1 and a_zero_point.size > 1 else a_zero_point)
    if b_zero_point is not None:
        right = right - b_zero_point
    return _as_int32(left @ right)
