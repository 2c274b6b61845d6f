"""Winograd convolution: when it pays, how filters are packed and the picture is cut into tasks."""

from __future__ import annotations

import math

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, pack_bias
from edgeinfer.plan.lowering.packed_weights import filtering_of, frequencies_of, packed_filters
from edgeinfer.plan.lowering.units import width_of
from edgeinfer.records import NamedTuple

# The transformed input of one task should leave room for the filters in the second-level cache.
FREQUENCY_BYTES = 600 * 1024
MAX_TILES = 64
MIN_CHANNELS = 8
TASKS_PER_THREAD = 8

# Families of kernels, without the number format in front.
FAMILIES = (
    "winograd4x4", "winograd2x2", "winograd6x6", "winograd7x7_stride2_3x3", "winograd4x4_stride2_3x3",
    "winograd2x2_stride2_3x3", "winograd5x5_stride2_7x7",
)  # fmt: skip

# Cycles to transform one tile of one vector of channels there, or back, by input pixels of the tile along one axis;
# those of 4 and 6 were measured on Zen 3 and 4, the others are what they compute on AArch64.
TRANSFORM_CYCLES = {3: 40, 4: 70, 5: 130, 6: 180, 8: 480}
# Bytes of filters that arrive in a cycle from beyond the second-level cache, for all workers together.
FILTER_BYTES_PER_CYCLE = 6
# Vector multiply-adds of a cycle, by bytes of a vector: costs are counted in the time of one.
MULTIPLY_ADDS_PER_CYCLE = {64: 1, 32: 2, 16: 1}
SHORT_VECTOR_BYTES = 16


class TileTasks(NamedTuple):
    """Tiles and blocks of output channels of a task, and tasks along each axis."""

    rows: int
    columns: int
    blocks: int
    row_tasks: int
    column_tasks: int
    block_tasks: int

    @property
    def pixel_tasks(self) -> int:
        """Tasks of one image that differ in their pixels."""
        return self.row_tasks * self.column_tasks

    def transforms(self, threads: int) -> int:
        """How many workers transform the same tiles: each does it once for all of its blocks."""
        return min(self.block_tasks, math.ceil(threads / self.pixel_tasks))

    def values(self, batch: int) -> dict[str, int | float | str]:
        """The kernel's params fields."""
        return {
            "task_rows": self.rows, "task_columns": self.columns, "task_blocks": self.blocks,
            "row_tasks": self.row_tasks, "column_tasks": self.column_tasks, "block_tasks": self.block_tasks,
            "tiles": batch * self.pixel_tasks * self.block_tasks,
        }  # fmt: skip


