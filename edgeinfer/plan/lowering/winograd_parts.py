"""Winograd convolution with kernels larger than 3x3, cut into 3x3 parts: when it pays, packing, tasks."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, pack_bias
from edgeinfer.plan.lowering.packed_weights import filtering_of, packed_filters
from edgeinfer.plan.lowering.tile_tasks import cut_tile_tasks
from edgeinfer.plan.lowering.winograd import MULTIPLY_ADDS_PER_CYCLE, TRANSFORM_CYCLES

PART = 3
MIN_KERNEL = 5
# With more channels the transformed input of the parts no longer fits the cache.
MAX_CHANNELS = 16

# Cycles of one transform of so many vectors along rows of positions, an estimate: those of six vectors in proportion.
ROW_TRANSFORM_CYCLES = {5: 22, 8: 35}


def part_counts(geometry: ConvGeometry) -> tuple[int, int]:
    """Parts down and across."""
    return math.ceil(geometry.kernel[0] / PART), math.ceil(geometry.kernel[1] / PART)


def cut_into_parts(weight: np.ndarray) -> np.ndarray:
    """Weights [out, channels, kh, kw] as [out, channels, part down, 3, part across, 3], zeros beyond the kernel."""
    out_channels, channels, height, width = weight.shape
    down, across = math.ceil(height / PART), math.ceil(width / PART)
    padded = np.zeros((out_channels, channels, down * PART, across * PART), np.float32)
    padded[:, :, :height, :width] = weight
    return padded.reshape(out_channels, channels, down, PART, across, PART)


def part_weights(weight: np.ndarray) -> np.ndarray:
    """Weights [out, channels, kh, kw] as [out, part * channels, 3, 3]."""
    return cut_into_parts(weight).transpose(0, 2, 4, 1, 3, 5).reshape(len(weight), -1, PART, PART)


def winograd_parts_applies(geometry: ConvGeometry) -> bool:
    """Whether the convolution is of the kind that this kernel computes."""
    return (
        min(geometry.kernel) >= MIN_KERNEL and geometry.strides == (1, 1) and geometry.dilations == (1, 1)
        and geometry.groups == 1 and geometry.channels <= MAX_CHANNELS
    )  # fmt: skip


def _depth(geometry: ConvGeometry) -> int:
    """Length of the inner loop: parts times channels."""
    return math.prod(part_counts(geometry)) * geometry.channels


def _parts_of_tile(kernel: KernelRow) -> int:
    """Parts from one tile to the next."""
    return filtering_of(kernel).output // PART


def _tile_units(geometry: ConvGeometry, kernel: KernelRow) -> int:
    """Units of one frequency of one tile of the transformed input: as many positions for each part down."""
    return part_counts(geometry)[0] * _parts_of_tile(kernel) * geometry.channels


def winograd_parts_cycles(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> float:
    """Estimated vector multiply-adds that take as long as the whole convolution, all threads together.

    Channels of the geometry are counted in the kernel's units.
    """
    rate = MULTIPLY_ADDS_PER_CYCLE[lanes * kernel.element_bytes]
    tile_rows, columns, size = kernel.traits["rows"], kernel.traits["columns"], filtering_of(kernel).size
    (down, across), parts_of_tile = part_counts(geometry), _parts_of_tile(kernel)
    tasks = cut_tile_tasks(geometry, kernel, threads, _tile_units(geometry, kernel), lanes)
    tiles = tasks.rows * math.ceil(tasks.columns / tile_rows) * tile_rows
    products = size**2 * _depth(geometry) * math.ceil(geometry.out_channels / columns) * columns / lanes
    positions = parts_of_tile + across / tasks.columns
    rows = (parts_of_tile * tasks.rows + down - parts_of_tile) / tasks.rows
    transforms = rows * positions * geometry.channels / lanes * (PART + size) * ROW_TRANSFORM_CYCLES[size] * rate
    back = math.ceil(geometry.out_channels / lanes) * TRANSFORM_CYCLES[size] * rate
    return geometry.batch * tasks.pixel_tasks * tiles * (products + transforms * tasks.transforms(threads) + back)


def cut_parts(
    geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int
) -> tuple[dict[str, int | float | str], int]:
    """Params fields of tasks and of the kernel's size, and units of scratch memory; channels are counted in units."""
    tile_rows, columns, filtering = kernel.traits["rows"], kernel.traits["columns"], filtering_of(kernel)
    (down, across), parts_of_tile, frequencies = part_counts(geometry), _parts_of_tile(kernel), filtering.frequencies
    tasks = cut_tile_tasks(geometry, kernel, threads, _tile_units(geometry, kernel), lanes)
    values = {**tasks.values(geometry.batch), "kernel_height": down * PART, "kernel_width": across * PART}
    padded_columns = math.ceil(tasks.columns / tile_rows) * tile_rows
    row_units = (padded_columns * parts_of_tile + across) * geometry.channels
    buffer = max(frequencies * lanes, filtering.size * (PART * row_units + lanes) + lanes)
    products = frequencies * (tasks.rows * padded_columns * columns + lanes)
    transformed = frequencies * ((tasks.rows * parts_of_tile + down - parts_of_tile) * row_units + lanes) + lanes
    # Vectors at the end of a row reach into what follows.
    patch = (tasks.rows * filtering.output + down * PART - 1) * PART * row_units + 3 * lanes
    return values, buffer + max(products + transformed, patch) + patch


def emit_winograd_parts(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append the convolution."""
    values, floats = cut_parts(conv.geometry, kernel, context.threads, context.kernels.lanes_of(kernel))
    values |= {
        "w": packed_filters(context, context.packed(conv.weight, "parts", part_weights), kernel),
        "bias": pack_bias(conv, context, kernel),
    }
    conv.append(context, kernel, values, kernel.element_bytes * floats)
