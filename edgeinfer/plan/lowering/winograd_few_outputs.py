"""Convolutions with few output channels by minimal filtering down the columns: when it pays, packing, tasks."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_few_outputs import few_outputs_applies, pack_folded
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, pack_bias
from edgeinfer.plan.lowering.packed_weights import at_points, filter_factors
from edgeinfer.plan.lowering.winograd import MULTIPLY_ADDS_PER_CYCLE

PART = 3
OUTPUT = 4
FREQUENCIES = OUTPUT + PART - 1

# Transformed rows and their products of one group of output rows should leave room for filters in the cache.
GROUP_BYTES = 256 * 1024
PATCH_BYTES = 512 * 1024
TASKS_PER_THREAD = 4
# Cycles of one transform of six vectors along rows of the patch; measured on Zen 4.
ROW_TRANSFORM_CYCLES = 26
# Cycles of one output pixel's sums over one tap in all frequencies, and of what follows them; measured on Zen 3.
TAP_CYCLES = 5
PIXEL_CYCLES = 60


def winograd_few_outputs_applies(geometry: ConvGeometry, lanes: int) -> bool:
    """Whether the convolution is of the kind that this kernel computes."""
    return (
        few_outputs_applies(geometry, lanes) and geometry.kernel[0] >= PART
        and geometry.strides == (1, 1) and geometry.dilations == (1, 1)
    )  # fmt: skip


def _part_count(geometry: ConvGeometry) -> int:
    return math.ceil(geometry.kernel[0] / PART)


def winograd_few_outputs_cycles(geometry: ConvGeometry, kernel: KernelRow, lanes: int) -> float:
    """Estimated vector multiply-adds that take as long as the whole convolution, all threads together."""
    columns, outputs = kernel.traits["columns"], geometry.kernel[1] * geometry.out_channels
    rate, parts = MULTIPLY_ADDS_PER_CYCLE[lanes * kernel.element_bytes], _part_count(geometry)
    groups = geometry.batch * math.ceil(geometry.out_height / OUTPUT)
    pixels = groups * (geometry.out_width + geometry.kernel[1] - 1)
    products = FREQUENCIES * parts * geometry.channels * math.ceil(outputs / columns) * columns / lanes
    transforms = parts * geometry.channels / lanes * ROW_TRANSFORM_CYCLES * rate
    sums = (TAP_CYCLES * FREQUENCIES / OUTPUT * geometry.kernel[1] + PIXEL_CYCLES) * rate
    return pixels * (products + transforms + sums)


def folded_taps(weight: np.ndarray, columns: int) -> np.ndarray:
    """[out, channels, kh, kw] as [tap, block, part, channel, columns] with column ``kx * out + o``; zeros behind kh."""
    out_channels, channels, kernel_height, kernel_width = weight.shape
    parts = math.ceil(kernel_height / PART)
    padded = np.zeros((out_channels, channels, parts * PART, kernel_width), np.float32)
    padded[:, :, :kernel_height] = weight
    folded = pack_folded(padded, columns)
    return np.moveaxis(folded.reshape(folded.shape[0], parts, PART, channels, columns), 2, 0)


def pack_folded_filters(weight: np.ndarray, columns: int) -> np.ndarray:
    """Pack [out, channels, kh, kw] as [block, frequency, part, channel, columns]."""
    factors = filter_factors(FREQUENCIES)[:, None, None, None, None]
    transformed = at_points(folded_taps(weight, columns), FREQUENCIES) * factors
    return np.ascontiguousarray(np.moveaxis(transformed, 0, 1))


def cut_columns_of_groups(
    geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int
) -> tuple[dict[str, int | float | str], int]:
    """Params fields of tasks and of the kernel's height, and units of scratch memory; channels are counted in units."""
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    parts, taps, channels = _part_count(geometry), geometry.kernel[1], geometry.channels
    blocks = math.ceil(taps * geometry.out_channels / columns)

    def pixels_of(task_columns: int) -> int:
        return math.ceil((task_columns + taps - 1) / tile_rows) * tile_rows

    def group_units(task_columns: int) -> int:
        pixels = pixels_of(task_columns)
        return FREQUENCIES * (pixels * (blocks * columns + parts * channels) + 2 * lanes)

    task_columns = geometry.out_width
    while task_columns > 4 * tile_rows and 4 * group_units(task_columns) > GROUP_BYTES:
        task_columns = math.ceil(task_columns / 2)
    column_tasks = math.ceil(geometry.out_width / task_columns)
    row_units = pixels_of(task_columns) * channels
    groups = math.ceil(geometry.out_height / OUTPUT)
    fitting = (PATCH_BYTES // (4 * row_units) - parts * PART) // OUTPUT
    share = math.ceil(groups * geometry.batch * column_tasks / (TASKS_PER_THREAD * threads))
    task_groups = max(1, min(fitting, share))
    row_tasks = math.ceil(groups / task_groups)
    values: dict[str, int | float | str] = {
        "task_rows": task_groups, "task_columns": task_columns, "row_tasks": row_tasks, "column_tasks": column_tasks,
        "tiles": geometry.batch * row_tasks * column_tasks, "kernel_height": parts * PART,
    }  # fmt: skip
    # Reads of whole vectors reach beyond the last row of the patch, sums of taps beyond the last products.
    patch = (task_groups * OUTPUT + parts * PART - 1) * row_units + lanes
    return values, FREQUENCIES * lanes + group_units(task_columns) + 2 * lanes + patch


def emit_winograd_few_outputs(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append the convolution."""
    columns = kernel.traits["columns"]
    values, floats = cut_columns_of_groups(conv.geometry, kernel, context.threads, context.kernels.lanes_of(kernel))
    values |= {
        "bias": pack_bias(conv, context, kernel),
        "w": context.packed(
            conv.weight, f"foldedfilters{columns}.{kernel.float_dtype.str}",
            lambda a: pack_folded_filters(a, columns).astype(kernel.float_dtype),
        ),
    }  # fmt: skip
    conv.append(context, kernel, values, kernel.element_bytes * floats, in_place=False)
