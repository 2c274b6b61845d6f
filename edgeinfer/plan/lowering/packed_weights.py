"""Weights of convolutions in the order in which kernels read them: blocks of columns, and Winograd's transforms."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgeinfer.minimal_filtering import filter_matrix
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.units import as_units, width_of
from edgeinfer.plan.packing import Packing

# What is left of the rows of G of F(2x2, 3x3) and F(4x4, 3x3) when factors other than powers of two are taken out
# (Lavin and Gray, 2015), by pixels of an output tile along one axis.
FILTER_FACTORS = {2: (1, 1 / 2, 1 / 2, 1), 4: (1 / 4, -1 / 6, -1 / 6, 1 / 6, 1 / 6, 1)}

TAPS = 9


def pack_columns(weight: np.ndarray, groups: int, columns: int) -> np.ndarray:
    """Pack [out, channels, kh, kw] as [group, block, kh, kw, channel, columns], zeros beyond the last output."""
    out_channels, channels, kernel_height, kernel_width = weight.shape
    group_channels = out_channels // groups
    blocks = math.ceil(group_channels / columns)
    padded = np.zeros((groups, blocks * columns, channels, kernel_height, kernel_width), weight.dtype)
    padded[:, :group_channels] = weight.reshape(groups, group_channels, channels, kernel_height, kernel_width)
    split = padded.reshape(groups, blocks, columns, channels, kernel_height, kernel_width)
    return np.ascontiguousarray(split.transpose(0, 1, 4, 5, 3, 2))


def packed_columns(context: LoweringContext, weight: str, kernel: KernelRow, groups: int) -> str:
    """The constant with weights [out, channels, kh, kw] packed for a kernel that adds products up directly."""
    columns, width = kernel.traits["columns"], width_of(kernel)
    packing = f"conv{groups}x{columns}x{width}.{kernel.float_dtype}"
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
        return Packing(source, shape, lambda a: pack_columns(a, groups, columns), rows[0], values)

    return context.packed_later(weight, packing, describe)


class Filtering(NamedTuple):
    """What a Winograd kernel computes, see ``edgeinfer.kernels.winograd``.

    Attributes:
        output: pixels of an output tile along one axis.
        taps: taps of the filter along one axis; with strides those of the first phase.
        stride: the convolution's stride along both axes.
    """

    output: int
    taps: int
    stride: int

    @property
    def size(self) -> int:
        """Input pixels of one phase, and frequencies, of a tile along one axis."""
        return self.output + self.taps - 1

    @property
    def kernel_size(self) -> int:
        """Taps of the convolution's kernel along one axis."""
        return self.stride * (self.taps - 1) + 1

    @property
    def products(self) -> int:
        """Products for each output tile, input and output channel: at the last frequency only those of one phase."""
        return (self.stride * (self.size - 1) + 1) ** 2


def filtering_of(kernel: KernelRow) -> Filtering:
    """What a Winograd kernel computes."""
    traits = kernel.traits
    return Filtering(traits["output"], traits.get("taps", 3), traits.get("stride", 1))


def frequencies_of(kernel: KernelRow) -> int:
    """Frequencies of an output tile of a Winograd kernel."""
    return filtering_of(kernel).size ** 2


def filter_rows(g: np.ndarray, output: int) -> np.ndarray:
    """``G g`` along axis 0 without the factors: three slices become ``output + 2``, in the kernel's order of sums."""
    both = g[0] + g[2]
    near = [g[0], both + g[1], both - g[1]]
    if output == 2:
        return np.stack([*near, g[2]])
    quarter, half = np.float32(0.25) * g[0] + g[2], np.float32(0.5) * g[1]
    return np.stack([*near, quarter + half, quarter - half, g[2]])


