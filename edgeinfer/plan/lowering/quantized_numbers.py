"""The numbers of a quantized convolution, and the params fields made of them: multipliers, bias, bounds, border."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import DType, Node
from edgeinfer.graph.dtypes import INTEGER_RANGES
from edgeinfer.ops.quantized_products import integer_bounds
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext, NotNative
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, activation_fields, conv_values
from edgeinfer.plan.lowering.quantization import BYTES, constant_input, scalar_input
from edgeinfer.plan.signed_bytes import takes_signed_bytes

# As in edgeinfer.simd.rounding: rounded sums below, plus a byte, are words.
PLAIN_LIMIT = 32512.0
# Params fields of convolutions whose results are summands of nothing.
NO_SUM: dict[str, int | float | str] = {
    "own_flip": 0, "own_zero_point": 0, "residual_flip": 0, "residual_zero_point": 0, "sum_zero_point": 0,
    "own_scale": 1.0, "residual_scale": 1.0, "sum_scale": 1.0, "sum_low": 0.0, "sum_high": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Quantization:
    """The constants of a quantized convolution, all per output channel or scalar.

    Attributes:
        x_scale: float32.
        x_zero_point: that of x as unsigned bytes.
        signed: whether x holds signed bytes.
        weight: weights less their zero point, laid out as the float convolution's: int8, or int16 below 256.
        w_scale: float32 [out_channels].
        y_scale: float32, None where y is float32.
        y_zero_point: 0 where y is float32.
        bias: int32 [out_channels].
        part: names the part of the node's weights that these are, where they are not all.
    """

    x_scale: np.float32
    x_zero_point: int
    signed: bool
    weight: np.ndarray
    w_scale: np.ndarray
    y_scale: np.float32 | None
    y_zero_point: int
    bias: np.ndarray
    part: str = ""

    @functools.cached_property
    def sums(self) -> np.ndarray:
        """Sums of the weights of each output channel, int64."""
        return _sums_of_rows(self.weight)

    @functools.cached_property
    def absolute_sums(self) -> np.ndarray:
        """Sums of their magnitudes, int64."""
        # The magnitude of -128 is -128 as int8, and 128 as the same bits taken as uint8.
        return _sums_of_rows(np.abs(self.weight).view(f"u{self.weight.itemsize}"))


def _sums_of_rows(weight: np.ndarray) -> np.ndarray:
    rows = weight.reshape(len(weight), -1)
    # Twice as quick, where numbers of 16 bits cannot overflow.
    quick = rows.shape[1] < 1 << 15
    return rows.sum(axis=1, dtype=np.int32 if quick else np.int64).astype(np.int64)


def read_quantization(node: Node, context: LoweringContext, out_channels: int, out_axis: int) -> Quantization:
    """Read the constant inputs of a QConv or QMatMul; ``out_axis`` is the weight's axis of output channels.

    Raises:
        NotNative: if one is computed at run time, or inputs, weights or output are not 8 bits wide.
    """
    return context.once(
        ("quantization", node.name, *node.inputs[1:]), lambda: _quantization(node, context, out_channels, out_axis)
    )


def _quantization(node: Node, context: LoweringContext, out_channels: int, out_axis: int) -> Quantization:
    x, _, _, weight, *_ = node.inputs
    if context.dtype(x) not in BYTES or context.dtype(weight) not in BYTES:
        raise NotNative(f"{context.dtype(x).value} by {context.dtype(weight).value}; there are only 8-bit kernels")
    signed = context.dtype(x) is DType.INT8
    integers = _less_zero_point(constant_input(node, context, 3), constant_input(node, context, 5), out_axis)
    quantized = bool(node.input(6))
    if quantized and context.dtype(node.outputs[0]) not in BYTES:
        raise NotNative(f"the output is {context.dtype(node.outputs[0]).value}; there are only 8-bit kernels")
    bias = constant_input(node, context, 8) if node.input(8) else np.zeros(1, np.int32)
    x_zero_point = int(scalar_input(node, context, 2)) + (128 if signed else 0)
    return Quantization(
        np.float32(scalar_input(node, context, 1)), x_zero_point, signed,
        integers, np.broadcast_to(constant_input(node, context, 4).reshape(-1), out_channels),
        np.float32(scalar_input(node, context, 6)) if quantized else None,
        int(scalar_input(node, context, 7)) if quantized else 0, np.broadcast_to(bias.reshape(-1), out_channels),
    )  # fmt: skip


def _less_zero_point(weight: np.ndarray, zero_point: np.ndarray, out_axis: int) -> np.ndarray:
    """Weights less their zero point as int8 where that holds them, else int16."""
    if weight.dtype == np.int8 and not zero_point.any():
        return weight
    per_channel = [1] * weight.ndim
    per_channel[out_axis] = -1
    shape = per_channel if zero_point.size > 1 else [1]
    integers = weight.astype(np.int16) - zero_point.astype(np.int16).reshape(shape)
    fits = integers.min(initial=0) >= -128 and integers.max(initial=0) <= 127
    return integers.astype(np.int8) if fits else integers


def quantized_bounds(node: Node, context: LoweringContext, numbers: Quantization) -> dict[str, int | float]:
    """Params fields for activation and bounds: those of the float output, or of y less its zero point."""
    fields = activation_fields(node)
    if numbers.y_scale is None:
        return {**fields, "float_y": 1, "y_zero_point": 0, "y_scale": 1.0, "plain_y": 0, "flip": 128}
    dtype = context.dtype(node.outputs[0])
    if fields["activation"]:
        low, high = (bound - numbers.y_zero_point for bound in INTEGER_RANGES[dtype])
    else:
        name, parameters = node.attributes.get("activation", ""), node.attributes.get("activation_parameters", ())
        low, high = integer_bounds(name or "Clip", parameters, numbers.y_scale, numbers.y_zero_point, dtype)
    return {
        **fields, "float_y": 0, "y_zero_point": numbers.y_zero_point, "y_scale": float(numbers.y_scale),
        "low": low, "high": high, "plain_y": int(_rounds_plainly(node, context, numbers, low, high)), "flip": 128,
    }  # fmt: skip


def _rounds_plainly(node: Node, context: LoweringContext, numbers: Quantization, low: int, high: int) -> bool:
    """Whether y is bounded as kernels' bytes are, its zero point even, and every sum small enough for any x."""
    dtype = DType.INT8 if takes_signed_bytes(context.kernels) else DType.UINT8
    least, most = (bound - numbers.y_zero_point for bound in INTEGER_RANGES[dtype])
    if context.dtype(node.outputs[0]) is not dtype or (low, high) != (least, most) or numbers.y_zero_point % 2:
        return False
    farthest = max(numbers.x_zero_point, 255 - numbers.x_zero_point)
    largest = farthest * numbers.absolute_sums + np.abs(numbers.bias.astype(np.int64))
    with np.errstate(over="ignore", invalid="ignore"):
        return bool((largest * multipliers(node, numbers).astype(np.float64) < PLAIN_LIMIT).all())


