"""Winograd convolution: when it pays, how filters are packed and the picture is cut into tasks."""

from __future__ import annotations

import math

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, pack_bias
from edgeinfer.plan.lowering.packed_weights import Filtering, filtering_of, packed_filters
from edgeinfer.plan.lowering.tile_tasks import TileTasks, cut_tile_tasks, padded_tiles, share_rows_out
from edgeinfer.plan.lowering.units import width_of
from edgeinfer.records import NamedTuple

MIN_CHANNELS = 8

# Families of kernels, without the number format in front.
FAMILIES = (
    "winograd4x4", "winograd2x2", "winograd6x6", "winograd7x7_stride2_3x3", "winograd4x4_stride2_3x3",
    "winograd2x2_stride2_3x3", "winograd5x5_stride2_7x7", "winograd1x2",
)  # fmt: skip

# Cycles to transform one tile of one vector of channels there, or back, by input pixels of the tile along one axis;
# those of 4 and 6 were measured on Zen 3 and 4, the others are what they compute on AArch64.
TRANSFORM_CYCLES = {3: 40, 4: 70, 5: 130, 6: 180, 8: 480}
# Bytes of filters that arrive in a cycle from beyond the second-level cache, for all workers together.
FILTER_BYTES_PER_CYCLE = 6
# Vector multiply-adds of a cycle, by bytes of a vector: costs are counted in the time of one.
MULTIPLY_ADDS_PER_CYCLE = {64: 1, 32: 2, 16: 1}


def winograd_applies(geometry: ConvGeometry, kernel: KernelRow) -> bool:
    """Whether the convolution is of the kind that the kernel computes."""
    filtering = filtering_of(kernel)
    channels = geometry.channels * filtering.stride**2
    return (
        geometry.kernel == (filtering.kernel_size,) * 2 and geometry.strides == (filtering.stride,) * 2
        and geometry.dilations == (1, 1) and geometry.groups == 1
        and min(channels, geometry.out_channels) >= MIN_CHANNELS
    )  # fmt: skip


def tile_units(geometry: ConvGeometry, kernel: KernelRow, lanes: int) -> int:
    """Units from tile to tile of one frequency of the transformed input, see ``edgeinfer.kernels.winograd``."""
    channels = geometry.channels * filtering_of(kernel).stride ** 2
    return math.ceil(channels / lanes) * lanes // width_of(kernel) + lanes


def winograd_tasks(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> TileTasks:
    """The tasks of a convolution; channels of the geometry are counted as for ``winograd_costs``."""
    units = tile_units(geometry, kernel, lanes)
    tasks = cut_tile_tasks(geometry, kernel, threads, units, lanes)
    return share_rows_out(tasks, geometry, kernel, threads, units)


def winograd_scratch(geometry: ConvGeometry, kernel: KernelRow, tasks: TileTasks, lanes: int) -> int:
    """Units of memory that each worker needs."""
    filtering = filtering_of(kernel)
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    tiles = math.ceil(tasks.rows * tasks.columns / tile_rows) * tile_rows
    transformed = tiles + filtering.shared_rows * tasks.columns
    patch_rows, patch_columns = (
        (count * output + filtering.taps - 1) * filtering.stride
        for count, output in ((tasks.rows, filtering.output_rows), (tasks.columns, filtering.output))
    )
    patch = patch_rows * patch_columns * geometry.channels
    of_frequency = 3 * lanes + tiles * columns + transformed * tile_units(geometry, kernel, lanes)
    # A share of rows may begin at the second one, and reads whole register tiles from there.
    beyond = (tasks.columns + tile_rows) * tile_units(geometry, kernel, lanes)
    return filtering.frequencies * of_frequency + tiles * 4 * lanes + patch + beyond + lanes


class WinogradCosts(NamedTuple):
    """What parts of a Winograd convolution take, all threads together, counted in vector multiply-adds.

    Attributes:
        products: the multiply-adds of all frequencies.
        filters: reading the filters.
        transforms: transforming tiles there and back.
    """

    products: float
    filters: float
    transforms: float


def _filter_cycles(kernel: KernelRow, filter_bytes: float, pixel_tasks: int, threads: int) -> float:
    """What all workers together wait for filters."""
    slow = kernel.traits.get("weight_bytes")
    if not slow:
        return pixel_tasks * threads * filter_bytes / FILTER_BYTES_PER_CYCLE
    # Later tasks find most of them in the second-level cache.
    first, later = filter_bytes / slow, (pixel_tasks - 1) * filter_bytes / FILTER_BYTES_PER_CYCLE
    return first + later


def _transform_cycles(filtering: Filtering) -> float:
    """Cycles to transform one tile of one vector of channels, there or back."""
    cycles = TRANSFORM_CYCLES[filtering.size]
    return cycles if filtering.axes > 1 else cycles / filtering.size


def winograd_costs(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> WinogradCosts:
    """Estimated costs; channels of the geometry are floats, or pairs where a kernel multiplies words."""
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    width, rate = width_of(kernel), MULTIPLY_ADDS_PER_CYCLE[lanes * kernel.element_bytes]
    filtering, batch = filtering_of(kernel), geometry.batch
    stride = filtering.stride
    tasks = winograd_tasks(geometry, kernel, threads, lanes)
    high, wide = filtering.tiles_of(geometry.out_height, geometry.out_width)
    tiles = padded_tiles(high, wide, tasks.rows, tasks.columns, tile_rows)
    out_columns = math.ceil(geometry.out_channels / columns) * columns
    block_floats = filtering.products * geometry.channels / width * out_columns
    filters = _filter_cycles(kernel, block_floats * kernel.element_bytes, tasks.pixel_tasks, threads) * rate
    vectors_in = stride * math.ceil(stride * geometry.channels / lanes)
    vectors = vectors_in * tasks.transforms(threads) + math.ceil(geometry.out_channels / lanes)
    transforms = high * wide * vectors * _transform_cycles(filtering) * rate
    return WinogradCosts(batch * tiles * block_floats / lanes, batch * filters, batch * transforms)


def winograd_cycles(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> float:
    """Estimated vector multiply-adds of floats that take as long as the whole convolution, all threads together."""
    costs = winograd_costs(geometry, kernel, threads, lanes)
    return max(costs.products, costs.filters) + costs.transforms


def emit_winograd(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append a Winograd convolution."""
    geometry = conv.geometry
    lanes = context.kernels.lanes_of(kernel)
    tasks = winograd_tasks(geometry, kernel, context.threads, lanes)
    values = {
        **tasks.values(geometry.batch), "w": packed_filters(context, conv.weight, kernel),
        "bias": pack_bias(conv, context, kernel),
    }  # fmt: skip
    conv.append(context, kernel, values, kernel.element_bytes * winograd_scratch(geometry, kernel, tasks, lanes))
