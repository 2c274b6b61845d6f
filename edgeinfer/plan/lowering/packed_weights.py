"""Weights of convolutions in the order in which kernels read them: blocks of columns, and Winograd's transforms."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np

from edgeinfer.filter_points import POINTS, point_scales
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.units import as_units, width_of
from edgeinfer.plan.packing import Packing
from edgeinfer.records import NamedTuple

# Frequencies along one axis that the packing kernel has room for, and those of F(2, 3).
MAX_SIZE = 8
SIZE_OF_F23 = 4


def pack_columns(weight: np.ndarray, groups: int, columns: int) -> np.ndarray:
    """Pack [out, channels, kh, kw] as [group, block, kh, kw, channel, columns], zeros beyond the last output."""
    blocks = in_blocks(weight, groups, columns)
    return np.ascontiguousarray(blocks.transpose(0, 1, 4, 5, 3, 2))


def in_blocks(weight: np.ndarray, groups: int, columns: int) -> np.ndarray:
    """Weights [out, channels, kh, kw] as [group, block, columns, channels, kh, kw], zeros beyond the last output."""
    out_channels, *taps = weight.shape
    group_channels = out_channels // groups
    blocks = math.ceil(group_channels / columns)
    if blocks * columns != group_channels:
        padded = np.zeros((groups, blocks * columns, *taps), weight.dtype)
        padded[:, :group_channels] = weight.reshape(groups, group_channels, *taps)
        weight = padded
    return weight.reshape(groups, blocks, columns, *taps)


def packed_columns(context: LoweringContext, weight: str, kernel: KernelRow, groups: int) -> str:
    """The constant with weights [out, channels, kh, kw] packed for a kernel that adds products up directly."""
    columns, width = kernel.traits["columns"], width_of(kernel)
    packing = f"conv{groups}x{columns}x{width}.{kernel.float_dtype.str}"
    rows = context.kernels.family("x32_pack_columns")
    if width > 1 or kernel.float_dtype != np.float32 or not rows:
        return context.packed(weight, packing, lambda a: pack_columns(as_units(a, kernel), groups, columns))

    def describe(source: np.ndarray) -> Packing:
        out_channels, channels, kernel_height, kernel_width = source.shape
        blocks = math.ceil(out_channels // groups / columns)
        values = {
            "out_channels": out_channels // groups, "channels": channels, "kernel_height": kernel_height,
            "kernel_width": kernel_width, "blocks": blocks, "columns": columns, "tiles": groups * blocks,
        }  # fmt: skip
        shape = (groups, blocks, kernel_height, kernel_width, channels, columns)
        scratch_bytes = 4 * columns * rows[0].traits["channels"]
        return Packing(source, shape, lambda a: pack_columns(a, groups, columns), rows[0], values, scratch_bytes)

    return context.packed_later(weight, packing, describe)


class Filtering(NamedTuple):
    """What a Winograd kernel computes, see ``edgeinfer.kernels.winograd``.

    Attributes:
        output: pixels of an output tile along one axis.
        taps: taps of the filter along one axis; with strides those of the first phase.
        stride: the convolution's stride along both axes.
        axes: 2, or 1 where only rows of pixels are filtered, see ``edgeinfer.kernels.winograd_rows``.
    """

    output: int
    taps: int
    stride: int
    axes: int = 2

    @property
    def size(self) -> int:
        """Input pixels of one phase, and frequencies, of a tile along one axis."""
        return self.output + self.taps - 1

    @property
    def output_rows(self) -> int:
        """Rows of pixels of an output tile."""
        return self.output if self.axes > 1 else 1

    def tiles_of(self, height: int, width: int) -> tuple[int, int]:
        """Tiles of a picture, down and across."""
        return math.ceil(height / self.output_rows), math.ceil(width / self.output)

    @property
    def shared_rows(self) -> int:
        """Rows of transformed tiles that a task has beyond those of its output."""
        return 0 if self.axes > 1 else self.taps - 1

    @property
    def frequencies(self) -> int:
        """Frequencies of an output tile."""
        return self.size**self.axes

    @property
    def kernel_size(self) -> int:
        """Taps of the convolution's kernel along one axis."""
        return self.stride * (self.taps - 1) + 1

    @property
    def products(self) -> int:
        """Products for each output tile, input and output channel: at the last frequency only those of one phase."""
        return (self.stride * (self.size - 1) + 1) ** 2 if self.axes > 1 else self.size * self.taps


@functools.cache
def filtering_of(kernel: KernelRow) -> Filtering:
    """What a Winograd kernel computes."""
    traits = kernel.traits
    return Filtering(traits["output"], traits.get("taps", 3), traits.get("stride", 1), traits.get("axes", 2))