def multipliers(node: Node, numbers: Quantization) -> np.ndarray:
    """What the int32 sums are multiplied by, float32 [out_channels]."""
    with np.errstate(over="ignore"):
        products = numbers.x_scale * numbers.w_scale
    if numbers.y_scale is None or activation_fields(node)["activation"]:
        return products
    if np.isfinite(products).all():
        return (products / numbers.y_scale).astype(np.float32)
    # Rounded to float32 once, where float32 has no room for the product in between.
    wide = np.float64(numbers.x_scale) * np.asarray(numbers.w_scale, np.float64) / np.float64(numbers.y_scale)
    return wide.astype(np.float32)


def per_block(values: np.ndarray, groups: int, columns: int) -> np.ndarray:
    """Values of output channels, padded with zeros to whole blocks of ``columns`` in each group."""
    group_channels = values.size // groups
    padded = np.zeros((groups, math.ceil(group_channels / columns) * columns), values.dtype)
    padded[:, :group_channels] = values.reshape(groups, group_channels)
    return padded


def fill_unit(numbers: Quantization, kernel: KernelRow) -> int:
    """x's zero point, as the kernel sees x, in all bytes, or words, of an int32."""
    zero_point = numbers.x_zero_point - kernel.traits.get("x_offset", 0)
    if kernel.traits.get("words"):
        return int(np.full(2, zero_point, np.int16).view(np.int32)[0])
    return int(np.full(4, zero_point % 256, np.uint8).view(np.int32)[0])


def bias_less_zero_point(numbers: Quantization, kernel: KernelRow) -> np.ndarray:
    """The bias less what the zero point of x, as the kernel sees x, adds to each sum; int32."""
    zero_point = numbers.x_zero_point - kernel.traits.get("x_offset", 0)
    return (numbers.bias - zero_point * numbers.sums).astype(np.int32)


def quantized_bias(
    node: Node, context: LoweringContext, numbers: Quantization, groups: int, kernel: KernelRow
) -> dict[str, int | float | str]:
    """Params fields that name bias, less what the zero point of x adds to each sum, and multipliers.

    The kernel's x is ``x_offset`` less than unsigned bytes.
    """
    columns, bias = kernel.traits["columns"], bias_less_zero_point(numbers, kernel)
    return {
        "bias": context.new_constant(f"{node.name}.bias", per_block(bias, groups, columns)),
        "multipliers": context.new_constant(
            f"{node.name}.multipliers", per_block(multipliers(node, numbers), groups, columns)
        ),
    }


def quantized_conv_values(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    numbers: Quantization,
    kernel: KernelRow,
    y_strides: tuple[int, int, int, int],
    groups: int = 1,
) -> dict[str, int | float | str]:
    """Params fields that do not depend on tasks, as ``conv_values``, with those of the numbers and of the output."""
    return {
        **conv_values(node, geometry, y_strides), **quantized_bounds(node, context, numbers),
        **quantized_bias(node, context, numbers, groups, kernel),
        "residual": "", "y": node.outputs[0], "fill": fill_unit(numbers, kernel), **NO_SUM,
    }  # fmt: skip