def _sizes(total: int, most: int) -> list[tuple[int, int]]:
    """``total`` cut into parts of ``most`` and a rest: pairs of a size and how many parts have it."""
    return [(most, total // most), (total % most, 1)] if total % most else [(most, total // most)]


def _even_sizes(total: int, most: int) -> list[tuple[int, int]]:
    """``total`` cut evenly into as many parts, as ``_sizes``."""
    parts = math.ceil(total / most)
    size, longer = divmod(total, parts)
    return [(size + 1, longer), (size, parts - longer)] if longer else [(size, parts)]


def _products_set_the_pace(kernel: KernelRow, lanes: int) -> bool:
    """Whether the number of multiply-adds decides alone: with short vectors. Others were measured as they are."""
    return lanes * kernel.element_bytes == SHORT_VECTOR_BYTES


def _padded_tiles(high: int, wide: int, rows: int, columns: int, tile_rows: int) -> int:
    """Tiles that tasks of ``rows`` x ``columns`` compute of ``high`` x ``wide``: whole register tiles in each task."""
    return sum(
        math.ceil(task_rows * task_columns / tile_rows) * tile_rows * count * times
        for task_rows, count in _even_sizes(high, rows)
        for task_columns, times in _sizes(wide, columns)
    )


def cut_tile_tasks(geometry: ConvGeometry, kernel: KernelRow, threads: int, tile_floats: int, lanes: int) -> TileTasks:
    """Cut the output into blocks of tiles that fit the cache, and these by output channels to occupy all threads.

    Args:
        geometry: the convolution's numbers.
        kernel: the kernel.
        threads: number of workers.
        tile_floats: floats of one frequency of one tile of the transformed input.
        lanes: floats of a vector.
    """
    output, tile_rows, block_columns = (kernel.traits[name] for name in ("output", "rows", "columns"))
    high, wide = math.ceil(geometry.out_height / output), math.ceil(geometry.out_width / output)
    tile_bytes = frequencies_of(kernel) * tile_floats * kernel.element_bytes
    is_one_task = high * wide * tile_bytes <= kernel.traits.get("picture_bytes", FREQUENCY_BYTES)
    limit = max(tile_rows, min(MAX_TILES, high * wide if is_one_task else FREQUENCY_BYTES // tile_bytes))
    columns = min(wide, limit)
    column_tasks = math.ceil(wide / columns)
    columns = math.ceil(wide / column_tasks)
    rows = max(1, min(high, limit // columns))
    rows = math.ceil(high / math.ceil(high / rows))
    if _products_set_the_pace(kernel, lanes):
        # Down to half of the rows, those that fill register tiles best: fewer would read the filters too often.
        fewer = range(rows, max(1, rows // 2) - 1, -1)
        rows = min(fewer, key=lambda rows: _padded_tiles(high, wide, rows, columns, tile_rows))
    row_tasks = math.ceil(high / rows)
    blocks = math.ceil(geometry.out_channels / block_columns)
    tasks = geometry.batch * row_tasks * column_tasks
    wanted = TASKS_PER_THREAD * threads if threads > 1 else 1
    task_blocks = math.ceil(blocks / min(blocks, max(1, math.ceil(wanted / tasks))))
    return TileTasks(rows, columns, task_blocks, row_tasks, math.ceil(wide / columns), math.ceil(blocks / task_blocks))


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


def winograd_costs(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> WinogradCosts:
    """Estimated costs; channels of the geometry are floats, or pairs where a kernel multiplies words."""
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    width, rate = width_of(kernel), MULTIPLY_ADDS_PER_CYCLE[lanes * kernel.element_bytes]
    filtering, batch = filtering_of(kernel), geometry.batch
    stride = filtering.stride
    tasks = cut_tile_tasks(geometry, kernel, threads, tile_units(geometry, kernel, lanes), lanes)
    high, wide = (math.ceil(size / filtering.output) for size in (geometry.out_height, geometry.out_width))
    tiles = _padded_tiles(high, wide, tasks.rows, tasks.columns, tile_rows)
    out_columns = math.ceil(geometry.out_channels / columns) * columns
    block_floats = filtering.products * geometry.channels / width * out_columns
    filters = _filter_cycles(kernel, block_floats * kernel.element_bytes, tasks.pixel_tasks, threads) * rate
    vectors_in = stride * math.ceil(stride * geometry.channels / lanes)
    vectors = vectors_in * tasks.transforms(threads) + math.ceil(geometry.out_channels / lanes)
    transforms = high * wide * vectors * TRANSFORM_CYCLES[filtering.size] * rate
    return WinogradCosts(batch * tiles * block_floats / lanes, batch * filters, batch * transforms)


def winograd_cycles(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> float:
    """Estimated vector multiply-adds of floats that take as long as the whole convolution, all threads together."""
    costs = winograd_costs(geometry, kernel, threads, lanes)
    return max(costs.products, costs.filters) + costs.transforms


def emit_winograd(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append a Winograd convolution."""
    geometry = conv.geometry
    lanes = context.kernels.lanes_of(kernel)
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    filtering, frequencies = filtering_of(kernel), frequencies_of(kernel)
    units = tile_units(geometry, kernel, lanes)
    tasks = cut_tile_tasks(geometry, kernel, context.threads, units, lanes)
    values = {
        **tasks.values(geometry.batch), "w": packed_filters(context, conv.weight, kernel),
        "bias": pack_bias(conv, context, kernel),
    }  # fmt: skip
    tiles = math.ceil(tasks.rows * tasks.columns / tile_rows) * tile_rows
    patch_rows, patch_columns = (
        (count * filtering.output + filtering.taps - 1) * filtering.stride for count in (tasks.rows, tasks.columns)
    )
    patch = patch_rows * patch_columns * geometry.channels
    floats = frequencies * (3 * lanes + tiles * (columns + units)) + tiles * 4 * lanes + patch + lanes
    conv.append(context, kernel, values, kernel.element_bytes * floats)
