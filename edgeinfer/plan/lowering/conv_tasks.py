"""How the output of a direct convolution is cut into tasks."""

from __future__ import annotations

import math

from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.records import NamedTuple

# A patch and the weights of one block of output channels should stay in the second-level cache.
PATCH_BYTES = 256 * 1024
# Tasks smaller than this are not worth the atomic operation and the halo that they read twice.
TASK_MACS = 400_000
# Nor are those that read fewer weights, where there are few pixels.
TASK_WEIGHTS = 64 * 1024
TASKS_PER_THREAD = 4
# With so many output channels by pixel or more, weights are shared out and every worker reads all pixels.
WEIGHTS_BY_PIXELS = 4


class Tasks(NamedTuple):
    """How a convolution's output is cut: pixels and blocks of a task, tasks along each axis."""

    rows: int
    columns: int
    blocks: int
    row_tasks: int
    column_tasks: int
    block_tasks: int
    patch_bytes: int

    def fields(self, pictures: int) -> dict[str, int | float | str]:
        """The params fields; ``pictures`` counts groups of channels of all images."""
        return {
            "task_rows": self.rows, "task_columns": self.columns, "row_tasks": self.row_tasks,
            "column_tasks": self.column_tasks, "task_blocks": self.blocks, "block_tasks": self.block_tasks,
            "tiles": pictures * self.row_tasks * self.column_tasks * self.block_tasks,
        }  # fmt: skip


def cut_tasks(
    geometry: ConvGeometry,
    tile_rows: int,
    tile_columns: int,
    threads: int,
    unit_bytes: int = 4,
    written_twice: bool = False,
    least_pixels: int = 1,
    tasks_per_thread: int = TASKS_PER_THREAD,
) -> Tasks:
    """Cut the output so that patches fit the cache and all threads get several tasks.

    Args:
        geometry: the convolution's numbers.
        tile_rows: pixels of a register tile.
        tile_columns: output channels of a register tile.
        threads: number of workers.
        unit_bytes: bytes of a unit of the patch.
        written_twice: whether the outputs of a task should stay in the cache too, since an activation follows.
        least_pixels: a task has no fewer where the picture has as many; blocks are shared out instead.
        tasks_per_thread: how many tasks a worker should have.
    """
    kernel_height = (geometry.kernel[0] - 1) * geometry.dilations[0] + 1
    kernel_width = (geometry.kernel[1] - 1) * geometry.dilations[1] + 1

    def patch_columns(columns: int) -> int:
        tiled = math.ceil(columns / tile_rows) * tile_rows
        return (tiled - 1) * geometry.strides[1] + kernel_width

    def patch_bytes(rows: int, columns: int) -> int:
        return (
            ((rows - 1) * geometry.strides[0] + kernel_height) * patch_columns(columns) * geometry.channels * unit_bytes
        )

    def cache_bytes(rows: int, columns: int) -> int:
        return patch_bytes(rows, columns) + (rows * columns * geometry.out_channels * 4 if written_twice else 0)

    columns = geometry.out_width
    while columns > 2 * tile_rows and cache_bytes(1, columns) > PATCH_BYTES:
        columns = math.ceil(columns / 2 / tile_rows) * tile_rows
    column_tasks = math.ceil(geometry.out_width / columns)

    weights = geometry.out_channels * geometry.channels * geometry.kernel[0] * geometry.kernel[1]
    wanted = max(1, min(tasks_per_thread * threads, max(geometry.macs // TASK_MACS, weights // TASK_WEIGHTS)))
    images = geometry.batch * geometry.groups
    blocks = math.ceil(geometry.out_channels // geometry.groups / tile_columns)
    pixels = geometry.batch * geometry.out_height * geometry.out_width
    shares_weights = blocks >= wanted and geometry.out_channels >= WEIGHTS_BY_PIXELS * pixels
    row_tasks = 1 if shares_weights else max(1, math.ceil(wanted / (images * column_tasks)))
    rows = max(1, math.ceil(geometry.out_height / row_tasks))
    rows = min(geometry.out_height, max(rows, math.ceil(least_pixels / columns)))
    while rows > 1 and cache_bytes(rows, columns) > PATCH_BYTES:
        rows -= 1
    row_tasks = math.ceil(geometry.out_height / rows)
    rows = math.ceil(geometry.out_height / row_tasks)

    pixel_tasks = images * row_tasks * column_tasks
    cuts_rows = geometry.kernel == (1, 1) and columns > 2 * tile_rows and not shares_weights
    if threads > 1 and pixel_tasks < wanted and cuts_rows:
        columns = max(
            tile_rows, least_pixels, math.ceil(geometry.out_width * pixel_tasks / wanted / tile_rows) * tile_rows
        )
        column_tasks = math.ceil(geometry.out_width / columns)
        pixel_tasks = images * row_tasks * column_tasks
    block_tasks = 1
    if pixel_tasks < wanted and threads > 1:
        block_tasks = min(blocks, math.ceil(wanted / pixel_tasks))
    task_blocks = math.ceil(blocks / block_tasks)
    return Tasks(
        rows, columns, task_blocks, row_tasks, column_tasks, math.ceil(blocks / task_blocks), patch_bytes(rows, columns)
    )