def filter_factors(size: int) -> np.ndarray:
    """By what each row of G is multiplied after the powers of its point, float32 [size]."""
    factors = np.array([*(1 / scale for scale in point_scales(size)), 1], np.float32)
    if size == SIZE_OF_F23:
        # The transforms of F(2, 3) are written out with the other sign at the point 0.
        factors[0] = -factors[0]
    return factors


@functools.cache
def _transform_fields(size: int) -> Mapping[str, float]:
    """Params fields of the packing kernel with the points and factors of a transform."""
    fields = {f"point_{index}": 0.0 for index in range(MAX_SIZE - 1)}
    fields |= {f"factor_{index}": 0.0 for index in range(MAX_SIZE)}
    fields |= {f"point_{index}": point for index, point in enumerate(POINTS[size])}
    return fields | {f"factor_{index}": float(factor) for index, factor in enumerate(filter_factors(size))}


def at_points(g: np.ndarray, size: int) -> np.ndarray:
    """``G g`` along axis 0 without the factors: taps become ``size`` frequencies, summed up in the kernel's order."""
    values = []
    for point in POINTS[size]:
        value = g[-1]
        for tap in g[-2::-1]:
            value = value * np.float32(point) + tap
        values.append(value)
    return np.stack([*values, g[-1]])


def pack_filters(weight: np.ndarray, filtering: Filtering, columns: int) -> np.ndarray:
    """Transform float32 [out, channels, k, k] by ``G g G^T``: [block, those of all frequencies, columns].

    Filters of a frequency are [row's phase][column's phase][channel], without phases that have nothing there; along one
    axis, by ``g G^T``, [tap down][channel].
    """
    out_channels, channels = weight.shape[:2]
    size, stride = filtering.size, filtering.stride
    blocks, factors = math.ceil(out_channels / columns), filter_factors(size)
    packed = np.empty((blocks, filtering.products * channels, columns), np.float32)
    part = np.zeros((*weight.shape[2:], channels, columns), np.float32)
    for block in range(blocks):
        outputs = weight[block * columns : (block + 1) * columns]
        part[..., : len(outputs)] = outputs.transpose(2, 3, 1, 0)
        part[..., len(outputs) :] = 0
        if filtering.axes == 1:
            across = at_points(part.swapaxes(0, 1), size) * factors[:, None, None, None]
            packed[block] = across.reshape(packed.shape[1:])
            continue
        phases = {}
        for row in range(stride):
            for column in range(stride):
                down = at_points(part[row::stride, column::stride], size).swapaxes(0, 1)
                both = at_points(down, size).swapaxes(0, 1)
                phases[row, column] = both * np.outer(factors, factors)[:, :, None, None]
        place = 0
        for i in range(size):
            for j in range(size):
                for row in range(1 if i == size - 1 else stride):
                    for column in range(1 if j == size - 1 else stride):
                        packed[block, place : place + channels] = phases[row, column][i, j]
                        place += channels
    return packed


def packed_filters(context: LoweringContext, weight: str, kernel: KernelRow) -> str:
    """The constant with filters [out, channels, k, k] transformed and packed for a Winograd kernel."""
    columns, width, filtering = kernel.traits["columns"], width_of(kernel), filtering_of(kernel)
    output, taps, stride, axes = filtering
    packing = f"winograd{output}x{taps}x{stride}x{axes}x{columns}x{width}.{kernel.float_dtype.str}"
    rows = context.kernels.family("f32_pack_filters")

    def pack(source: np.ndarray) -> np.ndarray:
        return pack_filters(source, filtering, columns)

    def pack_units(source: np.ndarray) -> np.ndarray:
        packed = pack(source)
        by_frequency = packed.reshape(len(packed), filtering.products, -1, columns)
        return as_units(by_frequency, kernel, axis=2)

    if width > 1 or kernel.float_dtype != np.float32:
        return context.packed(weight, packing, pack_units)
    if not rows:
        return context.packed(weight, packing, pack)

    def describe(source: np.ndarray) -> Packing:
        out_channels, channels = source.shape[:2]
        blocks, held = math.ceil(out_channels / columns), rows[0].traits["channels"]
        kernel_size, size = filtering.kernel_size, filtering.size
        values: dict[str, int | float] = {
            "out_channels": out_channels, "channels": channels, "kernel_size": kernel_size, "taps": taps,
            "stride": stride, "size": size, "axes": axes, "columns": columns, "tiles": blocks,
        }  # fmt: skip
        values |= _transform_fields(size)
        # Taps of some channels, one phase of these between the two passes.
        rows_of_columns = held * (kernel_size**2 + size * taps)
        scratch_bytes = 4 * (2 * MAX_SIZE + columns * rows_of_columns)
        shape = (blocks, filtering.products * channels, columns)
        return Packing(source, shape, pack, rows[0], values, scratch_bytes)

    return context.packed_later(weight, packing, describe)
