"""Transposed convolution as ordinary convolutions, one for each phase of the output grid.

With strides s, output row ``s * q + r`` reads input rows ``q + (r + pad - k) / s`` for those taps k for which
the fraction is whole. For one r these taps form a small convolution over x, written to every s-th row.

With few output channels the phases along a row become output channels of one convolution, for [q][r][channel] is the
order of the output's memory; its kernel reaches over all inputs that any of them reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeinfer.graph import FUSED, Node
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.conv import emit_conv
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv
from edgeinfer.plan.lowering.quantized_conv import emit_quantized_conv
from edgeinfer.plan.lowering.quantized_numbers import read_quantization


@dataclass(frozen=True)
class Phase:
    """One residue of the output positions along one axis.

    Attributes:
        offset: the residue r.
        taps: the kernel's taps that contribute, in the order of the input positions that they read.
        pad: padding before the first input position.
        size: number of output positions.
    """

    offset: int
    taps: list[int]
    pad: int
    size: int

    def padded_taps(self, before: int, reach: int) -> list[int | None]:
        """The tap for each of ``reach`` input positions from ``-before`` on, None where there is none."""
        start = before - self.pad
        return [self.taps[i - start] if 0 <= i - start < len(self.taps) else None for i in range(reach)]


def phases(kernel: int, stride: int, pad: int, out_size: int) -> list[Phase]:
    """The phases of one axis."""
    result = []
    for offset in range(min(stride, out_size)):
        taps = [tap for tap in range(kernel) if (offset + pad - tap) % stride == 0]
        if not taps:
            raise NotNative(f"a kernel of {kernel} leaves holes at stride {stride}")
        furthest = taps[-1]
        first_read = (offset + pad - furthest) // stride
        result.append(Phase(offset, taps[::-1], -first_read, (out_size - offset + stride - 1) // stride))
    return result


def phase_weight(weight: np.ndarray, groups: int, rows: list[int], columns: list[int]) -> np.ndarray:
    """Weights [channels, out/group, kh, kw] of one phase as an ordinary convolution's [out, channels/group, …]."""
    channels, group_outputs = weight.shape[:2]
    part = weight[:, :, rows][:, :, :, columns].reshape(
        groups, channels // groups, group_outputs, len(rows), len(columns)
    )
    return part.transpose(0, 2, 1, 3, 4).reshape(groups * group_outputs, channels // groups, len(rows), len(columns))


def merged_weight(weight: np.ndarray, rows: list[int], columns: list[Phase], before: int, reach: int) -> np.ndarray:
    """Weights [channels, out, kh, kw] of one row phase and all column phases as [phase * out, channels, …]."""
    channels, outputs = weight.shape[:2]
    merged = np.zeros((len(columns), outputs, channels, len(rows), reach), weight.dtype)
    for index, phase in enumerate(columns):
        for place, tap in enumerate(phase.padded_taps(before, reach)):
            if tap is not None:
                merged[index, :, :, :, place] = weight[:, :, rows, tap].transpose(1, 0, 2)
    return merged.reshape(len(columns) * outputs, channels, len(rows), reach)


@dataclass(frozen=True)
class TransposePart:
    """One of the ordinary convolutions that a transposed one is made of.

    Attributes:
        geometry: its numbers.
        name: tells it from other parts of the same weights.
        weight: gives its weights from those of the transposed convolution.
        repeats: how often the output channels stand side by side in its own.
        y_strides: where its outputs go, as for ``FusedConv``.
    """

    geometry: ConvGeometry
    name: str
    weight: Callable[[np.ndarray], np.ndarray]
    repeats: int
    y_strides: tuple[int, int, int, int]


def transpose_parts(node: Node, context: LoweringContext, weight: str, lanes: int) -> list[TransposePart]:
    """The convolutions that together are a transposed one in NHWC layout with weights [channels, out / group, kh, kw].

    Raises:
        NotNative: if it has another layout, is dilated, or has outputs that no tap reaches.
    """
    attributes, x, y = node.attributes, node.inputs[0], node.outputs[0]
    if attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last convolutions have kernels")
    if set(attributes.get("dilations", [1, 1])) != {1}:
        raise NotNative("dilated transposed convolution")
    batch, height, width, channels = context.shape(x)
    _, out_height, out_width, out_channels = context.shape(y)
    kernel_height, kernel_width = context.shape(weight)[2:]
    stride_y, stride_x = attributes.get("strides", [1, 1])
    pad_top, pad_left = attributes.get("pads", [0, 0, 0, 0])[:2]
    groups = attributes.get("group", 1)
    all_rows = phases(kernel_height, stride_y, pad_top, out_height)
    all_columns = phases(kernel_width, stride_x, pad_left, out_width)
    row_elements = out_width * out_channels
    before = max(phase.pad for phase in all_columns)
    reach = before + max(len(phase.taps) - phase.pad for phase in all_columns)
    merged_outputs = stride_x * out_channels
    useful = sum(len(phase.taps) for phase in all_columns) / (reach * stride_x)
    whole = groups == 1 and out_width % stride_x == 0
    name = f"of{stride_y}x{stride_x}pad{pad_top}.{pad_left}"
    parts = []
    if whole and (useful == 1 or merged_outputs <= lanes):
        for rows in all_rows:
            geometry = ConvGeometry(
                batch, height, width, channels, rows.size, out_width // stride_x, merged_outputs, 1,
                (len(rows.taps), reach), (1, 1), (1, 1), (rows.pad, before), (1, 1), 0,
            )  # fmt: skip
            merge = partial(merged_weight, rows=rows.taps, columns=all_columns, before=before, reach=reach)
            strides = (merged_outputs, stride_y * row_elements, out_height * row_elements, rows.offset * row_elements)
            parts.append(TransposePart(geometry, f"merged{rows.offset}{name}", merge, stride_x, strides))
        return parts
    for rows in all_rows:
        for columns in all_columns:
            geometry = ConvGeometry(
                batch, height, width, channels // groups, rows.size, columns.size, out_channels, groups,
                (len(rows.taps), len(columns.taps)), (1, 1), (1, 1), (rows.pad, columns.pad), (1, 1), 0,
            )  # fmt: skip
            choose = partial(phase_weight, groups=groups, rows=rows.taps, columns=columns.taps)
            start = rows.offset * row_elements + columns.offset * out_channels
            strides = (stride_x * out_channels, stride_y * row_elements, out_height * row_elements, start)
            parts.append(TransposePart(geometry, f"phase{rows.offset}.{columns.offset}{name}", choose, 1, strides))
    return parts


@lowering("ConvTranspose", domain=FUSED)
def lower_conv_transpose(node: Node, context: LoweringContext) -> None:
    """Lower a fused transposed convolution in NHWC layout with constant weights."""
    x, weight, bias, y = *(node.input(index) for index in range(3)), node.outputs[0]
    numbers = context.float_kernels(x)
    if context.constant(weight) is None or (bias and context.constant(bias) is None):
        raise NotNative("the weights are computed at run time")
    for part in transpose_parts(node, context, weight, context.kernels.lanes_of(numbers)):
        own = context.packed(weight, part.name, part.weight)
        tiled = bias
        if bias and part.repeats > 1:
            tiled = context.packed(bias, f"repeated{part.repeats}", partial(np.tile, reps=part.repeats))
        emit_conv(FusedConv(node, part.geometry, x, own, tiled, "", y, part.y_strides), context)


@lowering("QConvTranspose", domain=FUSED)
def lower_quantized_conv_transpose(node: Node, context: LoweringContext) -> None:
    """Lower a transposed convolution of bytes in NHWC layout with constant weights and scales."""
    numbers = read_quantization(node, context, context.shape(node.outputs[0])[3], 1)
    for part in transpose_parts(node, context, node.inputs[3], context.kernels.lanes):
        own = dataclasses.replace(
            numbers, weight=part.weight(numbers.weight), w_scale=np.tile(numbers.w_scale, part.repeats),
            bias=np.tile(numbers.bias, part.repeats), part=part.name,
        )  # fmt: skip
        emit_quantized_conv(node, context, part.geometry, own, part.y_strides)
