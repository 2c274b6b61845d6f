"""How pictures are cut into the tasks of Winograd convolutions: blocks of tiles, and of output channels."""

from __future__ import annotations

import math

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.plan.lowering.packed_weights import filtering_of
from edgeinfer.records import NamedTuple

# The transformed input of one task should leave room for the filters in the second-level cache.
FREQUENCY_BYTES = 600 * 1024
MAX_TILES = 64
TASKS_PER_THREAD = 8
SHORT_VECTOR_BYTES = 16


class TileTasks(NamedTuple):
    """How the tiles of a picture and the blocks of output channels are cut into tasks.

    Attributes:
        rows: rows of tiles of a task, at most.
        columns: tiles of a row of a task, at most.
        blocks: blocks of output channels of a task, at most.
        row_tasks: tasks down; rows are shared out evenly.
        column_tasks: tasks across.
        block_tasks: tasks of the same tiles.
        row_shares: into how many equal shares rows are cut first, see ``kernels.winograd.first_row_of``.
    """

    rows: int
    columns: int
    blocks: int
    row_tasks: int
    column_tasks: int
    block_tasks: int
    row_shares: int = 1

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
            "row_shares": self.row_shares, "tiles": batch * self.pixel_tasks * self.block_tasks,
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


def _tile_bytes(kernel: KernelRow, tile_floats: int) -> int:
    """Bytes of one tile of the transformed input."""
    return filtering_of(kernel).frequencies * tile_floats * kernel.element_bytes


def _picture_bytes(kernel: KernelRow) -> int:
    """How large the transformed input of one task may be where that spares reading filters twice."""
    return kernel.traits.get("picture_bytes", FREQUENCY_BYTES)


def padded_tiles(high: int, wide: int, rows: int, columns: int, tile_rows: int) -> int:
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
    tile_rows, block_columns = kernel.traits["rows"], kernel.traits["columns"]
    high, wide = filtering_of(kernel).tiles_of(geometry.out_height, geometry.out_width)
    tile_bytes = _tile_bytes(kernel, tile_floats)
    is_one_task = high * wide * tile_bytes <= _picture_bytes(kernel)
    limit = max(tile_rows, min(MAX_TILES, high * wide if is_one_task else FREQUENCY_BYTES // tile_bytes))
    columns = min(wide, limit)
    column_tasks = math.ceil(wide / columns)
    columns = math.ceil(wide / column_tasks)
    rows = max(1, min(high, limit // columns))
    rows = math.ceil(high / math.ceil(high / rows))
    if _products_set_the_pace(kernel, lanes):
        # Down to half of the rows, those that fill register tiles best: fewer would read the filters too often.
        fewer = range(rows, max(1, rows // 2) - 1, -1)
        rows = min(fewer, key=lambda rows: padded_tiles(high, wide, rows, columns, tile_rows))
    row_tasks, column_tasks = math.ceil(high / rows), math.ceil(wide / columns)
    blocks = math.ceil(geometry.out_channels / block_columns)
    task_blocks = _task_blocks(blocks, geometry.batch * row_tasks * column_tasks, threads)
    return TileTasks(rows, columns, task_blocks, row_tasks, column_tasks, math.ceil(blocks / task_blocks))


def _task_blocks(blocks: int, pixel_tasks: int, threads: int) -> int:
    """Blocks of output channels of a task, so that there are enough tasks."""
    wanted = TASKS_PER_THREAD * threads if threads > 1 else 1
    return math.ceil(blocks / min(blocks, max(1, math.ceil(wanted / pixel_tasks))))


def share_rows_out(
    tasks: TileTasks, geometry: ConvGeometry, kernel: KernelRow, threads: int, tile_floats: int
) -> TileTasks:
    """The same work for every worker where there are few tasks: as many of them, and halves of rows where it must be.

    7 rows of tiles in two tasks are 3 and 4. With two shares the row in the middle belongs to both: one computes half
    of its output channels, and one the others. Arguments are those of ``cut_tile_tasks``, which made ``tasks``.
    """
    if threads == 1 or tasks.pixel_tasks == 1 or geometry.batch * tasks.column_tasks > 1:
        return tasks
    high, wide = filtering_of(kernel).tiles_of(geometry.out_height, geometry.out_width)
    tiles = math.ceil(high / threads) * wide
    if tiles <= MAX_TILES and tiles * _tile_bytes(kernel, tile_floats) <= _picture_bytes(kernel):
        row_tasks = threads
    else:
        row_tasks = math.ceil(tasks.row_tasks / threads) * threads
    if row_tasks > min(high, TASKS_PER_THREAD * threads):
        return tasks
    blocks, shares = math.ceil(geometry.out_channels / kernel.traits["columns"]), threads if high % threads else 1
    task_blocks = _task_blocks(blocks, row_tasks, threads)
    rows = math.ceil(high / row_tasks)
    if shares > 1:
        rows = max(
            first_row_of(task + 1, row_tasks, shares, high, blocks - 1, blocks)
            - first_row_of(task, row_tasks, shares, high, 0, blocks)
            for task in range(row_tasks)
        )
    return TileTasks(rows, tasks.columns, task_blocks, row_tasks, 1, math.ceil(blocks / task_blocks), shares)


def first_row_of(task: int, row_tasks: int, shares: int, high: int, block: int, blocks: int) -> int:
    """See ``edgeinfer.kernels.winograd.first_row_of``."""
    if task * shares % row_tasks:
        return task * high // row_tasks
    return (2 * blocks * task * high + (2 * block + 1) * row_tasks) // (2 * blocks * row_tasks)
