"""Convolutions with few output channels: kernel taps along x become output columns."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, pack_bias
from edgeinfer.plan.lowering.units import as_units, units_of, width_of
from edgeinfer.records import NamedTuple

PATCH_BYTES = 256 * 1024
TASKS_PER_THREAD = 4


def few_outputs_applies(geometry: ConvGeometry, lanes: int) -> bool:
    """Whether the convolution is of the kind that this kernel computes."""
    return (
        geometry.strides[1] == 1 and geometry.dilations[1] == 1 and geometry.groups == 1
        and geometry.kernel[1] > 1 and geometry.out_channels <= lanes
    )  # fmt: skip


def few_outputs_cycles(geometry: ConvGeometry, kernel: KernelRow, lanes: int) -> float:
    """Estimated cycles, all threads together; the sums of shifted rows take about 3 cycles a tap."""
    columns, outputs = kernel.traits["columns"], geometry.kernel[1] * geometry.out_channels
    pixels = geometry.batch * geometry.out_height * (geometry.out_width + geometry.kernel[1] - 1)
    products = geometry.channels * geometry.kernel[0] * math.ceil(outputs / columns) * columns / lanes
    return pixels * (products + 3 * geometry.kernel[1])


def pack_folded(weight: np.ndarray, columns: int) -> np.ndarray:
    """Pack [out, channels, kh, kw] as [block, ky, channel, columns] with column ``kx * out + o``."""
    out_channels, channels, kernel_height, kernel_width = weight.shape
    outputs = kernel_width * out_channels
    blocks = math.ceil(outputs / columns)
    padded = np.zeros((kernel_height, channels, blocks * columns), weight.dtype)
    padded[:, :, :outputs] = weight.transpose(2, 1, 3, 0).reshape(kernel_height, channels, outputs)
    return np.ascontiguousarray(padded.reshape(kernel_height, channels, blocks, columns).transpose(2, 0, 1, 3))


class FewOutputsTasks(NamedTuple):
    """How the output is cut: pixels of a task, tasks along each axis, floats of scratch memory."""

    rows: int
    columns: int
    row_tasks: int
    column_tasks: int
    scratch_floats: int

    def fields(self, batch: int) -> dict[str, int | float | str]:
        """The params fields."""
        return {
            "task_rows": self.rows, "task_columns": self.columns, "row_tasks": self.row_tasks,
            "column_tasks": self.column_tasks, "tiles": batch * self.row_tasks * self.column_tasks,
        }  # fmt: skip


def cut_few_outputs(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> FewOutputsTasks:
    """Cut the output so that patches fit the cache and all threads get several tasks."""
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    reach = (geometry.kernel[0] - 1) * geometry.dilations[0] + 1
    task_columns = geometry.out_width
    while (
        task_columns > 4 * tile_rows
        and reach * (task_columns + geometry.kernel[1]) * geometry.channels * kernel.element_bytes > PATCH_BYTES
    ):
        task_columns = math.ceil(task_columns / 2)
    patch_columns = math.ceil((task_columns + geometry.kernel[1] - 1) / tile_rows) * tile_rows
    row_bytes = patch_columns * geometry.channels * kernel.element_bytes
    fitting = max(1, (PATCH_BYTES * 2 // row_bytes - reach) // geometry.strides[0] + 1)
    share = math.ceil(geometry.out_height / (TASKS_PER_THREAD * threads))
    task_rows = max(1, min(fitting, share))
    blocks = math.ceil(geometry.kernel[1] * geometry.out_channels / columns)
    patch = ((task_rows - 1) * geometry.strides[0] + reach) * patch_columns * geometry.channels
    return FewOutputsTasks(
        task_rows, task_columns, math.ceil(geometry.out_height / task_rows),
        math.ceil(geometry.out_width / task_columns),
        # A vector read of the last pixel's last tap reaches one vector beyond the sums; a patch of narrower numbers
        # is written in whole vectors.
        patch_columns * blocks * columns + 2 * lanes + patch,
    )  # fmt: skip


def emit_few_outputs(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append a convolution with few output channels."""
    geometry = conv.geometry
    columns = kernel.traits["columns"]
    units = units_of(geometry, kernel)
    tasks = cut_few_outputs(units, kernel, context.threads, context.kernels.lanes_of(kernel))
    values = {
        **tasks.fields(geometry.batch), "channels": units.channels,
        "bias": pack_bias(conv, context, kernel),
        "w": context.packed(
            conv.weight, f"folded{columns}x{width_of(kernel)}.{kernel.float_dtype.str}",
            lambda a: pack_folded(as_units(a, kernel), columns),
        ),
    }  # fmt: skip
    conv.append(context, kernel, values, kernel.element_bytes * tasks.scratch_floats, in_place=False)
