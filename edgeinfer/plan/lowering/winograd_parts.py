"""Winograd convolution with kernels larger than 3x3, cut into 3x3 parts: when it pays, packing, tasks."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, pack_bias
from edgeinfer.plan.lowering.packed_weights import frequencies_of, packed_filters
from edgeinfer.plan.lowering.winograd import MULTIPLY_ADDS_PER_CYCLE, TRANSFORM_CYCLES, cut_tile_tasks

PART = 3
PARTS_OF_TILE = 2
OUTPUT = PART * PARTS_OF_TILE
INPUT = OUTPUT + PART - 1
MIN_KERNEL = 5
# With more channels the transformed input of the parts no longer fits the cache.
MAX_CHANNELS = 16

# Cycles of one transform of eight vectors along rows of positions, an estimate: those of six vectors times 8 / 6.
ROW_TRANSFORM_CYCLES = 35


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


def _tile_floats(geometry: ConvGeometry) -> int:
    """Floats of one frequency of one tile of the transformed input: two positions for each part down."""
    return part_counts(geometry)[0] * PARTS_OF_TILE * geometry.channels


def winograd_parts_cycles(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> float:
    """Estimated vector multiply-adds that take as long as the whole convolution, all threads together."""
    rate = MULTIPLY_ADDS_PER_CYCLE[lanes * kernel.element_bytes]
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    down, across = part_counts(geometry)
    tasks = cut_tile_tasks(geometry, kernel, threads, _tile_floats(geometry), lanes)
    tiles = tasks.rows * math.ceil(tasks.columns / tile_rows) * tile_rows
    products = frequencies_of(kernel) * _depth(geometry) * math.ceil(geometry.out_channels / columns) * columns / lanes
    positions = PARTS_OF_TILE + across / tasks.columns
    rows = (PARTS_OF_TILE * tasks.rows + down - 2) / tasks.rows
    transforms = rows * positions * geometry.channels / lanes * (PART + INPUT) * ROW_TRANSFORM_CYCLES * rate
    back = math.ceil(geometry.out_channels / lanes) * TRANSFORM_CYCLES[INPUT] * rate
    return geometry.batch * tasks.pixel_tasks * tiles * (products + transforms * tasks.block_tasks + back)


def emit_winograd_parts(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append the convolution."""
    geometry = conv.geometry
    lanes, tile_rows, columns = context.kernels.lanes_of(kernel), kernel.traits["rows"], kernel.traits["columns"]
    down, across = part_counts(geometry)
    frequencies = frequencies_of(kernel)
    tasks = cut_tile_tasks(geometry, kernel, context.threads, _tile_floats(geometry), lanes)
    values = {
        **tasks.values(geometry.batch),
        "w": packed_filters(context, context.packed(conv.weight, "parts", part_weights), kernel),
        "bias": pack_bias(conv, context, kernel),
        "kernel_height": down * PART, "kernel_width": across * PART,
    }  # fmt: skip
    padded_columns = math.ceil(tasks.columns / tile_rows) * tile_rows
    row_floats = (padded_columns * PARTS_OF_TILE + across) * geometry.channels
    buffer = max(frequencies * lanes, INPUT * (PART * row_floats + lanes) + lanes)
    products = frequencies * (tasks.rows * padded_columns * columns + lanes)
    transformed = frequencies * ((tasks.rows * PARTS_OF_TILE + down - 2) * row_floats + lanes) + lanes
    # Vectors at the end of a row reach into what follows.
    patch = (tasks.rows * OUTPUT + down * PART - 1) * PART * row_floats + 3 * lanes
    floats = buffer + max(products + transformed, patch) + patch
    conv.append(context, kernel, values, kernel.element_bytes * floats)
