"""Convolutions with few output channels by F(3x3, 3x3) with pixels in the lanes: when it pays, packing, tasks."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_few_outputs import FewOutputsTasks
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, pack_bias
from edgeinfer.plan.lowering.packed_weights import Filtering, filtering_of, pack_filters
from edgeinfer.plan.lowering.winograd import MULTIPLY_ADDS_PER_CYCLE
from edgeinfer.plan.lowering.winograd_parts import PART, cut_into_parts, part_counts

OUTPUT = PART
SIZE = OUTPUT + PART - 1
MAX_OUT_CHANNELS = 6
# The transformed input of a row of tiles should leave room for the filters in the second-level cache.
TRANSFORMED_BYTES = 420 * 1024
TASKS_PER_THREAD = 4

# Cycles to transpose and transform one position of one vector of tiles of one channel; and to make one output channel
# of a vector of tiles out of products; measured on Zen 3.
POSITION_CYCLES = 220
OUTPUT_CYCLES = 500


def side_by_side(weight: np.ndarray) -> np.ndarray:
    """Weights [out, channels, kh, kw] as [out, part down * channels * part across, 3, 3]."""
    return cut_into_parts(weight).transpose(0, 2, 1, 4, 3, 5).reshape(len(weight), -1, PART, PART)


def winograd_pixels_applies(geometry: ConvGeometry, kernel: KernelRow) -> bool:
    """Whether the convolution is of the kind that this kernel computes."""
    position_floats = filtering_of(kernel).frequencies * part_counts(geometry)[0] * geometry.channels
    return (
        min(geometry.kernel) >= PART and geometry.strides == (1, 1) and geometry.dilations == (1, 1)
        and geometry.groups == 1 and geometry.out_channels <= MAX_OUT_CHANNELS
        and position_floats * kernel.traits["columns"] * kernel.element_bytes <= TRANSFORMED_BYTES
    )  # fmt: skip


def _positions(columns: int, across: int, lanes: int) -> int:
    """Positions that a row of tiles reads, in whole vectors."""
    return math.ceil((columns + across - 1) / lanes) * lanes


def cut_pixel_tasks(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> FewOutputsTasks:
    """Cut the output into blocks of tiles: a row of them, and the positions that it reads, fill a register tile."""
    outputs, most_columns, frequencies = (
        kernel.traits["rows"], kernel.traits["columns"], filtering_of(kernel).frequencies
    )  # fmt: skip
    down, across = part_counts(geometry)
    high, wide = math.ceil(geometry.out_height / OUTPUT), math.ceil(geometry.out_width / OUTPUT)
    columns = math.ceil(wide / math.ceil(wide / max(1, most_columns - across + 1)))
    column_tasks = math.ceil(wide / columns)
    # Each task transforms rows that the next one needs too. All workers get as many.
    shares = math.ceil(TASKS_PER_THREAD / (geometry.batch * column_tasks))
    row_tasks = threads * shares if threads > 1 else 1
    rows = math.ceil(high / min(high, row_tasks))

    positions = _positions(columns, across, lanes)
    pitch = positions + lanes
    buffer = (SIZE + OUTPUT) * OUTPUT * lanes + SIZE * PART * pitch + lanes + frequencies * outputs * most_columns
    transformed = frequencies * (down * geometry.channels * positions + 2 * lanes) + most_columns + across
    planes = math.ceil(geometry.channels / lanes) * lanes * SIZE * PART * pitch
    patch = SIZE * PART * pitch * geometry.channels + lanes
    return FewOutputsTasks(
        rows, columns, math.ceil(high / rows), column_tasks, buffer + transformed + planes + patch
    )  # fmt: skip


def winograd_pixels_cycles(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> float:
    """Estimated vector multiply-adds that take as long as the whole convolution, all threads together."""
    rate = MULTIPLY_ADDS_PER_CYCLE[lanes * kernel.element_bytes]
    outputs, columns = kernel.traits["rows"], kernel.traits["columns"]
    (down, across), tasks = part_counts(geometry), cut_pixel_tasks(geometry, kernel, threads, lanes)
    blocks, vectors = math.ceil(geometry.out_channels / outputs), columns / lanes
    products = filtering_of(kernel).frequencies * down * across * geometry.channels * blocks * outputs * vectors
    positions = (tasks.rows + down - 1) / tasks.rows * _positions(tasks.columns, across, lanes)
    transforms = positions / lanes * geometry.channels * POSITION_CYCLES
    back = blocks * outputs * vectors * OUTPUT_CYCLES
    rows = geometry.batch * tasks.column_tasks * tasks.row_tasks * tasks.rows
    return rows * (products + (transforms + back) * rate)


def emit_winograd_pixels(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append the convolution."""
    geometry, outputs, filtering = conv.geometry, kernel.traits["rows"], Filtering(OUTPUT, PART, 1)
    (down, across), lanes = part_counts(geometry), context.kernels.lanes_of(kernel)
    tasks = cut_pixel_tasks(geometry, kernel, context.threads, lanes)
    values = {
        **tasks.fields(geometry.batch),
        "w": context.packed(
            conv.weight, f"pixels{outputs}", lambda a: pack_filters(side_by_side(a), filtering, outputs)
        ),
        "bias": pack_bias(conv, context, kernel),
        "kernel_height": down * PART, "kernel_width": across * PART,
    }  # fmt: skip
    conv.append(context, kernel, values, kernel.element_bytes * tasks.scratch_floats, in_place=False)
