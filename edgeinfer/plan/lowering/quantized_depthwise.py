"""Depthwise convolutions of bytes in integers: packed weights, tasks."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.plan.lowering.depthwise import TASK_MACS, TASKS_PER_THREAD, DepthwiseTasks
from edgeinfer.plan.memory import align

# The rows that a task copies should stay in the second-level cache.
PATCH_BYTES = 128 * 1024
QUAD_ROWS = 4


def image_rows_of(kernel: KernelRow) -> int:
    """Rows of outputs that the kernel computes together."""
    return 2 if kernel.traits.get("quads") and not kernel.traits.get("blocks") else 1


def cut_integer_depthwise(geometry: ConvGeometry, kernel: KernelRow, threads: int) -> DepthwiseTasks:
    """Cut the output into rows; scratch memory holds the input rows of a task with their border."""
    channels, kernel_rows = geometry.out_channels, geometry.kernel[0]
    row_bytes = ((geometry.out_width - 1) * geometry.strides[1] + geometry.kernel[1]) * channels
    wanted = max(1, min(TASKS_PER_THREAD * threads, geometry.macs // TASK_MACS)) if threads > 1 else 1
    fitting = (PATCH_BYTES // row_bytes - kernel_rows) // geometry.strides[0] + 1
    together = image_rows_of(kernel)
    task_rows = max(together, min(fitting, math.ceil(geometry.out_height / math.ceil(wanted / geometry.batch))))
    row_tasks = math.ceil(geometry.out_height / task_rows)
    # Whole windows of rows; the last task overlaps the one before.
    task_rows = min(geometry.out_height, math.ceil(geometry.out_height / row_tasks / together) * together)
    row_tasks = math.ceil(geometry.out_height / task_rows)
    patch_rows = (task_rows - 1) * geometry.strides[0] + kernel_rows
    fields: dict[str, int | float | str] = {
        "channels": channels, "x_channels": channels,
        "task_rows": task_rows, "task_columns": geometry.out_width, "row_tasks": row_tasks, "column_tasks": 1,
        "tiles": geometry.batch * row_tasks,
    }  # fmt: skip
    return DepthwiseTasks(fields, align(patch_rows * row_bytes))


def pack_integer_depthwise(weight: np.ndarray, kernel: KernelRow, stride: int) -> np.ndarray:
    """Pack int8 [channels, 1, size, size] in blocks of the kernel's columns, the last one overlapping the one before.

    A block is [tap][channel], or with the trait ``quads`` [row of outputs][kernel column][four rows][channel][row].
    Rows are those of the pixels under a window where its quads hold them all, else those under each row of outputs.
    """
    _, _, size, _ = weight.shape
    columns, image_rows = kernel.traits["columns"], image_rows_of(kernel)
    order = channel_order(len(weight), kernel)
    blocks = weight[order, 0].reshape(-1, columns, size, size)
    count = len(blocks)
    if not kernel.traits.get("quads"):
        return np.ascontiguousarray(blocks.reshape(count, columns, -1).transpose(0, 2, 1)).view(np.int8)
    groups = math.ceil(size / QUAD_ROWS)
    shared = (image_rows - 1) * stride + size <= groups * QUAD_ROWS
    padded = np.zeros((count, image_rows, columns, groups * QUAD_ROWS, size), np.int8)
    for row in range(image_rows):
        first = row * stride if shared else 0
        padded[:, row, :, first : first + size] = blocks
    quads = padded.reshape(count, image_rows, columns, groups, QUAD_ROWS, size)
    return np.ascontiguousarray(quads.transpose(0, 1, 5, 3, 2, 4))


def channel_order(channels: int, kernel: KernelRow) -> np.ndarray:
    """The channels of each block of the kernel's columns, the last one overlapping the one before.

    With the trait ``blocks`` four vectors hold four neighbours of each block of so many, one after the other.
    """
    columns, block = kernel.traits["columns"], kernel.traits.get("blocks", 0)
    places = np.arange(columns)
    if block:
        places = places.reshape(columns // block, QUAD_ROWS, block // QUAD_ROWS).transpose(1, 0, 2).ravel()
    starts = [min(start, channels - columns) for start in range(0, channels, columns)]
    return np.concatenate([start + places for start in starts])