def pack_filters(weight: np.ndarray, output: int, columns: int) -> np.ndarray:
    """Transform float32 [out, channels, 3, 3] by ``G g G^T`` and pack it as [block, frequency, channel, columns]."""
    out_channels, channels = weight.shape[:2]
    blocks, size = math.ceil(out_channels / columns), output + 2
    factors = np.array(FILTER_FACTORS[output], np.float32)
    packed = np.empty((blocks, size, size, channels, columns), np.float32)
    part = np.zeros((3, 3, channels, columns), np.float32)
    for block in range(blocks):
        outputs = weight[block * columns : (block + 1) * columns]
        part[..., : len(outputs)] = outputs.transpose(2, 3, 1, 0)
        part[..., len(outputs) :] = 0
        down = filter_rows(part, output).swapaxes(0, 1)
        both = filter_rows(down, output).swapaxes(0, 1)
        np.multiply(both, np.outer(factors, factors)[:, :, None, None], out=packed[block])
    return packed.reshape(blocks, size * size, channels, columns)


def pack_phases(weight: np.ndarray, filtering: Filtering, columns: int) -> np.ndarray:
    """Transform float32 [out, channels, k, k] by ``G g G^T``: [block, those of all frequencies, columns].

    Filters of a frequency are [row's phase][column's phase][channel], without phases that have nothing there. Sums are
    rounded once.
    """
    out_channels, channels, rows, _ = weight.shape
    size, taps, stride = filtering.size, filtering.taps, filtering.stride
    transform = np.array(filter_matrix(size, taps), np.float64)
    blocks, padded = math.ceil(out_channels / columns), taps * stride
    packed = np.empty((blocks, filtering.products * channels, columns), np.float32)
    part = np.zeros((padded, padded, channels, columns))
    for block in range(blocks):
        outputs = weight[block * columns : (block + 1) * columns]
        part[:rows, :rows, :, : len(outputs)] = outputs.transpose(2, 3, 1, 0)
        part[..., len(outputs) :] = 0
        # Axes: tap and phase of rows, tap and phase of columns; taps become frequencies.
        down = (transform @ part.reshape(taps, -1)).reshape(size, stride, taps, -1)
        both = (transform @ down).reshape(size, stride, size, stride, channels, columns)
        place = 0
        for i in range(size):
            for j in range(size):
                used = both[i, : 1 if i == size - 1 else stride, j, : 1 if j == size - 1 else stride]
                count = used.size // columns
                packed[block, place : place + count] = used.reshape(count, columns)
                place += count
    return packed


def packed_filters(context: LoweringContext, weight: str, kernel: KernelRow) -> str:
    """The constant with filters [out, channels, k, k] transformed and packed for a Winograd kernel."""
    columns, output, width = kernel.traits["columns"], kernel.traits["output"], width_of(kernel)
    filtering = filtering_of(kernel)
    if (output, filtering.taps) not in ((2, 3), (4, 3)):
        packing = f"winograd{output}x{filtering.taps}x{filtering.stride}x{columns}"
        return context.packed(weight, packing, lambda a: pack_phases(a, filtering, columns))
    packing = f"winograd{output}x{columns}x{width}.{kernel.float_dtype}"
    rows = context.kernels.family("f32_pack_filters")
    if width > 1 or kernel.float_dtype != np.float32:
        return context.packed(weight, packing, lambda a: as_units(pack_filters(a, output, columns), kernel, axis=2))
    if not rows:
        return context.packed(weight, packing, lambda a: pack_filters(a, output, columns))

    def describe(source: np.ndarray) -> Packing:
        out_channels, channels = source.shape[:2]
        blocks = math.ceil(out_channels / columns)
        values = {
            "out_channels": out_channels, "channels": channels, "output": output, "columns": columns, "tiles": blocks,
        }  # fmt: skip
        shape = (blocks, frequencies_of(kernel), channels, columns)
        # Taps of some channels, one channel between the two passes, results of some channels.
        frequencies, held = frequencies_of(kernel), rows[0].traits["channels"]
        scratch_bytes = 4 * columns * (held * (TAPS + frequencies) + 3 * (output + 2))
        return Packing(source, shape, lambda a: pack_filters(a, output, columns), rows[0], values, scratch_bytes)

    return context.packed_later(weight, packing, describe)
